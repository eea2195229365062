//! The options that several commands have, and the settings that they make together with the environment.
//!
//! An option takes precedence over `AKV_INIT_…`, and that over `AZURE_…`. An empty variable is unset.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::log;
use crate::request::cloud::Cloud;
use crate::request::environment::{Environment, OWN_PREFIX};
use crate::request::host::{Host, VaultName, parse_vault};
use crate::request::option_table::settings;
use crate::request::reference::{Reference, SecretRef};
use crate::request::secret_id::SecretId;
use crate::request::suggestion::nearest;

/// The options as they were given.
#[derive(Debug, Default)]
pub struct CommonOptions {
    /// `--secret NAME=REF`.
    pub secrets: Vec<(String, Reference)>,
    /// `--vault`.
    pub vault: Option<VaultName>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--wait-for-access`.
    pub wait_for_access: Option<Duration>,
    /// `--identity`.
    pub identity: Option<IdentityName>,
    /// `--client-id`.
    pub client_id: Option<String>,
    /// `--object-id`.
    pub object_id: Option<String>,
    /// `--resource-id`.
    pub resource_id: Option<String>,
    /// `--cloud`.
    pub cloud: Option<Cloud>,
    /// `--allow-vault`.
    pub allow_vault: Vec<Host>,
    /// `--vault-resource`.
    pub vault_resource: Option<String>,
    /// `--ca-file`.
    pub ca_file: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: Option<log::Format>,
    /// `--verbose`.
    pub verbose: bool,
}

/// The kind of identity that `--identity` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityName {
    /// The account of the Azure CLI.
    Cli,
    /// The managed identity of this platform.
    Managed,
    /// A service principal with a secret or a certificate.
    Principal,
    /// Workload identity: a federated token.
    Workload,
}

/// How to reach Azure: the options, completed from the environment.
#[derive(Debug)]
pub struct Settings {
    /// From start to end; zero is one attempt at each request.
    pub timeout: Duration,
    /// How long beyond `timeout` a vault may deny access.
    pub wait_for_access: Duration,
    /// The kind of identity.
    pub identity: Option<IdentityName>,
    /// Which of several identities.
    pub selector: Option<Selector>,
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

/// Which of several identities, as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// An application's or a user-assigned managed identity's client id.
    Client(String),
    /// A managed identity's object (principal) id.
    Object(String),
    /// A managed identity's ARM resource id.
    Resource(String),
}

impl Settings {
    /// Completes the options from the environment, except for those that only reading secrets needs.
    pub fn build(
        options: &CommonOptions,
        env: &Environment,
        default_timeout: Duration,
    ) -> Result<Settings, Error> {
        let cloud = setting(env, options.cloud, "AKV_INIT_CLOUD", Cloud::parse, CLOUDS)?;
        let duration = |option, variable| setting(env, option, variable, parse_duration, DURATION);
        let wait_for_access = duration(options.wait_for_access, "AKV_INIT_WAIT_FOR_ACCESS")?;
        let (parse, names) = (IdentityName::parse, IdentityName::NAMES);
        let ca_file = env.get("AKV_INIT_CA_FILE").filter(|path| !path.is_empty());
        Ok(Settings {
            timeout: duration(options.timeout, "AKV_INIT_TIMEOUT")?.unwrap_or(default_timeout),
            wait_for_access: wait_for_access.unwrap_or_default(),
            identity: setting(env, options.identity, "AKV_INIT_IDENTITY", parse, names)?,
            selector: selector(options, env)?,
            cloud: cloud.unwrap_or_else(|| cloud_of_authority(env)),
            ca_file: options.ca_file.clone().or(ca_file.map(PathBuf::from)),
            verbose: options.verbose || truth(env, "AKV_INIT_VERBOSE")?,
            default_vault: None,
            allowed_hosts: Vec::new(),
            vault_resource: None,
        })
    }

    /// Adds what reading secrets needs.
    pub fn with_vaults(
        mut self,
        options: &CommonOptions,
        env: &Environment,
    ) -> Result<Settings, Error> {
        const VAULT: &str = "AKV_INIT_VAULT";
        const ALLOW_VAULT: &str = "AKV_INIT_ALLOW_VAULT";
        self.default_vault = options.vault.clone();
        if options.vault.is_none()
            && let Some(text) = env.setting(VAULT)?
        {
            let vault = parse_vault(text).map_err(|error| error.context(VAULT))?;
            self.default_vault = Some(vault);
        }
        self.allowed_hosts = options.allow_vault.clone();
        if options.allow_vault.is_empty()
            && let Some(list) = env.setting(ALLOW_VAULT)?
        {
            let hosts = list
                .split(',')
                .map(str::trim)
                .filter(|host| !host.is_empty());
            let hosts =
                hosts.map(|host| Host::parse(host).map_err(|error| error.context(ALLOW_VAULT)));
            self.allowed_hosts = hosts.collect::<Result<_, Error>>()?;
        }
        let resource = env.setting("AKV_INIT_VAULT_RESOURCE")?.map(str::to_owned);
        self.vault_resource = options.vault_resource.clone().or(resource);
        Ok(self)
    }

    /// Completes a reference.
    pub fn complete(&self, reference: &SecretRef) -> Result<SecretId, Error> {
        let Some(vault) = reference.vault.as_ref().or(self.default_vault.as_ref()) else {
            let reason =
                format!("`{reference}` does not name a vault, and no default vault is set");
            return Err(Error::new(Cause::Config, reason)
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

/// The syntax of a duration, for error messages.
pub const DURATION: &str = "a duration like 90, 90s, 2m or 1h";
/// The names of the clouds, for error messages.
pub const CLOUDS: &str = "public, usgov or china";

/// Parses `90`, `90s`, `2m` or `1h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, factor) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3_600),
        _ => (text, 1),
    };
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // 32 bits of seconds are 136 years, which can be added to a clock without overflow.
    let seconds = number.parse::<u32>().ok()?.checked_mul(factor)?;
    Some(Duration::from_secs(seconds.into()))
}

