//! Azure's clouds: for each the DNS suffix of its vaults, the resource of their access tokens and the host of Entra.
//!
//! Source: <https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates#dns-suffixes-for-object-identifiers>
//! and <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>.

/// An Azure cloud, which has its own hosts and tenants.
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

    /// The values of `--cloud`, each with the cloud that it selects.
    pub const CHOICES: [(&str, Cloud); 3] = [
        ("public", Cloud::Public),
        ("usgov", Cloud::UsGov),
        ("china", Cloud::China),
    ];

    /// The DNS suffix of the cloud's vaults, which follows the name of a vault and a dot.
    pub fn vault_suffix(self) -> &'static str {
        match self {
            Cloud::China => "vault.azure.cn",
            Cloud::Public => "vault.azure.net",
            Cloud::UsGov => "vault.usgovcloudapi.net",
        }
    }

    /// The resource of access tokens for the cloud's vaults. With a slash at its end, vaults would refuse the token
    /// (AKV10022).
    pub fn vault_resource(self) -> String {
        format!("https://{}", self.vault_suffix())
    }

    /// The host of Entra, which issues the cloud's tokens.
    pub fn authority_host(self) -> &'static str {
        match self {
            Cloud::China => "login.chinacloudapi.cn",
            Cloud::Public => "login.microsoftonline.com",
            Cloud::UsGov => "login.microsoftonline.us",
        }
    }

    /// The cloud whose Entra has this host name; `None` if no cloud has. A cloud may have more such names than
    /// [`Cloud::authority_host`].
    pub fn from_authority_host(host: &str) -> Option<Cloud> {
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
