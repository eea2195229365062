//! The certificates that TLS trusts: the built-in roots and those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or `--ca-file`
//! alone.
//!
//! The roots are built in because minimal images have no CA bundle. The variables add to them: with the CA of an
//! intercepting proxy alone, a private endpoint that is reached directly would not be trusted. A file that is named but
//! cannot be used is an error now, since it would only be a certificate error later.

use std::borrow::Cow;
use std::env::split_paths;
use std::fs::{self, DirEntry, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::crypto;
use super::verifier::Verifier;
use crate::error::Error;
use crate::input;
use crate::log;
use crate::request::environment::Environment;
use crate::request::pem;

const NO_CERTIFICATE: &str = "it contains no certificate";
/// The hint for a file that contains no certificate.
const PEM_HINT: &str = "it must be PEM: -----BEGIN CERTIFICATE-----";

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";
/// The length of the end of a certificate's text that [`Roots`] hashes, in bytes: 96 bytes of its signature.
const HASHED_LEN: usize = 128;

/// The TLS configuration for all services that have no CAs of their own.
pub fn client_config(
    env: &Environment,
    ca_file: Option<&Path>,
) -> Result<Arc<ClientConfig>, Error> {
    if let Some(file) = ca_file {
        let mut roots = Roots::new(RootCertStore::empty());
        roots.add_file(file, "--ca-file or AKV_INIT_CA_FILE")?;
        return Ok(config_with_roots(roots.store));
    }
    let mut roots = Roots::new(built_in_roots());
    if let Some(file) = env.get("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
        roots.add_file(Path::new(file), "SSL_CERT_FILE")?;
    }
    let directories = split_paths(env.get("SSL_CERT_DIR").unwrap_or_default());
    for directory in directories.filter(|path| !path.as_os_str().is_empty()) {
        roots.add_directory(&directory)?;
    }
    Ok(config_with_roots(roots.store))
}

/// The built-in root certificates, which are Mozilla's.
pub fn built_in_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// The TLS configuration for a service with its own CAs. `ca_pem` holds their certificates, as PEM; no others are
/// trusted.
pub fn client_config_for_cas(ca_pem: &[u8]) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = Roots::new(RootCertStore::empty());
    match roots.add_certificates(ca_pem) {
        false => Err(Error::config(NO_CERTIFICATE).hint(PEM_HINT)),
        true => Ok(config_with_roots(roots.store)),
    }
}

/// A TLS configuration that trusts these roots.
fn config_with_roots(roots: RootCertStore) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(roots)))
        .with_no_client_auth();
    // This process is too short-lived to gain from resumption, and in a resumed session the server presents no
    // certificate for `check` to show.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// The error for a file or directory that a setting names and that cannot be used.
fn unusable_path_error(setting: &str, path: &Path, reason: &str) -> Error {
    let path = path.display();
    Error::config(format!("{setting}: `{path}`: {reason}"))
}

/// Whether an entry of a directory is a symbolic link to another entry, which is read itself.
fn is_link_to_sibling(entry: &DirEntry) -> bool {
    entry
        .file_type()
        .is_ok_and(|file_type| file_type.is_symlink())
        && fs::read_link(entry.path()).is_ok_and(|target| target.parent() == Some(Path::new("")))
}

/// Root certificates that are being collected. A directory such as /etc/ssl/certs has each certificate three times: in a
/// file, by a link to it whose name is a hash, and in a bundle.
struct Roots {
    store: RootCertStore,
    /// The device and inode of each file that was read.
    files: Vec<(u64, u64)>,
    /// The hash of the end of each certificate that was added, which is its signature.
    certificates: Vec<u64>,
}

impl Roots {
    fn new(store: RootCertStore) -> Roots {
        Roots {
            store,
            files: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Adds the certificates in a file. Fails if it contains none. `setting` is the option or variable that names the
    /// file.
    fn add_file(&mut self, path: &Path, setting: &str) -> Result<(), Error> {
        let pem = input::read(path, input::MAX_SIZE).map_err(|error| {
            let is_missing = error.kind() == ErrorKind::NotFound;
            let hint = "mount the file with the certificates to trust, or remove the setting";
            unusable_path_error(setting, path, &error.to_string())
                .set_hint(is_missing.then(|| hint.to_owned()))
        })?;
        match self.add_certificates(&pem) {
            false => Err(unusable_path_error(setting, path, NO_CERTIFICATE).hint(PEM_HINT)),
            true => Ok(()),
        }
    }

    /// Adds the certificates in a directory. Other files may be there too. Fails if there is no certificate.
    fn add_directory(&mut self, path: &Path) -> Result<(), Error> {
        let directory_error = |reason: &str| unusable_path_error("SSL_CERT_DIR", path, reason);
        let entries = fs::read_dir(path).map_err(|error| directory_error(&error.to_string()))?;
        // A file that another directory links to counts in both.
        self.files.clear();
        let mut has_certificate = false;
        for entry in entries
            .filter_map(Result::ok)
            .filter(|entry| !is_link_to_sibling(entry))
        {
            let path = entry.path();
            let is_new = |file: &Metadata| {
                let id = (file.dev(), file.ino());
                let is_known = self.files.contains(&id);
                self.files.extend((!is_known).then_some(id));
                !is_known
            };
            match input::read_if(&path, input::MAX_SIZE, is_new) {
                Ok(None) => {}
                Ok(Some(pem)) => has_certificate |= self.add_certificates(&pem),
                Err(error) => {
                    log::debug(|| format!("SSL_CERT_DIR: `{}` is skipped: {error}", path.display()))
                }
            }
        }
        match has_certificate {
            false => Err(directory_error(NO_CERTIFICATE)),
            true => Ok(()),
        }
    }

    /// Adds the certificates in `pem` that can be parsed and are not there yet. Returns whether there is one.
    fn add_certificates(&mut self, pem: &[u8]) -> bool {
        // The check of from_utf8_lossy takes ten times as long.
        let text = str::from_utf8(pem).map_or_else(|_| String::from_utf8_lossy(pem), Cow::from);
        let (mut rest, mut has_certificate) = (&*text, false);
        while let Some(start) = rest.find(PEM_BEGIN) {
            let after_begin = &rest[start + PEM_BEGIN.len()..];
            // Base64 has no such character.
            let (base64, after) =
                after_begin.split_at(after_begin.find('-').unwrap_or(after_begin.len()));
            rest = after;
            if !rest.starts_with(PEM_END) {
                continue;
            }
            let mut hasher = DefaultHasher::new();
            hasher.write(&base64.as_bytes()[base64.len().saturating_sub(HASHED_LEN)..]);
            let hash = hasher.finish();
            if self.certificates.contains(&hash) {
                has_certificate = true;
            } else if let Some(der) = pem::decode_base64(base64)
                && self.store.add(CertificateDer::from(der)).is_ok()
            {
                has_certificate = true;
                self.certificates.push(hash);
            }
        }
        has_certificate
    }
}
