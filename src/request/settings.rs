//! The settings of commands that access Azure. An option takes precedence over `AKV_INIT_…`, and that over `AZURE_…`.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::request::arguments::{Arguments, unexpected_value_error};
use crate::request::cloud::Cloud;
use crate::request::environment::{Environment, SETTINGS_PREFIX, unquoted};
use crate::request::host::{Host, VaultName, is_domain, strip_prefix_ignore_case};
use crate::request::option_table::setting_variables;
use crate::request::reference::{SecretRef, check_resource};
use crate::request::secret_id::{SecretId, VaultId};
use crate::request::suggestion::nearest;

/// The variable with the URL of a vault, as secret-init and Azure's samples have it.
const KEY_VAULT_URL: &str = "AZURE_KEY_VAULT_URL";

/// The value of `--throttle-timeout` for `exec` and `write` if neither it nor `--timeout` is set.
const DEFAULT_THROTTLE_TIMEOUT: Duration = Duration::from_secs(600);

/// The kind of identity that `--identity` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// The account of the Azure CLI.
    Cli,
    /// The managed identity of this platform.
    Managed,
    /// A service principal, with a secret or a certificate.
    ServicePrincipal,
    /// Workload identity, with a federated token.
    Workload,
}

/// The settings for requests to Azure.
#[derive(Clone)]
pub struct Settings {
    /// How much time there is to fetch everything, from the start of the process. Zero means one attempt of each
    /// request.
    pub timeout: Duration,
    /// How much longer than `timeout` to wait while a vault refuses access.
    pub wait_for_access: Duration,
    /// How much time there is, from the start of the process, while requests are throttled. Zero means `timeout`.
    pub throttle_timeout: Duration,
    /// The kind of identity; `None` means the one that the environment selects.
    pub identity: Option<IdentityKind>,
    /// The id of the identity that an option or its variable selects; `None` if the user selects none.
    selected_id: Option<IdentityId>,
    /// The cloud, which decides the suffix of short vault names, and the default host of Entra.
    pub cloud: Cloud,
    /// The file with the only CAs to trust; `None` means the built-in ones and those of `SSL_CERT_…`.
    pub ca_file: Option<PathBuf>,
    /// Whether debug lines are written.
    pub verbose: bool,
    /// The vault for references that name none; `None` if there is no default.
    pub default_vault: Option<VaultName>,
    /// The value of `AZURE_KEY_VAULT_URL`, which names the default vault if no other setting does; `None` if it is not
    /// set. It may be for the application, and is parsed only if it is needed.
    key_vault_url: Option<String>,
    /// The hosts outside Azure's domains that akv-init may send an access token for vaults to.
    pub allowed_hosts: Vec<Host>,
    /// The resource of the access token for `allowed_hosts`; `None` means that of the cloud's vaults.
    pub vault_resource: Option<String>,
}

/// An id that selects one of several identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityId {
    /// The client id of an application or of a user-assigned managed identity.
    Client(String),
    /// The object id (principal id) of a managed identity.
    Object(String),
    /// The ARM resource id of a managed identity.
    Resource(String),
}

impl Settings {
    /// Parses the options and variables of a command. Settings that the command does not have are zero, false, empty
    /// or `None`.
    pub fn parse(arguments: &Arguments<'_>) -> Result<Settings, Error> {
        let duration = |name| arguments.parse_value(name, parse_duration);
        // An explicit --timeout is a hard limit.
        let default_throttle_timeout = match arguments.command {
            "exec" | "write" if !arguments.is_set("--timeout") => DEFAULT_THROTTLE_TIMEOUT,
            _ => Duration::ZERO,
        };
        let ca_file = arguments.values("--ca-file").pop();
        let cloud = arguments.choice("--cloud", &Cloud::CHOICES)?;
        let allowed_hosts = arguments.parse_values("--allow-vault", parse_hosts)?;
        Ok(Settings {
            timeout: duration("--timeout")?.unwrap_or_default(),
            wait_for_access: duration("--wait-for-access")?.unwrap_or_default(),
            throttle_timeout: duration("--throttle-timeout")?.unwrap_or(default_throttle_timeout),
            identity: arguments.choice("--identity", &IdentityKind::CHOICES)?,
            selected_id: parse_identity_id(arguments)?,
            cloud: cloud.unwrap_or_else(|| cloud_from_environment(arguments.env)),
            ca_file: ca_file.map(|(_, path)| PathBuf::from(path)),
            verbose: arguments.flag("--verbose")?,
            default_vault: arguments.parse_value("--vault", VaultName::parse_option)?,
            key_vault_url: arguments
                .env
                .get(KEY_VAULT_URL)
                .map(|url| unquoted(&url.to_string_lossy()).to_owned())
                .filter(|url| !url.is_empty()),
            allowed_hosts: allowed_hosts.concat(),
            vault_resource: arguments.parse_value("--vault-resource", |text| {
                check_resource(text)?;
                Ok(text.to_owned())
            })?,
        })
    }

