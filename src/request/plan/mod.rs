//! An `Action` + [`Environment`] → [`Plan`]: which secrets of which vaults, and which tokens, for which targets.
//!
//! Pure: no clock, no file, no network; and no secret in it, so that it can be printed. Whatever the manifest got wrong
//! is found here, before anything is asked of anyone.

mod files;
mod variables;
mod vaults;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::log;
use crate::request::cli::{Exec, Get, Token, Write};
use crate::request::environment::{Environment, OWN_PREFIX};
use crate::request::files::PlannedFile;
use crate::request::host::Host;
use crate::request::options::{CommonOptions, Settings, unknown_settings};
use crate::request::reference::{Found, Reference};
use crate::request::secret_id::SecretId;

use vaults::Vaults;

/// The deadline of what starts a process or fills a volume.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// The deadline of what somebody waits for.
const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(15);

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// Each distinct secret or token once.
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

/// One thing to fetch.
#[derive(Debug)]
pub enum Item {
    /// A vault's secret.
    Secret(SecretId),
    /// An access token, by its resource.
    Token(String),
}

impl Item {
    fn is_same(&self, other: &Item) -> bool {
        match (self, other) {
            // Key Vault's names are case-insensitive: two spellings are one secret and one request.
            (Item::Secret(one), Item::Secret(other)) => {
                one.host == other.host
                    && one.name.eq_ignore_ascii_case(&other.name)
                    && one.version == other.version
            }
            (Item::Token(one), Item::Token(other)) => one == other,
            _ => false,
        }
    }
}

/// `NAME[/VERSION]` or the token's resource, for messages.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Secret(secret) => f.write_str(&secret.shown()),
            Item::Token(resource) => f.write_str(resource),
        }
    }
}

/// One variable or file that gets a secret or a token.
#[derive(Debug)]
pub struct Target {
    /// The variable, or the file below the directory.
    pub name: OsString,
    /// How the secret gets there.
    pub delivery: Delivery,
    /// Index into [`Plan::items`].
    pub item: usize,
    /// Whether line ends at the value's end are dropped.
    pub trim: bool,
}

/// How a secret gets to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is a file, or a key in one.
    File,
    /// The variable holds the path of a descriptor that COMMAND inherits.
    Memfd,
    /// It is printed.
    Print,
    /// It is the variable's value.
    Variable,
}

/// Variables whose whole value is a reference, but for those that are passed on.
fn references_of(
    env: &Environment,
    is_passed: &dyn Fn(&OsStr) -> bool,
) -> Result<Vec<(OsString, Reference)>, Error> {
    let mut references = Vec::new();
    for (name, value) in env.variables() {
        let own = name.as_bytes().starts_with(OWN_PREFIX.as_bytes());
        if own || is_passed(name) {
            continue;
        }
        let shown = name.to_string_lossy();
        // Lossy is enough to find one: a whole reference is ASCII.
        let found = Reference::find(&value.to_string_lossy())
            .map_err(|error| error.context(shown.as_ref()).fact("for", shown.as_ref()))?;
        let Found::Reference(reference) = found else {
            continue;
        };
        if env.variables().filter(|(other, _)| *other == name).count() > 1 {
            return Err(Error::new(
                Cause::Config,
                "the variable is twice in the environment, once as a reference",
            )
            .context(shown.as_ref())
            .fact("for", shown.as_ref()));
        }
        references.push((name.to_owned(), reference));
    }
    Ok(references)
}

impl Plan {
    /// The plan of `token`: one token, for nobody's variable.
    pub fn token(token: &Token, env: &Environment) -> Result<Plan, Error> {
        let settings = Settings::build(&token.common, env, INTERACTIVE_TIMEOUT)?;
        let resource = match &token.resource {
            Some(resource) => resource.clone(),
            None => settings.cloud.vault_resource(),
        };
        Ok(Plan {
            items: vec![Item::Token(resource)],
            targets: Vec::new(),
            unset: Vec::new(),
            ignored: unknown_settings(env),
            settings,
        })
    }

    /// The plan of `get`: one secret, for nobody's variable.
    pub fn get(get: &Get, env: &Environment) -> Result<Plan, Error> {
        let (mut plan, vaults) = Plan::begin(&get.common, env, INTERACTIVE_TIMEOUT)?;
        plan.add(
            "standard output".into(),
            Delivery::Print,
            &get.reference,
            &vaults,
        )?;
        Ok(plan)
    }

    /// The plan of `exec`, or what the command line or the manifest got wrong.
    pub fn exec(exec: &Exec, env: &Environment) -> Result<Plan, Error> {
        Plan::exec_without(&[], exec, env)
    }

    /// The same without these variables, by their names as messages have them: what is wrong with them was told.
    pub fn exec_without(told: &[String], exec: &Exec, env: &Environment) -> Result<Plan, Error> {
        let (mut plan, vaults) = Plan::begin(&exec.common, env, DEFAULT_TIMEOUT)?;
        plan.unset = exec.unset.clone();
        variables::add(&mut plan, exec, told, env, &vaults)?;
        Ok(plan)
    }

    /// The plan of `write`, and the files that it comes to.
    pub fn write(write: &Write, env: &Environment) -> Result<(Plan, Vec<PlannedFile>), Error> {
        let (mut plan, vaults) = Plan::begin(&write.common, env, DEFAULT_TIMEOUT)?;
        let files = files::add(&mut plan, write, env, &vaults)?;
        Ok((plan, files))
    }

    /// A plan without targets yet, and what completes their references.
    fn begin(
        common: &CommonOptions,
        env: &Environment,
        default_timeout: Duration,
    ) -> Result<(Plan, Vaults), Error> {
        let settings = Settings::build(common, env, default_timeout)?;
        let vaults = Vaults::build(common, env, settings.cloud)?;
        let plan = Plan {
            items: Vec::new(),
            targets: Vec::new(),
            unset: Vec::new(),
            ignored: unknown_settings(env)
                .into_iter()
                .chain(vaults.idle())
                .collect(),
            settings,
        };
        Ok((plan, vaults))
    }

    fn add(
        &mut self,
        name: OsString,
        delivery: Delivery,
        reference: &Reference,
        vaults: &Vaults,
    ) -> Result<(), Error> {
        let (item, trim) = match reference {
            Reference::Secret(secret) => (Item::Secret(vaults.complete(secret)?), secret.trim),
            Reference::Token(resource) => (Item::Token(resource.clone()), false),
        };
        let known = self.items.iter().position(|known| known.is_same(&item));
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

    fn has(&self, name: &str) -> bool {
        self.targets.iter().any(|target| target.name == name)
    }

    /// The reference of a target, as one would write it in full; none where it is an access token.
    pub fn reference_of(&self, target: &Target) -> Option<String> {
        match &self.items[target.item] {
            Item::Token(_) => None,
            Item::Secret(secret) => {
                let mut reference = secret.reference();
                reference.trim = target.trim;
                Some(reference.to_string())
            }
        }
    }

    /// The vaults, each with the items that are read there, by their indices; in the order in which they are named.
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

    /// The targets that one item is for, as text for messages.
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
                    let resource = secret.resource.as_deref().unwrap_or("that it names itself");
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
            writeln!(
                f,
                "memfd     {name}, which holds the path of a file in memory"
            )?;
        }
        for target in self.targets.iter().filter(|target| target.trim) {
            let name = log::plain(&target.name.to_string_lossy());
            writeln!(f, "trim      {name}, without line ends at its end")?;
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
