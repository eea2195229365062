//! A stand-in for Azure on loopback: the managed identity endpoint (IMDS), those of the other platforms, Entra's token
//! endpoint and a cluster's token proxy before it, a Key Vault over real TLS, and a CONNECT proxy that leads the real
//! host names to them. The tests, the demo and the `standin` example include this module; each runs the product
//! against it as it ships, since every door is reached through settings that the product has anyway.
//!
//! It is faithful by default (an official SDK gets its secret from it, see `tests/sdk.sh`), and wrong on command:
//! `next`, `next_for` and `always` put an [`Response`] in front of the faithful one. Each request is recorded before its
//! answer is sent, so a test that has seen the effect can assert on the cause. Dropping [`Azure`] ends every thread.
//!
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret>

// Three crates include this module and each uses a part of it.
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

pub use response::Response;
// The names before, for modules that still use them.
pub use self::Endpoint as Door;
pub use arc::{ARC_KEY, ARC_KEY_FILE};
pub use builder::Builder;
pub use login::{BASE_PATH, CLIENT_SECRET};
pub use platform::{IDENTITY_HEADER, MSI_SECRET};
pub use request::Request;
pub use response::Response as Answer;
pub use sources::Environment;
pub use tls::{Certificate, TOKEN_PROXY_NAME, Versions};
pub use token::{APPLICATION, Identity, OBJECT, OTHER_TENANT, TENANT};
pub use vault::Stored;

use listener::Listener;
use shared::Shared;

/// One of the places that a request can arrive at.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Endpoint {
    /// The identity endpoint, plain http.
    Imds,
    /// Entra's token endpoint, https.
    Login,
    /// The identity endpoints of App Service, Azure ML, Cloud Shell and Azure Arc, each at its own path, plain http.
    Platform,
    /// The CONNECT proxy. What comes through a tunnel is recorded at the door that it leads to.
    Proxy,
    /// The token proxy of an AKS cluster, https under the cluster's own authority and a name that no DNS has.
    TokenProxy,
    /// The vault, https; which vault is told by the `Host` header.
    Vault,
}

impl Endpoint {
    /// Every door, in the order in which they are opened.
    pub const ALL: [Endpoint; 6] = [
        Endpoint::Imds,
        Endpoint::Login,
        Endpoint::Vault,
        Endpoint::Proxy,
        Endpoint::Platform,
        Endpoint::TokenProxy,
    ];

    /// The word for it in the record and on the command line.
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

/// A running stand-in.
pub struct Azure {
    shared: Arc<Shared>,
    doors: Vec<Listener>,
    dir: PathBuf,
    ca_file: PathBuf,
    token_file: PathBuf,
    keep_dir: bool,
}

impl Azure {
    /// Every door on 127.0.0.1, each on a free port.
    pub fn start() -> Azure {
        Azure::builder().start()
    }

    /// Other addresses, names, certificates or TLS versions.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The value for `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub fn imds(&self) -> String {
        format!("http://{}", self.door(Endpoint::Imds).authority())
    }

    /// The value for `AZURE_AUTHORITY_HOST`.
    pub fn login(&self) -> String {
        format!("https://{}", self.door(Endpoint::Login).authority())
    }

    /// `host:port` of the vault.
    pub fn vault(&self) -> String {
        self.door(Endpoint::Vault).authority()
    }

    /// The value for `HTTPS_PROXY`.
    pub fn proxy(&self) -> String {
        format!("http://{}", self.door(Endpoint::Proxy).authority())
    }

    /// Whether the stand-in has this door at all (the process form opens those that were asked for).
    pub fn has(&self, door: Endpoint) -> bool {
        self.doors.iter().any(|listener| listener.door() == door)
    }

    /// The directory that holds the files below.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The certificate of the throw-away authority, PEM.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// A service account token that the login door accepts as an assertion of [`APPLICATION`].
    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// Writes the token file anew, with these claims in place of (or, when null, without) the good ones.
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

    /// Which identities are attached to the machine; none is possible.
    pub fn identities(&self, identities: &[Identity]) {
        self.shared.lock().identities = identities.to_vec();
    }

    /// The `WWW-Authenticate` header of every 401 of the vault, in place of the faithful one; empty for none.
    pub fn challenge(&self, header: &str) {
        self.shared.lock().challenge = Some(header.to_owned());
    }

