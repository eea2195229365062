//! References to secrets and to access tokens: the only parser of them, and their canonical form.
//!
//! A reference names a vault, a secret and optionally a version, or a resource; it never holds a value. A malformed one
//! is an error before any request. Names follow
//! <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#vault-name-and-object-name>.

use crate::error::Error;
use crate::request::host::{VaultName, strip_prefix_ignore_case};

const SCHEME: &str = "akv://";
const TOKEN_SCHEME: &str = "entra-token:";
const APP_SERVICE: &str = "@microsoft.keyvault(";

/// What the value of a variable or a file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A secret in a vault.
    Secret(SecretRef),
    /// An access token, by its resource.
    Token(String),
}

/// A secret, as the user refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// The vault; `None` is the default one.
    pub vault: Option<VaultName>,
    /// The secret name, as written.
    pub name: String,
    /// The secret version; `None` is the current one.
    pub version: Option<String>,
    /// `?trim`: remove newlines at the end of the value.
    pub trim: bool,
}

impl Reference {
    /// Parses every form that the command line takes.
    pub fn parse(text: &str) -> Result<Reference, Error> {
        let text = text.trim();
        let parsed = parse_full(text).unwrap_or_else(|| parse_short(text).map(Reference::Secret));
        parsed.map_err(|error| error.context(subject(text)))
    }

    /// The reference that is the whole value of a variable, if it is one. A value that was probably meant as one is an
    /// error: if it were passed on, its text would become the password.
    pub fn find(name: &str, value: &str) -> Result<Option<Reference>, Error> {
        let text = value.trim();
        if let Some(parsed) = parse_full(text) {
            return parsed.map(Some).map_err(|error| {
                let error = error.context(subject(text));
                match text.contains("$(") {
                    true => error.hint(
                        "Kubernetes did not expand `$(NAME)`: define NAME before this variable in `env`",
                    ),
                    false => error,
                }
            });
        }
        let pass_on = format!("to pass the value on unchanged, add --literal {name}");
        let lower = value.to_ascii_lowercase();
        if [SCHEME, TOKEN_SCHEME, APP_SERVICE]
            .iter()
            .any(|start| lower.contains(start))
        {
            let reason = "a reference must be the whole value, not a part of it";
            return Err(Error::config(reason).hint(format!(
                "put the reference into a variable of its own; {pass_on}"
            )));
        }
        // `akv:` without a path may be an image or a prefix of keys.
        let starts = |start| strip_prefix_ignore_case(text, start);
        let is_path = starts("akv:").is_some_and(|rest| rest.contains('/'));
        if is_path || starts("akv//").is_some() || starts("@microsoft.keyvault").is_some() {
            return Err(
                Error::config("the value looks like a reference but is malformed")
                    .hint(format!("write akv://VAULT/NAME; {pass_on}")),
            );
        }
        // As a whole value only: `…@azurekeyvault` also ends the user part of many a URL, password included.
        if let Some((secret, rest)) = text.split_once("@azurekeyvault")
            && (rest.is_empty() || rest.starts_with('?'))
            && check_secret_name(secret).is_ok()
        {
            return Err(
                Error::config("`NAME@azurekeyvault` is the syntax of another tool")
                    .hint(format!("write akv://VAULT/{secret}; {pass_on}")),
            );
        }
        Ok(None)
    }
}

