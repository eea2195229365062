//! The settings that several commands have. An option takes precedence over `AKV_INIT_…`, and that over `AZURE_…`.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::request::arguments::{Arguments, unexpected};
use crate::request::cloud::Cloud;
use crate::request::environment::{Environment, OWN_PREFIX};
use crate::request::host::{Host, VaultName};
use crate::request::option_table::settings;
use crate::request::reference::SecretRef;
use crate::request::secret_id::SecretId;
use crate::request::suggestion::nearest;

/// The kind of identity that `--identity` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// The account of the Azure CLI.
    Cli,
    /// The managed identity of this platform.
    Managed,
    /// A service principal with a secret or a certificate.
    Principal,
    /// Workload identity: a federated token.
    Workload,
}

/// How to reach Azure.
pub struct Settings {
    /// From start to end; zero is one attempt at each request.
    pub timeout: Duration,
    /// How long beyond `timeout` a vault may deny access.
    pub wait_for_access: Duration,
    /// The kind of identity.
    pub identity: Option<IdentityKind>,
    /// Which of several identities.
    pub identity_id: Option<IdentityId>,
    /// Completes the short names of vaults, and has an endpoint of Entra.
    pub cloud: Cloud,
    /// The only certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// `--verbose`.
    pub verbose: bool,
    /// The vault of references that name none.
    pub default_vault: Option<VaultName>,
    /// Hosts outside Azure's domains that may get a token.
    pub allowed_hosts: Vec<Host>,
    /// The resource of that token; `None` is that of the cloud.
    pub vault_resource: Option<String>,
}

/// The id that selects one of several identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityId {
    /// An application's or a user-assigned managed identity's client id.
    Client(String),
    /// A managed identity's object (principal) id.
    Object(String),
    /// A managed identity's ARM resource id.
    Resource(String),
}

impl Settings {
    /// Reads the options of the command and the environment. A setting that the command does not have is unset.
    pub fn parse(arguments: &Arguments<'_>) -> Result<Settings, Error> {
        let duration = |name| arguments.parsed(name, parse_duration);
        let ca_file = arguments.values("--ca-file").pop();
        let cloud = arguments.choice("--cloud", &Cloud::NAMES)?;
        let allowed_hosts = arguments.parsed_values("--allow-vault", parse_hosts)?;
        Ok(Settings {
            timeout: duration("--timeout")?.unwrap_or_default(),
            wait_for_access: duration("--wait-for-access")?.unwrap_or_default(),
            identity: arguments.choice("--identity", &IdentityKind::NAMES)?,
            identity_id: identity_id(arguments)?,
            cloud: cloud.unwrap_or_else(|| cloud_of_authority(arguments.env)),
            ca_file: ca_file.map(|(_, path)| PathBuf::from(path)),
            verbose: arguments.flag("--verbose")?,
            default_vault: arguments.parsed("--vault", VaultName::parse_option)?,
            allowed_hosts: allowed_hosts.concat(),
            vault_resource: arguments.parsed("--vault-resource", |text| Ok(text.to_owned()))?,
        })
    }

    /// The host of Entra: that of `AZURE_AUTHORITY_HOST`, else that of the cloud.
    pub fn authority(&self, env: &Environment) -> Result<Host, Error> {
        let host = authority_host(env)?;
        Ok(host.unwrap_or_else(|| Host {
            name: self.cloud.authority().to_owned(),
            port: 443,
        }))
    }

