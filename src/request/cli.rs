//! The command line: argv → [`Action`]. Pure: no environment and no file, and nothing is known of COMMAND.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::log::Format;
use crate::request::arguments::{Arguments, find_help_or_version, unknown, usage};
use crate::request::cloud::Cloud;
use crate::request::files::{Layout, MODE, Output, WriteOptions, parse_mode};
use crate::request::host::{Host, parse_vault};
use crate::request::option_table::ALL;
use crate::request::options::{CLOUDS, CommonOptions, DURATION, IdentityName, parse_duration};
use crate::request::reference::{Reference, check_resource};
use crate::request::supervision::{Forward, Supervision};

/// The permissions of files without `--mode`: readable by owner and group, writable by none.
const DEFAULT_MODE: u32 = 0o440;

/// The default of `--drain`: half of the ten seconds after which Docker kills a container.
const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Test every step that `exec` depends on.
    Check(Box<Check>),
    /// Become COMMAND with its secrets.
    Exec(Box<Exec>),
    /// Print a secret.
    Get(Box<Get>),
    /// Print the help, of one command or of all.
    Help(Option<&'static str>),
    /// Copy akv-init into a directory.
    Install(Install),
    /// Print an access token.
    Token(Box<Token>),
    /// Print the version.
    Version,
    /// Write secrets to files.
    Write(Box<Write>),
}

impl Action {
    /// `--log-format`.
    pub fn log_format(&self) -> Option<Format> {
        match self {
            Action::Check(check) => check.exec.common.log_format,
            Action::Exec(exec) => exec.common.log_format,
            Action::Get(get) => get.common.log_format,
            Action::Install(install) => install.log_format,
            Action::Token(token) => token.common.log_format,
            Action::Write(write) => write.common.log_format,
            Action::Help(_) | Action::Version => None,
        }
    }
}

/// `akv-init exec`.
#[derive(Debug)]
pub struct Exec {
    /// The options that several commands have.
    pub common: CommonOptions,
    /// `--memfd NAME=REF`.
    pub memfds: Vec<(String, Reference)>,
    /// `--override`.
    pub overwrite: bool,
    /// `--literal NAME`: variables that are passed on as they are.
    pub literal: Vec<OsString>,
    /// `--unset NAME`: variables that COMMAND does not get.
    pub unset: Vec<OsString>,
    /// `--init` and `--drain`; `None` is to become COMMAND.
    pub supervision: Option<Supervision>,
    /// `--dry-run`.
    pub dry_run: bool,
    /// COMMAND and its arguments; never empty.
    pub command: Vec<OsString>,
}

/// `akv-init write`.
#[derive(Debug)]
pub struct Write {
    /// The options that several commands have.
    pub common: CommonOptions,
    /// `--from-env`.
    pub from_env: bool,
    /// `--literal NAME`: variables that are not references, even if they look like one.
    pub literal: Vec<OsString>,
    /// `--output`; never empty.
    pub outputs: Vec<Output>,
    /// DIR, `--mode`, `--layout`, `--require-tmpfs`, `--keep-existing`.
    pub options: WriteOptions,
    /// `--dry-run`.
    pub dry_run: bool,
}

/// `akv-init check`.
#[derive(Debug)]
pub struct Check {
    /// The options of `exec`; COMMAND may be empty.
    pub exec: Exec,
    /// `--format`.
    pub format: Format,
}

/// `akv-init get`.
#[derive(Debug)]
pub struct Get {
    /// The options that several commands have.
    pub common: CommonOptions,
    /// REF.
    pub reference: Reference,
}

/// `akv-init install`.
#[derive(Debug)]
pub struct Install {
    /// `--log-format`.
    pub log_format: Option<Format>,
    /// DIR.
    pub dir: PathBuf,
}

/// `akv-init token`.
#[derive(Debug)]
pub struct Token {
    /// The options that several commands have.
    pub common: CommonOptions,
    /// RESOURCE, or `--scope` without `/.default`; `None` is Key Vault.
    pub resource: Option<String>,
}

