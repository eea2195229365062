//! The certificate and the private key of a service principal, from a file in PEM or from a PFX.

use std::path::Path;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::signature::RsaKeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::der::SEQUENCE;
use crate::error::Error;
use crate::request::pem;
use crate::request::pfx::{self, Flaw};

/// The variable that holds the password of a PFX.
pub const PASSWORD_VARIABLE: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";

/// A certificate with its private key.
pub struct ClientCertificate {
    /// The certificate, and those of its issuers if the file has them.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: RsaKeyPair,
}

impl ClientCertificate {
    /// Parses the content of the file at `path`. `password` is of a PFX. `file_error` makes an error about the file.
    pub fn parse(
        content: &[u8],
        password: &str,
        path: &Path,
        file_error: impl Fn(&str) -> Error,
    ) -> Result<ClientCertificate, Error> {
        // A PFX is a DER sequence.
        let (chain, key) = match content.first() {
            Some(&SEQUENCE) => read_pfx(content, password, path, &file_error)?,
            _ => read_pem(content, path, &file_error)?,
        };
        if chain.is_empty() {
            return Err(file_error("it has no certificate"));
        }
        let key = match key.ok_or_else(|| file_error("it has no private key"))? {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            _ => {
                return Err(file_error(
                    "its key is not an RSA key, which Entra requires",
                ));
            }
        };
        let key =
            key.map_err(|_| file_error("the key must be an RSA key of at least 2048 bits"))?;
        Ok(ClientCertificate { chain, key })
    }

    /// The SHA-1 of the certificate, by which Entra's portal and `az` list certificates, in hexadecimal.
    pub fn thumbprint(&self) -> Option<String> {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, self.chain.first()?);
        let digits = hash.as_ref().iter().map(|byte| format!("{byte:02X}"));
        Some(digits.collect())
    }
}

type ChainAndKey = (Vec<CertificateDer<'static>>, Option<PrivateKeyDer<'static>>);

fn read_pem(
    pem: &[u8],
    path: &Path,
    file_error: impl Fn(&str) -> Error,
) -> Result<ChainAndKey, Error> {
    if pem.windows(9).any(|word| word == b"ENCRYPTED") {
        let file = path.display();
        return Err(file_error("its key is encrypted").hint(format!(
            "convert it: (openssl pkey -in {file}; openssl x509 -in {file}) > client.pem"
        )));
    }
    let chain = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    Ok((chain.collect(), PrivateKeyDer::from_pem_slice(pem).ok()))
}

fn read_pfx(
    der: &[u8],
    password: &str,
    path: &Path,
    file_error: impl Fn(&str) -> Error,
) -> Result<ChainAndKey, Error> {
    let flaw_error = |flaw: Flaw| {
        let error = file_error(&format!("it {flaw}"));
        match flaw {
            Flaw::Malformed => error,
            Flaw::Password => error.hint(format!("set {PASSWORD_VARIABLE} to its password")),
            Flaw::Algorithm | Flaw::Iterations => error.hint(format!(
                "convert it: openssl pkcs12 -nodes -in {} -out client.pem",
                path.display()
            )),
        }
    };
    let pfx = pfx::read(der, password).map_err(flaw_error)?;
    let chain = pem::leaf_first(&pfx.certificates).ok_or_else(|| flaw_error(Flaw::Malformed))?;
    let chain = chain.into_iter().map(CertificateDer::from);
    let key = pfx.keys.into_iter().next();
    Ok((
        chain.collect(),
        key.map(|key| PrivateKeyDer::Pkcs8(key.into())),
    ))
}
