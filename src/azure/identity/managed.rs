//! Managed identities: one client for all their endpoints, which `managed_endpoints.rs` lists.

use std::cell::OnceCell;

use serde_json::Value;

use super::azure_arc;
use super::source::TokenSource;
use super::token::{AccessToken, TokenRequest, UNKNOWN_RESOURCE_HINT, is_header_value};
use super::{azure_cli, entra_codes};
use crate::error::{Error, RequestFailure};
use crate::http::{
    HttpClient, Request, Response, Service, Timeouts, random_uuid, split_url, with_query,
};
use crate::log;
use crate::request::environment::Environment;
use crate::request::percent::encode;
use crate::request::settings::IdentityId;
use crate::secret::Secret;

/// The properties of one kind of managed identity endpoint: addresses, headers, parameters and errors.
pub struct Endpoint {
    /// The name for messages.
    pub name: &'static str,
    /// The variable that holds the URL of the endpoint.
    pub url_variable: &'static str,
    /// The URL of the endpoint if the variable is not set.
    pub default_url: &'static str,
    /// What is appended to the path of the URL; `None` if the URL is complete.
    pub path_suffix: Option<&'static str>,
    /// The parameter `api-version` of a GET; `None` if requests are POSTs with a form instead.
    pub api_version: Option<&'static str>,
    /// How a request proves that it comes from this machine.
    pub authentication: Authentication,
    /// Whether requests have the header `x-ms-client-request-id`.
    pub takes_request_id: bool,
    /// The query parameters that select an identity by client id, by object id and by resource id, in this order.
    /// `None` where the endpoint has no such parameter.
    pub id_parameters: [Option<&'static str>; 3],
    /// The variable that holds the client id to use if the user selects no identity; `None` if there is no such
    /// variable.
    pub default_client_id_variable: Option<&'static str>,
    /// The timeouts of one attempt.
    pub timeouts: Timeouts,
    /// Interprets a response without a token: returns the kind of failure and a hint, which may be empty. In the hint,
    /// `{resource}` stands for the request's resource, and `{cli}` for the advice to use the Azure CLI, which is empty
    /// if `az` is not there.
    pub classify: fn(&ErrorResponse<'_>) -> (RequestFailure, &'static str),
    /// The hint for a failed connection. In it, `{origin}` stands for the endpoint's origin, and `{cli}` is as in
    /// `classify`.
    pub unreachable_hint: Option<&'static str>,
    /// The hint for an endpoint that does not respond in time.
    pub slow_hint: Option<&'static str>,
}

/// How a request proves that it comes from this machine.
pub enum Authentication {
    /// The header `Metadata: true`. A request that another program was tricked into sending lacks it.
    Metadata,
    /// A header whose value is a secret in an environment variable.
    Header {
        name: &'static str,
        variable: &'static str,
    },
    /// The header `Metadata: true`; and in a second request, also the content of the key file that the first response
    /// names.
    KeyFile,
}

/// A response without a token.
pub struct ErrorResponse<'a> {
    /// The status of the response.
    pub status: u16,
    /// The error code; empty if there is none.
    pub code: &'a str,
    /// The error's description; empty if there is none.
    pub description: &'a str,
    /// Whether the body is JSON.
    pub is_json: bool,
    /// Whether there is no body.
    pub is_empty: bool,
    /// Whether the request's resource certainly exists, as in [`TokenRequest::is_known_resource`].
    pub is_known_resource: bool,
    /// Whether an identity is selected.
    pub is_selected: bool,
}

/// Gets tokens for a managed identity from its endpoint.
pub struct ManagedIdentity {
    endpoint: &'static Endpoint,
    /// The origin of the endpoint's URL.
    origin: String,
    /// The path of the endpoint's URL, with the query if the URL has one.
    path: String,
    /// The value of the header of [`Authentication::Header`]; `None` with any other authentication.
    header_secret: Option<Secret>,
    /// The identity to get tokens for; `None` lets the endpoint choose.
    selected: Option<IdentityId>,
    /// The text that replaces `{cli}` in hints.
    cli_hint: &'static str,
}

