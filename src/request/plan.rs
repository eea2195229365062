//! The plan: which secrets of which vaults and which access tokens go to which variables and files.
//!
//! It holds no value and can be printed. Every mistake in the manifest is found here, before any request.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::log;
use crate::request::cli::{Exec, Get, Token, Write};
use crate::request::environment::{Environment, OWN_PREFIX, check_reserved, check_target};
use crate::request::files::{FileName, Output, PlannedFile, check_collisions};
use crate::request::format::Format;
use crate::request::host::Host;
use crate::request::options::{CommonOptions, Settings, truth, unknown_settings};
use crate::request::reference::Reference;
use crate::request::secret_id::SecretId;

/// The default deadline of `exec` and `write`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// The default deadline of `get` and `token`, which have a user who waits.
const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(15);

/// What to fetch, for which targets, and how.
#[derive(Debug)]
pub struct Plan {
    /// Each distinct secret or token, once.
    pub items: Vec<Item>,
    /// Each variable or file that gets one of them, in the order of the environment, then of the options.
    pub targets: Vec<Target>,
    /// Variables that COMMAND does not get.
    pub unset: Vec<OsString>,
    /// Options and variables without effect, each with the reason: probably typos.
    pub ignored: Vec<(String, String)>,
    /// How to reach Azure.
    pub settings: Settings,
}

/// One thing to fetch. Displayed as `NAME[/VERSION]`, or as the resource of the token.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// A secret.
    Secret(SecretId),
    /// An access token, by its resource.
    Token(String),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Secret(secret) => f.write_str(&secret.shown()),
            Item::Token(resource) => f.write_str(resource),
        }
    }
}

/// A variable or file that gets a secret or a token.
#[derive(Debug)]
pub struct Target {
    /// The name of the variable, or the path of the file below the directory.
    pub name: OsString,
    /// How the value gets there.
    pub delivery: Delivery,
    /// Index into [`Plan::items`].
    pub item: usize,
    /// Whether line ends at the end of the value are removed.
    pub trim: bool,
}

/// How a value gets to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In a file, alone or with others.
    File,
    /// In a file in memory whose path is in the variable.
    Memfd,
    /// On standard output.
    Print,
    /// In the variable.
    Variable,
}

impl Plan {
    /// The plan of `token`, which has no target.
    pub fn token(token: &Token, env: &Environment) -> Result<Plan, Error> {
        let mut plan = Plan::new(
            Settings::build(&token.common, env, INTERACTIVE_TIMEOUT)?,
            env,
        );
        let default = || plan.settings.cloud.vault_resource();
        plan.items
            .push(Item::Token(token.resource.clone().unwrap_or_else(default)));
        Ok(plan)
    }

    /// The plan of `get`.
    pub fn get(get: &Get, env: &Environment) -> Result<Plan, Error> {
        let mut plan = Plan::reading(&get.common, env, INTERACTIVE_TIMEOUT)?;
        plan.add("standard output".into(), Delivery::Print, &get.reference)?;
        Ok(plan)
    }

    /// The plan of `exec`.
    pub fn exec(exec: &Exec, env: &Environment) -> Result<Plan, Error> {
        Plan::exec_without(&[], exec, env)
    }

    /// The plan of `exec` without some of the variables, each by its name as text.
    pub fn exec_without(skipped: &[String], exec: &Exec, env: &Environment) -> Result<Plan, Error> {
        let mut plan = Plan::reading(&exec.common, env, DEFAULT_TIMEOUT)?;
        plan.unset = exec.unset.clone();
        let overwrite = exec.overwrite || truth(env, "AKV_INIT_OVERRIDE")?;
        let (secrets, memfds) = (exec.common.secrets.iter(), exec.memfds.iter());
        let secrets = secrets.map(|(name, reference)| (name, reference, Delivery::Variable));
        let memfds = memfds.map(|(name, reference)| (name, reference, Delivery::Memfd));
        let options: Vec<_> = secrets.chain(memfds).collect();
        plan.add_references(env, Delivery::Variable, &|name| {
            let is_option = || options.iter().any(|(option, ..)| name == option.as_str());
            exec.literal
                .iter()
                .chain(&exec.unset)
                .any(|other| other == name)
                || (overwrite && is_option())
                || skipped
                    .iter()
                    .any(|skipped| *skipped == name.to_string_lossy())
        })?;
        plan.note_literals(&exec.literal, env);
        let references = plan.targets.len();
        for (name, reference, delivery) in options {
            if skipped.contains(name) {
                continue;
            }
            check_target(name)?;
            let conflict = |reason: &str| Error::new(Cause::Config, reason).context(name);
            if exec.unset.iter().any(|unset| unset == name.as_str()) {
                return Err(conflict(
                    "a variable that gets a secret cannot be given to --unset",
                ));
            }
            if exec.literal.iter().any(|literal| literal == name.as_str()) {
                return Err(conflict(
                    "a variable that gets a secret cannot be given to --literal",
                ));
            }
            if let Some(at) = plan
                .targets
                .iter()
                .position(|target| target.name == name.as_str())
            {
                return Err(match at < references {
                    true => conflict("two sources: the variable is already a reference").hint(
                        "remove it from the environment, or add --override to use the option",
                    ),
                    false => conflict("the variable was given twice"),
                });
            }
            let has_value =
                |(other, value): (&OsStr, &OsStr)| other == name.as_str() && !value.is_empty();
            if !overwrite && env.variables().any(has_value) {
                return Err(conflict("the variable already has a value")
                    .hint("remove it from the environment, or add --override to replace it"));
            }
            plan.add(name.into(), delivery, reference)
                .map_err(|error| error.context(name))?;
        }
        Ok(plan)
    }

