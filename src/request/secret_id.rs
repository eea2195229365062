//! Which secret of which vault to read.

use crate::request::host::{Host, VaultName};
use crate::request::reference::SecretRef;
use crate::request::reference::options::SecretOptions;

/// A vault whose secrets are listed.
#[derive(Clone, Debug, PartialEq)]
pub struct VaultId {
    /// The host of the vault.
    pub host: Host,
    /// The resource of the access token to list its secrets; `None` if only the vault's challenge names it.
    pub resource: Option<String>,
}

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

    /// The path of the secret at its vault.
    pub fn path(&self) -> String {
        format!("/secrets/{}", self.name_and_version())
    }

    /// What is done to read the secret for these variables or files, for messages.
    pub fn operation(&self, targets: &str) -> String {
        let shown = self.name_and_version();
        format!("reading secret `{shown}` from {} for {targets}", self.host)
    }

    /// The full reference to the secret with these options, including the vault: one text for each meaning.
    pub fn reference(&self, options: &SecretOptions) -> String {
        let reference = SecretRef {
            vault: Some(VaultName::Host(self.host.clone())),
            name: self.name.clone(),
            version: self.version.clone(),
            options: options.clone(),
        };
        reference.to_string()
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
