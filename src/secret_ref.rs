//! References to secrets: the only parser of them, and their canonical form.
//!
//! A reference names a vault, a secret and perhaps a version; it never holds a value. What is refused here is refused
//! before any request, each with its own message. Names follow
//! <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#vault-name-and-object-name>.
//! Displaying a [`SecretRef`] gives a text that parses to the same reference.

use std::fmt;

use crate::failure::{Cause, Failure};
use crate::host::{VaultName, parse_vault_part, strip_prefix_ignore_case};

const SCHEME: &str = "akv://";
const APP_SERVICE: &str = "@microsoft.keyvault(";

/// One secret of one vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// The vault.
    pub vault: VaultName,
    /// The secret's name, as written.
    pub name: String,
    /// The secret version; none is the current one.
    pub version: Option<String>,
    /// `?trim`: drop line ends at the value's end.
    pub trim: bool,
}

/// What the value of an environment variable is.
#[derive(Debug)]
pub enum Found {
    /// An ordinary value.
    Plain,
    /// The whole value is a reference.
    Reference(SecretRef),
}

impl SecretRef {
    /// Parses what stands behind `--secret NAME=`: every form.
    pub fn parse(text: &str) -> Result<SecretRef, Failure> {
        let text = text.trim();
        parse_any(text).map_err(|failure| failure.about(&subject(text)))
    }

    /// Looks at the value of an environment variable: a reference, something that was meant as one, or neither.
    pub fn find(value: &str) -> Result<Found, Failure> {
        let text = value.trim();
        if let Some(found) = parse_full(text) {
            return found
                .map(Found::Reference)
                .map_err(|failure| failure.about(&subject(text)));
        }
        let lower = value.to_ascii_lowercase();
        if lower.contains(SCHEME) || lower.contains(APP_SERVICE) {
            return Err(malformed("the value contains a reference but is not one as a whole").hint(
                "a reference must be the whole value; Kubernetes expands $(NAME) in later values before the \
                 container starts; `--literal NAME` passes the value on as it is",
            ));
        }
        // As a whole value only: `…@azurekeyvault` also ends the user part of many a URL, password included.
        if let Some((name, rest)) = text.split_once("@azurekeyvault")
            && (rest.is_empty() || rest.starts_with('?'))
            && check_secret_name(name).is_ok()
        {
            return Err(
                malformed("`NAME@azurekeyvault` is another tool's form").hint(format!(
                    "write akv://VAULT/{name}; `--literal NAME` passes the value on as it is"
                )),
            );
        }
        Ok(Found::Plain)
    }

    fn new(vault: VaultName, name: &str, version: Option<&str>) -> Result<SecretRef, Failure> {
        check_secret_name(name)?;
        if let Some(version) = version
            && (version.len() > 127 || !version.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            return Err(malformed("a version holds only letters and digits"));
        }
        Ok(SecretRef {
            vault,
            name: name.to_owned(),
            version: version.map(str::to_owned),
            trim: false,
        })
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        match &self.vault {
            VaultName::Default => {}
            VaultName::Short(name) => f.write_str(name)?,
            // Without a dot or a port it would be read as a short name.
            VaultName::Host(host) if !host.name.contains(['.', '[']) => {
                write!(f, "{}:{}", host.name, host.port)?
            }
            VaultName::Host(host) => write!(f, "{host}")?,
        }
        write!(f, "/{}", self.name)?;
        if let Some(version) = &self.version {
            write!(f, "/{version}")?;
        }
        if self.trim {
            f.write_str("?trim")?;
        }
        Ok(())
    }
}

/// Every form that `--secret` takes.
fn parse_any(text: &str) -> Result<SecretRef, Failure> {
    if let Some(found) = parse_full(text) {
        return found;
    }
    if let Some(rest) = strip_prefix_ignore_case(text, "https://") {
        return parse_url(rest);
    }
    if strip_prefix_ignore_case(text, "http://").is_some() {
        return Err(malformed("a vault is only asked over https").hint("write https://"));
    }
    if text.contains("://") {
        return Err(malformed(
            "a reference starts with akv://, https:// or @Microsoft.KeyVault(",
        ));
    }
    match text.split_once('/') {
        None => SecretRef::new(VaultName::Default, text, None),
        Some((name, version)) if is_version(version) => {
            SecretRef::new(VaultName::Default, name, Some(version))
        }
        Some((first, second)) => {
            let failure = malformed("what follows NAME/ is not a version of 32 hexadecimal digits");
            let names = [first, second]
                .iter()
                .all(|name| check_secret_name(name).is_ok());
            Err(failure
                .maybe_hint(names.then(|| format!("for a vault and a name, write akv://{text}"))))
        }
    }
}

/// The forms that are recognised wherever they stand: `akv://…` and `@Microsoft.KeyVault(…)`.
fn parse_full(text: &str) -> Option<Result<SecretRef, Failure>> {
    if let Some(rest) = strip_prefix_ignore_case(text, SCHEME) {
        return Some(parse_akv(rest));
    }
    strip_prefix_ignore_case(text, APP_SERVICE).map(|rest| match rest.strip_suffix(')') {
        Some(inner) => parse_app_service(inner),
        None => Err(malformed("the closing parenthesis is missing")),
    })
}

/// `VAULT/NAME[/VERSION][?OPTIONS]`, behind `akv://`.
fn parse_akv(rest: &str) -> Result<SecretRef, Failure> {
    let (path, options) = match rest.split_once('?') {
        Some((path, options)) => (path, Some(options)),
        None => (rest, None),
    };
    let Some((vault, path)) = path.split_once('/') else {
        return Err(malformed("the secret's name is missing").hint("write akv://VAULT/NAME"));
    };
    let vault = match vault {
        "" => VaultName::Default,
        vault => parse_vault_part(vault)?,
    };
    let (name, version) = parse_path(path)?;
    let mut found = SecretRef::new(vault, name, version)?;
    for option in options.into_iter().flat_map(|options| options.split('&')) {
        match option {
            "trim" => found.trim = true,
            _ => return Err(malformed("the only option behind `?` is `trim`")),
        }
    }
    Ok(found)
}

