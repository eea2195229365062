//! The interface of the sources of access tokens.

use std::cell::OnceCell;

use super::token::{AccessToken, TokenRequest};
use crate::error::{Error, RequestFailure};
use crate::http::{HttpClient, Service};

/// A source of access tokens.
pub trait TokenSource: Send + Sync {
    /// The name, endpoint and identity of the source, for messages: "IMDS (http://169.254.169.254, managed identity)".
    fn describe(&self) -> String;

    /// Makes one attempt to get an access token. `service` keeps the connection for the next attempt.
    fn attempt(
        &self,
        http: &HttpClient,
        service: &OnceCell<Service>,
        token_request: &TokenRequest,
    ) -> Result<AccessToken, Error>;

    /// The hint for a failed request whose error has none, as where there was no response.
    fn hint(&self, _failure: RequestFailure) -> Option<String> {
        None
    }

    /// Whether this is another tenant than the configured one, and the source can get a token of it. A managed identity
    /// cannot.
    fn can_switch_to_tenant(&self, _tenant: &str) -> bool {
        false
    }

    /// The service that issues the tokens; `None` if it cannot be connected to without running or reading something first.
    fn service(&self, _http: &HttpClient) -> Option<Service> {
        None
    }
}