impl IdentityName {
    /// The names, for error messages.
    pub const NAMES: &str = "workload, managed, service-principal or cli";

    /// The name that `--identity` takes.
    pub fn parse(name: &str) -> Option<IdentityName> {
        match name {
            "cli" => Some(IdentityName::Cli),
            "managed" => Some(IdentityName::Managed),
            "service-principal" => Some(IdentityName::Principal),
            "workload" => Some(IdentityName::Workload),
            _ => None,
        }
    }
}

/// An option, or the variable with the same meaning.
fn setting<T>(
    env: &Environment,
    option: Option<T>,
    equivalent: &str,
    parse: impl Fn(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, Error> {
    if option.is_some() {
        return Ok(option);
    }
    let Some(text) = env.setting(equivalent)? else {
        return Ok(None);
    };
    match parse(text) {
        Some(value) => Ok(Some(value)),
        None => Err(Error::new(
            Cause::Config,
            format!("{equivalent}: `{text}` is not {expected}"),
        )),
    }
}

/// The format of the log: `--log-format` or `AKV_INIT_LOG_FORMAT`.
pub fn log_format(option: Option<log::Format>, env: &Environment) -> Result<log::Format, Error> {
    let names = log::Format::NAMES;
    let format = setting(
        env,
        option,
        "AKV_INIT_LOG_FORMAT",
        log::Format::parse,
        names,
    )?;
    Ok(format.unwrap_or_default())
}

/// A variable that is `true` or `false`, `1` or `0`; unset is `false`.
pub fn truth(env: &Environment, name: &str) -> Result<bool, Error> {
    let parse = |text: &str| match text {
        "0" => Some(false),
        "1" => Some(true),
        word => word.parse().ok(),
    };
    Ok(setting(env, None, name, parse, "true or false")?.unwrap_or(false))
}

/// The identity to select: by an option, else by `AKV_INIT_…`, else by `AZURE_CLIENT_ID`.
fn selector(options: &CommonOptions, env: &Environment) -> Result<Option<Selector>, Error> {
    let variable = |name: &str| env.setting(name).map(|value| value.map(str::to_owned));
    let ids = [&options.client_id, &options.object_id, &options.resource_id].map(Option::clone);
    let names = "--client-id, --object-id and --resource-id";
    if let Some(selector) = only_one(ids, Cause::Usage, names)? {
        return Ok(Some(selector));
    }
    let ids = [
        variable("AKV_INIT_CLIENT_ID")?,
        variable("AKV_INIT_OBJECT_ID")?,
        variable("AKV_INIT_RESOURCE_ID")?,
    ];
    let names = "AKV_INIT_CLIENT_ID, AKV_INIT_OBJECT_ID and AKV_INIT_RESOURCE_ID";
    match only_one(ids, Cause::Config, names)? {
        Some(selector) => Ok(Some(selector)),
        None => Ok(variable("AZURE_CLIENT_ID")?.map(Selector::Client)),
    }
}

/// The selector of a client id, an object id or a resource id.
fn only_one(
    ids: [Option<String>; 3],
    cause: Cause,
    names: &str,
) -> Result<Option<Selector>, Error> {
    match ids {
        [None, None, None] => Ok(None),
        [Some(id), None, None] => Ok(Some(Selector::Client(id))),
        [None, Some(id), None] => Ok(Some(Selector::Object(id))),
        [None, None, Some(id)] => Ok(Some(Selector::Resource(id))),
        _ => Err(Error::new(
            cause,
            format!("only one of {names} can be given"),
        )),
    }
}

/// The host of Entra: `AZURE_AUTHORITY_HOST` (https, with or without a slash at its end), else that of the cloud. A
/// managed identity does not need it, and works if the variable is malformed.
pub fn authority(env: &Environment, cloud: Cloud) -> Result<Host, Error> {
    const NAME: &str = "AZURE_AUTHORITY_HOST";
    let Some(text) = env.setting(NAME)? else {
        return Ok(Host {
            name: cloud.authority().to_owned(),
            port: 443,
        });
    };
    let malformed = || {
        Error::new(
            Cause::Config,
            format!("{NAME}: expected https:// and a hostname"),
        )
    };
    let host = match text.split_once("://") {
        None => text,
        Some((scheme, host)) if scheme.eq_ignore_ascii_case("https") => host,
        Some(_) => return Err(malformed()),
    };
    Host::parse(host.trim_end_matches('/')).map_err(|_| malformed())
}

/// A cluster in another cloud needs no `--cloud`: its webhook sets `AZURE_AUTHORITY_HOST`.
fn cloud_of_authority(env: &Environment) -> Cloud {
    let host = authority(env, Cloud::Public).ok();
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
            Some(setting) => format!("not a setting; did you mean {setting}?"),
            None => "not a setting of akv-init".to_owned(),
        };
        (name.to_owned(), reason)
    });
    unknown.collect()
}