impl SecretRef {
    fn new(
        vault: Option<VaultName>,
        name: &str,
        version: Option<&str>,
    ) -> Result<SecretRef, Error> {
        check_secret_name(name)?;
        let is_invalid = |version: &str| {
            version.len() > 127 || !version.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if version.is_some_and(is_invalid) {
            return Err(Error::config(
                "a secret version contains only letters and digits",
            ));
        }
        let (name, version) = (name.to_owned(), version.map(str::to_owned));
        Ok(SecretRef {
            vault,
            name,
            version,
            trim: false,
        })
    }
}

/// The forms that are recognized in variables, too: `akv://…`, `@Microsoft.KeyVault(…)`, `entra-token:…`.
fn parse_full(text: &str) -> Option<Result<Reference, Error>> {
    if let Some(rest) = strip_prefix_ignore_case(text, SCHEME) {
        return Some(parse_akv(rest).map(Reference::Secret));
    }
    if let Some(resource) = strip_prefix_ignore_case(text, TOKEN_SCHEME) {
        return Some(check_resource(resource).map(|()| Reference::Token(resource.to_owned())));
    }
    strip_prefix_ignore_case(text, APP_SERVICE).map(|rest| match rest.strip_suffix(')') {
        Some(inner) => parse_app_service(inner).map(Reference::Secret),
        None => Err(Error::config("the closing parenthesis is missing")),
    })
}

/// The forms that only the command line takes: a URL, `NAME` and `NAME/VERSION`.
fn parse_short(text: &str) -> Result<SecretRef, Error> {
    if let Some(rest) = strip_prefix_ignore_case(text, "https://") {
        return parse_url(rest);
    }
    if strip_prefix_ignore_case(text, "http://").is_some() {
        return Err(Error::config("vaults are only accessed over https").hint("write https://"));
    }
    if text.contains("://") {
        return Err(Error::config(
            "expected akv://, https://, entra-token: or @Microsoft.KeyVault( at the start",
        ));
    }
    match text.split_once('/') {
        None => SecretRef::new(None, text, None),
        Some((name, version)) if is_version(version) => SecretRef::new(None, name, Some(version)),
        Some((first, second)) => {
            let are_names = [first, second]
                .iter()
                .all(|name| check_secret_name(name).is_ok());
            let hint = are_names.then(|| format!("for a vault and a name, write akv://{text}"));
            Err(
                Error::config("expected a version of 32 hexadecimal digits after NAME/")
                    .set_hint(hint),
            )
        }
    }
}

/// Checks the resource of an access token: it becomes a part of a query, a form or a command line.
pub fn check_resource(resource: &str) -> Result<(), Error> {
    if resource.is_empty() || resource.starts_with('-') {
        return Err(Error::config("expected a resource")
            .hint("write a resource such as https://database.windows.net/"));
    }
    if resource.ends_with("/.default") {
        return Err(Error::config("this is a scope, not a resource")
            .hint("remove /.default, or use `akv-init token --scope`"));
    }
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || b":/._-".contains(&b);
    if !resource.bytes().all(is_valid) {
        return Err(Error::config(
            "expected a URL or an application id as the resource",
        ));
    }
    Ok(())
}

/// `VAULT/NAME[/VERSION][?trim]`, the part after `akv://`.
fn parse_akv(rest: &str) -> Result<SecretRef, Error> {
    let (path, options) = match rest.split_once('?') {
        Some((path, options)) => (path, Some(options)),
        None => (rest, None),
    };
    let Some((vault, path)) = path.split_once('/') else {
        return Err(Error::config("the secret name is missing").hint("write akv://VAULT/NAME"));
    };
    let vault = match vault {
        "" => None,
        vault => Some(VaultName::parse(vault)?),
    };
    // A secret named `secrets` has a version of 32 digits. Anything else after it may be a value, and is not shown.
    let rest = strip_prefix_ignore_case(path, "secrets/").map(|rest| rest.trim_end_matches('/'));
    if rest.is_some_and(|rest| !rest.is_empty() && !is_version(rest)) {
        return Err(Error::config("`secrets/` belongs only in an https:// URL")
            .hint("write akv://VAULT/NAME or akv://VAULT/NAME/VERSION"));
    }
    let (name, version) = parse_path(path)?;
    let reference = SecretRef::new(vault, name, version)?;
    match options {
        Some(options) if options.split('&').any(|option| option != "trim") => {
            Err(Error::config("the only option after `?` is `trim`"))
        }
        options => Ok(SecretRef {
            trim: options.is_some(),
            ..reference
        }),
    }
}

/// `HOST/secrets/NAME[/VERSION]`, the part after `https://`.
fn parse_url(rest: &str) -> Result<SecretRef, Error> {
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let vault = VaultName::parse(host)?;
    if let VaultName::Short(_) = vault {
        return Err(Error::config(
            "expected a hostname, not the short name of a vault",
        ));
    }
    let Some(path) = strip_prefix_ignore_case(path, "secrets/") else {
        return Err(Error::config(
            "expected https://HOST/secrets/NAME[/VERSION]",
        ));
    };
    let (name, version) = parse_path(path)?;
    SecretRef::new(Some(vault), name, version)
}

/// The part between the parentheses of `@Microsoft.KeyVault(…)`
/// (<https://learn.microsoft.com/azure/app-service/app-service-key-vault-references#source-app-settings-from-key-vault>).
fn parse_app_service(inner: &str) -> Result<SecretRef, Error> {
    const KEYS: [&str; 4] = ["SecretUri", "VaultName", "SecretName", "SecretVersion"];
    let unexpected = || {
        Error::config("expected SecretUri, or VaultName, SecretName and optionally SecretVersion")
    };
    let mut values = [""; 4];
    let parts = inner.split(';').map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let known = |known: &&str| known.eq_ignore_ascii_case(key.trim());
        match KEYS.iter().position(known) {
            Some(at) if values[at].is_empty() => values[at] = value.trim(),
            _ => return Err(unexpected()),
        }
    }
    match values {
        [uri, "", "", ""] if !uri.is_empty() => match strip_prefix_ignore_case(uri, "https://") {
            Some(rest) => parse_url(rest),
            None => Err(Error::config("SecretUri must start with https://")),
        },
        ["", vault, name, version] if !vault.is_empty() && !name.is_empty() => {
            let version = Some(version).filter(|version| !version.is_empty());
            SecretRef::new(Some(VaultName::parse(vault)?), name, version)
        }
        _ => Err(unexpected()),
    }
}

