//! References to secrets and to access tokens, and the only parser of them.
//!
//! A reference names a vault, a secret and optionally a version, or a resource; it never holds a value. A malformed one
//! is an error before any request is sent. Names follow
//! <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#vault-name-and-object-name>.

pub mod dialects;
pub mod options;

use std::fmt;

use crate::error::Error;
use crate::request::environment::unquoted;
use crate::request::host::{VaultName, begins_with, strip_prefix_ignore_case};
use dialects::{
    SECRET_INIT_PREFIX, TAKES_NO_OPTIONS, VALS_PREFIX, VALS_SECRET_PREFIX,
    check_not_of_another_tool, find_vals,
};
use options::SecretOptions;

/// How references to secrets begin.
pub const AKV_PREFIX: &str = "akv://";
const TOKEN_PREFIX: &str = "entra-token:";
const APP_SERVICE_PREFIX: &str = "@microsoft.keyvault(";
/// What a reference in a variable begins with, in lower case.
const PREFIXES: [&str; 3] = [AKV_PREFIX, TOKEN_PREFIX, APP_SERVICE_PREFIX];

/// What a variable or a file gets its value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A secret in a vault.
    Secret(SecretRef),
    /// An access token for this resource.
    Token(String),
}

/// A secret, as a reference names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// The vault; `None` means the default vault.
    pub vault: Option<VaultName>,
    /// The name of the secret, in the case in which it was written.
    pub name: String,
    /// The version of the secret; `None` means the current one.
    pub version: Option<String>,
    /// What is made of the secret. Only `akv://` has options.
    pub options: SecretOptions,
}

impl Reference {
    /// Parses a reference on the command line, in any form.
    pub fn parse(text: &str) -> Result<Reference, Error> {
        let text = text.trim();
        check_not_quoted(text)?;
        let result = parse_prefixed(text).unwrap_or_else(|| {
            parse_without_options(text, parse_unprefixed).map(Reference::Secret)
        });
        result.map_err(|error| error.context(error_context(text)))
    }

    /// Parses a reference in the value of a variable. `None` unless it [begins with a reference](begins_with_reference).
    pub fn parse_in_variable(text: &str) -> Option<Result<Reference, Error>> {
        let result = parse_prefixed(text)?;
        Some(result.map_err(|error| with_variable_context(error, text)))
    }

    /// The reference that is the whole value of the variable `name`; `None` if the value is not a reference. Fails if
    /// the value was probably meant to be one: COMMAND would otherwise use the text as the password.
    pub fn detect(name: &str, value: &str) -> Result<Option<Reference>, Error> {
        let text = value.trim();
        if let Some(result) = Reference::parse_in_variable(text) {
            return result.map(Some);
        }
        let pass_on_hint = pass_on_hint(name);
        check_not_quoted(text).map_err(|error| add_hint(error, &pass_on_hint))?;
        let lower = value.to_ascii_lowercase();
        if PREFIXES.iter().any(|prefix| lower.contains(prefix)) {
            let reason = "a reference must be the whole value, or be in braces";
            return Err(Error::config(reason).hint(format!(
                "write it in braces, as in `user:{{akv://VAULT/NAME}}@host`, or in a variable of its own; {pass_on_hint}"
            )));
        }
        if let Some(inside) = find_vals(text) {
            let reference = match parse_prefixed(inside) {
                Some(Ok(Reference::Secret(reference))) => reference.to_string(),
                _ => "akv://VAULT/NAME".to_owned(),
            };
            let error = Error::config("a reference of vals must be the whole value");
            let hint = format!("write {{{reference}}}; {pass_on_hint}");
            return Err(error.hint(hint));
        }
        // `akv:` without a slash may be the name of an image or a prefix of keys.
        let after_prefix = |prefix| strip_prefix_ignore_case(text, prefix);
        let is_path = after_prefix("akv:").is_some_and(|rest| rest.contains('/'));
        if is_path
            || after_prefix("akv//").is_some()
            || after_prefix("@microsoft.keyvault").is_some()
        {
            return Err(
                Error::config("the value looks like a reference but is malformed")
                    .hint(format!("write akv://VAULT/NAME; {pass_on_hint}")),
            );
        }
        check_not_of_another_tool(text).map_err(|error| add_hint(error, &pass_on_hint))?;
        Ok(None)
    }
}

