//! Which secret of which vault to read.

use crate::request::host::Host;

/// A secret with the vault and the resource that its reference resolves to.
#[derive(Clone, Debug)]
pub struct SecretId {
    /// The host of the vault.
    pub host: Host,
    /// The resource of the access token to read the secret; `None` if only the vault's challenge names it.
    pub resource: Option<String>,
    /// The name of the secret, in the case in which it was written.
    pub name: String,
    /// The version of the secret; `None` means the current one.
    pub version: Option<String>,
}

impl SecretId {
    /// `NAME` or `NAME/VERSION`.
    pub fn name_and_version(&self) -> String {
        match &self.version {
            None => self.name.clone(),
            Some(version) => format!("{}/{version}", self.name),
        }
    }

    /// The full reference to the secret, including the vault. With `trim`, it ends in `?trim`.
    pub fn reference(&self, trim: bool) -> String {
        let option = if trim { "?trim" } else { "" };
        // A host without a dot and a port would be parsed as a short name.
        let port = match self.host.port {
            443 if !self.host.name.contains(['.', '[']) => ":443",
            _ => "",
        };
        format!(
            "akv://{}{port}/{}{option}",
            self.host,
            self.name_and_version()
        )
    }
}

/// Secret names are case-insensitive: two spellings are one secret and one request.
impl PartialEq for SecretId {
    fn eq(&self, other: &SecretId) -> bool {
        self.host == other.host
            && self.name.eq_ignore_ascii_case(&other.name)
            && self.version == other.version
    }
}
