//! What the sources of access tokens have in common.

use super::token::{AccessToken, TokenRequest};
use crate::error::Error;
use crate::http::{Http, Service};

/// A source of access tokens.
pub trait Source: Send + Sync {
    /// Its name, endpoint and identity, for messages: "IMDS (http://169.254.169.254, managed identity)".
    fn describe(&self) -> String;

    /// Requests an access token until there is one, there cannot be one, or the deadline is over.
    fn token(&self, http: &Http, token_request: &TokenRequest<'_>) -> Result<AccessToken, Error>;

    /// Whether it can get tokens of this tenant, and this is not the configured one. A managed identity cannot.
    fn is_other_tenant(&self, _tenant: &str) -> bool {
        false
    }

    /// The service that issues the tokens, if a connection to it needs no preparation.
    fn service(&self, _http: &Http) -> Option<Service> {
        None
    }
}
