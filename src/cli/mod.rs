//! argv → [`Action`]. Pure: no environment, no file, and nothing of COMMAND is looked at.
//!
//! Words are read left to right; an option takes its value by its own arity; the first word that is neither is
//! COMMAND. pico-args searches all words, so it only ever sees those before COMMAND: otherwise
//! `akv-init exec app --help` would print our help.

mod words;

use std::ffi::OsString;
use std::path::PathBuf;

use pico_args::Arguments;

use crate::cloud::Cloud;
use crate::failure::Failure;
use crate::host::{Host, parse_vault};
use crate::secret_ref::{Reference, check_resource};
use crate::settings::{CLOUDS, DURATION, IdentityName, Shared, parse_duration};
use crate::volume::{Layout, MODE, Output, Rules, parse_mode};

use words::{
    asked_for_help, names, one, one_path, one_word, parsed, perhaps, refuse_leftovers,
    split_at_command, usage,
};

/// The help text, written by hand.
pub const HELP: &str = include_str!("../help.txt");

/// A file's permissions unless `--mode` says otherwise: its owner and its group read it, and nobody changes it.
const DEFAULT_MODE: u32 = 0o440;

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Become COMMAND with its secrets.
    Exec(Box<Exec>),
    /// Print the help.
    Help,
    /// Copy our own file into this directory.
    Install(PathBuf),
    /// Print an access token.
    Token(Box<Token>),
    /// Print the version.
    Version,
    /// Put secrets into files.
    Write(Box<Write>),
}

/// `akv-init exec`.
#[derive(Debug)]
pub struct Exec {
    /// Options that several commands share.
    pub shared: Shared,
    /// `--memfd NAME=REF`.
    pub memfds: Vec<(String, Reference)>,
    /// `--override`.
    pub overwrite: bool,
    /// `--literal NAME`: variables that are passed on as they are.
    pub literal: Vec<OsString>,
    /// `--unset NAME`: variables that COMMAND does not get.
    pub unset: Vec<OsString>,
    /// `--dry-run`.
    pub dry_run: bool,
    /// COMMAND and its arguments; never empty.
    pub command: Vec<OsString>,
}

/// `akv-init write`.
#[derive(Debug)]
pub struct Write {
    /// Options that several commands share.
    pub shared: Shared,
    /// `--from-env`.
    pub from_env: bool,
    /// `--literal NAME`: variables that are no references, whatever they look like.
    pub literal: Vec<OsString>,
    /// `--output`; never empty.
    pub outputs: Vec<Output>,
    /// DIR, `--mode`, `--layout`, `--require-tmpfs`, `--keep-existing`.
    pub rules: Rules,
    /// `--dry-run`.
    pub dry_run: bool,
}

/// `akv-init token`.
#[derive(Debug)]
pub struct Token {
    /// Options that several commands share.
    pub shared: Shared,
    /// RESOURCE, or `--scope` without `/.default`; none is Key Vault's.
    pub resource: Option<String>,
}

/// Reads the words behind the program's name.
pub fn parse(words: Vec<OsString>) -> Result<Action, Failure> {
    let mut words = words.into_iter();
    let Some(verb) = words.next() else {
        return Err(usage("no command given"));
    };
    let parse = match verb.to_str() {
        Some("exec") => parse_exec,
        Some("install") => parse_install,
        Some("token") => parse_token,
        Some("write") => parse_write,
        Some("help" | "--help" | "-h") => return Ok(Action::Help),
        Some("--version" | "-V") => return Ok(Action::Version),
        _ => {
            return Err(usage(&format!("unknown command `{}`", verb.display()))
                .hint("to start a program: akv-init exec -- PROGRAM; see akv-init --help"));
        }
    };
    let words: Vec<OsString> = words.collect();
    // Before anything that can fail, so that help is there for whoever has just made a mistake.
    match asked_for_help(&words) {
        Some(answer) => Ok(answer),
        None => parse(words),
    }
}

fn parse_exec(words: Vec<OsString>) -> Result<Action, Failure> {
    let (options, command) = split_at_command("exec", words)?;
    let mut options = Arguments::from_vec(options);
    let exec = Exec {
        shared: parse_reading(&mut options, "a variable")?,
        memfds: targets(&mut options, "--memfd", "a variable")?,
        overwrite: options.contains("--override"),
        literal: names(&mut options, "--literal")?,
        unset: names(&mut options, "--unset")?,
        dry_run: options.contains("--dry-run"),
        command,
    };
    refuse_leftovers(options)?;
    if exec.command.is_empty() {
        return Err(usage("no COMMAND given").hint(
            "write akv-init exec [OPTIONS] -- COMMAND; a new ENTRYPOINT or `command:` drops the image's CMD: repeat it",
        ));
    }
    Ok(Action::Exec(Box::new(exec)))
}

