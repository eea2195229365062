//! Hosts, and the names of vaults.
//!
//! A host that cannot be a vault is an error before any request is sent. Names of vaults follow
//! <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#vault-name-and-object-name>.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::error::Error;
use crate::request::cloud::Cloud;

/// The name of a vault, in either of the forms that users may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultName {
    /// A name without a dot, in lower case. The host of the vault is this name and the suffix of the cloud.
    Short(String),
    /// A full host name, as in `akv://vault.example.com/NAME`.
    Host(Host),
}

impl VaultName {
    /// Parses the name of a vault: a short name, or a host, which has a dot, a port or brackets.
    pub fn parse(vault: &str) -> Result<VaultName, Error> {
        if !vault.contains(['.', ':', '[']) {
            let name = vault.to_ascii_lowercase();
            if !is_vault_name(&name) {
                return Err(Error::config(
                    "a vault name has 3 to 24 letters, digits and single hyphens, and starts with a letter",
                ));
            }
            return Ok(VaultName::Short(name));
        }
        let host = Host::parse(vault)?;
        reject_other_azure_hosts(&host)?;
        Ok(VaultName::Host(host))
    }

    /// Parses the value of `--vault`: a short name, a host, or the URL of a vault.
    pub fn parse_option(text: &str) -> Result<VaultName, Error> {
        if strip_prefix_ignore_case(text, "http://").is_some() {
            return Err(Error::config("vaults are only accessed over https"));
        }
        let host = strip_prefix_ignore_case(text, "https://").unwrap_or(text);
        VaultName::parse(host.strip_suffix('/').unwrap_or(host))
    }
}

/// The vault as it is written in a reference.
impl fmt::Display for VaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VaultName::Short(name) => f.write_str(name),
            // Without a dot or a port, it would be parsed as a short name.
            VaultName::Host(host) if host.port == 443 && !host.name.contains(['.', '[']) => {
                write!(f, "{host}:443")
            }
            VaultName::Host(host) => write!(f, "{host}"),
        }
    }
}

/// Whether an address is in a private network (RFC 1918, RFC 4193) or in the shared address space (RFC 6598).
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64,
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// A host name in lower case and a port. Displayed without the port if that is 443.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A DNS name or an IP address; an IPv6 address is in brackets.
    pub name: String,
    /// The TCP port.
    pub port: u16,
}

impl Host {
    /// Parses `HOST[:PORT]`, which need not be the host of a vault.
    pub fn parse(text: &str) -> Result<Host, Error> {
        if text.contains('/') {
            return Err(Error::config(
                "expected HOST or HOST:PORT, without https:// or a path",
            ));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                let is_number = port.bytes().all(|b| b.is_ascii_digit());
                match port.parse() {
                    Ok(port) if is_number && port > 0 => (name, port),
                    _ => return Err(Error::config("the port is not a number from 1 to 65535")),
                }
            }
            _ => (text, 443),
        };
        let name = name.to_ascii_lowercase();
        let unbracketed = without_brackets(&name);
        let is_valid = match unbracketed.len() < name.len() {
            true => unbracketed.parse::<Ipv6Addr>().is_ok(),
            false => name.len() <= 253 && name.split('.').all(is_label),
        };
        if !is_valid {
            return Err(Error::config("not a valid hostname"));
        }
        Ok(Host { name, port })
    }

    /// The cloud that this host is a vault of; `None` if it is not the name of a vault, a dot and the suffix of a
    /// cloud, with port 443.
    pub fn cloud(&self) -> Option<Cloud> {
        let (label, domain) = self.name.split_once('.')?;
        let cloud = Cloud::ALL
            .into_iter()
            .find(|cloud| cloud.vault_suffix() == domain)?;
        (self.port == 443 && is_vault_name(label)).then_some(cloud)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.port != 443 {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

/// Fails for a host in a domain of Azure from which akv-init cannot read secrets.
fn reject_other_azure_hosts(host: &Host) -> Result<(), Error> {
    let name = host.name.as_str();
    for cloud in Cloud::ALL {
        let suffix = cloud.vault_suffix();
        let domain = &suffix["vault.".len()..];
        if name.ends_with(&format!(".managedhsm.{domain}")) {
            return Err(
                Error::config("a Managed HSM holds keys, not secrets").hint("use a key vault")
            );
        }
        let private_link_vault = name
            .strip_suffix(&format!(".privatelink.vaultcore.{domain}"))
            .or_else(|| name.strip_suffix(&format!(".vaultcore.{domain}")));
        if let Some(vault) = private_link_vault {
            return Err(
                Error::config("a vault cannot be reached under its private link name").hint(
                    format!(
                        "use {vault}.{suffix}, which private DNS resolves to the private endpoint"
                    ),
                ),
            );
        }
        let is_in_vault_domain = name == suffix || name.ends_with(&format!(".{suffix}"));
        if is_in_vault_domain && host.port == 443 && host.cloud().is_none() {
            return Err(Error::config(format!(
                "`{name}` is not the host of a vault: expected NAME.{suffix}, where NAME has no dot"
            )));
        }
    }
    Ok(())
}

/// Whether a text can be the short name of a vault.
fn is_vault_name(name: &str) -> bool {
    (3..=24).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !name.contains("--")
        && is_label(name)
}

/// Whether a text can be a domain name with a dot. Its last label has letters only.
pub fn is_domain(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic();
    let last = text.rsplit_once('.').map(|(_, last)| last);
    last.is_some_and(|last| last.bytes().all(is_letter)) && text.split('.').all(is_label)
}

/// Whether a text can be a label of a DNS name: the part between two dots.
fn is_label(text: &str) -> bool {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(is_valid)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A host without the brackets of an IPv6 address; any other host is returned unchanged.
pub fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
}

/// Whether bytes begin with a prefix, ignoring the case of ASCII letters.
pub fn begins_with(bytes: &[u8], prefix: &str) -> bool {
    let start = bytes.get(..prefix.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Like `str::strip_prefix`, but ignores the case of ASCII letters.
pub fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}
