//! [`Exec`] + [`Environment`] → [`Plan`]: which secrets of which vaults, for which targets.
//!
//! Pure: no clock, no file, no network; and no secret in it, so that it can be printed. Whatever the manifest got wrong
//! is found here, before anything is asked of anyone.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use crate::cli::Exec;
use crate::cloud::Cloud;
use crate::env::{Environment, OWN_PREFIX, check_reserved, check_target};
use crate::failure::{Cause, Failure};
use crate::host::{Host, VaultName, parse_vault};
use crate::log;
use crate::secret_ref::{Found, SecretRef};
use crate::settings::{Settings, Shared, truth, unknown_settings};
use crate::vault::Wanted;

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// Each distinct secret once.
    pub secrets: Vec<Wanted>,
    /// Each variable that gets one of them, in the order of the environment, then of the options.
    pub targets: Vec<Target>,
    /// Variables that COMMAND does not get.
    pub unset: Vec<OsString>,
    /// Variables that look like settings of ours and are none.
    pub unknown: Vec<String>,
    /// How to reach Azure.
    pub settings: Settings,
}

/// One variable that gets a secret.
#[derive(Debug)]
pub struct Target {
    /// The variable.
    pub name: OsString,
    /// Index into [`Plan::secrets`].
    pub secret: usize,
    /// Whether line ends at the value's end are dropped.
    pub trim: bool,
}

impl Plan {
    /// Builds the plan, or says what the command line or the manifest got wrong.
    pub fn build(exec: &Exec, env: &Environment) -> Result<Plan, Failure> {
        let shared = &exec.shared;
        let settings = Settings::build(shared, env)?;
        let vaults = Vaults::build(shared, env, settings.cloud)?;
        let mut plan = Plan {
            secrets: Vec::new(),
            targets: Vec::new(),
            unset: exec.unset.clone(),
            unknown: unknown_settings(env),
            settings,
        };
        let overwrite = exec.overwrite || truth(env, "AKV_INIT_OVERRIDE")?;
        plan.add_references_of(env, exec, &vaults)?;
        plan.add_options(env, exec, overwrite, &vaults)?;
        Ok(plan)
    }

    /// Variables whose whole value is a reference.
    fn add_references_of(
        &mut self,
        env: &Environment,
        exec: &Exec,
        vaults: &Vaults,
    ) -> Result<(), Failure> {
        for (name, value) in env.variables() {
            let own = name.as_bytes().starts_with(OWN_PREFIX.as_bytes());
            if own
                || exec
                    .literal
                    .iter()
                    .chain(&exec.unset)
                    .any(|passed| passed == name)
            {
                continue;
            }
            let shown = name.to_string_lossy();
            // Lossy is enough to find one: a whole reference is ASCII.
            let found = SecretRef::find(&value.to_string_lossy())
                .map_err(|failure| failure.about(&shown))?;
            let Found::Reference(reference) = found else {
                continue;
            };
            check_reserved(&shown)?;
            if env.variables().filter(|(other, _)| *other == name).count() > 1 {
                return Err(Failure::new(
                    Cause::Config,
                    format!(
                        "{shown}: the variable stands twice in the environment, once as a reference"
                    ),
                ));
            }
            let wanted = vaults
                .complete(&reference)
                .map_err(|failure| failure.about(&shown))?;
            self.add(name.to_owned(), wanted, reference.trim);
        }
        Ok(())
    }

    /// What `--secret` names.
    fn add_options(
        &mut self,
        env: &Environment,
        exec: &Exec,
        overwrite: bool,
        vaults: &Vaults,
    ) -> Result<(), Failure> {
        let references = self.targets.len();
        for (name, reference) in &exec.shared.secrets {
            let config = |why: &str| Failure::new(Cause::Config, format!("target `{name}`: {why}"));
            check_target(name)?;
            if exec.unset.iter().any(|unset| unset == name.as_str()) {
                return Err(config("it is also named by --unset"));
            }
            if exec.literal.iter().any(|literal| literal == name.as_str()) {
                return Err(config("it is also named by --literal"));
            }
            if let Some(at) = self
                .targets
                .iter()
                .position(|target| target.name == name.as_str())
            {
                return Err(match at < references {
                    true => config("two sources: the variable is a reference already")
                        .hint("remove the variable from the environment, or the option"),
                    false => config("it is given twice"),
                });
            }
            let has_value =
                |(other, value): (&OsStr, &OsStr)| other == name.as_str() && !value.is_empty();
            if !overwrite && env.variables().any(has_value) {
                return Err(config("the variable has a value already").hint(
                    "remove it from the environment, or let the secret win with --override",
                ));
            }
            let wanted = vaults
                .complete(reference)
                .map_err(|failure| failure.about(&format!("target `{name}`")))?;
            self.add(name.into(), wanted, reference.trim);
        }
        Ok(())
    }