fn parse_write(words: Vec<OsString>) -> Result<Action, Failure> {
    let (options, words) = split_at_command("write", words)?;
    let mut options = Arguments::from_vec(options);
    let shared = parse_reading(&mut options, "a file")?;
    let mut outputs = Vec::new();
    while let Some(text) = one(&mut options, "--output")? {
        outputs.push(Output::parse(&text).map_err(|failure| mistyped("--output", failure))?);
    }
    if outputs.is_empty() {
        outputs.push(Output::Files);
    }
    let layout = parsed(&mut options, "--layout", Layout::parse, Layout::NAMES)?;
    let mode = parsed(&mut options, "--mode", parse_mode, MODE)?;
    let keep = perhaps(&mut options, "--keep-existing", parse_duration, DURATION)?;
    let write = Write {
        shared,
        from_env: options.contains("--from-env"),
        literal: names(&mut options, "--literal")?,
        outputs,
        dry_run: options.contains("--dry-run"),
        rules: Rules {
            layout: layout.unwrap_or(Layout::Plain),
            mode: mode.unwrap_or(DEFAULT_MODE),
            require_tmpfs: options.contains("--require-tmpfs"),
            keep,
            dir: directory(words).map_err(|failure| match keep {
                // `--keep-existing 5m DIR` makes 5m the directory.
                Some(None) => failure
                    .hint("the age of --keep-existing stands behind `=`: --keep-existing=12h"),
                _ => failure,
            })?,
        },
    };
    refuse_leftovers(options)?;
    if write.shared.secrets.is_empty() && !write.from_env {
        return Err(usage(
            "nothing to write: give --secret FILE=REF or --from-env",
        ));
    }
    if !write.from_env && !write.literal.is_empty() {
        return Err(usage("--literal is for --from-env"));
    }
    Ok(Action::Write(Box::new(write)))
}

fn parse_install(words: Vec<OsString>) -> Result<Action, Failure> {
    let (options, words) = split_at_command("install", words)?;
    let mut options = Arguments::from_vec(options);
    // Taken, and of no use: there is nothing to say.
    options.contains(["-v", "--verbose"]);
    refuse_leftovers(options)?;
    Ok(Action::Install(directory(words)?))
}

/// DIR, the last word.
fn directory(words: Vec<OsString>) -> Result<PathBuf, Failure> {
    match one_word(words, "DIR")? {
        Some(dir) if !dir.is_empty() => Ok(dir.into()),
        _ => Err(usage("no DIR given")),
    }
}

fn parse_token(words: Vec<OsString>) -> Result<Action, Failure> {
    let (options, words) = split_at_command("token", words)?;
    let mut options = Arguments::from_vec(options);
    let shared = parse_shared(&mut options)?;
    let scope = one(&mut options, "--scope")?;
    refuse_leftovers(options)?;
    let resource = match (one_word(words, "RESOURCE")?, scope) {
        (None, None) => None,
        (None, Some(scope)) => match scope.strip_suffix("/.default") {
            Some(resource) => Some(resource.to_owned()),
            None => {
                return Err(usage(
                    "--scope: only a scope that ends in /.default has a token without a user",
                ));
            }
        },
        (Some(resource), None) => match resource.into_string() {
            Ok(resource) => Some(resource),
            Err(_) => return Err(usage("RESOURCE is not UTF-8")),
        },
        (Some(_), Some(_)) => {
            return Err(usage("RESOURCE and --scope say the same: give one"));
        }
    };
    if let Some(resource) = &resource {
        check_resource(resource).map_err(|failure| usage(&failure.about(resource).to_string()))?;
    }
    Ok(Action::Token(Box::new(Token { shared, resource })))
}

/// What every command takes that reads secrets, for targets of this kind.
fn parse_reading(options: &mut Arguments, target: &str) -> Result<Shared, Failure> {
    let mut shared = parse_shared(options)?;
    shared.vault = one(options, "--vault")?
        .map(|text| parse_vault(&text).map_err(|failure| mistyped("--vault", failure)))
        .transpose()?;
    shared.vault_resource = one(options, "--vault-resource")?;
    while let Some(host) = one(options, "--allow-vault")? {
        let parsed = Host::parse(&host);
        let parsed = parsed
            .map_err(|failure| mistyped("--allow-vault", failure.about(&format!("`{host}`"))))?;
        shared.allow_vault.push(parsed);
    }
    shared.secrets = targets(options, "--secret", target)?;
    Ok(shared)
}

/// Every value of an option that takes `NAME=REF`.
fn targets(
    options: &mut Arguments,
    option: &'static str,
    target: &str,
) -> Result<Vec<(String, Reference)>, Failure> {
    let mut targets = Vec::new();
    while let Some(pair) = one(options, option)? {
        let Some((name, reference)) = pair.split_once('=').filter(|(name, _)| !name.is_empty())
        else {
            return Err(usage(&format!(
                "{option} takes NAME=REF: {target}, `=`, a reference"
            )));
        };
        let reference = Reference::parse(reference).map_err(|failure| failure.about(name))?;
        targets.push((name.to_owned(), reference));
    }
    Ok(targets)
}

/// What every command takes that asks Azure for something.
fn parse_shared(options: &mut Arguments) -> Result<Shared, Failure> {
    Ok(Shared {
        timeout: parsed(options, "--timeout", parse_duration, DURATION)?,
        wait_for_access: parsed(options, "--wait-for-access", parse_duration, DURATION)?,
        identity: parsed(
            options,
            "--identity",
            IdentityName::parse,
            IdentityName::NAMES,
        )?,
        client_id: one(options, "--client-id")?,
        object_id: one(options, "--object-id")?,
        resource_id: one(options, "--resource-id")?,
        cloud: parsed(options, "--cloud", Cloud::parse, CLOUDS)?,
        ca_file: one_path(options, "--ca-file")?,
        verbose: options.contains(["-v", "--verbose"]),
        ..Shared::default()
    })
}

/// A value that was typed wrongly is the business of whoever typed it, whoever else uses the same words.
fn mistyped(option: &str, failure: Failure) -> Failure {
    usage(&failure.about(option).to_string())
}
