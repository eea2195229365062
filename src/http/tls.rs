//! Whom TLS trusts: the built-in roots and what `SSL_CERT_FILE` and `SSL_CERT_DIR` hold, or `--ca-file` alone.
//!
//! Built-in roots, since images have no bundle; the variables on top of them, since a company's intercepting proxy must
//! not lock out a private endpoint that is reached directly. A file that was named and cannot be used is an error, or
//! its absence would show as a certificate that nobody trusts.

use std::env::split_paths;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::env::Environment;
use crate::failure::{Cause, Failure};

/// The configuration of every connection.
pub fn client_config(
    env: &Environment,
    ca_file: Option<&Path>,
) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_file {
        add_file(&mut roots, file, "--ca-file or AKV_INIT_CA_FILE")?;
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(file) = env.get("SSL_CERT_FILE").filter(|file| !file.is_empty()) {
            add_file(&mut roots, Path::new(file), "SSL_CERT_FILE")?;
        }
        if let Some(directories) = env.get("SSL_CERT_DIR").filter(|list| !list.is_empty()) {
            for directory in split_paths(directories).filter(|path| !path.as_os_str().is_empty()) {
                add_directory(&mut roots, &directory)?;
            }
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // No connection is made twice in our short life: a store of 256 sessions would be for nothing.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path, setting: &str) -> Result<(), Failure> {
    let unusable = |why: String| {
        Failure::new(
            Cause::Config,
            format!("{setting}: `{}`: {why}", path.display()),
        )
    };
    let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    match add_certificates(roots, &pem) {
        0 => Err(unusable("no certificate in it".to_owned())
            .hint("it must be PEM: -----BEGIN CERTIFICATE-----")),
        _ => Ok(()),
    }
}

/// A directory of certificates may hold other files too; one without any certificate was not meant.
fn add_directory(roots: &mut RootCertStore, path: &Path) -> Result<(), Failure> {
    let unusable = |why: String| {
        Failure::new(
            Cause::Config,
            format!("SSL_CERT_DIR: `{}`: {why}", path.display()),
        )
    };
    let entries = fs::read_dir(path).map_err(|error| unusable(error.to_string()))?;
    let mut added = 0;
    let mut seen = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        // OpenSSL's directories hold each certificate twice: once by its name, once as a link by its hash.
        let Ok(file) = entry.path().canonicalize() else {
            continue;
        };
        if !seen.contains(&file) {
            added += fs::read(&file).map_or(0, |pem| add_certificates(roots, &pem));
            seen.push(file);
        }
    }
    match added {
        0 => Err(unusable("no certificate in it".to_owned())),
        _ => Ok(()),
    }
}

fn add_certificates(roots: &mut RootCertStore, pem: &[u8]) -> usize {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let (added, _ignored) = roots.add_parsable_certificates(certificates);
    added
}
