//! The certificates that TLS trusts: the built-in roots and those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or `--ca-file`
//! alone.
//!
//! The roots are built in because minimal images have no CA bundle. The variables add to them: with the CA of an
//! intercepting proxy alone, a private endpoint that is reached directly would not be trusted. A file that is named but
//! cannot be used is an error now, since it would only be a certificate error later.

use std::env::split_paths;
use std::io::ErrorKind;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};

use super::crypto;
use super::roots::{Roots, certificates_in, certificates_in_directory};
use super::verifier::Verifier;
use crate::error::Error;
use crate::input;
use crate::request::environment::Environment;

const NO_CERTIFICATE: &str = "it contains no certificate";
/// The hint for a file that contains no certificate.
const PEM_HINT: &str = "it must be PEM: -----BEGIN CERTIFICATE-----";

/// The TLS configuration for all services that have no CAs of their own.
pub fn client_config(
    env: &Environment,
    ca_file: Option<&Path>,
) -> Result<Arc<ClientConfig>, Error> {
    if let Some(file) = ca_file {
        let mut roots = Roots::new(RootCertStore::empty());
        add_file(&mut roots, file, "--ca-file or AKV_INIT_CA_FILE")?;
        return Ok(config_with_roots(roots));
    }
    let mut roots = Roots::new(built_in_roots());
    if let Some(file) = env.get("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
        add_file(&mut roots, Path::new(file), "SSL_CERT_FILE")?;
    }
    let directories = split_paths(env.get("SSL_CERT_DIR").unwrap_or_default());
    for directory in directories.filter(|path| !path.as_os_str().is_empty()) {
        add_directory(&mut roots, &directory)?;
    }
    Ok(config_with_roots(roots))
}

/// The built-in root certificates, which are Mozilla's.
pub fn built_in_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// The TLS configuration for a service with its own CAs. `ca_pem` holds their certificates, as PEM; no others are
/// trusted.
pub fn client_config_for_cas(ca_pem: &[u8]) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = Roots::new(RootCertStore::empty());
    match roots.add(certificates_in(iter::once(ca_pem.to_vec()))) {
        false => Err(Error::config(NO_CERTIFICATE).hint(PEM_HINT)),
        true => Ok(config_with_roots(roots)),
    }
}

/// A TLS configuration that trusts these roots.
fn config_with_roots(roots: Roots) -> Arc<ClientConfig> {
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

/// Adds the certificates in a file. Fails if it contains none. `setting` is the option or variable that names the file.
fn add_file(roots: &mut Roots, path: &Path, setting: &str) -> Result<(), Error> {
    let pem = input::read(path, input::MAX_SIZE).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::NotFound => Some(
                "mount the file with the certificates to trust, or remove the setting".to_owned(),
            ),
            ErrorKind::PermissionDenied => Some(input::unreadable_hint()),
            _ => None,
        };
        unusable_path_error(setting, path, &error.to_string()).set_hint(hint)
    })?;
    match roots.add(certificates_in(iter::once(pem))) {
        false => Err(unusable_path_error(setting, path, NO_CERTIFICATE).hint(PEM_HINT)),
        true => Ok(()),
    }
}

/// Adds the certificates in a directory. Other files may be there too. Fails if there is no certificate.
fn add_directory(roots: &mut Roots, path: &Path) -> Result<(), Error> {
    let directory_error = |reason: &str| unusable_path_error("SSL_CERT_DIR", path, reason);
    let certificates =
        certificates_in_directory(path).map_err(|error| directory_error(&error.to_string()))?;
    match roots.add(certificates) {
        false => Err(directory_error(NO_CERTIFICATE)),
        true => Ok(()),
    }
}
