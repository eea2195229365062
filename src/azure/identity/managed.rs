//! Managed identities: one client for all their endpoints. An [`Endpoint`] is one row of the table in
//! `managed_endpoints.rs`.

use serde_json::Value;

use super::arc;
use super::source::Source;
use super::token::{AccessToken, TokenRequest, refusal_reason};
use crate::error::{Cause, Error};
use crate::http::error::AttemptError;
use crate::http::retry::{ErrorKind, retry};
use crate::http::{
    Http, Request, Response, Service, Timeouts, encode, request_id, split_url, with_query,
};
use crate::log;
use crate::request::environment::Environment;
use crate::request::options::Selector;
use crate::secret::Secret;
use crate::signals::Wait;

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
    pub selectors: [Option<&'static str>; 3],
    /// The variable with a client id for requests without a selector.
    pub default_client_id: Option<&'static str>,
    /// The timeouts of one attempt.
    pub timeouts: Timeouts,
    /// What a response without a token means: the kind of error, and a hint, or empty. `{resource}` in it is the
    /// request's resource.
    pub classify: fn(&Refusal<'_>) -> (ErrorKind, &'static str),
    /// The hint where there is no connection. `{base}` is the endpoint's origin.
    pub unreachable: Option<&'static str>,
    /// The hint where it does not respond in time, inside a pod.
    pub slow_in_pod: Option<&'static str>,
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
pub struct Refusal<'a> {
    /// The status of the response.
    pub status: u16,
    /// The error code, or empty.
    pub code: &'a str,
    /// The description, or empty.
    pub text: &'a str,
    /// Whether the body is JSON.
    pub is_json: bool,
    /// Whether the request has a selector.
    pub is_selected: bool,
    /// Whether this is a pod.
    pub is_pod: bool,
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
    selector: Option<Selector>,
    is_pod: bool,
}

impl ManagedIdentity {
    /// Reads the endpoint's variables. A selector that the endpoint would ignore is an error.
    pub fn build(
        endpoint: &'static Endpoint,
        env: &Environment,
        selector: Option<Selector>,
    ) -> Result<ManagedIdentity, Error> {
        let refuse = |reason: String| Error::new(Cause::Config, reason);
        let name = endpoint.url_variable;
        let url = env.setting(name)?.unwrap_or(endpoint.default_url);
        let (base, path) = split_url(url)
            .filter(|(_, path)| endpoint.path.is_none() || !path.contains('?'))
            .ok_or_else(|| refuse(format!("{name} is not a URL")))?;
        if let Some(selector) = &selector
            && parameter(endpoint, selector).is_none()
        {
            let name = endpoint.name;
            return Err(match endpoint.selectors {
                [None, ..] => refuse(format!(
                    "{name} has only the identity of the signed-in user; no other can be selected"
                )),
                _ => refuse(format!("{name} selects an identity by client id only"))
                    .hint("use --client-id"),
            });
        }
        let default = match endpoint.default_client_id {
            Some(variable) => env.setting(variable)?,
            None => None,
        };
        Ok(ManagedIdentity {
            endpoint,
            base: base.to_owned(),
            path: match endpoint.path {
                None => path.to_owned(),
                Some(own) => format!("{}{own}", path.trim_end_matches('/')),
            },
            header: match endpoint.authentication {
                Authentication::Header { variable, .. } => header_value(env, variable)?,
                Authentication::Metadata | Authentication::KeyFile => None,
            },
            selector: selector.or_else(|| Some(Selector::Client(default?.to_owned()))),
            is_pod: env.setting("KUBERNETES_SERVICE_HOST")?.is_some(),
        })
    }

    /// Path and query, and the form of a POST.
    fn target(&self, resource: &str) -> (String, Option<String>) {
        let resource = format!("resource={}", encode(resource));
        let Some(version) = self.endpoint.api_version else {
            return (self.path.clone(), Some(resource));
        };
        let query = format!("api-version={version}&{resource}");
        let mut target = with_query(&self.path, &query);
        let selector = self.selector.as_ref();
        if let Some((name, id)) = selector.and_then(|selector| parameter(self.endpoint, selector)) {
            target.push_str(&format!("&{name}={}", encode(id)));
        }
        (target, None)
    }

    fn attempt(
        &self,
        http: &Http,
        service: &Service,
        resource: &str,
        request_id: &str,
    ) -> Result<AccessToken, AttemptError> {
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
        let mut headers = match (&self.endpoint.authentication, &self.header) {
            (Authentication::Header { name, .. }, Some(value)) => vec![(*name, value.expose())],
            _ => vec![("Metadata", "true")],
        };
        if self.endpoint.takes_request_id {
            headers.push(("x-ms-client-request-id", request_id));
        }
        let is_success = |response: &Response| (200..=202).contains(&response.status.as_u16());
        let mut response = send(&headers)?;
        let mut key = None;
        if let Authentication::KeyFile = self.endpoint.authentication {
            if is_success(&response) {
                let reason = format!(
                    "{}: the agent did not send a challenge",
                    response.status_text()
                );
                return Err(AttemptError::new(ErrorKind::UnexpectedResponse, reason));
            }
            if response.status.as_u16() == 401 {
                let file = arc::read_key_file(&response)?;
                let authorization = Secret::new(format!("Basic {}", file.expose()));
                response = send(&[headers[0], ("Authorization", authorization.expose())])?;
                key = Some(file);
            }
        }
        let body = response.json();
        if !is_success(&response) {
            let sent = key.as_ref().or(self.header.as_ref());
            return Err(self.refusal(&response, body, sent, resource, request_id));
        }
        if let (Some(_), Some(selector), Some(body)) = (&key, &self.selector, &body) {
            arc::check_identity(body, selector)?;
        }
        AccessToken::from_body(body)
    }