    /// The plan of `write`, and the files to write.
    pub fn write(write: &Write, env: &Environment) -> Result<(Plan, Vec<PlannedFile>), Error> {
        let mut plan = Plan::reading(&write.common, env, DEFAULT_TIMEOUT)?;
        plan.note_literals(&write.literal, env);
        if write.from_env {
            let is_literal = |name: &OsStr| write.literal.iter().any(|literal| literal == name);
            plan.add_references(env, Delivery::File, &is_literal)?;
        }
        for (name, reference) in &write.common.secrets {
            if plan
                .targets
                .iter()
                .any(|target| target.name == name.as_str())
            {
                return Err(Error::new(Cause::Config, "the file was given twice").context(name));
            }
            plan.add(name.into(), Delivery::File, reference)
                .map_err(|error| error.context(name))?;
        }
        if plan.targets.is_empty() {
            let reason = "--from-env: no environment variable is a reference";
            return Err(Error::new(Cause::Config, reason).hint(
                "set one in the manifest, such as DB_PASSWORD: akv://VAULT/NAME, or name files with --secret",
            ));
        }
        let files = plan.files(&write.outputs)?;
        check_collisions(&files)?;
        Ok((plan, files))
    }

    fn new(settings: Settings, env: &Environment) -> Plan {
        Plan {
            items: Vec::new(),
            targets: Vec::new(),
            unset: Vec::new(),
            ignored: unknown_settings(env),
            settings,
        }
    }

    /// A plan without targets, for a command that reads secrets.
    fn reading(
        options: &CommonOptions,
        env: &Environment,
        default_timeout: Duration,
    ) -> Result<Plan, Error> {
        let settings = Settings::build(options, env, default_timeout)?.with_vaults(options, env)?;
        let mut plan = Plan::new(settings, env);
        if plan.settings.vault_resource.is_some() && plan.settings.allowed_hosts.is_empty() {
            let setting = match options.vault_resource {
                Some(_) => "--vault-resource",
                None => "AKV_INIT_VAULT_RESOURCE",
            };
            let reason = "no effect without --allow-vault or AKV_INIT_ALLOW_VAULT";
            plan.ignored.push((setting.to_owned(), reason.to_owned()));
        }
        Ok(plan)
    }

    /// Adds the variables whose whole value is a reference, except for those that are passed on.
    fn add_references(
        &mut self,
        env: &Environment,
        delivery: Delivery,
        is_passed_on: &dyn Fn(&OsStr) -> bool,
    ) -> Result<(), Error> {
        for (name, value) in env.variables() {
            if name.as_bytes().starts_with(OWN_PREFIX.as_bytes()) || is_passed_on(name) {
                continue;
            }
            let shown = name.to_string_lossy();
            self.add_reference(env, delivery, (name, &shown), value)
                .map_err(|error| error.context(shown.as_ref()).fact("for", shown.as_ref()))?;
        }
        Ok(())
    }

    fn add_reference(
        &mut self,
        env: &Environment,
        delivery: Delivery,
        (name, shown): (&OsStr, &str),
        value: &OsStr,
    ) -> Result<(), Error> {
        // A reference is ASCII, so that bytes which are not UTF-8 cannot hide one.
        let Some(reference) = Reference::find(shown, &value.to_string_lossy())? else {
            return Ok(());
        };
        if env.variables().filter(|(other, _)| *other == name).count() > 1 {
            let reason = "the variable is in the environment twice, at least once as a reference";
            return Err(Error::new(Cause::Config, reason));
        }
        match delivery {
            Delivery::File if name.to_str().is_none() => {
                return Err(Error::new(Cause::Config, "the name is not UTF-8"));
            }
            Delivery::File => {}
            _ => check_reserved(shown)?,
        }
        self.add(name.to_owned(), delivery, &reference)
    }

