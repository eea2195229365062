//! One secret of one vault, completed: nothing of it depends on a default any more.

use crate::request::host::{Host, VaultName};
use crate::request::reference::SecretRef;

/// One secret, completed: nothing of it depends on a default any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretId {
    /// The vault.
    pub host: Host,
    /// What an access token for the vault is asked for; none where the vault has to say it.
    pub resource: Option<String>,
    /// The secret's name.
    pub name: String,
    /// The secret version; none is the current one.
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

    /// As one writes it.
    pub fn reference(&self) -> SecretRef {
        SecretRef {
            vault: VaultName::Host(self.host.clone()),
            name: self.name.clone(),
            version: self.version.clone(),
            trim: false,
        }
    }
}