    /// The directory that the vault trusts, [`TENANT`] or [`OTHER_TENANT`]: others' tokens get AKV10032.
    pub fn trust(&self, tenant: &str) {
        self.shared.lock().trusted = tenant.to_owned();
    }

    /// The api-versions that the vault knows, oldest first.
    pub fn api_versions(&self, versions: &[&str]) {
        self.shared.lock().api_versions = versions.iter().map(|&v| v.to_owned()).collect();
    }

    /// An access token for a resource, as from a sign-in that does not pass through any door.
    pub fn issue(&self, resource: &str) -> String {
        token::issue(&self.shared, &Identity::system(), TENANT, resource)
    }

    /// The next request at that door gets this answer, the ones after it what follows in the queue.
    pub fn next(&self, door: Endpoint, answer: Response) {
        self.shared.lock().script(door).next("", answer);
    }

    /// The next request whose path starts so gets this answer. Goes before `next`.
    pub fn next_for(&self, door: Endpoint, prefix: &str, answer: Response) {
        self.shared.lock().script(door).next(prefix, answer);
    }

    /// Every request gets this answer until `clear`, when the queue has none for it.
    pub fn always(&self, door: Endpoint, answer: Response) {
        self.cycle(door, vec![answer]);
    }

    /// As `always`, for paths that start so. Goes before `always`.
    pub fn always_for(&self, door: Endpoint, prefix: &str, answer: Response) {
        let answers = vec![answer];
        self.shared.lock().script(door).always(prefix, answers);
    }

    /// As `always`, with these answers in turn.
    pub fn cycle(&self, door: Endpoint, answers: Vec<Response>) {
        self.shared.lock().script(door).always("", answers);
    }

    /// Back to faithful answers.
    pub fn clear(&self, door: Endpoint) {
        self.shared.lock().script(door).clear();
    }

    /// Lets go every answer that is held (`Response::hold`) by a request recorded up to now.
    pub fn release(&self) {
        self.shared.release();
    }

    /// Connections are refused, and those that are open end. The port stays ours.
    pub fn close(&self, door: Endpoint) {
        self.door(door).close();
    }

    /// Connections are accepted again, on the same port.
    pub fn open(&self, door: Endpoint) {
        self.door(door).open();
    }

    /// Ends the open connections without a word; new ones are accepted. As a server does to idle ones.
    pub fn cut(&self, door: Endpoint) {
        self.shared.cut(door);
    }

    /// From now on connections are accepted and then nothing happens, not even a handshake, until `unmute`.
    pub fn mute(&self, door: Endpoint) {
        self.shared.lock().muted.insert(door);
    }

    /// New connections are served again; those taken while mute are dropped.
    pub fn unmute(&self, door: Endpoint) {
        self.shared.unmute(door);
    }

    /// Everything that was asked so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        let inner = self.shared.lock();
        inner
            .requests
            .iter()
            .map(|request| Request::clone(request))
            .collect()
    }

    /// Everything that was asked at one door.
    pub fn requests_at(&self, door: Endpoint) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.door == door);
        requests
    }

    /// Waits until that many requests have arrived at the door, and returns them.
    ///
    /// # Panics
    ///
    /// After 30 seconds: a test that waits for what does not come should say so.
    pub fn wait_for(&self, door: Endpoint, count: usize) -> Vec<Request> {
        self.shared
            .wait_for_requests(door, count, Duration::from_secs(30));
        self.requests_at(door)
    }

    /// How many connections were accepted at the door, tunnels that lead to it included.
    pub fn connections(&self, door: Endpoint) -> u64 {
        self.shared.lock().accepted.get(&door).copied().unwrap_or(0)
    }

    /// Waits until that many connections have been accepted at the door; panics as `wait_for` does.
    pub fn wait_for_connections(&self, door: Endpoint, count: u64) {
        self.shared
            .wait_for_connections(door, count, Duration::from_secs(30));
    }

    /// Each access token that was handed out: what must never be seen in any output.
    pub fn tokens(&self) -> Vec<String> {
        self.shared.lock().tokens.keys().cloned().collect()
    }

    fn door(&self, door: Endpoint) -> &Listener {
        let found = self.doors.iter().find(|listener| listener.door() == door);
        found.unwrap_or_else(|| panic!("the {} door was not asked for", door.name()))
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        self.shared.stop();
        for listener in &self.doors {
            listener.close();
        }
        if !self.keep_dir {
            // A directory that is gone already is no reason to hide the failure of the test that removed it.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