/// `NAME[/VERSION]`, optionally with a slash at the end.
fn parse_path(path: &str) -> Result<(&str, Option<&str>), Error> {
    let path = path.strip_suffix('/').unwrap_or(path);
    match path.split_once('/') {
        None => Ok((path, None)),
        Some((_, version)) if version.is_empty() || version.contains('/') => Err(Error::config(
            "expected nothing after the secret name but a version",
        )),
        Some((name, version)) => Ok((name, Some(version))),
    }
}

fn check_secret_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::config("the secret name is empty"));
    }
    if name.len() > 127 {
        return Err(Error::config("a secret name has at most 127 characters"));
    }
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let Some(invalid) = name.chars().find(|c| !is_valid(*c)) else {
        return Ok(());
    };
    let invalid = match invalid.is_whitespace() {
        true => "white space".to_owned(),
        false => format!("`{}`", invalid.escape_debug()),
    };
    let error = Error::config(format!("a secret name cannot contain {invalid}"));
    let likely = name.replace(['_', '.'], "-");
    let hint = likely
        .chars()
        .all(is_valid)
        .then(|| format!("did you mean `{likely}`?"));
    Err(error.set_hint(hint))
}

fn is_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The subject of an error. The text is shown only as far as it looks like a reference: a connection string that starts
/// with one may hold a password further on, such as after a colon.
fn subject(text: &str) -> String {
    let mut schemes = [TOKEN_SCHEME, APP_SERVICE].into_iter();
    let scheme = schemes.find(|scheme| strip_prefix_ignore_case(text, scheme).is_some());
    let start = scheme.map_or(0, str::len);
    let rest = &text[start..];
    let is_foreign = |(at, c): &(usize, char)| {
        let is_plain = c.is_ascii_alphanumeric() || "/._-".contains(*c);
        scheme == Some(APP_SERVICE) || !is_plain && !rest[*at..].starts_with("://")
    };
    match rest.char_indices().find(is_foreign) {
        None => format!("malformed reference `{text}`"),
        Some((at, _)) => format!("malformed reference `{}…`", &text[..start + at]),
    }
}
