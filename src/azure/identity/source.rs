//! What the sources of access tokens have in common.

use std::cell::OnceCell;

use super::token::{AccessToken, TokenRequest};
use crate::error::{Error, RequestFailure};
use crate::http::{Http, Service};

/// A source of access tokens.
pub trait Source: Send + Sync {
    /// Its name, endpoint and identity, for messages: "IMDS (http://169.254.169.254, managed identity)".
    fn describe(&self) -> String;

    /// Makes one attempt to get an access token. `service` keeps the connection for the next one.
    fn attempt(
        &self,
        http: &Http,
        service: &OnceCell<Service>,
        token_request: &TokenRequest,
    ) -> Result<AccessToken, Error>;

    /// The hint for an error that has none, if this source has one for its kind.
    fn hint(&self, _kind: RequestFailure) -> Option<String> {
        None
    }

    /// Whether it can get tokens of this tenant, and this is not the configured one. A managed identity cannot.
    fn is_other_tenant(&self, _tenant: &str) -> bool {
        false
    }

    /// The service that issues the tokens, if a connection to it needs no preparation.
    fn service(&self, _http: &Http) -> Option<Service> {
        None
    }
}
