//! Settings of a fake Azure: addresses, names, certificates that a client must reject, TLS versions, closed endpoints.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::listener::Listener;
use super::shared::{Fixed, Shared};
use super::tls::Authority;
use super::{Azure, Certificate, Endpoint, TOKEN_PROXY_NAME, Versions, certificate, tls, token};

pub struct Builder {
    addresses: HashMap<Endpoint, String>,
    closed: Vec<Endpoint>,
    names: Vec<String>,
    authorities: Vec<String>,
    certificates: HashMap<Endpoint, Certificate>,
    versions: Versions,
    vault_resource: String,
    proxy_credentials: Option<String>,
    title: String,
    clock: i64,
    dir: Option<PathBuf>,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder {
            addresses: Endpoint::ALL
                .map(|endpoint| (endpoint, "127.0.0.1:0".to_owned()))
                .into(),
            closed: Vec::new(),
            names: Vec::new(),
            authorities: Vec::new(),
            certificates: HashMap::new(),
            versions: Versions::Both,
            vault_resource: "https://vault.azure.net".to_owned(),
            proxy_credentials: None,
            title: "akv-init fake Azure".to_owned(),
            clock: 0,
            dir: None,
        }
    }

    /// Only the endpoints that `at` names.
    pub fn only(mut self) -> Builder {
        self.addresses.clear();
        self
    }

    /// The address of an endpoint; port 0 is a free port.
    pub fn at(mut self, endpoint: Endpoint, address: &str) -> Builder {
        self.addresses.insert(endpoint, address.to_owned());
        self
    }

    /// Has its port but refuses connections until `Azure::open`.
    pub fn closed(mut self, endpoint: Endpoint) -> Builder {
        self.closed.push(endpoint);
        self
    }

    /// One more name of the good certificate, which the proxy connects to the vault.
    pub fn name(mut self, name: &str) -> Builder {
        self.names.push(name.to_owned());
        self
    }

    /// The same for Entra.
    pub fn authority(mut self, name: &str) -> Builder {
        self.authorities.push(name.to_owned());
        self
    }

    /// The certificate of the endpoint.
    pub fn certificate(mut self, endpoint: Endpoint, certificate: Certificate) -> Builder {
        self.certificates.insert(endpoint, certificate);
        self
    }

    /// The TLS versions of the https endpoints.
    pub fn versions(mut self, versions: Versions) -> Builder {
        self.versions = versions;
        self
    }

    /// The resource of vaults whose host has none of Azure's suffixes.
    pub fn vault_resource(mut self, resource: &str) -> Builder {
        resource.clone_into(&mut self.vault_resource);
        self
    }

    /// `user:password` that the proxy requires.
    pub fn proxy_credentials(mut self, credentials: &str) -> Builder {
        self.proxy_credentials = Some(credentials.to_owned());
        self
    }

    /// The name of the CA.
    pub fn title(mut self, title: &str) -> Builder {
        title.clone_into(&mut self.title);
        self
    }

    /// Sets the clock ahead by this number of seconds, as for a client whose clock is behind.
    pub fn clock(mut self, seconds: i64) -> Builder {
        self.clock = seconds;
        self
    }

    /// Keeps the files in this directory, and a record of every request (`requests.jsonl`, a line before each response).
    pub fn dir(mut self, dir: &Path) -> Builder {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When an address is not available or a file cannot be written.
    pub fn start(self) -> Azure {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same; fails when an address is not available.
    ///
    /// # Panics
    ///
    /// When a file cannot be written.
    pub fn try_start(self) -> io::Result<Azure> {
        let keep_dir = self.dir.is_some();
        let dir = self.dir.clone().unwrap_or_else(fresh_dir);
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let log = keep_dir.then(|| {
            let path = dir.join("requests.jsonl");
            File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        });
        let ips: Vec<IpAddr> = self.addresses.values().filter_map(|a| ip_of(a)).collect();
        let names = [self.names.as_slice(), &self.authorities].concat();
        let authority = Authority::for_azure(&self.title, &names, &ips);
        let cluster = Authority::for_cluster(TOKEN_PROXY_NAME);
        let client = authority
            .write_to(&dir)
            .and_then(|()| cluster.write_ca(&dir.join(tls::CLUSTER_CA_FILE)))
            .and_then(|()| certificate::write(&dir.join(certificate::FILE)))
            .unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let tls = [
            (Endpoint::Login, &authority),
            (Endpoint::TokenProxy, &cluster),
            (Endpoint::Vault, &authority),
        ]
        .map(|(endpoint, authority)| {
            let certificate = self
                .certificates
                .get(&endpoint)
                .copied()
                .unwrap_or(Certificate::Good);
            (endpoint, authority.server(certificate, self.versions))
        });
        let shared = Shared::new(Fixed {
            tls: tls.into(),
            vault_resource: self.vault_resource,
            vault_names: self.names,
            login_names: self.authorities,
            proxy_credentials: self.proxy_credentials,
            client,
            clock: self.clock,
        });
        shared.lock().log = log;
        let shared = Arc::new(shared);
        let mut endpoints = Vec::new();
        for endpoint in Endpoint::ALL {
            if let Some(address) = self.addresses.get(&endpoint) {
                let listener = Listener::start(&shared, endpoint, address).map_err(|error| {
                    let name = endpoint.name();
                    io::Error::new(
                        error.kind(),
                        format!("the {name} endpoint at {address}: {error}"),
                    )
                })?;
                endpoints.push(listener);
            }
        }
        let azure = Azure {
            shared,
            endpoints,
            ca_file: dir.join(tls::CA_FILE),
            token_file: dir.join("token.jwt"),
            dir,
            keep_dir,
        };
        azure.assertion(&json!({}));
        let now = azure.shared.now();
        let binding = token::assertion(now, token::BINDING_AUDIENCE, &json!({}));
        fs::write(azure.binding_token_file(), binding)
            .unwrap_or_else(|error| panic!("the token file of a binding: {error}"));
        self.closed
            .into_iter()
            .for_each(|endpoint| azure.close(endpoint));
        Ok(azure)
    }
}

fn ip_of(address: &str) -> Option<IpAddr> {
    let (host, _) = address.rsplit_once(':')?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// A new directory, also for several in one process or in several.
fn fresh_dir() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!(
        "akv-init-azure-{}-{}-{count}",
        process::id(),
        token::unix_now()
    );
    std::env::temp_dir().join(name)
}
