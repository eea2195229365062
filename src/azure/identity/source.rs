//! The interface of the sources of access tokens.

use std::cell::OnceCell;

use super::token::{AccessToken, TokenRequest};
use crate::error::{Error, RequestFailure};
use crate::http::{HttpClient, Service};

/// A source of access tokens.
pub trait TokenSource: Send + Sync {
    /// The source's name, endpoint and identity, for messages: "IMDS (http://169.254.169.254, managed identity)".
    fn describe(&self) -> String;

    /// Makes one attempt to get an access token. `service` is empty in the first attempt; it keeps the connection for
    /// later ones.
    fn attempt(
        &self,
        http: &HttpClient,
        service: &OnceCell<Service>,
        token_request: &TokenRequest,
    ) -> Result<AccessToken, Error>;

    /// The hint for a failed request if its error has none, as when there was no response.
    fn hint(&self, _failure: RequestFailure) -> Option<String> {
        None
    }

    /// Whether the source can get a token from this tenant, and the tenant is not the configured one. A managed
    /// identity has only one tenant.
    fn can_switch_to_tenant(&self, _tenant: &str) -> bool {
        false
    }

    /// The service that issues the tokens; `None` if connecting to it requires that a program is run or a file is read
    /// first.
    fn service(&self, _http: &HttpClient) -> Option<Service> {
        None
    }
}