    /// The id of the identity: the selected one, or else the client id in `AZURE_CLIENT_ID`; `None` if there is neither.
    pub fn identity_id(&self, env: &Environment) -> Result<Option<IdentityId>, Error> {
        match &self.selected_id {
            None => IdentityId::client_in(env, "AZURE_CLIENT_ID"),
            selected => Ok(selected.clone()),
        }
    }

    /// The host of Entra: the one in `AZURE_AUTHORITY_HOST`, unless it is of another cloud; or else the cloud's.
    pub fn authority_host(&self, env: &Environment) -> Result<Host, Error> {
        let host = authority_host_from_environment(env)?;
        let host = host.filter(|_| self.contradicting_authority(env).is_none());
        Ok(host.unwrap_or_else(|| Host {
            name: self.cloud.authority_host().to_owned(),
            port: 443,
        }))
    }

    /// The host in `AZURE_AUTHORITY_HOST`, if an option or `AKV_INIT_CLOUD` selects another cloud than that host's.
    pub fn contradicting_authority(&self, env: &Environment) -> Option<Host> {
        let host = authority_host_from_environment(env).ok().flatten()?;
        let cloud = Cloud::from_authority_host(&host.name)?;
        (cloud != self.cloud).then_some(host)
    }

    /// Resolves a reference to a vault and the resource of the access token.
    pub fn resolve(&self, reference: &SecretRef) -> Result<SecretId, Error> {
        let vault = self.resolve_vault(reference.vault.as_ref(), &reference.name)?;
        Ok(SecretId {
            host: vault.host,
            resource: vault.resource,
            name: reference.name.clone(),
            version: reference.version.clone(),
        })
    }

    /// Resolves the name of a vault; `None` is the default one. `secret_name` is for the message if there is none.
    pub fn resolve_vault(
        &self,
        vault: Option<&VaultName>,
        secret_name: &str,
    ) -> Result<VaultId, Error> {
        let named = vault.or(self.default_vault.as_ref());
        let vault = match (named, &self.key_vault_url) {
            (Some(vault), _) => Some(vault.clone()),
            (None, Some(url)) => {
                let vault = VaultName::parse_option(url);
                Some(vault.map_err(|error| error.context(KEY_VAULT_URL))?)
            }
            (None, None) => None,
        };
        let Some(vault) = vault else {
            let reason = format!(
                "`akv:///{secret_name}` does not name a vault, and no default vault is set"
            );
            return Err(Error::config(reason).hint(
                "write akv://VAULT/NAME, or set --vault, AKV_INIT_VAULT or AZURE_KEY_VAULT_URL",
            ));
        };
        let host = match vault {
            VaultName::Host(host) => host,
            VaultName::Short(name) => Host {
                name: format!("{name}.{}", self.cloud.vault_suffix()),
                port: 443,
            },
        };
        // The suffix of the host decides, not `--cloud`: a vault in China needs a token for China. A host outside
        // Azure's domains that `--allow-vault` does not name has to name the resource itself, in a challenge. That
        // resource is accepted only within the domain of the host.
        let resource = match host.cloud() {
            Some(cloud) => Some(cloud.vault_resource()),
            None if self.allowed_hosts.contains(&host) => {
                let resource = self.vault_resource.clone();
                Some(resource.unwrap_or_else(|| self.cloud.vault_resource()))
            }
            None => None,
        };
        Ok(VaultId { host, resource })
    }
}

/// Parses a duration: `90` or `90s` for seconds, `2m` for minutes, `1h` for hours.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let number = text.strip_suffix(['s', 'm', 'h']).unwrap_or(text);
    let factor = match &text[number.len()..] {
        "m" => 60,
        "h" => 3_600,
        _ => 1,
    };
    // A `u32` is at most 136 years, which can be added to a clock without overflow.
    let is_number = number.bytes().all(|b| b.is_ascii_digit());
    let count = number.parse().ok().filter(|_| is_number);
    let seconds = count.and_then(|count: u32| count.checked_mul(factor));
    match seconds {
        Some(seconds) => Ok(Duration::from_secs(seconds.into())),
        None => Err(unexpected_value_error(
            text,
            "a duration like 90, 90s, 2m or 1h",
        )),
    }
}

/// Parses a comma-separated list of hosts.
fn parse_hosts(text: &str) -> Result<Vec<Host>, Error> {
    let hosts = text.split(',').map(str::trim);
    let hosts = hosts.filter(|host| !host.is_empty());
    hosts.map(Host::parse).collect()
}

impl IdentityId {
    /// The client id in a variable; `None` if it is not set.
    pub fn client_in(env: &Environment, variable: &str) -> Result<Option<IdentityId>, Error> {
        let id = env.setting(variable)?.map(parse_guid).transpose();
        let id = id.map_err(|error| error.context(variable))?;
        Ok(id.map(IdentityId::Client))
    }
}