/// Fails if a text is a good reference in quotes.
fn check_not_quoted(text: &str) -> Result<(), Error> {
    let inside = unquoted(text);
    let is_reference = matches!(parse_prefixed(inside), Some(Ok(_)));
    match inside.len() < text.len() && is_reference {
        true => Err(quoted_error()),
        false => Ok(()),
    }
}

/// The error for a reference in quotes.
pub fn quoted_error() -> Error {
    let hint = "write it without quotes: `docker run --env-file`, for example, makes them a part of the value";
    Error::config("the reference is in quotes").hint(hint)
}

/// Adds a hint to that of the error.
pub fn add_hint(error: Error, hint: &str) -> Error {
    let hint = match &error.hint {
        Some(first) => format!("{first}; {hint}"),
        None => hint.to_owned(),
    };
    error.hint(hint)
}

/// The hint for a variable whose value is not meant to be a reference.
pub fn pass_on_hint(name: &str) -> String {
    format!("to pass the value on unchanged, add --literal {name} or set AKV_INIT_LITERAL={name}")
}

/// Whether a text begins with a reference that variables can contain, good or not.
pub fn begins_with_reference(text: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| begins_with(text, prefix))
}

impl SecretRef {
    /// A reference without options. Fails if the name or the version is malformed.
    fn new(
        vault: Option<VaultName>,
        name: &str,
        version: Option<&str>,
    ) -> Result<SecretRef, Error> {
        check_secret_name(name)?;
        if version.is_some_and(|version| !is_generated_version(version)) {
            let hint = match name.eq_ignore_ascii_case("secrets") {
                true => "write `secrets/` once, before the name",
                false => "leave it out for the current version",
            };
            return Err(Error::config("a version has 32 hexadecimal digits").hint(hint));
        }
        let (name, version) = (name.to_owned(), version.map(str::to_owned));
        Ok(SecretRef {
            vault,
            name,
            version,
            options: SecretOptions::default(),
        })
    }
}

/// The reference as `akv://…`: one text for each meaning.
impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(AKV_PREFIX)?;
        if let Some(vault) = &self.vault {
            write!(f, "{vault}")?;
        }
        write!(f, "/{}", self.name)?;
        if let Some(version) = &self.version {
            write!(f, "/{version}")?;
        }
        f.write_str(&self.options.to_text())
    }
}

/// Parses the forms with a prefix, which variables can contain too: `akv://…`, `@Microsoft.KeyVault(…)`,
/// `entra-token:…`, and those of other tools. `None` if there is no such prefix.
fn parse_prefixed(text: &str) -> Option<Result<Reference, Error>> {
    if let Some(rest) = strip_prefix_ignore_case(text, AKV_PREFIX) {
        return Some(parse_akv(rest).map(Reference::Secret));
    }
    if let Some(resource) = strip_prefix_ignore_case(text, TOKEN_PREFIX) {
        return Some(check_resource(resource).map(|()| Reference::Token(resource.to_owned())));
    }
    if let Some(translated) = dialects::translate(text) {
        let parse = |text: String| parse_akv(&text[AKV_PREFIX.len()..]);
        return Some(translated.and_then(parse).map(Reference::Secret));
    }
    let parse_closed = |text: &str| match text.strip_suffix(')') {
        Some(inner) => parse_app_service(inner),
        None => Err(Error::config("the closing parenthesis is missing")),
    };
    let rest = strip_prefix_ignore_case(text, APP_SERVICE_PREFIX)?;
    Some(parse_without_options(rest, parse_closed).map(Reference::Secret))
}

