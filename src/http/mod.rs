//! HTTP for all services, with what it needs: DNS, proxies, TLS, connections and retries.

mod backoff;
mod buffers;
pub mod certificate;
mod client;
mod connection;
mod crypto;
pub mod dns;
mod error;
pub mod probe;
pub mod proxy;
mod random;
mod request;
mod response;
pub mod retry;
mod roots;
pub mod tls;
mod url;
mod verifier;

pub use client::{HttpClient, Service};
pub use connection::MAX_HEADER_VALUE_LEN;
pub use random::{random, random_uuid};
pub use request::{Authorization, Request, Timeouts};
pub use response::Response;
pub use url::{split_url, with_query};
