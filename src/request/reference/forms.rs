//! The forms of a reference, each with its parser. Errors say what is wrong; what it is about is for the caller to add.

use super::{Reference, SecretRef};
use crate::error::{Cause, Error};
use crate::request::host::{VaultName, parse_vault_part, strip_prefix_ignore_case};

pub const SCHEME: &str = "akv://";
pub const TOKEN_SCHEME: &str = "entra-token:";
pub const APP_SERVICE: &str = "@microsoft.keyvault(";

/// Whether a text that is none was meant as a reference. `akv:` without a path is somebody's image, or a prefix of keys.
pub fn is_nearly(text: &str) -> bool {
    let starts = |start: &str| strip_prefix_ignore_case(text, start);
    let is_path = starts("akv:").is_some_and(|rest| rest.contains('/'));
    is_path || starts("akv//").is_some() || starts("@microsoft.keyvault").is_some()
}

/// Every form that `--secret` takes.
pub fn parse_any(text: &str) -> Result<Reference, Error> {
    match parse_full(text) {
        Some(found) => found,
        None => parse_option(text).map(Reference::Secret),
    }
}

/// The forms that only `--secret` takes.
fn parse_option(text: &str) -> Result<SecretRef, Error> {
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
            let error = malformed("what follows NAME/ is not a version of 32 hexadecimal digits");
            let names = [first, second]
                .iter()
                .all(|name| check_secret_name(name).is_ok());
            Err(error
                .maybe_hint(names.then(|| format!("for a vault and a name, write akv://{text}"))))
        }
    }
}

/// The forms that are recognised wherever they stand: `akv://…`, `@Microsoft.KeyVault(…)`, `entra-token:…`.
pub fn parse_full(text: &str) -> Option<Result<Reference, Error>> {
    if let Some(rest) = strip_prefix_ignore_case(text, SCHEME) {
        return Some(parse_akv(rest).map(Reference::Secret));
    }
    if let Some(resource) = strip_prefix_ignore_case(text, TOKEN_SCHEME) {
        return Some(check_resource(resource).map(|()| Reference::Token(resource.to_owned())));
    }
    strip_prefix_ignore_case(text, APP_SERVICE).map(|rest| match rest.strip_suffix(')') {
        Some(inner) => parse_app_service(inner).map(Reference::Secret),
        None => Err(malformed("the closing parenthesis is missing")),
    })
}

/// Refuses what cannot be the resource of an access token: it becomes a part of a query, a form or a command line.
pub fn check_resource(resource: &str) -> Result<(), Error> {
    if resource.is_empty() || resource.starts_with('-') {
        return Err(malformed("the resource is missing")
            .hint("write a resource such as https://database.windows.net/"));
    }
    if resource.ends_with("/.default") {
        return Err(malformed("this is a scope, not a resource")
            .hint("leave /.default out, or give it to `akv-init token` with --scope"));
    }
    match resource
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b":/._-".contains(&b))
    {
        true => Ok(()),
        false => Err(malformed(
            "expected a URL or the ID of an application as the resource",
        )),
    }
}

/// `VAULT/NAME[/VERSION][?OPTIONS]`, behind `akv://`.
fn parse_akv(rest: &str) -> Result<SecretRef, Error> {
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
    // As in the URL; a secret of that name has a version of 32 digits. The rest may be anything, and is not shown.
    let rest = strip_prefix_ignore_case(path, "secrets/").map(|rest| rest.trim_end_matches('/'));
    if rest.is_some_and(|rest| !rest.is_empty() && !is_version(rest)) {
        return Err(malformed("`secrets/` is a part of the URL alone")
            .hint("write akv://VAULT/NAME or akv://VAULT/NAME/VERSION, without it"));
    }
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
fn parse_url(rest: &str) -> Result<SecretRef, Error> {
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
fn parse_app_service(inner: &str) -> Result<SecretRef, Error> {
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
fn parse_path(path: &str) -> Result<(&str, Option<&str>), Error> {
    let path = path.strip_suffix('/').unwrap_or(path);
    match path.split_once('/') {
        None => Ok((path, None)),
        Some((_, version)) if version.is_empty() || version.contains('/') => Err(malformed(
            "what follows the secret's name is not one version",
        )),
        Some((name, version)) => Ok((name, Some(version))),
    }
}

pub fn check_secret_name(name: &str) -> Result<(), Error> {
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

/// What is wrong with a reference.
pub fn malformed(why: impl Into<String>) -> Error {
    Error::new(Cause::Config, why)
}
