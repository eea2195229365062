//! References to secrets and to access tokens: the only parser of them, and their canonical form.
//!
//! A reference names a vault, a secret and perhaps a version, or a resource; it never holds a value. What is refused
//! here is refused before any request, each with its own message. Names follow
//! <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#vault-name-and-object-name>.
//! Displaying a [`SecretRef`] gives a text that parses to the same reference.

mod forms;

use std::fmt;

use crate::error::Error;
use crate::request::host::{VaultName, strip_prefix_ignore_case};

pub use forms::check_resource;
use forms::{
    APP_SERVICE, SCHEME, TOKEN_SCHEME, check_secret_name, is_nearly, malformed, parse_any,
    parse_full,
};

const UNEXPANDED: &str =
    "`$(NAME)` was not expanded: Kubernetes only knows a NAME that is defined before it";

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

/// What a variable can get its value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A vault.
    Secret(SecretRef),
    /// Entra, or whoever issues access tokens here: the resource of the token.
    Token(String),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Secret(secret) => secret.fmt(f),
            Reference::Token(resource) => write!(f, "{TOKEN_SCHEME}{resource}"),
        }
    }
}

/// What the value of an environment variable is.
#[derive(Debug)]
pub enum Found {
    /// An ordinary value.
    Plain,
    /// The whole value is a reference.
    Reference(Reference),
}

impl Reference {
    /// Parses what stands behind `--secret NAME=`: every form.
    pub fn parse(text: &str) -> Result<Reference, Error> {
        let text = text.trim();
        parse_any(text).map_err(|error| error.context(subject(text)))
    }

    /// Looks at the value of an environment variable: a reference, something that was meant as one, or neither.
    pub fn find(value: &str) -> Result<Found, Error> {
        let text = value.trim();
        if let Some(found) = parse_full(text) {
            return found.map(Found::Reference).map_err(|error| {
                let error = error.context(subject(text));
                match text.contains("$(") {
                    true => error.hint(UNEXPANDED),
                    false => error,
                }
            });
        }
        let lower = value.to_ascii_lowercase();
        if [SCHEME, TOKEN_SCHEME, APP_SERVICE]
            .iter()
            .any(|start| lower.contains(start))
        {
            return Err(malformed("the value contains a reference but is not one as a whole").hint(
                "a reference must be the whole value; Kubernetes expands $(NAME) in later values before the \
                 container starts; `--literal NAME` passes the value on as it is",
            ));
        }
        // Passed on, the text itself would become a password.
        if is_nearly(text) {
            return Err(malformed("the value looks like a reference and is none")
                .hint("write akv://VAULT/NAME; `--literal NAME` passes the value on as it is"));
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
}

impl SecretRef {
    fn new(vault: VaultName, name: &str, version: Option<&str>) -> Result<SecretRef, Error> {
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

/// What an error is about. The text is shown only as far as it looks like a reference: a connection string that starts
/// with one may hold a password further on.
fn subject(text: &str) -> String {
    let scheme = [SCHEME, TOKEN_SCHEME]
        .into_iter()
        .find(|scheme| strip_prefix_ignore_case(text, scheme).is_some());
    let start = scheme.map_or(0, str::len);
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
            "entra-token:https://database.windows.net/",
        ] {
            let reference = Reference::parse(text).unwrap();
            let displayed = reference.to_string();
            assert_eq!(
                Reference::parse(&displayed).unwrap(),
                reference,
                "{text} as {displayed}"
            );
        }
    }
}
