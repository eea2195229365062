//! What several commands share: options, completed by their twins in the environment.
//!
//! An option beats `AKV_INIT_…`, which beats `AZURE_…`; an empty variable is unset. Pure: no file and no network.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::log;
use crate::request::cloud::Cloud;
use crate::request::environment::{Environment, OWN_PREFIX};
use crate::request::host::{Host, VaultName};
use crate::request::option_table::settings;
use crate::request::reference::Reference;
use crate::request::suggestion::nearest;

/// What was typed. None of it is completed here.
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

/// What `--identity` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityName {
    /// The sign-in of the Azure CLI.
    Cli,
    /// A managed identity, from wherever this platform serves it.
    Managed,
    /// A service principal with a secret or a certificate.
    Principal,
    /// Workload identity: a federated token.
    Workload,
}

/// Everything that several commands share, completed from options and environment.
#[derive(Debug)]
pub struct Settings {
    /// From the start to the end of everything; zero is one try each.
    pub timeout: Duration,
    /// By how much a vault's 403 may extend it.
    pub wait_for_access: Duration,
    /// What `--identity` names.
    pub identity: Option<IdentityName>,
    /// Which of several identities.
    pub selector: Option<Selector>,
    /// What completes a vault's short name, and where Entra is.
    pub cloud: Cloud,
    /// What replaces all other roots.
    pub ca_file: Option<PathBuf>,
    /// `--verbose`.
    pub verbose: bool,
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
    /// Completes the options from the environment. `default_timeout` is the deadline where none is given.
    pub fn build(
        common: &CommonOptions,
        env: &Environment,
        default_timeout: Duration,
    ) -> Result<Settings, Error> {
        let cloud = setting(env, common.cloud, "AKV_INIT_CLOUD", Cloud::parse, CLOUDS)?;
        let duration =
            |option, equivalent| setting(env, option, equivalent, parse_duration, DURATION);
        let names = IdentityName::NAMES;
        Ok(Settings {
            timeout: duration(common.timeout, "AKV_INIT_TIMEOUT")?.unwrap_or(default_timeout),
            wait_for_access: duration(common.wait_for_access, "AKV_INIT_WAIT_FOR_ACCESS")?
                .unwrap_or_default(),
            identity: setting(
                env,
                common.identity,
                "AKV_INIT_IDENTITY",
                IdentityName::parse,
                names,
            )?,
            selector: selector(common, env)?,
            cloud: cloud.unwrap_or_else(|| cloud_of_authority(env)),
            ca_file: match &common.ca_file {
                Some(path) => Some(path.clone()),
                None => env
                    .get("AKV_INIT_CA_FILE")
                    .filter(|path| !path.is_empty())
                    .map(PathBuf::from),
            },
            verbose: common.verbose || truth(env, "AKV_INIT_VERBOSE")?,
        })
    }
}

/// What a duration looks like, for error messages.
pub const DURATION: &str = "a duration like 90, 90s, 2m or 1h";
/// What a cloud is called, for error messages.
pub const CLOUDS: &str = "public, usgov or china";

/// `90`, `90s`, `2m`, `1h`; `0` is no time at all.
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
    // 32 bits of seconds: 136 years, and no overflow wherever it is added to a clock.
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

/// An option, else its equivalent in the environment.
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

/// How lines are written: the option, else its equivalent.
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

/// A variable that is `true` or `false`, or a number for it.
pub fn truth(env: &Environment, name: &str) -> Result<bool, Error> {
    let parse = |text: &str| match text {
        "0" => Some(false),
        "1" => Some(true),
        word => word.parse().ok(),
    };
    Ok(setting(env, None, name, parse, "true or false")?.unwrap_or(false))
}

/// The selector of the highest rank that has one: options, then `AKV_INIT_…`, then `AZURE_CLIENT_ID`.
fn selector(common: &CommonOptions, env: &Environment) -> Result<Option<Selector>, Error> {
    let options = [
        common.client_id.clone().map(Selector::Client),
        common.object_id.clone().map(Selector::Object),
        common.resource_id.clone().map(Selector::Resource),
    ];
    let equivalent = |name: &str| env.setting(name).map(|value| value.map(str::to_owned));
    let twins = [
        equivalent("AKV_INIT_CLIENT_ID")?.map(Selector::Client),
        equivalent("AKV_INIT_OBJECT_ID")?.map(Selector::Object),
        equivalent("AKV_INIT_RESOURCE_ID")?.map(Selector::Resource),
    ];
    for (rank, cause, names) in [
        (
            options,
            Cause::Usage,
            "--client-id, --object-id and --resource-id",
        ),
        (
            twins,
            Cause::Config,
            "AKV_INIT_CLIENT_ID, AKV_INIT_OBJECT_ID and AKV_INIT_RESOURCE_ID",
        ),
    ] {
        let mut given = rank.into_iter().flatten();
        let first = given.next();
        if given.next().is_some() {
            return Err(Error::new(
                cause,
                format!("of {names} only one can be given"),
            ));
        }
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(equivalent("AZURE_CLIENT_ID")?.map(Selector::Client))
}

/// Entra's host: `AZURE_AUTHORITY_HOST`, as the workload identity webhook sets it (https, perhaps with a slash at its
/// end), else the cloud's. Asked for by those who ask Entra: a managed identity never looks at it.
pub fn authority(env: &Environment, cloud: Cloud) -> Result<Host, Error> {
    const NAME: &str = "AZURE_AUTHORITY_HOST";
    let Some(text) = env.setting(NAME)? else {
        return Ok(Host {
            name: cloud.authority().to_owned(),
            port: 443,
        });
    };
    let refuse = |why: &str| Error::new(Cause::Config, format!("{NAME} {why}"));
    let host = match text.split_once("://") {
        None => text,
        Some((scheme, host)) if scheme.eq_ignore_ascii_case("https") => host,
        Some(_) => return Err(refuse("does not start with https://")),
    };
    Host::parse(host.trim_end_matches('/')).map_err(|_| refuse("is not https:// and a host"))
}

/// A cluster in another cloud needs no `--cloud`: its webhook names that cloud's authority.
fn cloud_of_authority(env: &Environment) -> Cloud {
    let host = authority(env, Cloud::Public).ok();
    host.and_then(|host| Cloud::of_authority(&host.name))
        .unwrap_or(Cloud::Public)
}

/// Variables that start with [`OWN_PREFIX`] and are not settings, each with what to say about it. Kubernetes sets some
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