    /// Completes a reference.
    pub fn complete(&self, reference: &SecretRef) -> Result<SecretId, Error> {
        let Some(vault) = reference.vault.as_ref().or(self.default_vault.as_ref()) else {
            let reason = format!(
                "`akv:///{}` does not name a vault, and no default vault is set",
                reference.name
            );
            return Err(Error::config(reason)
                .hint("write akv://VAULT/NAME, or set --vault or AKV_INIT_VAULT"));
        };
        let host = match vault {
            VaultName::Host(host) => host.clone(),
            VaultName::Short(name) => Host {
                name: format!("{name}.{}", self.cloud.vault_suffix()),
                port: 443,
            },
        };
        // The suffix decides, not `--cloud`: a vault in China needs a token for China. A host outside Azure's domains
        // that no option allows has to name the resource itself, which is accepted only within its own domain.
        let resource = match host.cloud() {
            Some(cloud) => Some(cloud.vault_resource()),
            None if self.allowed_hosts.contains(&host) => {
                let resource = self.vault_resource.clone();
                Some(resource.unwrap_or_else(|| self.cloud.vault_resource()))
            }
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

/// Parses `90`, `90s`, `2m` or `1h`.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let number = text.strip_suffix(['s', 'm', 'h']).unwrap_or(text);
    let factor = match &text[number.len()..] {
        "m" => 60,
        "h" => 3_600,
        _ => 1,
    };
    // 32 bits of seconds are 136 years, which can be added to a clock without overflow.
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    let number = number.parse().ok().filter(|_| digits);
    let seconds = number.and_then(|number: u32| number.checked_mul(factor));
    match seconds {
        Some(seconds) => Ok(Duration::from_secs(seconds.into())),
        None => Err(unexpected(text, "a duration like 90, 90s, 2m or 1h")),
    }
}

/// Parses hosts that are separated by commas.
fn parse_hosts(text: &str) -> Result<Vec<Host>, Error> {
    let hosts = text.split(',').map(str::trim);
    let hosts = hosts.filter(|host| !host.is_empty());
    hosts.map(Host::parse).collect()
}

impl IdentityKind {
    /// The names that `--identity` takes.
    pub const NAMES: [(&str, IdentityKind); 4] = [
        ("workload", IdentityKind::Workload),
        ("managed", IdentityKind::Managed),
        ("service-principal", IdentityKind::Principal),
        ("cli", IdentityKind::Cli),
    ];
}

/// The identity to select: by an option, else by `AKV_INIT_…`, else by `AZURE_CLIENT_ID`.
fn identity_id(arguments: &Arguments<'_>) -> Result<Option<IdentityId>, Error> {
    let options = ["--client-id", "--object-id", "--resource-id"];
    let by_option = options.iter().any(|option| arguments.has(option));
    let id = |option| match by_option && !arguments.has(option) {
        true => Ok(None),
        false => arguments.parsed(option, |id| Ok(id.to_owned())),
    };
    match [id(options[0])?, id(options[1])?, id(options[2])?] {
        [Some(id), None, None] => Ok(Some(IdentityId::Client(id))),
        [None, Some(id), None] => Ok(Some(IdentityId::Object(id))),
        [None, None, Some(id)] => Ok(Some(IdentityId::Resource(id))),
        [None, None, None] => {
            let id = arguments.env.setting("AZURE_CLIENT_ID")?;
            Ok(id.map(|id| IdentityId::Client(id.to_owned())))
        }
        _ if by_option => Err(Error::new(
            Cause::Usage,
            "only one of --client-id, --object-id and --resource-id can be given",
        )),
        _ => Err(Error::config(
            "only one of AKV_INIT_CLIENT_ID, AKV_INIT_OBJECT_ID and AKV_INIT_RESOURCE_ID can be given",
        )),
    }
}

/// The host in `AZURE_AUTHORITY_HOST`: https, with or without a slash at its end.
fn authority_host(env: &Environment) -> Result<Option<Host>, Error> {
    const NAME: &str = "AZURE_AUTHORITY_HOST";
    let Some(text) = env.setting(NAME)? else {
        return Ok(None);
    };
    let malformed = || Error::config(format!("{NAME}: expected https:// and a hostname"));
    let host = match text.split_once("://") {
        None => text,
        Some((scheme, host)) if scheme.eq_ignore_ascii_case("https") => host,
        Some(_) => return Err(malformed()),
    };
    let host = Host::parse(host.trim_end_matches('/'));
    host.map(Some).map_err(|_| malformed())
}

/// A cluster in another cloud needs no `--cloud`: its webhook sets `AZURE_AUTHORITY_HOST`. A managed identity does not use
/// that variable, and works if it is malformed.
fn cloud_of_authority(env: &Environment) -> Cloud {
    let host = authority_host(env).ok().flatten();
    host.and_then(|host| Cloud::of_authority(&host.name))
        .unwrap_or(Cloud::Public)
}

/// Variables that start with [`OWN_PREFIX`] and are not settings, each with the reason of a warning. Kubernetes sets some
/// in every pod of a namespace that has a Service named `akv-init`; those are left out.
pub fn unknown_settings(env: &Environment) -> Vec<(String, String)> {
    let names = env.variables().filter_map(|(name, _)| name.to_str());
    let unknown = names.filter(|name| {
        let rest = name.strip_prefix(OWN_PREFIX);
        rest.is_some_and(|rest| !rest.starts_with("SERVICE_") && !rest.starts_with("PORT"))
            && !settings().any(|setting| setting == *name)
    });
    let unknown = unknown.map(|name| {
        let reason = match nearest(name, settings()) {
            Some(setting) => format!("unknown setting, ignored; did you mean {setting}?"),
            None => "unknown setting, ignored".to_owned(),
        };
        (name.to_owned(), reason)
    });
    unknown.collect()
}