/// `HOST/secrets/NAME[/VERSION]`, behind `https://`.
fn parse_url(rest: &str) -> Result<SecretRef, Failure> {
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let vault = parse_vault_part(host)?;
    let VaultName::Host(_) = &vault else {
        return Err(malformed("this is a short name, not a host"));
    };
    let Some(path) = strip_prefix_ignore_case(path, "secrets/") else {
        return Err(malformed(
            "a secret's URL is https://HOST/secrets/NAME[/VERSION]",
        ));
    };
    let (name, version) = parse_path(path)?;
    SecretRef::new(vault, name, version)
}

/// The inside of `@Microsoft.KeyVault(…)`
/// (<https://learn.microsoft.com/azure/app-service/app-service-key-vault-references#source-app-settings-from-key-vault>).
fn parse_app_service(inner: &str) -> Result<SecretRef, Failure> {
    let (mut uri, mut vault, mut name, mut version) = (None, None, None, None);
    for part in inner
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let Some((key, value)) = part.split_once('=') else {
            return Err(malformed("a part without `=`"));
        };
        let slot = match key.trim().to_ascii_lowercase().as_str() {
            "secreturi" => &mut uri,
            "vaultname" => &mut vault,
            "secretname" => &mut name,
            "secretversion" => &mut version,
            _ => {
                return Err(malformed(
                    "the parts are SecretUri, or VaultName, SecretName and SecretVersion",
                ));
            }
        };
        if slot.replace(value.trim()).is_some() {
            return Err(malformed("a part stands twice"));
        }
    }
    let version = version.filter(|version| !version.is_empty());
    match (uri, vault, name) {
        (Some(uri), None, None) if version.is_none() => {
            match strip_prefix_ignore_case(uri, "https://") {
                Some(rest) => parse_url(rest),
                None => Err(malformed("SecretUri must start with https://")),
            }
        }
        (None, Some(vault), Some(name)) => SecretRef::new(parse_vault_part(vault)?, name, version),
        _ => Err(malformed(
            "it needs SecretUri alone, or VaultName and SecretName",
        )),
    }
}

/// `NAME[/VERSION]`, with or without a slash at its end.
fn parse_path(path: &str) -> Result<(&str, Option<&str>), Failure> {
    let path = path.strip_suffix('/').unwrap_or(path);
    match path.split_once('/') {
        None => Ok((path, None)),
        Some((_, version)) if version.is_empty() || version.contains('/') => Err(malformed(
            "what follows the secret's name is not one version",
        )),
        Some((name, version)) => Ok((name, Some(version))),
    }
}

fn check_secret_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(malformed("the secret's name is empty"));
    }
    if name.len() > 127 {
        return Err(malformed("a secret's name has at most 127 characters"));
    }
    let Some(bad) = name
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || *c == '-'))
    else {
        return Ok(());
    };
    let why = format!("Key Vault names cannot hold {:?}", bad.to_string());
    let likely = name.replace(['_', '.'], "-");
    if likely
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        return Err(malformed(format!("{why}; is it {likely:?}?")));
    }
    Err(malformed(why))
}

fn is_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What an error is about. The text is shown only as far as it looks like a reference: a connection string that starts
/// with one may hold a password further on.
fn subject(text: &str) -> String {
    let start = match strip_prefix_ignore_case(text, SCHEME) {
        Some(_) => SCHEME.len(),
        None => 0,
    };
    let odd = |(at, c): &(usize, char)| match c {
        // A port in the host's part, and nothing else: what follows a colon may be a password.
        ':' => {
            let (before, rest) = text[start..].split_at(*at);
            let rest = rest[1..].trim_start_matches(|c: char| c.is_ascii_digit());
            before.contains('/') || !(rest.is_empty() || rest.starts_with('/'))
        }
        c => !(c.is_ascii_alphanumeric() || "/._-".contains(*c)),
    };
    let end = match strip_prefix_ignore_case(text, APP_SERVICE) {
        Some(_) => APP_SERVICE.len(),
        None => text[start..]
            .char_indices()
            .find(odd)
            .map_or(text.len(), |(at, _)| start + at),
    };
    let rest = if end < text.len() { "…" } else { "" };
    format!("malformed reference `{}{rest}`", &text[..end])
}

fn malformed(why: impl Into<String>) -> Failure {
    Failure::new(Cause::Config, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_is_parsed_to_the_same_reference() {
        for text in [
            "sql-sa",
            "sql-sa/0123456789abcdef0123456789abcdef",
            "akv://prod-kv/sql-sa",
            "akv:///sql-sa?trim",
            "akv://prod-kv.vault.azure.net/sql-sa/1f?trim",
            "akv://vault:443/a",
            "akv://localhost:8443/a",
            "akv://[::1]:8443/a",
            "https://PROD-kv.vault.azure.net:443/secrets/sql-sa/",
            "@Microsoft.KeyVault(VaultName=prod-kv;SecretName=sql-sa;SecretVersion=)",
            "@Microsoft.KeyVault(SecretUri=https://prod-kv.vault.azure.net/secrets/sql-sa/1f)",
        ] {
            let reference = SecretRef::parse(text).unwrap();
            let displayed = reference.to_string();
            assert_eq!(
                SecretRef::parse(&displayed).unwrap(),
                reference,
                "{text} as {displayed}"
            );
        }
    }
}
