//! References of other tools. Two forms are translated; others get a hint, since passed on they would be used as the
//! password.

use crate::error::Error;
use crate::request::host::{begins_with, strip_prefix_ignore_case};

/// How secret-init of Bank-Vaults writes a secret of the default vault: `azure:keyvault:NAME[/VERSION]`.
pub const SECRET_INIT_PREFIX: &str = "azure:keyvault:";
/// How vals writes a secret: `ref+azurekeyvault://VAULT/NAME[/VERSION][#/FIELD][+]`.
pub const VALS_PREFIX: &str = "ref+azurekeyvault://";
/// How vals writes a secret that it masks.
pub const VALS_SECRET_PREFIX: &str = "secretref+azurekeyvault://";
/// Why an option after a reference in another form than `akv://` is an error.
pub const TAKES_NO_OPTIONS: &str = "only a reference that begins with akv:// takes options";
/// How references to other stores begin: those of vals, 1Password, Berglas, and a tool for Key Vault of 2017.
const OTHER_STORES: [&str; 5] = ["ref+", "secretref+", "op://", "sm://", "keyvault://"];

/// The `akv://…` that a reference of secret-init or vals means; `None` if the text is neither.
pub fn translate(text: &str) -> Option<Result<String, Error>> {
    if let Some(path) = strip_prefix_ignore_case(text, SECRET_INIT_PREFIX) {
        let translated = format!("akv:///{path}");
        return Some(match path.contains(['?', '#']) {
            true => Err(options_error(&translated)),
            false => Ok(translated),
        });
    }
    let rest = strip_prefix_ignore_case(text, VALS_PREFIX)
        .or_else(|| strip_prefix_ignore_case(text, VALS_SECRET_PREFIX))?;
    let rest = rest.strip_suffix('+').unwrap_or(rest);
    if rest.starts_with('/') {
        let error = Error::config("vals has no default vault");
        return Some(Err(
            error.hint("write the vault, or akv:///NAME for the default one")
        ));
    }
    let (path, field) = match rest.split_once('#') {
        None => (rest, String::new()),
        // Its fields have no escapes.
        Some((path, field)) => {
            let field = field.strip_prefix('/').unwrap_or(field);
            (path, format!("#/{}", field.replace('~', "~0")))
        }
    };
    Some(match path.split_once('?') {
        None => Ok(format!("akv://{path}{field}")),
        Some((path, _)) => Err(options_error(&format!("akv://{path}{field}"))),
    })
}

/// The error for a reference of another tool with options. The hint does not show what follows the name, which may be a
/// part of a password.
fn options_error(translated: &str) -> Error {
    let is_in_path = |c: char| c.is_ascii_alphanumeric() || "/:.-".contains(c);
    let end = translated.find(|c| !is_in_path(c));
    let path = &translated[..end.unwrap_or(translated.len())];
    Error::config(TAKES_NO_OPTIONS).hint(format!("write {path} and the options"))
}

/// Whether a text begins with a reference of vals, good or not.
pub fn begins_with_vals(text: &[u8]) -> bool {
    begins_with(text, VALS_PREFIX)
}

/// The first reference of vals in a text, up to its `+`; `None` if there is none.
pub fn find_vals(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let start = (0..bytes.len()).find(|start| begins_with_vals(&bytes[*start..]))?;
    let prefix_end = start + VALS_PREFIX.len();
    let length = text[prefix_end..].find(|c: char| c == '+' || c.is_whitespace());
    Some(&text[start..length.map_or(text.len(), |length| prefix_end + length)])
}

/// Fails if a value was meant for another tool that reads Key Vault, and is not translated.
pub fn check_not_of_another_tool(text: &str) -> Result<(), Error> {
    if strip_prefix_ignore_case(text, "keyvaultref:").is_some() {
        let reason = "`keyvaultref:` is for the secrets of Container Apps, not for a variable";
        return Err(Error::config(reason).hint(
            "write akv://VAULT/NAME; the identity is AKV_INIT_RESOURCE_ID or AKV_INIT_CLIENT_ID",
        ));
    }
    // Only as the whole value: elsewhere it may be part of a URL, `https://USER:PASSWORD@azurekeyvault…`.
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if let Some((object, rest)) = text.split_once("@azurekeyvault")
        && (rest.is_empty() || rest.starts_with('?'))
        && !object.is_empty()
        && object.chars().all(is_in_name)
    {
        // Another key is not shown: it may be a part of a password.
        let options = match rest {
            "" | "?" => "",
            "?tls.crt" => "?pem=chain",
            "?tls.key" => "?pem=key",
            "?raw" => "?decode=base64",
            _ => "#/KEY",
        };
        let reason = "`NAME@azurekeyvault` is a reference of akv2k8s";
        return Err(Error::config(reason).hint(format!(
            "write akv://VAULT/{object}{options}, with the vault and the object of the AzureKeyVaultSecret `{object}`"
        )));
    }
    Ok(())
}

/// Whether a text is a reference to another store than Key Vault, or of a tool that is not known here.
pub fn is_of_another_store(text: &str) -> bool {
    let begins_with = |prefix: &str| strip_prefix_ignore_case(text, prefix).is_some();
    // `vault:8200` is a host and a port.
    let is_of_vault_env = begins_with("vault:") && text.contains('#');
    let mut prefixes = OTHER_STORES.into_iter();
    is_of_vault_env || text.contains("://") && prefixes.any(begins_with)
}