/// Parses the words after the name of the program.
pub fn parse(words: Vec<OsString>) -> Result<Action, Error> {
    let mut words = words.into_iter();
    let Some(first) = words.next() else {
        return Err(usage(None, "no command given"));
    };
    let words: Vec<OsString> = words.collect();
    let Some(command) = ALL.iter().find(|known| first == **known).copied() else {
        return parse_without_command(&first.to_string_lossy(), &words);
    };
    // First, so that help is there for a user who has just made a mistake.
    match find_help_or_version(&words) {
        Some("--help") => return Ok(Action::Help(Some(command))),
        Some(_) => return Ok(Action::Version),
        None => {}
    }
    let is_cut_off = words.last().is_some_and(|word| word == "--");
    let mut arguments = Arguments::parse(command, words)?;
    match command {
        "check" => {
            // A `check` with `exec`'s arguments may have lost its COMMAND to the same mistake.
            if is_cut_off && arguments.words.is_empty() {
                return Err(no_command(command));
            }
            let format = arguments.parsed("--format", Format::parse, Format::NAMES)?;
            let exec = parse_exec(arguments)?;
            let format = format.unwrap_or_default();
            Ok(Action::Check(Box::new(Check { exec, format })))
        }
        "exec" => match parse_exec(arguments)? {
            exec if exec.command.is_empty() => Err(no_command(command)),
            exec => Ok(Action::Exec(Box::new(exec))),
        },
        "get" => Ok(Action::Get(Box::new(parse_get(arguments)?))),
        "install" => Ok(Action::Install(Install {
            log_format: arguments.parsed("--log-format", Format::parse, Format::NAMES)?,
            dir: directory(&mut arguments)?,
        })),
        "token" => Ok(Action::Token(Box::new(parse_token(arguments)?))),
        _ => Ok(Action::Write(Box::new(parse_write(arguments)?))),
    }
}

fn parse_without_command(first: &str, words: &[OsString]) -> Result<Action, Error> {
    match first {
        "help" | "--help" | "-h" => {
            let topic = words.first();
            let topic = topic.and_then(|word| ALL.iter().find(|known| word == **known));
            Ok(Action::Help(topic.copied()))
        }
        "--version" | "-V" => Ok(Action::Version),
        option if option.starts_with('-') => {
            let option = option.split('=').next().unwrap_or_default();
            Err(usage(None, format!("expected a command before `{option}`")).hint(
                "write akv-init exec [OPTIONS] -- COMMAND; see `akv-init --help` for the other commands",
            ))
        }
        name => {
            let message = format!("unknown command `{name}`");
            let error = unknown(None, message, name, ALL.iter().copied());
            Err(match name.contains('/') {
                true => error.hint("to start a program, write akv-init exec -- PROGRAM"),
                false => error,
            })
        }
    }
}

fn no_command(command: &str) -> Error {
    usage(Some(command), "no COMMAND given").hint(format!(
        "write akv-init {command} [OPTIONS] -- COMMAND; a new ENTRYPOINT or `command:` discards the image's CMD, so \
         repeat it there"
    ))
}

/// The options and COMMAND of `exec` and `check`.
fn parse_exec(arguments: Arguments) -> Result<Exec, Error> {
    let supervision = parse_supervision(&arguments)?;
    // `--init child -- COMMAND` makes `child` the COMMAND.
    if let [first, dashes, ..] = arguments.words.as_slice()
        && let Some(recipient) = first.to_str().filter(|name| Forward::parse(name).is_some())
        && supervision.is_some()
        && dashes == "--"
    {
        let message = format!("COMMAND would be `{recipient}`, with `--` as its first argument");
        let hint = format!("write --init={recipient}: the value of --init follows an equals sign");
        return Err(arguments.usage(message).hint(hint));
    }
    Ok(Exec {
        common: parse_reading(&arguments, "a variable")?,
        memfds: targets(&arguments, "--memfd", "a variable")?,
        overwrite: arguments.has("--override"),
        literal: arguments.os_values("--literal").cloned().collect(),
        unset: arguments.os_values("--unset").cloned().collect(),
        supervision,
        dry_run: arguments.has("--dry-run"),
        command: arguments.words,
    })
}

fn parse_supervision(arguments: &Arguments) -> Result<Option<Supervision>, Error> {
    let forward = arguments.parsed("--init", Forward::parse, Forward::NAMES)?;
    let drain = arguments.parsed("--drain", parse_duration, DURATION)?;
    match arguments.has("--init") {
        false if drain.is_some() => Err(arguments.usage("`--drain` needs `--init`")),
        false => Ok(None),
        true => Ok(Some(Supervision {
            forward: forward.unwrap_or(Forward::Group),
            drain: drain.unwrap_or(DEFAULT_DRAIN),
        })),
    }
}

fn parse_write(mut arguments: Arguments) -> Result<Write, Error> {
    let common = parse_reading(&arguments, "a file")?;
    let outputs = arguments.values("--output")?.into_iter();
    let mut outputs: Vec<Output> = outputs
        .map(|text| Output::parse(text).map_err(|error| arguments.malformed("--output", error)))
        .collect::<Result<_, Error>>()?;
    if outputs.is_empty() {
        outputs.push(Output::Files);
    }
    let layout = arguments.parsed("--layout", Layout::parse, Layout::NAMES)?;
    let mode = arguments.parsed("--mode", parse_mode, MODE)?;
    let age = arguments.parsed("--keep-existing", parse_duration, DURATION)?;
    let keep = arguments.has("--keep-existing").then_some(age);
    let from_env = arguments.has("--from-env");
    let dir = directory(&mut arguments).map_err(|error| match keep {
        // `--keep-existing 5m DIR` makes 5m the directory.
        Some(None) => error
            .hint("write --keep-existing=12h: the value of --keep-existing follows an equals sign"),
        _ => error,
    })?;
    if common.secrets.is_empty() && !from_env {
        return Err(arguments.usage("nothing to write: give --secret FILE=REF or --from-env"));
    }
    if !from_env && arguments.has("--literal") {
        return Err(arguments.usage("`--literal` needs `--from-env`"));
    }
    Ok(Write {
        common,
        from_env,
        literal: arguments.os_values("--literal").cloned().collect(),
        outputs,
        dry_run: arguments.has("--dry-run"),
        options: WriteOptions {
            layout: layout.unwrap_or(Layout::Plain),
            mode: mode.unwrap_or(DEFAULT_MODE),
            require_tmpfs: arguments.has("--require-tmpfs"),
            keep,
            dir,
        },
    })
}

