//! A fake Azure on loopback: IMDS, the identity endpoints of the other platforms, Entra's token endpoint, a cluster's token
//! proxy, a Key Vault over real TLS, and a CONNECT proxy that connects the real host names to them. The tests, the demo
//! and the `standin` example include this module and run the product as it ships, with settings that it has anyway.
//!
//! By default it responds like the real services (an official SDK gets its secret from it, see `tests/sdk.sh`). `next`,
//! `next_for` and `always` replace a response. Each request is recorded before its response is sent. Dropping [`Azure`]
//! ends every thread.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret>

// Three crates include this module, and each uses a part of it.
#![allow(dead_code, unused_imports)]

mod arc;
mod builder;
mod canned;
mod certificate;
mod imds;
mod listener;
mod login;
mod platform;
mod proxy;
mod request;
mod response;
mod script;
mod service;
mod shared;
mod sources;
mod tls;
mod token;
mod vault;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use arc::{ARC_KEY, ARC_KEY_FILE};
pub use builder::Builder;
pub use canned::{CORRELATION, TRACE};
pub use login::{BASE_PATH, CLIENT_SECRET};
pub use platform::{IDENTITY_HEADER, MSI_SECRET};
pub use request::Request;
pub use response::Response;
pub use sources::Environment;
pub use tls::{Certificate, TOKEN_PROXY_NAME, Versions};
pub use token::{APPLICATION, Identity, OBJECT, OTHER_TENANT, TENANT};
pub use vault::Stored;

use listener::Listener;
use shared::Shared;

/// A server of the fake Azure.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Endpoint {
    /// The identity endpoint, plain http.
    Imds,
    /// Entra's token endpoint, https.
    Login,
    /// The identity endpoints of App Service, Azure ML, Cloud Shell and Azure Arc, each at its own path, plain http.
    Platform,
    /// The CONNECT proxy. A request through a tunnel is recorded at the endpoint of the tunnel.
    Proxy,
    /// The token proxy of an AKS cluster, https with the cluster's own CA and a name that is not in DNS.
    TokenProxy,
    /// Every vault, https; the `Host` header says which.
    Vault,
}

impl Endpoint {
    /// All of them, in the order in which they are opened.
    pub const ALL: [Endpoint; 6] = [
        Endpoint::Imds,
        Endpoint::Login,
        Endpoint::Vault,
        Endpoint::Proxy,
        Endpoint::Platform,
        Endpoint::TokenProxy,
    ];

    /// Its name in the record and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Imds => "imds",
            Endpoint::Login => "login",
            Endpoint::Platform => "platform",
            Endpoint::Proxy => "proxy",
            Endpoint::TokenProxy => "token-proxy",
            Endpoint::Vault => "vault",
        }
    }
}

/// A running fake Azure.
pub struct Azure {
    shared: Arc<Shared>,
    endpoints: Vec<Listener>,
    dir: PathBuf,
    ca_file: PathBuf,
    token_file: PathBuf,
    keep_dir: bool,
}

impl Azure {
    /// Every endpoint on 127.0.0.1, each on a free port.
    pub fn start() -> Azure {
        Azure::builder().start()
    }