    fn add(
        &mut self,
        name: OsString,
        delivery: Delivery,
        reference: &Reference,
    ) -> Result<(), Error> {
        let (item, trim) = match reference {
            Reference::Secret(secret) => {
                (Item::Secret(self.settings.complete(secret)?), secret.trim)
            }
            Reference::Token(resource) => (Item::Token(resource.clone()), false),
        };
        let known = self.items.iter().position(|known| *known == item);
        let item = known.unwrap_or_else(|| {
            self.items.push(item);
            self.items.len() - 1
        });
        self.targets.push(Target {
            name,
            delivery,
            item,
            trim,
        });
        Ok(())
    }

    /// Notes each `--literal` of a variable that does not exist.
    fn note_literals(&mut self, literal: &[OsString], env: &Environment) {
        let is_set = |name: &OsString| env.variables().any(|(known, _)| known == name);
        for name in literal.iter().filter(|name| !is_set(name)) {
            let option = format!("--literal {}", name.to_string_lossy());
            self.ignored
                .push((option, "there is no such variable".to_owned()));
        }
    }

    /// The files of each `--output`.
    fn files(&self, outputs: &[Output]) -> Result<Vec<PlannedFile>, Error> {
        let names = self
            .targets
            .iter()
            .map(|target| target.name.to_string_lossy());
        let mut files = Vec::new();
        for output in outputs {
            match output {
                Output::Files => {
                    for (index, name) in names.clone().enumerate() {
                        let name = FileName::parse(&name)?;
                        files.push(PlannedFile {
                            name,
                            format: None,
                            targets: vec![index],
                        });
                    }
                }
                Output::Bundle(format, file) => {
                    for name in names.clone() {
                        format.check_name(&name)?;
                        if *format != Format::Json {
                            check_reserved(&name).map_err(|error| error.context(name.as_ref()))?;
                        }
                    }
                    files.push(PlannedFile {
                        name: file.clone(),
                        format: Some(*format),
                        targets: (0..self.targets.len()).collect(),
                    });
                }
            }
        }
        Ok(files)
    }

    /// The reference of a target in full; `None` for an access token.
    pub fn reference_of(&self, target: &Target) -> Option<String> {
        match &self.items[target.item] {
            Item::Token(_) => None,
            Item::Secret(secret) => Some(secret.reference(target.trim).to_string()),
        }
    }

    /// The vaults in the order of the items, each with the indices of its items.
    pub fn vaults(&self) -> Vec<(&Host, Vec<usize>)> {
        let mut vaults: Vec<(&Host, Vec<usize>)> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            let Item::Secret(secret) = item else {
                continue;
            };
            match vaults.iter_mut().find(|(host, _)| **host == secret.host) {
                Some((_, items)) => items.push(index),
                None => vaults.push((&secret.host, vec![index])),
            }
        }
        vaults
    }

    /// The names of the targets of an item, for messages.
    pub fn targets_of(&self, item: usize) -> String {
        let names = self.targets.iter().filter(|target| target.item == item);
        let names: Vec<_> = names
            .map(|target| log::plain(&target.name.to_string_lossy()))
            .collect();
        names.join(", ")
    }
}

/// What `--dry-run` shows.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.items.iter().enumerate() {
            let targets = self.targets_of(index);
            match item {
                Item::Token(resource) => writeln!(f, "token     {targets} <- for {resource}")?,
                Item::Secret(secret) => {
                    let resource = secret.resource.as_deref().unwrap_or("named by the vault");
                    writeln!(
                        f,
                        "secret    {targets} <- https://{}/secrets/{} (resource {resource})",
                        secret.host,
                        secret.shown()
                    )?;
                }
            }
        }
        for target in self
            .targets
            .iter()
            .filter(|target| target.delivery == Delivery::Memfd)
        {
            let name = log::plain(&target.name.to_string_lossy());
            writeln!(f, "memfd     {name} (holds the path of a file in memory)")?;
        }
        for target in self.targets.iter().filter(|target| target.trim) {
            let name = log::plain(&target.name.to_string_lossy());
            writeln!(f, "trim      {name} (without line ends at the end)")?;
        }
        for name in &self.unset {
            writeln!(f, "unset     {}", log::plain(&name.to_string_lossy()))?;
        }
        if !self.targets.is_empty() {
            let deadline = match self.settings.timeout.as_secs() {
                0 => "one attempt at each request".to_owned(),
                seconds => format!("{seconds} s"),
            };
            let more = match self.settings.wait_for_access.as_secs() {
                0 => String::new(),
                seconds => format!(", and {seconds} s more while access is denied"),
            };
            writeln!(f, "deadline  {deadline}{more}")?;
        }
        Ok(())
    }
}