/// Whether a text has the shape of a tenant: an id, or a domain. Such a text fits the URL of Entra's token endpoint.
pub fn is_tenant(text: &str) -> bool {
    is_guid(text) || is_domain(text)
}

fn is_guid(text: &str) -> bool {
    let mut bytes = text.bytes().enumerate();
    text.len() == 36
        && bytes.all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The error for a setting whose value has another shape. It does not show the value: a client secret is put into a
/// neighbouring setting at times.
pub fn not_shown_error(expected: &str) -> Error {
    Error::config(format!(
        "the value does not look like {expected}; it is not shown, since it may be a secret"
    ))
}

/// Parses a client id or an object id.
fn parse_guid(text: &str) -> Result<String, Error> {
    match is_guid(text) {
        true => Ok(text.to_owned()),
        false => Err(not_shown_error("a GUID").hint("use the id of the identity, not its name")),
    }
}

impl IdentityKind {
    /// The values of `--identity`, each with the kind of identity that it selects.
    pub const CHOICES: [(&str, IdentityKind); 4] = [
        ("workload", IdentityKind::Workload),
        ("managed", IdentityKind::Managed),
        ("service-principal", IdentityKind::ServicePrincipal),
        ("cli", IdentityKind::Cli),
    ];
}

/// The id of the identity: that of an option, or else that of an `AKV_INIT_…` variable; `None` if none is set.
fn parse_identity_id(arguments: &Arguments<'_>) -> Result<Option<IdentityId>, Error> {
    type Parse = fn(&str) -> Result<IdentityId, Error>;
    let options: [(&str, Parse); 3] = [
        ("--client-id", |id| parse_guid(id).map(IdentityId::Client)),
        ("--object-id", |id| parse_guid(id).map(IdentityId::Object)),
        ("--resource-id", |id| {
            match strip_prefix_ignore_case(id, "/subscriptions/") {
                Some(_) => Ok(IdentityId::Resource(id.to_owned())),
                None => Err(not_shown_error("/subscriptions/…")),
            }
        }),
    ];
    let has_option = options.iter().any(|(option, _)| arguments.has(option));
    let mut options = options.to_vec();
    options.retain(|(option, _)| match has_option {
        true => arguments.has(option),
        false => !arguments.values(option).is_empty(),
    });
    match options[..] {
        [] => Ok(None),
        [(option, parse)] => arguments.parse_value(option, parse),
        _ if has_option => Err(Error::new(
            Cause::Usage,
            "only one of --client-id, --object-id and --resource-id can be given",
        )),
        _ => Err(Error::config(
            "only one of AKV_INIT_CLIENT_ID, AKV_INIT_OBJECT_ID and AKV_INIT_RESOURCE_ID can be given",
        )),
    }
}

/// The host in `AZURE_AUTHORITY_HOST`, which is a host or an https URL without a path; `None` if it is not set.
fn authority_host_from_environment(env: &Environment) -> Result<Option<Host>, Error> {
    const VARIABLE: &str = "AZURE_AUTHORITY_HOST";
    let Some(text) = env.setting(VARIABLE)? else {
        return Ok(None);
    };
    let malformed_error = || Error::config(format!("{VARIABLE}: expected https:// and a hostname"));
    let host = match text.split_once("://") {
        None => text,
        Some((scheme, host)) if scheme.eq_ignore_ascii_case("https") => host,
        Some(_) => return Err(malformed_error()),
    };
    let host = Host::parse(host.trim_end_matches('/'));
    host.map(Some).map_err(|_| malformed_error())
}

/// The cloud that `AZURE_AUTHORITY_HOST` belongs to. The webhook of workload identity sets this variable, so a cluster
/// outside the public cloud needs no `--cloud`. A malformed value is ignored, because a managed identity does not use
/// it.
fn cloud_from_environment(env: &Environment) -> Cloud {
    let host = authority_host_from_environment(env).ok().flatten();
    host.and_then(|host| Cloud::from_authority_host(&host.name))
        .unwrap_or(Cloud::Public)
}

/// Variables that start with [`SETTINGS_PREFIX`] but are not settings, each with a warning. Leaves out those that
/// Kubernetes sets in every pod of a namespace that has a Service named `akv-init`.
pub fn unknown_settings(env: &Environment) -> Vec<(String, String)> {
    let names = env.variables().filter_map(|(name, _)| name.to_str());
    let unknown = names.filter(|name| {
        let suffix = name.strip_prefix(SETTINGS_PREFIX);
        suffix.is_some_and(|suffix| !suffix.starts_with("SERVICE_") && !suffix.starts_with("PORT"))
            && !setting_variables().any(|setting| setting == *name)
    });
    let unknown = unknown.map(|name| {
        let reason = match nearest(name, setting_variables()) {
            Some(setting) => format!("unknown setting, ignored; did you mean {setting}?"),
            None => "unknown setting, ignored".to_owned(),
        };
        (name.to_owned(), reason)
    });
    unknown.collect()
}