impl ManagedIdentity {
    /// Reads the variables of the endpoint. Selecting an identity by a kind of id that the endpoint would ignore is an
    /// error.
    pub fn build(
        endpoint: &'static Endpoint,
        env: &Environment,
        selected: Option<IdentityId>,
    ) -> Result<ManagedIdentity, Error> {
        let url_variable = endpoint.url_variable;
        let url = env.setting(url_variable)?.unwrap_or(endpoint.default_url);
        let (origin, path) = split_url(url)
            .filter(|(_, path)| endpoint.path_suffix.is_none() || !path.contains('?'))
            .ok_or_else(|| Error::config(format!("{url_variable} is not a URL")))?;
        let default_id = match endpoint.default_client_id_variable {
            Some(variable) => IdentityId::client_in(env, variable)?,
            None => None,
        };
        let header_secret = match endpoint.authentication {
            Authentication::Header { variable, .. } => match env.setting(variable)? {
                Some(value) if !is_header_value(value) => {
                    let reason = "has characters that are not valid in a header";
                    return Err(Error::config(format!("{variable} {reason}")));
                }
                value => value.map(|value| Secret::new(value.to_owned())),
            },
            Authentication::Metadata | Authentication::KeyFile => None,
        };
        let identity = ManagedIdentity {
            endpoint,
            origin: origin.to_owned(),
            path: match endpoint.path_suffix {
                None => path.to_owned(),
                Some(suffix) => format!("{}{suffix}", path.trim_end_matches('/')),
            },
            header_secret,
            cli_hint: match azure_cli::is_on_path(env) {
                true => {
                    "; on a laptop, --identity cli uses the sign-in of az, which is on the PATH"
                }
                false => "",
            },
            selected: selected.or(default_id),
        };
        if identity.selected.is_none() || identity.id_parameter().is_some() {
            return Ok(identity);
        }
        let name = endpoint.name;
        Err(match endpoint.id_parameters {
            [None, ..] => Error::config(format!(
                "{name} has only the identity of the signed-in user; no other can be selected"
            )),
            _ => Error::config(format!("{name} selects an identity by client id only"))
                .hint("use --client-id"),
        })
    }

    /// The parameter that selects the identity, as name and value; `None` if no identity is selected, or if the
    /// endpoint has no parameter for this kind of id.
    fn id_parameter(&self) -> Option<(&'static str, &str)> {
        let [client, object, resource] = self.endpoint.id_parameters;
        let (name, id) = match self.selected.as_ref()? {
            IdentityId::Client(id) => (client, id),
            IdentityId::Object(id) => (object, id),
            IdentityId::Resource(id) => (resource, id),
        };
        Some((name?, id))
    }

    /// The path and query of a token request, and its form; the form is `None` for a GET.
    fn target_and_form(&self, resource: &str) -> (String, Option<String>) {
        let resource = format!("resource={}", encode(resource));
        let Some(version) = self.endpoint.api_version else {
            return (self.path.clone(), Some(resource));
        };
        let query = format!("api-version={version}&{resource}");
        let mut target = with_query(&self.path, &query);
        if let Some((name, id)) = self.id_parameter() {
            target.push_str(&format!("&{name}={}", encode(id)));
        }
        (target, None)
    }

    /// The error for a response without a token. `sent_secret` is the secret that the request sent, or empty; the
    /// error does not show it.
    pub fn response_error(
        &self,
        response: &Response,
        body: &Value,
        sent_secret: &str,
        token_request: &TokenRequest,
    ) -> Error {
        let excerpt = |text: &str| {
            let text = log::excerpt(text, &[sent_secret]);
            text.trim_end_matches('.').to_owned()
        };
        let inner = &body["error"];
        let error = if inner.is_object() { inner } else { body };
        let field = |names: [&str; 3]| {
            let text = names.iter().find_map(|name| error[*name].as_str());
            text.map(excerpt)
        };
        let code = field(["error", "code", "ErrorCode"]).unwrap_or_default();
        let description = match field(["message", "Message", "error_description"]) {
            Some(description) => description,
            // NMI and Azure ML send plain text.
            None if body.is_null() => excerpt(&response.text()),
            None => String::new(),
        };
        let (mut failure, mut hint) = (self.endpoint.classify)(&ErrorResponse {
            status: response.status.as_u16(),
            code: &code,
            description: &description,
            is_json: !body.is_null(),
            is_empty: response.text().is_empty(),
            is_known_resource: token_request.is_known_resource,
            is_selected: self.selected.is_some(),
        });
        // Some endpoints pass on what Entra said, with a status of their own. Hints for other credentials do not apply.
        if let Some((entra_failure, entra_hint)) =
            entra_codes::code_in(&description).and_then(entra_codes::get)
            && entra_failure != failure
        {
            failure = entra_failure;
            hint = Some(entra_hint)
                .filter(|hint| *hint == UNKNOWN_RESOURCE_HINT)
                .unwrap_or_default();
        }
        let hint = hint
            .replace("{cli}", self.cli_hint)
            .replace("{resource}", &token_request.resource);
        let correlation_id = field(["correlationId", "CorrelationId", "correlation_id"])
            .or(response.header("x-correlation-id").map(excerpt));
        response
            .error(failure, &code, &description)
            .fact_and_note("correlation_id", correlation_id.as_deref())
            .set_hint(Some(hint).filter(|hint| !hint.is_empty()))
    }
}

