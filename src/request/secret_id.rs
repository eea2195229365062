//! A secret in a vault, with nothing left to a default.

use crate::request::host::Host;

/// A secret in a vault, with nothing left to a default.
#[derive(Clone, Debug)]
pub struct SecretId {
    /// The vault.
    pub host: Host,
    /// The resource of the access token; `None` if the vault has to name it.
    pub resource: Option<String>,
    /// The secret name.
    pub name: String,
    /// The secret version; `None` is the current one.
    pub version: Option<String>,
}

impl SecretId {
    /// `NAME` or `NAME/VERSION`.
    pub fn shown(&self) -> String {
        match &self.version {
            None => self.name.clone(),
            Some(version) => format!("{}/{version}", self.name),
        }
    }

    /// The reference to it, in full.
    pub fn reference(&self, trim: bool) -> String {
        let option = if trim { "?trim" } else { "" };
        // Without a dot or a port it would be read as a short name.
        let port = match self.host.port {
            443 if !self.host.name.contains(['.', '[']) => ":443",
            _ => "",
        };
        format!("akv://{}{port}/{}{option}", self.host, self.shown())
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
