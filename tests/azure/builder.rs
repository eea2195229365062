//! How a stand-in is set up when the defaults will not do: other addresses, more names, certificates that a client must
//! refuse, one TLS version only, doors that are closed at first.

use std::collections::HashMap;
use std::fs::{self, File};
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
                .map(|door| (door, "127.0.0.1:0".to_owned()))
                .into(),
            closed: Vec::new(),
            names: Vec::new(),
            authorities: Vec::new(),
            certificates: HashMap::new(),
            versions: Versions::Both,
            vault_resource: "https://vault.azure.net".to_owned(),
            proxy_credentials: None,
            title: "akv-init stand-in for Azure".to_owned(),
            clock: 0,
            dir: None,
        }
    }

    /// No doors but those that `at` names.
    pub fn only(mut self) -> Builder {
        self.addresses.clear();
        self
    }

    /// The address of a door; port 0 is a free port.
    pub fn at(mut self, door: Endpoint, address: &str) -> Builder {
        self.addresses.insert(door, address.to_owned());
        self
    }

    /// Has its port but refuses connections until `Azure::open`.
    pub fn closed(mut self, door: Endpoint) -> Builder {
        self.closed.push(door);
        self
    }

    /// One more name that the good certificate is for, and that the proxy leads to the vault.
    pub fn name(mut self, name: &str) -> Builder {
        self.names.push(name.to_owned());
        self
    }

    /// The same for the login door.
    pub fn authority(mut self, name: &str) -> Builder {
        self.authorities.push(name.to_owned());
        self
    }

    /// What the door shows in the handshake.
    pub fn certificate(mut self, door: Endpoint, certificate: Certificate) -> Builder {
        self.certificates.insert(door, certificate);
        self
    }

    /// The TLS versions of both https doors.
    pub fn versions(mut self, versions: Versions) -> Builder {
        self.versions = versions;
        self
    }

    /// The resource that vaults expect whose host has none of Azure's suffixes.
    pub fn vault_resource(mut self, resource: &str) -> Builder {
        resource.clone_into(&mut self.vault_resource);
        self
    }

    /// `user:password` without which the proxy answers 407.
    pub fn proxy_credentials(mut self, credentials: &str) -> Builder {
        self.proxy_credentials = Some(credentials.to_owned());
        self
    }

    /// What the authority calls itself, in place of its usual name.
    pub fn title(mut self, title: &str) -> Builder {
        title.clone_into(&mut self.title);
        self
    }

    /// Everything here is dated by a clock that is so many seconds ahead, as it is for a client whose own is behind.
    pub fn clock(mut self, seconds: i64) -> Builder {
        self.clock = seconds;
        self
    }

    /// Keeps the files, and a record of every request (`requests.jsonl`, a line before each answer), in this directory.
    pub fn dir(mut self, dir: &Path) -> Builder {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Opens the doors.
    ///
    /// # Panics
    ///
    /// When an address cannot be had or a file cannot be written: a test has nothing to go on with then.
    pub fn start(self) -> Azure {
        let keep_dir = self.dir.is_some();
        let dir = self.dir.clone().unwrap_or_else(fresh_dir);
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let log = keep_dir.then(|| {
            let path = dir.join("requests.jsonl");
            File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        });
        // The names are those of the addresses asked for; which port was free does not matter to a certificate.
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
        .map(|(door, authority)| {
            let certificate = self
                .certificates
                .get(&door)
                .copied()
                .unwrap_or(Certificate::Good);
            (door, authority.server(certificate, self.versions))
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
        let mut doors = Vec::new();
        for door in Endpoint::ALL {
            if let Some(address) = self.addresses.get(&door) {
                let listener = Listener::start(&shared, door, address).unwrap_or_else(|error| {
                    panic!("the {} door at {address}: {error}", door.name())
                });
                doors.push(listener);
            }
        }
        let azure = Azure {
            shared,
            doors,
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
        self.closed.into_iter().for_each(|door| azure.close(door));
        azure
    }
}

fn ip_of(address: &str) -> Option<IpAddr> {
    let (host, _) = address.rsplit_once(':')?;
    host.trim_matches(['[', ']']).parse().ok()
}

/// A directory of our own; several stand-ins of one process, and of several, run side by side.
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