    /// Other addresses, names, certificates or TLS versions.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The value for `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub fn imds(&self) -> String {
        format!("http://{}", self.endpoint(Endpoint::Imds).authority())
    }

    /// The value for `AZURE_AUTHORITY_HOST`.
    pub fn login(&self) -> String {
        format!("https://{}", self.endpoint(Endpoint::Login).authority())
    }

    /// `host:port` of the vault.
    pub fn vault(&self) -> String {
        self.endpoint(Endpoint::Vault).authority()
    }

    /// The value for `HTTPS_PROXY`.
    pub fn proxy(&self) -> String {
        format!("http://{}", self.endpoint(Endpoint::Proxy).authority())
    }

    /// Whether this endpoint exists (the `standin` example opens only some).
    pub fn has(&self, endpoint: Endpoint) -> bool {
        self.endpoints
            .iter()
            .any(|listener| listener.endpoint() == endpoint)
    }

    /// The directory that holds the files below.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The certificate of the CA, PEM.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// A service account token that Entra accepts as an assertion of [`APPLICATION`].
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// Replaces the token file; `claims` replace the good claims, or remove them where they are null.
    pub fn assertion(&self, claims: &serde_json::Value) {
        let jwt = token::assertion(self.shared.now(), token::AUDIENCE, claims);
        fs::write(self.token_file(), jwt).expect("the token file is writable");
    }

    /// Puts a secret into every vault.
    pub fn secret(&self, name: &str, value: &str) {
        self.put(Stored::new(name, value));
    }

    /// Puts a secret with its version and attributes; the last one put of a name is the latest version.
    pub fn put(&self, secret: Stored) {
        self.shared.lock().secrets.push(secret);
    }

    /// Sets the identities of the machine.
    pub fn identities(&self, identities: &[Identity]) {
        self.shared.lock().identities = identities.to_vec();
    }

    /// Sets the `WWW-Authenticate` header of every 401 of the vault; empty for none.
    pub fn challenge(&self, header: &str) {
        self.shared.lock().challenge = Some(header.to_owned());
    }

    /// Sets the tenant that the vault trusts, [`TENANT`] or [`OTHER_TENANT`]; tokens of others get AKV10032.
    pub fn trust(&self, tenant: &str) {
        self.shared.lock().trusted = tenant.to_owned();
    }

    /// Sets the api-versions that the vault knows, oldest first.
    pub fn api_versions(&self, versions: &[&str]) {
        self.shared.lock().api_versions = versions.iter().map(|&v| v.to_owned()).collect();
    }

    /// An access token for a resource, without a request.
    pub fn issue(&self, resource: &str) -> String {
        token::issue(&self.shared, &Identity::system(), TENANT, resource)
    }

    /// Queues a response for the next request at the endpoint.
    pub fn next(&self, endpoint: Endpoint, response: Response) {
        self.shared.lock().script(endpoint).next("", response);
    }

    /// As `next`, for paths with this prefix; precedes `next`.
    pub fn next_for(&self, endpoint: Endpoint, prefix: &str, response: Response) {
        self.shared.lock().script(endpoint).next(prefix, response);
    }

    /// Sets the response of every request until `clear`; the queue precedes it.
    pub fn always(&self, endpoint: Endpoint, response: Response) {
        self.cycle(endpoint, vec![response]);
    }

    /// As `always`, for paths with this prefix; precedes `always`.
    pub fn always_for(&self, endpoint: Endpoint, prefix: &str, response: Response) {
        let responses = vec![response];
        self.shared
            .lock()
            .script(endpoint)
            .always(prefix, responses);
    }

    /// As `always`, with these responses in turn.
    pub fn cycle(&self, endpoint: Endpoint, responses: Vec<Response>) {
        self.shared.lock().script(endpoint).always("", responses);
    }

    /// Answers this number of requests in any window of time, and 429 to others. The vault does not count those.
    pub fn limit(&self, endpoint: Endpoint, count: usize, window: Duration) {
        let refusal = Response::throttled();
        self.shared
            .lock()
            .script(endpoint)
            .limit(count, window, refusal);
    }

    /// Removes all responses that were set or queued.
    pub fn clear(&self, endpoint: Endpoint) {
        self.shared.lock().script(endpoint).clear();
    }

    /// Sends every response that is held (`Response::hold`) for the requests so far.
    pub fn release(&self) {
        self.shared.release();
    }

    /// Refuses connections and ends the open ones. The port stays reserved.
    pub fn close(&self, endpoint: Endpoint) {
        self.endpoint(endpoint).close();
    }

    /// Accepts connections again, on the same port.
    pub fn open(&self, endpoint: Endpoint) {
        self.endpoint(endpoint).open();
    }

    /// Ends the open connections, as a server does with idle ones.
    pub fn cut(&self, endpoint: Endpoint) {
        self.shared.cut(endpoint);
    }

    /// Accepts connections and sends nothing, not even a handshake, until `unmute`.
    pub fn mute(&self, endpoint: Endpoint) {
        self.shared.lock().muted.insert(endpoint);
    }

    /// Serves new connections again; those accepted while mute are dropped.
    pub fn unmute(&self, endpoint: Endpoint) {
        self.shared.unmute(endpoint);
    }

    /// All requests so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        let inner = self.shared.lock();
        inner
            .requests
            .iter()
            .map(|request| Request::clone(request))
            .collect()
    }

    /// All requests of one endpoint.
    pub fn requests_at(&self, endpoint: Endpoint) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.endpoint == endpoint);
        requests
    }

    /// Waits for this number of requests at the endpoint, and returns them.
    ///
    /// # Panics
    ///
    /// After 30 seconds.
    pub fn wait_for(&self, endpoint: Endpoint, count: usize) -> Vec<Request> {
        self.shared
            .wait_for_requests(endpoint, count, Duration::from_secs(30));
        self.requests_at(endpoint)
    }

    /// The number of connections that the endpoint accepted, tunnels included.
    pub fn connections(&self, endpoint: Endpoint) -> u64 {
        self.shared
            .lock()
            .accepted
            .get(&endpoint)
            .copied()
            .unwrap_or(0)
    }

    /// Waits for this number of connections at the endpoint; panics as `wait_for` does.
    pub fn wait_for_connections(&self, endpoint: Endpoint, count: u64) {
        self.shared
            .wait_for_connections(endpoint, count, Duration::from_secs(30));
    }

    /// Every access token that was issued.
    pub fn tokens(&self) -> Vec<String> {
        self.shared.lock().tokens.keys().cloned().collect()
    }

    fn endpoint(&self, endpoint: Endpoint) -> &Listener {
        let found = self
            .endpoints
            .iter()
            .find(|listener| listener.endpoint() == endpoint);
        found.unwrap_or_else(|| panic!("there is no {} endpoint", endpoint.name()))
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        self.shared.stop();
        for listener in &self.endpoints {
            listener.close();
        }
        if !self.keep_dir {
            // It may be gone already, after a failure of the test that removed it.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