impl TokenSource for ManagedIdentity {
    fn describe(&self) -> String {
        let identity = match &self.selected {
            None if self.endpoint.id_parameters[0].is_none() => "signed-in user".to_owned(),
            None => "managed identity".to_owned(),
            Some(IdentityId::Client(id)) => format!("managed identity with client id {id}"),
            Some(IdentityId::Object(id)) => format!("managed identity with object id {id}"),
            Some(IdentityId::Resource(id)) => format!("managed identity {id}"),
        };
        format!("{} ({}, {identity})", self.endpoint.name, self.origin)
    }

    fn attempt(
        &self,
        http: &HttpClient,
        service: &OnceCell<Service>,
        token_request: &TokenRequest,
    ) -> Result<AccessToken, Error> {
        let service = service.get_or_init(|| http.local_service(&self.origin));
        let (target, form) = self.target_and_form(&token_request.resource);
        let send = |headers: &[(&str, &str)]| {
            let request = Request {
                target: &target,
                headers,
                authorization: None,
                form: form.as_deref(),
                timeouts: self.endpoint.timeouts,
            };
            service.send(&request, &http.deadline)
        };
        let mut sent_secret = self.header_secret.as_ref().map_or("", Secret::expose);
        let mut headers = match self.endpoint.authentication {
            Authentication::Header { name, .. } => vec![(name, sent_secret)],
            Authentication::Metadata | Authentication::KeyFile => vec![("Metadata", "true")],
        };
        let client_request_id = random_uuid();
        if self.endpoint.takes_request_id {
            headers.push(("x-ms-client-request-id", &client_request_id));
        }
        let mut response = send(&headers)?;
        let key;
        if let Authentication::KeyFile = self.endpoint.authentication
            && (response.status.is_success() || response.status.as_u16() == 401)
        {
            key = azure_arc::read_key_file(&response)?;
            sent_secret = key.expose();
            let authorization = Secret::new(format!("Basic {sent_secret}"));
            response = send(&[headers[0], ("Authorization", authorization.expose())])?;
        }
        let body = response.json();
        if !response.status.is_success() {
            let error = self.response_error(&response, &body, sent_secret, token_request);
            return Err(match self.endpoint.takes_request_id {
                true => error.request_ids(response.request_id(), &client_request_id),
                false => error,
            });
        }
        if let (Authentication::KeyFile, Some((name, id))) =
            (&self.endpoint.authentication, self.id_parameter())
        {
            azure_arc::check_identity(&body, name, id)?;
        }
        AccessToken::from_body(body)
    }

    /// The hint for a failure without a valid response from the endpoint.
    fn hint(&self, failure: RequestFailure) -> Option<String> {
        let Endpoint {
            name, url_variable, ..
        } = self.endpoint;
        match failure {
            RequestFailure::ConnectTimeout
            | RequestFailure::DeadlineExceededWhileConnecting
            | RequestFailure::ConnectionRefused
            | RequestFailure::NoRoute => {
                let hint = self.endpoint.unreachable_hint?;
                let hint = hint.replace("{cli}", self.cli_hint);
                Some(hint.replace("{origin}", &self.origin))
            }
            RequestFailure::NameNotFound => Some(format!(
                "check {url_variable}: does this network's DNS resolve the host?"
            )),
            RequestFailure::ResponseTimeout => self.endpoint.slow_hint.map(str::to_owned),
            RequestFailure::UnexpectedResponse => Some(format!(
                "the response is not from {name}: check {url_variable}, proxies and service meshes, and what answers at {}",
                self.origin
            )),
            _ => None,
        }
    }

    fn service(&self, http: &HttpClient) -> Option<Service> {
        Some(http.local_service(&self.origin))
    }
}
