//! The identity of the container, and its access tokens.
//!
//! [`select`] chooses the source of tokens by the table in docs/identities.md. A source that the environment selects is
//! used, or its settings are an error: IMDS never replaces it. Building a source validates its settings and makes no
//! request.

pub mod assertion;
pub mod azure_arc;
mod azure_cli;
pub mod client_certificate;
mod credential;
pub mod entra;
mod entra_codes;
pub mod managed;
pub mod managed_endpoints;
mod select;
mod source;
mod token;
mod token_proxy;

pub use select::{Selection, select};
pub use source::TokenSource;
pub use token::{AccessToken, EXPIRED_TOKEN_HINT, KnownTokens, TokenRequest, jwt_payload};
