//! The clouds that Azure runs: for each its Key Vault suffix, the resource of an access token and Entra's authority.
//!
//! Source: <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#dns-suffixes-for-object-identifiers>
//! and <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>.

/// One cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// China, operated by 21Vianet.
    China,
    /// The public cloud.
    Public,
    /// US Government.
    UsGov,
}

impl Cloud {
    /// Every cloud.
    pub const ALL: [Cloud; 3] = [Cloud::China, Cloud::Public, Cloud::UsGov];

    /// The names that `--cloud` takes.
    pub const NAMES: [(&str, Cloud); 3] = [
        ("public", Cloud::Public),
        ("usgov", Cloud::UsGov),
        ("china", Cloud::China),
    ];

    /// What a vault's short name is completed with.
    pub fn vault_suffix(self) -> &'static str {
        match self {
            Cloud::China => "vault.azure.cn",
            Cloud::Public => "vault.azure.net",
            Cloud::UsGov => "vault.usgovcloudapi.net",
        }
    }

    /// The resource of an access token for the cloud's vaults: no slash at its end, or the vault answers AKV10022.
    pub fn vault_resource(self) -> String {
        format!("https://{}", self.vault_suffix())
    }

    /// The host where Entra issues tokens.
    pub fn authority(self) -> &'static str {
        match self {
            Cloud::China => "login.chinacloudapi.cn",
            Cloud::Public => "login.microsoftonline.com",
            Cloud::UsGov => "login.microsoftonline.us",
        }
    }

    /// The cloud whose authority has this host name, by any of its names.
    pub fn of_authority(host: &str) -> Option<Cloud> {
        match host {
            "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => Some(Cloud::China),
            "login.microsoftonline.com"
            | "login.windows.net"
            | "login.microsoft.com"
            | "sts.windows.net" => Some(Cloud::Public),
            "login.microsoftonline.us" | "login.usgovcloudapi.net" => Some(Cloud::UsGov),
            _ => None,
        }
    }
}
