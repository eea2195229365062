//! Managed identities: one client for all their endpoints. An [`Endpoint`] is one row of the table in
//! `managed_endpoints.rs`.

use std::cell::OnceCell;

use serde_json::Value;

use super::arc;
use super::source::TokenSource;
use super::token::{AccessToken, TokenRequest, is_header_value};
use crate::error::{Error, RequestFailure};
use crate::http::{
    HttpClient, Request, Response, Service, Timeouts, encode, random_uuid, split_url, with_query,
};
use crate::log;
use crate::request::environment::Environment;
use crate::request::settings::IdentityId;
use crate::secret::Secret;

/// How one kind of endpoint differs from the others.
pub struct Endpoint {
    /// For messages.
    pub name: &'static str,
    /// The variable that holds its URL.
    pub url_variable: &'static str,
    /// Its URL where the variable is not set.
    pub default_url: &'static str,
    /// Its path, where the URL is only an origin.
    pub path: Option<&'static str>,
    /// The version of a GET; without one, the request is a form to POST.
    pub api_version: Option<&'static str>,
    /// How a request proves that it comes from this machine.
    pub authentication: Authentication,
    /// Whether a request has an `x-ms-client-request-id`.
    pub takes_request_id: bool,
    /// The parameters for a client id, an object id and a resource id, where it has them.
    pub id_parameters: [Option<&'static str>; 3],
    /// The variable with a client id for requests where the user selects no identity.
    pub default_client_id: Option<&'static str>,
    /// The timeouts of one attempt.
    pub timeouts: Timeouts,
    /// What a response without a token means: the kind of error, and a hint, or empty. `{resource}` in it is the
    /// request's resource.
    pub classify: fn(&ErrorResponse<'_>) -> (RequestFailure, &'static str),
    /// The hint where there is no connection. `{base}` is the endpoint's origin.
    pub unreachable: Option<&'static str>,
    /// The hint where it does not respond in time.
    pub slow: Option<&'static str>,
}

/// How a request proves that it comes from this machine.
pub enum Authentication {
    /// `Metadata: true`, which is never forwarded.
    Metadata,
    /// The value of a variable, as a header.
    Header {
        name: &'static str,
        variable: &'static str,
    },
    /// `Metadata: true`, then the key file that the endpoint names.
    KeyFile,
}

/// A response without a token.
pub struct ErrorResponse<'a> {
    /// The status of the response.
    pub status: u16,
    /// The error code, or empty.
    pub code: &'a str,
    /// The description, or empty.
    pub text: &'a str,
    /// Whether the body is JSON.
    pub is_json: bool,
}

/// A managed identity and its endpoint.
pub struct ManagedIdentity {
    endpoint: &'static Endpoint,
    /// The origin.
    base: String,
    /// With the query that the URL may have.
    path: String,
    /// The value for [`Authentication::Header`].
    header: Option<Secret>,
    selected: Option<IdentityId>,
}

