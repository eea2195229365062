//! What completes a reference: the default vault, the cloud, and the hosts that may get a token.

use crate::error::{Cause, Error};
use crate::request::cloud::Cloud;
use crate::request::environment::Environment;
use crate::request::host::{Host, VaultName, parse_vault};
use crate::request::options::CommonOptions;
use crate::request::reference::SecretRef;
use crate::request::secret_id::SecretId;

/// What completes a reference.
pub struct Vaults {
    default: Option<VaultName>,
    allowed: Vec<Host>,
    cloud: Cloud,
    /// The resource for hosts that no cloud knows.
    resource: String,
    /// What named it.
    named_by: Option<&'static str>,
}

impl Vaults {
    /// Reads the options and their twins.
    pub fn build(common: &CommonOptions, env: &Environment, cloud: Cloud) -> Result<Vaults, Error> {
        let default = match &common.vault {
            Some(vault) => Some(vault.clone()),
            None => match env.setting("AKV_INIT_VAULT")? {
                Some(text) => {
                    Some(parse_vault(text).map_err(|error| error.context("AKV_INIT_VAULT"))?)
                }
                None => None,
            },
        };
        let mut allowed = common.allow_vault.clone();
        if allowed.is_empty()
            && let Some(list) = env.setting("AKV_INIT_ALLOW_VAULT")?
        {
            for host in list
                .split(',')
                .map(str::trim)
                .filter(|host| !host.is_empty())
            {
                allowed.push(
                    Host::parse(host).map_err(|error| error.context("AKV_INIT_ALLOW_VAULT"))?,
                );
            }
        }
        const TWIN: &str = "AKV_INIT_VAULT_RESOURCE";
        let (resource, named_by) = match (&common.vault_resource, env.setting(TWIN)?) {
            (Some(resource), _) => (Some(resource.as_str()), Some("--vault-resource")),
            (None, Some(resource)) => (Some(resource), Some(TWIN)),
            (None, None) => (None, None),
        };
        Ok(Vaults {
            default,
            allowed,
            cloud,
            resource: resource.map_or_else(|| cloud.vault_resource(), str::to_owned),
            named_by,
        })
    }

    /// A resource without any host that it is for.
    pub fn idle(&self) -> Option<(String, String)> {
        let named_by = self.named_by.filter(|_| self.allowed.is_empty())?;
        let reason = "no effect without --allow-vault or AKV_INIT_ALLOW_VAULT";
        Some((named_by.to_owned(), reason.to_owned()))
    }

    /// Fills in what a reference leaves out.
    pub fn complete(&self, reference: &SecretRef) -> Result<SecretId, Error> {
        let vault = match (&reference.vault, &self.default) {
            (VaultName::Default, Some(default)) => default,
            (VaultName::Default, None) => {
                return Err(Error::new(
                    Cause::Config,
                    format!(
                        "the reference `{reference}` names no vault, and there is no default one"
                    ),
                )
                .hint("write akv://VAULT/NAME, or set --vault or AKV_INIT_VAULT"));
            }
            (vault, _) => vault,
        };
        let host = match vault {
            VaultName::Host(host) => host.clone(),
            VaultName::Short(name) => Host {
                name: format!("{name}.{}", self.cloud.vault_suffix()),
                port: 443,
            },
            VaultName::Default => unreachable!("the default vault was filled in above"),
        };
        // The suffix decides: a vault in China wants a token for China, whatever --cloud says. A host that neither a
        // cloud nor an option explains says it itself, and is believed only within its own domain.
        let resource = match host.cloud() {
            Some(cloud) => Some(cloud.vault_resource()),
            None if self.allowed.contains(&host) => Some(self.resource.clone()),
            None => None,
        };
        Ok(SecretId {
            host,
            resource,
            name: reference.name.clone(),
            version: reference.version.clone(),
        })
    }
}