    fn refusal(
        &self,
        response: &Response,
        body: Option<Value>,
        sent: Option<&Secret>,
        resource: &str,
        request_id: &str,
    ) -> AttemptError {
        let excerpt = |text: &str| {
            let text = log::excerpt(text, &[sent.map_or("", Secret::expose)]);
            text.trim_end_matches('.').to_owned()
        };
        let is_json = body.is_some();
        let body = body.unwrap_or_default();
        let inner = &body["error"];
        let error = if inner.is_object() { inner } else { &body };
        let field = |names: [&str; 2]| {
            let text = names.iter().find_map(|name| error[*name].as_str());
            text.map(excerpt)
        };
        let code = field(["error", "code"]).unwrap_or_default();
        let text = match field(["message", "error_description"]) {
            Some(text) => text,
            // NMI sends plain text. Where the request had a secret, the text may repeat it in another form.
            None if !is_json && sent.is_none() => excerpt(&response.text()),
            None => String::new(),
        };
        let (kind, hint) = (self.endpoint.classify)(&Refusal {
            status: response.status.as_u16(),
            code: &code,
            text: &text,
            is_json,
            is_selected: self.selector.is_some(),
            is_pod: self.is_pod,
        });
        let correlation_id = error["correlationId"]
            .as_str()
            .or(response.header("x-correlation-id"))
            .map(excerpt);
        let error = AttemptError::new(kind, refusal_reason(response, &code, &text))
            .retry_after(response.retry_after())
            .labeled(
                "correlation_id",
                "correlation id",
                correlation_id.as_deref(),
            )
            .hint_for(|_| (!hint.is_empty()).then(|| hint.replace("{resource}", resource)));
        match self.endpoint.takes_request_id {
            true => error.ids(response, request_id),
            false => error,
        }
    }

    /// The hint for errors that do not depend on what the endpoint says.
    fn hint(&self, kind: ErrorKind) -> Option<String> {
        let Endpoint {
            name, url_variable, ..
        } = self.endpoint;
        match kind {
            ErrorKind::ConnectTimeout
            | ErrorKind::DeadlineExceededConnecting
            | ErrorKind::ConnectionRefused
            | ErrorKind::NoRoute => {
                let hint = self.endpoint.unreachable?;
                Some(hint.replace("{base}", &self.base))
            }
            ErrorKind::NameNotFound => Some(format!(
                "check {url_variable}: does this network's DNS resolve the host?"
            )),
            ErrorKind::ResponseTimeout if self.is_pod => {
                self.endpoint.slow_in_pod.map(str::to_owned)
            }
            ErrorKind::UnexpectedResponse => Some(format!(
                "the response is not from {name}: check what answers at {}, {url_variable}, and proxies or service \
                 meshes in between",
                self.base
            )),
            _ => None,
        }
    }
}

impl Source for ManagedIdentity {
    fn describe(&self) -> String {
        let identity = match &self.selector {
            None if self.endpoint.selectors[0].is_none() => "signed-in user".to_owned(),
            None => "managed identity".to_owned(),
            Some(Selector::Client(id)) => format!("managed identity with client id {id}"),
            Some(Selector::Object(id)) => format!("managed identity with object id {id}"),
            Some(Selector::Resource(id)) => format!("managed identity {id}"),
        };
        format!("{} ({}, {identity})", self.endpoint.name, self.base)
    }

    fn token(&self, http: &Http, token_request: &TokenRequest<'_>) -> Result<AccessToken, Error> {
        let service = http.local(&self.base);
        let id = request_id();
        let doing = format!("getting an access token from {}", self.describe());
        let wait = Wait::begin(&doing, self.hint(ErrorKind::ConnectTimeout));
        retry(&http.deadline, wait, || {
            self.attempt(http, &service, token_request.resource, &id)
                .map_err(|error| error.hint_for(|kind| self.hint(kind)))
        })
        .map_err(|error| error.context(doing))
    }

    fn service(&self, http: &Http) -> Option<Service> {
        Some(http.local(&self.base))
    }
}

/// The parameter that selects an identity, if the endpoint has one, and its value.
fn parameter<'a>(endpoint: &Endpoint, selector: &'a Selector) -> Option<(&'static str, &'a str)> {
    let [client, object, resource] = endpoint.selectors;
    let (name, id) = match selector {
        Selector::Client(id) => (client, id),
        Selector::Object(id) => (object, id),
        Selector::Resource(id) => (resource, id),
    };
    Some((name?, id))
}

fn header_value(env: &Environment, variable: &str) -> Result<Option<Secret>, Error> {
    let value = env.setting(variable)?;
    let is_valid = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if value.is_some_and(|value| !value.bytes().all(is_valid)) {
        let reason = format!("{variable} has characters that are not valid in a header");
        return Err(Error::new(Cause::Config, reason));
    }
    Ok(value.map(|value| Secret::new(value.to_owned())))
}