impl ManagedIdentity {
    /// Reads the endpoint's variables. An id that the endpoint would ignore is an error.
    pub fn build(
        endpoint: &'static Endpoint,
        env: &Environment,
        selected: Option<IdentityId>,
    ) -> Result<ManagedIdentity, Error> {
        let name = endpoint.url_variable;
        let url = env.setting(name)?.unwrap_or(endpoint.default_url);
        let (base, path) = split_url(url)
            .filter(|(_, path)| endpoint.path.is_none() || !path.contains('?'))
            .ok_or_else(|| Error::config(format!("{name} is not a URL")))?;
        let default = match endpoint.default_client_id {
            Some(variable) => env.setting(variable)?,
            None => None,
        };
        let header = match endpoint.authentication {
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
            base: base.to_owned(),
            path: match endpoint.path {
                None => path.to_owned(),
                Some(own) => format!("{}{own}", path.trim_end_matches('/')),
            },
            header,
            selected: selected.or_else(|| Some(IdentityId::Client(default?.to_owned()))),
        };
        if identity.selected.is_none() || identity.parameter().is_some() {
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

    /// The parameter that selects an identity, if the user selects one and the endpoint has such a parameter, and its
    /// value.
    fn parameter(&self) -> Option<(&'static str, &str)> {
        let [client, object, resource] = self.endpoint.id_parameters;
        let (name, id) = match self.selected.as_ref()? {
            IdentityId::Client(id) => (client, id),
            IdentityId::Object(id) => (object, id),
            IdentityId::Resource(id) => (resource, id),
        };
        Some((name?, id))
    }

    /// Path and query, and the form of a POST.
    fn target(&self, resource: &str) -> (String, Option<String>) {
        let resource = format!("resource={}", encode(resource));
        let Some(version) = self.endpoint.api_version else {
            return (self.path.clone(), Some(resource));
        };
        let query = format!("api-version={version}&{resource}");
        let mut target = with_query(&self.path, &query);
        if let Some((name, id)) = self.parameter() {
            target.push_str(&format!("&{name}={}", encode(id)));
        }
        (target, None)
    }

    /// The error of a response without a token. `sent` is the secret in the request, or empty.
    fn error_of(&self, response: &Response, body: &Value, sent: &str, resource: &str) -> Error {
        let excerpt = |text: &str| {
            let text = log::excerpt(text, &[sent]);
            text.trim_end_matches('.').to_owned()
        };
        let inner = &body["error"];
        let error = if inner.is_object() { inner } else { body };
        let field = |names: [&str; 2]| {
            let text = names.iter().find_map(|name| error[*name].as_str());
            text.map(excerpt)
        };
        let code = field(["error", "code"]).unwrap_or_default();
        let text = match field(["message", "error_description"]) {
            Some(text) => text,
            // NMI sends plain text. Where the request had a secret, the text may repeat it in another form.
            None if body.is_null() && sent.is_empty() => excerpt(&response.text()),
            None => String::new(),
        };
        let (kind, hint) = (self.endpoint.classify)(&ErrorResponse {
            status: response.status.as_u16(),
            code: &code,
            text: &text,
            is_json: !body.is_null(),
        });
        let correlation_id = error["correlationId"]
            .as_str()
            .or(response.header("x-correlation-id"))
            .map(excerpt);
        response
            .error(kind, &code, &text)
            .fact_and_note("correlation_id", correlation_id.as_deref())
            .set_hint((!hint.is_empty()).then(|| hint.replace("{resource}", resource)))
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
        format!("{} ({}, {identity})", self.endpoint.name, self.base)
    }

    fn attempt(
        &self,
        http: &HttpClient,
        service: &OnceCell<Service>,
        token_request: &TokenRequest,
    ) -> Result<AccessToken, Error> {
        let service = service.get_or_init(|| http.local_service(&self.base));
        let resource = &token_request.resource;
        let (target, form) = self.target(resource);
        let send = |headers: &[(&str, &str)]| {
            let request = Request {
                target: &target,
                headers,
                form: form.as_deref(),
                timeouts: self.endpoint.timeouts,
            };
            service.send(&request, &http.deadline)
        };
        let mut sent = self.header.as_ref().map_or("", Secret::expose);
        let mut headers = match self.endpoint.authentication {
            Authentication::Header { name, .. } => vec![(name, sent)],
            Authentication::Metadata | Authentication::KeyFile => vec![("Metadata", "true")],
        };
        let id = random_uuid();
        if self.endpoint.takes_request_id {
            headers.push(("x-ms-client-request-id", &id));
        }
        let mut response = send(&headers)?;
        let key;
        if let Authentication::KeyFile = self.endpoint.authentication
            && (response.status.is_success() || response.status.as_u16() == 401)
        {
            key = arc::read_key_file(&response)?;
            sent = key.expose();
            let authorization = Secret::new(format!("Basic {sent}"));
            response = send(&[headers[0], ("Authorization", authorization.expose())])?;
        }
        let body = response.json();
        if !response.status.is_success() {
            let error = self.error_of(&response, &body, sent, resource);
            return Err(match self.endpoint.takes_request_id {
                true => error.request_ids(response.request_id(), &id),
                false => error,
            });
        }
        if let (Authentication::KeyFile, Some((name, id))) =
            (&self.endpoint.authentication, self.parameter())
        {
            arc::check_identity(&body, name, id)?;
        }
        AccessToken::from_body(body)
    }

    /// For errors that do not depend on what the endpoint says.
    fn hint(&self, kind: RequestFailure) -> Option<String> {
        let Endpoint {
            name, url_variable, ..
        } = self.endpoint;
        match kind {
            RequestFailure::ConnectTimeout
            | RequestFailure::DeadlineExceededWhileConnecting
            | RequestFailure::ConnectionRefused
            | RequestFailure::NoRoute => {
                let hint = self.endpoint.unreachable?;
                Some(hint.replace("{base}", &self.base))
            }
            RequestFailure::NameNotFound => Some(format!(
                "check {url_variable}: does this network's DNS resolve the host?"
            )),
            RequestFailure::ResponseTimeout => self.endpoint.slow.map(str::to_owned),
            RequestFailure::UnexpectedResponse => Some(format!(
                "the response is not from {name}: check {url_variable}, proxies and service meshes, and what answers at {}",
                self.base
            )),
            _ => None,
        }
    }

    fn service(&self, http: &HttpClient) -> Option<Service> {
        Some(http.local_service(&self.base))
    }
}
