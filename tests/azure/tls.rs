//! The CA, its leaf certificates (and those that a client must reject), and the servers' TLS settings. Keys are ECDSA P-256,
//! generated at start.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion, version};

pub const CA_FILE: &str = "ca.pem";
pub const CLUSTER_CA_FILE: &str = "cluster-ca.pem";

/// The server name of a cluster's token proxy, in the form of AKS.
pub const TOKEN_PROXY_NAME: &str = "a8k3v0qj2m5t7p1d4s6r9u0b2c4e6g8h.ests.aks";

/// The certificate of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Certificate {
    /// With its addresses as DNS names.
    AddressesAsNames,
    /// A CA's: with CA:TRUE.
    Ca,
    /// The CA certificate 200 times after the good one: more than 64 KiB.
    LongChain,
    /// Only the first half of its bytes.
    Malformed,
    /// Good for one more hour.
    EndsSoon,
    /// Expired.
    Expired,
    /// For every name and address of the fake Azure, from the CA in `ca.pem`.
    Good,
    /// Not valid yet. It expires in 2050, from which year on dates have another type.
    NotYetValid,
    /// For clients, and not for servers.
    OfAClient,
    /// The good one, but each connection is signed with another key.
    OtherKey,
    /// For other names.
    OtherName,
    /// The good one, but each connection after the first is signed with another key.
    ThenOtherKey,
    /// The good one, but each connection after the first has one like `UnknownAuthority`.
    ThenUnknownAuthority,
    /// From a CA that is not in `ca.pem`, whose name has an organization.
    UnknownAuthority,
}

/// The TLS versions of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Versions {
    Both,
    Only12,
    Only13,
}

impl Versions {
    fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Versions::Both => vec![&version::TLS13, &version::TLS12],
            Versions::Only12 => vec![&version::TLS12],
            Versions::Only13 => vec![&version::TLS13],
        }
    }
}

/// A CA and the names of its good certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    names: Vec<String>,
}

impl Authority {
    /// For these names and those of Azure.
    pub fn for_azure(title: &str, names: &[String], addresses: &[IpAddr]) -> Authority {
        let mut all: Vec<String> = AZURE_NAMES.iter().map(|name| (*name).to_owned()).collect();
        all.extend(addresses.iter().map(ToString::to_string));
        all.extend_from_slice(names);
        all.sort();
        all.dedup();
        Authority::new(title, all)
    }

    /// For the one name of a cluster.
    pub fn for_cluster(name: &str) -> Authority {
        Authority::new("akv-init fake cluster", vec![name.to_owned()])
    }

    fn new(title: &str, names: Vec<String>) -> Authority {
        let (issuer, pem) = issuer(title, None);
        Authority { issuer, pem, names }
    }

    /// Writes the CA's certificate.
    pub fn write_ca(&self, path: &Path) -> std::io::Result<()> {
        fs::write(path, &self.pem)
    }

    /// Writes the CA's certificate, and the good leaf with its key.
    pub fn write_to(&self, dir: &Path) -> std::io::Result<()> {
        let (leaf, key) = self.leaf(Certificate::Good);
        self.write_ca(&dir.join(CA_FILE))?;
        fs::write(dir.join("leaf.pem"), leaf.pem())?;
        fs::write(dir.join("leaf.key"), key.serialize_pem())
    }

    /// The settings of an endpoint with this certificate.
    pub fn server(&self, certificate: Certificate, versions: Versions) -> Arc<ServerConfig> {
        let (leaf, key) = self.leaf(certificate);
        let mut chain = vec![leaf.der().clone()];
        if certificate == Certificate::LongChain {
            let ca = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM");
            chain.extend(std::iter::repeat_n(ca, 200));
        }
        if certificate == Certificate::Malformed {
            let der = leaf.der();
            chain = vec![CertificateDer::from(der[..der.len() / 2].to_vec())];
        }
        let provider = ring::default_provider();
        let certified = |chain, key: KeyPair| {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            let key = provider.key_provider.load_private_key(key);
            Arc::new(CertifiedKey::new(chain, key.expect("a P-256 key")))
        };
        let (unknown, other_key) = self.leaf(Certificate::UnknownAuthority);
        let (first, later) = match certificate {
            Certificate::OtherKey => (certified(chain, other_key), None),
            Certificate::ThenOtherKey => {
                let first = certified(chain.clone(), key);
                (first, Some(certified(chain, other_key)))
            }
            Certificate::ThenUnknownAuthority => {
                let later = certified(vec![unknown.der().clone()], other_key);
                (certified(chain, key), Some(later))
            }
            _ => (certified(chain, key), None),
        };
        let resolver = Resolver {
            first,
            later,
            handshakes: AtomicUsize::new(0),
        };
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions.list())
            .expect("ring has suites for both versions")
            .with_no_client_auth()
            // Unlike `with_single_cert`, it takes a malformed one too.
            .with_cert_resolver(Arc::new(resolver));
        Arc::new(config)
    }

    fn leaf(&self, certificate: Certificate) -> (rcgen::Certificate, KeyPair) {
        let names = match certificate {
            Certificate::OtherName => [
                "another.example.com",
                "fd00::1",
                "*.example.com",
                "example.com",
            ]
            .map(str::to_owned)
            .to_vec(),
            _ => self.names.clone(),
        };
        let mut params = CertificateParams::new(names).expect("names are DNS names or addresses");
        params
            .distinguished_name
            .push(DnType::CommonName, "akv-init fake server");
        if certificate == Certificate::AddressesAsNames {
            for name in &mut params.subject_alt_names {
                if let SanType::IpAddress(address) = name {
                    let text = address.to_string().try_into();
                    *name = SanType::DnsName(text.expect("it is ASCII"));
                }
            }
        }
        if certificate == Certificate::Ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let (first_year, last_year) = match certificate {
            Certificate::Expired => (2020, 2021),
            Certificate::NotYetValid => (2049, 2050),
            _ => (2020, 2049),
        };
        params.not_before = date_time_ymd(first_year, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        if certificate == Certificate::EndsSoon {
            params.not_after = (SystemTime::now() + Duration::from_secs(3_600)).into();
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match certificate {
            Certificate::OfAClient => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        // Python 3.13 rejects every certificate of a CA without it.
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("ring makes P-256 keys");
        let stranger;
        let issuer = if certificate == Certificate::UnknownAuthority {
            stranger = issuer("an unknown CA", Some("Contoso")).0;
            &stranger
        } else {
            &self.issuer
        };
        let leaf = params.signed_by(&key, issuer).expect("the authority signs");
        (leaf, key)
    }
}

/// What each handshake of an endpoint presents.
#[derive(Debug)]
struct Resolver {
    first: Arc<CertifiedKey>,
    /// What all others present instead.
    later: Option<Arc<CertifiedKey>>,
    handshakes: AtomicUsize,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_first = self.handshakes.fetch_add(1, Ordering::Relaxed) == 0;
        let later = self.later.as_ref().filter(|_| !is_first);
        Some(later.unwrap_or(&self.first).clone())
    }
}

pub fn issuer(name: &str, organization: Option<&str>) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        let kind = DnType::OrganizationName;
        params.distinguished_name.push(kind, organization);
    }
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("ring makes P-256 keys");
    let pem = params
        .self_signed(&key)
        .expect("the authority signs itself")
        .pem();
    (Issuer::new(params, key), pem)
}

const AZURE_NAMES: &[&str] = &[
    "127.0.0.1",
    "localhost",
    "login.chinacloudapi.cn",
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "*.vault.azure.cn",
    "*.vault.azure.net",
    "*.vault.usgovcloudapi.net",
];