    fn add(&mut self, name: OsString, wanted: Wanted, trim: bool) {
        // Key Vault's names are case-insensitive: two spellings are one secret and one request.
        let same = |known: &Wanted| {
            known.host == wanted.host
                && known.name.eq_ignore_ascii_case(&wanted.name)
                && known.version == wanted.version
        };
        let secret = self.secrets.iter().position(same).unwrap_or_else(|| {
            self.secrets.push(wanted);
            self.secrets.len() - 1
        });
        self.targets.push(Target { name, secret, trim });
    }

    /// The variables that one secret is for, as text for messages.
    pub fn targets_of(&self, secret: usize) -> String {
        let names = self.targets.iter().filter(|target| target.secret == secret);
        let names: Vec<_> = names
            .map(|target| log::plain(&target.name.to_string_lossy()))
            .collect();
        names.join(", ")
    }
}

/// What `--dry-run` shows.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, wanted) in self.secrets.iter().enumerate() {
            let Wanted { host, resource, .. } = wanted;
            let targets = self.targets_of(index);
            writeln!(
                f,
                "secret    {targets} <- https://{host}/secrets/{} (resource {resource})",
                wanted.shown()
            )?;
            for target in self
                .targets
                .iter()
                .filter(|target| target.secret == index && target.trim)
            {
                let name = log::plain(&target.name.to_string_lossy());
                writeln!(f, "trim      {name}, without line ends at its end")?;
            }
        }
        for name in &self.unset {
            writeln!(f, "unset     {}", log::plain(&name.to_string_lossy()))?;
        }
        if !self.targets.is_empty() {
            let deadline = match self.settings.timeout.as_secs() {
                0 => "one try each".to_owned(),
                seconds => format!("{seconds} s"),
            };
            let more = match self.settings.wait_for_access.as_secs() {
                0 => String::new(),
                seconds => format!(", and {seconds} s more while access is not granted"),
            };
            writeln!(f, "deadline  {deadline}{more}")?;
        }
        Ok(())
    }
}

/// What completes a reference.
struct Vaults {
    default: Option<VaultName>,
    allowed: Vec<Host>,
    cloud: Cloud,
    /// The resource for hosts that no cloud knows.
    resource: String,
}

impl Vaults {
    fn build(shared: &Shared, env: &Environment, cloud: Cloud) -> Result<Vaults, Failure> {
        let default = match &shared.vault {
            Some(vault) => Some(vault.clone()),
            None => match env.setting("AKV_INIT_VAULT")? {
                Some(text) => {
                    Some(parse_vault(text).map_err(|failure| failure.about("AKV_INIT_VAULT"))?)
                }
                None => None,
            },
        };
        let mut allowed = shared.allow_vault.clone();
        if allowed.is_empty()
            && let Some(list) = env.setting("AKV_INIT_ALLOW_VAULT")?
        {
            for host in list
                .split(',')
                .map(str::trim)
                .filter(|host| !host.is_empty())
            {
                allowed.push(
                    Host::parse(host).map_err(|failure| failure.about("AKV_INIT_ALLOW_VAULT"))?,
                );
            }
        }
        let resource = match &shared.vault_resource {
            Some(resource) => Some(resource.as_str()),
            None => env.setting("AKV_INIT_VAULT_RESOURCE")?,
        };
        Ok(Vaults {
            default,
            allowed,
            cloud,
            resource: resource.map_or_else(|| cloud.vault_resource(), str::to_owned),
        })
    }

    fn complete(&self, reference: &SecretRef) -> Result<Wanted, Failure> {
        let vault = match (&reference.vault, &self.default) {
            (VaultName::Default, Some(default)) => default,
            (VaultName::Default, None) => {
                return Err(Failure::new(
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
        // The suffix decides: a vault in China wants a token for China, whatever --cloud says.
        let resource = match host.cloud() {
            Some(cloud) => cloud.vault_resource(),
            None if self.allowed.contains(&host) => self.resource.clone(),
            None => {
                return Err(Failure::new(
                    Cause::Config,
                    format!(
                        "`{host}` is not a host of Key Vault; an access token is not sent there"
                    ),
                )
                .hint(format!("if it is meant, name it: --allow-vault {host}")));
            }
        };
        Ok(Wanted {
            host,
            resource,
            name: reference.name.clone(),
            version: reference.version.clone(),
        })
    }
}