/// DIR, the only word after the options.
fn directory(arguments: &mut Arguments) -> Result<PathBuf, Error> {
    match arguments.single_word("DIR")? {
        Some(dir) if !dir.is_empty() => Ok(dir.into()),
        _ => Err(arguments.usage("no DIR given")),
    }
}

fn parse_get(mut arguments: Arguments) -> Result<Get, Error> {
    let common = parse_reading(&arguments, "a reference")?;
    let Some(text) = arguments.single_word("REF")? else {
        return Err(arguments.usage("no REF given"));
    };
    let text = text
        .to_str()
        .ok_or_else(|| arguments.usage("REF is not UTF-8"))?;
    let reference = Reference::parse(text)?;
    Ok(Get { common, reference })
}

fn parse_token(mut arguments: Arguments) -> Result<Token, Error> {
    let common = parse_common(&arguments)?;
    let scope = arguments.value("--scope")?;
    let resource = match (arguments.single_word("RESOURCE")?, scope) {
        (None, None) => None,
        (None, Some(scope)) => match scope.strip_suffix("/.default") {
            Some(resource) => Some(resource.to_owned()),
            None => return Err(arguments.usage("--scope: expected a scope that ends in /.default")),
        },
        (Some(resource), None) => {
            let text = resource.into_string();
            Some(text.map_err(|_| arguments.usage("RESOURCE is not UTF-8"))?)
        }
        (Some(_), Some(_)) => {
            return Err(arguments.usage("RESOURCE and `--scope` cannot both be given"));
        }
    };
    if let Some(resource) = &resource {
        let subject = format!("`{resource}`");
        check_resource(resource).map_err(|error| arguments.malformed(&subject, error))?;
    }
    Ok(Token { common, resource })
}

/// The options of the commands that read secrets. `target` is what `--secret` names.
fn parse_reading(arguments: &Arguments, target: &str) -> Result<CommonOptions, Error> {
    let vault = arguments
        .value("--vault")?
        .map(|text| parse_vault(&text))
        .transpose();
    let hosts = arguments.values("--allow-vault")?.into_iter();
    let hosts = hosts.map(|text| {
        let host = Host::parse(text).map_err(|error| error.context(format!("`{text}`")));
        host.map_err(|error| arguments.malformed("--allow-vault", error))
    });
    Ok(CommonOptions {
        secrets: targets(arguments, "--secret", target)?,
        vault: vault.map_err(|error| arguments.malformed("--vault", error))?,
        allow_vault: hosts.collect::<Result<_, Error>>()?,
        vault_resource: arguments.value("--vault-resource")?,
        ..parse_common(arguments)?
    })
}

/// The values of an option that takes `NAME=REF`.
fn targets(
    arguments: &Arguments,
    option: &str,
    target: &str,
) -> Result<Vec<(String, Reference)>, Error> {
    let pairs = arguments.values(option)?.into_iter().map(|pair| {
        let pair = pair.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, reference) = pair.ok_or_else(|| {
            arguments.usage(format!("`{option}` takes NAME=REF, where NAME is {target}"))
        })?;
        let reference = Reference::parse(reference).map_err(|error| error.context(name))?;
        Ok((name.to_owned(), reference))
    });
    pairs.collect()
}

/// The options of the commands that send requests to Azure.
fn parse_common(arguments: &Arguments) -> Result<CommonOptions, Error> {
    let identity = arguments.parsed("--identity", IdentityName::parse, IdentityName::NAMES)?;
    Ok(CommonOptions {
        timeout: arguments.parsed("--timeout", parse_duration, DURATION)?,
        wait_for_access: arguments.parsed("--wait-for-access", parse_duration, DURATION)?,
        identity,
        client_id: arguments.value("--client-id")?,
        object_id: arguments.value("--object-id")?,
        resource_id: arguments.value("--resource-id")?,
        cloud: arguments.parsed("--cloud", Cloud::parse, CLOUDS)?,
        ca_file: arguments.os_values("--ca-file").next().map(PathBuf::from),
        log_format: arguments.parsed("--log-format", Format::parse, Format::NAMES)?,
        verbose: arguments.has("--verbose"),
        ..CommonOptions::default()
    })
}