/// Parses a form that takes no options. If options follow it, the error says how to write the reference.
fn parse_without_options(
    text: &str,
    parse: impl Fn(&str) -> Result<SecretRef, Error>,
) -> Result<SecretRef, Error> {
    let (before_field, fragment) = split_at_first(text, '#');
    let (form, query) = split_at_first(before_field, '?');
    let with_options = || {
        let options = SecretOptions::parse(query, fragment).ok()?;
        (options != SecretOptions::default()).then_some(())?;
        Some(SecretRef {
            options,
            ..parse(form).ok()?
        })
    };
    match with_options() {
        None => parse(text),
        Some(reference) => {
            let options = reference.options.shown().to_text();
            let plain = SecretRef {
                options: SecretOptions::default(),
                ..reference
            };
            // After a colon there may be a part of a password.
            let hint = match options.contains(':') {
                true => format!("write {plain} and the options"),
                false => format!("write {plain}{options}"),
            };
            Err(Error::config(TAKES_NO_OPTIONS).hint(hint))
        }
    }
}

/// Parses the forms without a prefix, which are accepted only on the command line: a URL, `NAME` and `NAME/VERSION`.
fn parse_unprefixed(text: &str) -> Result<SecretRef, Error> {
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
        Some((name, version)) if is_generated_version(version) => {
            SecretRef::new(None, name, Some(version))
        }
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

/// Fails if a text cannot be the resource of an access token, which is used in queries, forms and command lines.
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

/// Parses `VAULT/NAME[/VERSION][?OPTION[&OPTION]…][#POINTER]`, which follows `akv://`.
fn parse_akv(rest: &str) -> Result<SecretRef, Error> {
    let (rest, fragment) = split_at_first(rest, '#');
    let (path, query) = split_at_first(rest, '?');
    let reference = parse_path_and_vault(path)?;
    let options = SecretOptions::parse(query, fragment)?;
    Ok(SecretRef {
        options,
        ..reference
    })
}

/// Parses `VAULT/NAME[/VERSION]`.
pub fn parse_path_and_vault(path: &str) -> Result<SecretRef, Error> {
    if let Some(url) = strip_prefix_ignore_case(path, "https://") {
        let reference = parse_url(url).map(|reference| reference.to_string());
        let reference = reference.unwrap_or_else(|_| "akv://VAULT/NAME".to_owned());
        let reason = "a URL cannot follow akv://";
        return Err(Error::config(reason).hint(format!("write {reference}")));
    }
    let Some((vault, path)) = path.split_once('/') else {
        return Err(Error::config("the secret name is missing").hint("write akv://VAULT/NAME"));
    };
    let vault = match vault {
        "" => None,
        vault => Some(VaultName::parse(vault)?),
    };
    // A generated version after `secrets/` is one of the secret named `secrets`. Anything else there may be a pasted
    // value, so it is not shown.
    for (start, reason, hint) in URL_PATHS {
        let rest = strip_prefix_ignore_case(path, start).map(|rest| rest.trim_end_matches('/'));
        if rest.is_some_and(|rest| !rest.is_empty() && !is_generated_version(rest)) {
            return Err(Error::config(reason).hint(hint));
        }
    }
    let (name, version) = parse_path(path)?;
    SecretRef::new(vault, name, version)
}

/// How the path of a URL of a vault begins: what is wrong with it behind `akv://VAULT/`, and what to write.
const URL_PATHS: [(&str, &str, &str); 3] = [
    (
        "secrets/",
        "`secrets/` belongs only in an https:// URL",
        "write akv://VAULT/NAME or akv://VAULT/NAME/VERSION",
    ),
    (
        "certificates/",
        "only secrets are read, and a certificate has a secret of the same name",
        "write akv://VAULT/NAME?pem=chain for the certificates, or ?pem=key for the key",
    ),
    (
        "keys/",
        "only secrets are read, and keys never leave the vault",
        "store the key as a secret, and write akv://VAULT/NAME",
    ),
];

/// The text before the first `separator`, and the text after it; `None` if there is no separator.
pub fn split_at_first(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Parses `HOST/secrets/NAME[/VERSION]`, which follows `https://`.
fn parse_url(rest: &str) -> Result<SecretRef, Error> {
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let vault = VaultName::parse(host)?;
    if let VaultName::Short(_) = vault {
        return Err(Error::config(
            "expected a hostname, not the short name of a vault",
        ));
    }
    // The URI of a vault ends in a slash, to which templates append another.
    let path = path.strip_prefix('/').unwrap_or(path);
    let Some(path) = strip_prefix_ignore_case(path, "secrets/") else {
        return Err(Error::config(
            "expected https://HOST/secrets/NAME[/VERSION]",
        ));
    };
    let (name, version) = parse_path(path)?;
    SecretRef::new(Some(vault), name, version)
}

/// Parses what is between the parentheses of `@Microsoft.KeyVault(…)`
/// (<https://learn.microsoft.com/azure/app-service/app-service-key-vault-references#source-app-settings-from-key-vault>).
fn parse_app_service(inner: &str) -> Result<SecretRef, Error> {
    const KEYS: [&str; 4] = ["SecretUri", "VaultName", "SecretName", "SecretVersion"];
    let syntax_error = || {
        Error::config("expected SecretUri, or VaultName, SecretName and optionally SecretVersion")
    };
    let mut values = [""; 4];
    let parts = inner.split(';').map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let is_key = |known: &&str| known.eq_ignore_ascii_case(key.trim());
        match KEYS.iter().position(is_key) {
            Some(index) if values[index].is_empty() => values[index] = value.trim(),
            _ => return Err(syntax_error()),
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
        _ => Err(syntax_error()),
    }
}

/// Parses `NAME[/VERSION]`, which may end in a slash.
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

/// Fails if a text cannot be the name of a secret.
pub fn check_secret_name(name: &str) -> Result<(), Error> {
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
    if invalid == '*' {
        let hint = "for many secrets, use --from 'akv://VAULT/START*?prefix=APP_'";
        return Err(Error::config("a secret name cannot contain `*`").hint(hint));
    }
    let invalid = match invalid.is_whitespace() {
        true => "white space".to_owned(),
        false => format!("`{}`", invalid.escape_debug()),
    };
    let error = Error::config(format!("a secret name cannot contain {invalid}"));
    let suggestion = name.replace(['_', '.'], "-");
    let hint = suggestion
        .chars()
        .all(is_valid)
        .then(|| format!("did you mean `{suggestion}`?"));
    Err(error.set_hint(hint))
}

/// Whether a text has the form of the versions that Key Vault generates: 32 hexadecimal digits.
fn is_generated_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Adds to the error of a reference in a variable what the reference is, as far as that is shown.
fn with_variable_context(error: Error, text: &str) -> Error {
    let error = error.context(error_context(text));
    match text.contains("$(") {
        true => error
            .hint("Kubernetes did not expand `$(NAME)`: define NAME before this variable in `env`"),
        false => error,
    }
}

/// The context of an error about a reference. It shows the text only as far as that looks like a reference: a
/// connection string that starts like one may contain a password further on, after a colon for example.
pub fn error_context(text: &str) -> String {
    let mut prefixes = [
        TOKEN_PREFIX,
        APP_SERVICE_PREFIX,
        SECRET_INIT_PREFIX,
        VALS_PREFIX,
        VALS_SECRET_PREFIX,
    ]
    .into_iter();
    let prefix = prefixes.find(|prefix| strip_prefix_ignore_case(text, prefix).is_some());
    let start = prefix.map_or(0, str::len);
    let rest = &text[start..];
    let ends_reference = |(index, c): &(usize, char)| {
        let is_allowed = c.is_ascii_alphanumeric() || "/._-".contains(*c);
        prefix == Some(APP_SERVICE_PREFIX) || !is_allowed && !rest[*index..].starts_with("://")
    };
    match rest.char_indices().find(ends_reference) {
        None => format!("malformed reference `{text}`"),
        Some((end, _)) => format!("malformed reference `{}…`", &text[..start + end]),
    }
}
