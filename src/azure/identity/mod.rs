//! The identity of the container, and the access tokens that it gets.
//!
//! [`select`] chooses the source by the table in the README: what the environment names is used or rejected, never
//! passed over in favour of IMDS. Building a source validates its settings and makes no request.

mod arc;
mod assertion;
mod azure_cli;
mod credential;
mod entra;
mod managed;
mod managed_endpoints;
mod select;
mod source;
mod token;
mod token_proxy;

pub use select::{Selection, select};
pub use source::TokenSource;
pub use token::{AccessToken, TokenRequest, jwt_payload};
