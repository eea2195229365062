//! argv → [`Action`]. Pure: no environment, no file, and nothing of COMMAND is looked at.
//!
//! Words are read left to right; an option takes its value by its own arity; the first word that is neither is
//! COMMAND. pico-args searches all words, so it only ever sees those before COMMAND: otherwise
//! `akv-init exec app --help` would print our help.

mod action;
mod help;
mod option_table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use pico_args::Arguments;

use crate::error::Error;
use crate::log::Format;
use crate::request::cloud::Cloud;
use crate::request::files::{Layout, MODE, Output, WriteOptions, parse_mode};
use crate::request::host::{Host, parse_vault};
use crate::request::options::{CLOUDS, DURATION, IdentityName, Shared, parse_duration};
use crate::request::reference::{Reference, check_resource};
use crate::request::supervision::{Forward, Supervision};

use option_table::{
    ALL, asked_for_help, names, one, one_path, one_word, parsed, perhaps, refuse_leftovers,
    split_at_command, usage,
};

pub use action::{Action, Check, Exec, Get, Install, Token, Write};
pub use help::help;

/// A file's permissions unless `--mode` says otherwise: its owner and its group read it, and nobody changes it.
const DEFAULT_MODE: u32 = 0o440;

/// How long what COMMAND leaves behind may take to stop: Docker kills a container after ten seconds.
const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// Reads the words behind the program's name.
pub fn parse(words: Vec<OsString>) -> Result<Action, Error> {
    let mut words = words.into_iter();
    let Some(verb) = words.next() else {
        return Err(usage("no command given"));
    };
    let words: Vec<OsString> = words.collect();
    let known = ALL.iter().find(|known| verb == **known).copied();
    // Before anything that can fail, so that help is there for whoever has just made a mistake.
    if let Some(answer) = known.and_then(|verb| asked_for_help(verb, &words)) {
        return Ok(answer);
    }
    match known.or(verb.to_str()) {
        Some("check") => parse_check(words),
        Some("exec") => parse_exec(words),
        Some("get") => parse_get(words),
        Some("install") => parse_install(words),
        Some("token") => parse_token(words),
        Some("write") => parse_write(words),
        Some("help" | "--help" | "-h") => {
            let about = words.first();
            let about = about.and_then(|word| ALL.iter().find(|known| word == **known));
            Ok(Action::Help(about.copied()))
        }
        Some("--version" | "-V") => Ok(Action::Version),
        Some(option) if option.starts_with('-') => {
            let option = option.split('=').next().unwrap_or_default();
            Err(usage(&format!("`{option}` stands where a command must"))
                .hint("options stand behind it: akv-init exec [OPTIONS] -- PROGRAM"))
        }
        _ => Err(usage(&format!("unknown command `{}`", verb.display()))
            .hint("to start a program: akv-init exec -- PROGRAM; see akv-init --help")),
    }
}

fn parse_exec(words: Vec<OsString>) -> Result<Action, Error> {
    let (mut options, command) = split_at_command("exec", words)?;
    let exec = parse_starting(&mut options, command)?;
    refuse_leftovers(options)?;
    match exec.command.is_empty() {
        true => Err(no_command("exec")),
        false => Ok(Action::Exec(Box::new(exec))),
    }
}

fn no_command(verb: &str) -> Error {
    usage("no COMMAND given").hint(format!(
        "write akv-init {verb} [OPTIONS] -- COMMAND; a new ENTRYPOINT or `command:` drops the image's CMD: repeat it"
    ))
}

/// Whether COMMAND runs in a child, and how.
fn parse_supervision(options: &mut Arguments) -> Result<Option<Supervision>, Error> {
    let forward = perhaps(options, "--init", Forward::parse, Forward::NAMES)?;
    let drain = parsed(options, "--drain", parse_duration, DURATION)?;
    match forward {
        None if drain.is_some() => Err(usage("--drain is for --init")),
        None => Ok(None),
        Some(forward) => Ok(Some(Supervision {
            forward: forward.unwrap_or(Forward::Group),
            drain: drain.unwrap_or(DEFAULT_DRAIN),
        })),
    }
}

fn parse_check(words: Vec<OsString>) -> Result<Action, Error> {
    // Whoever puts `check` in the place of `exec` may have forgotten it there already.
    let is_forgotten = words.last().is_some_and(|word| word == "--");
    let (mut options, command) = split_at_command("check", words)?;
    if is_forgotten && command.is_empty() {
        return Err(no_command("check"));
    }
    let exec = parse_starting(&mut options, command)?;
    let format = parsed(&mut options, "--format", Format::parse, Format::NAMES)?;
    refuse_leftovers(options)?;
    Ok(Action::Check(Box::new(Check {
        exec,
        format: format.unwrap_or_default(),
    })))
}

/// What is taken to start COMMAND, or to look whether it could be.
fn parse_starting(options: &mut Arguments, command: Vec<OsString>) -> Result<Exec, Error> {
    let supervision = parse_supervision(options)?;
    // `--init child -- COMMAND` makes child the COMMAND.
    if let [first, dashes, ..] = command.as_slice()
        && let Some(who) = first.to_str().filter(|who| Forward::parse(who).is_some())
        && supervision.is_some()
        && dashes == "--"
    {
        let hint = format!("what --init takes stands behind `=`: --init={who}");
        return Err(usage(&format!("COMMAND is `{who}`, and `--` its first argument")).hint(hint));
    }
    Ok(Exec {
        shared: parse_reading(options, "a variable")?,
        memfds: targets(options, "--memfd", "a variable")?,
        overwrite: options.contains("--override"),
        literal: names(options, "--literal")?,
        unset: names(options, "--unset")?,
        supervision,
        dry_run: options.contains("--dry-run"),
        command,
    })
}

fn parse_write(words: Vec<OsString>) -> Result<Action, Error> {
    let (mut options, words) = split_at_command("write", words)?;
    let shared = parse_reading(&mut options, "a file")?;
    let mut outputs = Vec::new();
    while let Some(text) = one(&mut options, "--output")? {
        outputs.push(Output::parse(&text).map_err(|error| mistyped("--output", error))?);
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
        options: WriteOptions {
            layout: layout.unwrap_or(Layout::Plain),
            mode: mode.unwrap_or(DEFAULT_MODE),
            require_tmpfs: options.contains("--require-tmpfs"),
            keep,
            dir: directory(words).map_err(|error| match keep {
                // `--keep-existing 5m DIR` makes 5m the directory.
                Some(None) => {
                    error.hint("the age of --keep-existing stands behind `=`: --keep-existing=12h")
                }
                _ => error,
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

fn parse_install(words: Vec<OsString>) -> Result<Action, Error> {
    let (mut options, words) = split_at_command("install", words)?;
    // Taken, and of no use: there is nothing to say.
    options.contains(["-v", "--verbose"]);
    let log_format = parsed(&mut options, "--log-format", Format::parse, Format::NAMES)?;
    refuse_leftovers(options)?;
    Ok(Action::Install(Install {
        log_format,
        dir: directory(words)?,
    }))
}

fn parse_get(words: Vec<OsString>) -> Result<Action, Error> {
    let (mut options, words) = split_at_command("get", words)?;
    let shared = parse_reading(&mut options, "a reference")?;
    refuse_leftovers(options)?;
    let Some(text) = one_word(words, "REF")? else {
        return Err(usage("no REF given"));
    };
    let text = text.to_str().ok_or_else(|| usage("REF is not UTF-8"))?;
    let reference = Reference::parse(text)?;
    Ok(Action::Get(Box::new(Get { shared, reference })))
}

/// DIR, the last word.
fn directory(words: Vec<OsString>) -> Result<PathBuf, Error> {
    match one_word(words, "DIR")? {
        Some(dir) if !dir.is_empty() => Ok(dir.into()),
        _ => Err(usage("no DIR given")),
    }
}

fn parse_token(words: Vec<OsString>) -> Result<Action, Error> {
    let (mut options, words) = split_at_command("token", words)?;
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
        check_resource(resource).map_err(|error| usage(&error.context(resource).to_string()))?;
    }
    Ok(Action::Token(Box::new(Token { shared, resource })))
}

/// What every command takes that reads secrets, for targets of this kind.
fn parse_reading(options: &mut Arguments, target: &str) -> Result<Shared, Error> {
    let mut shared = parse_shared(options)?;
    shared.vault = one(options, "--vault")?
        .map(|text| parse_vault(&text).map_err(|error| mistyped("--vault", error)))
        .transpose()?;
    shared.vault_resource = one(options, "--vault-resource")?;
    while let Some(host) = one(options, "--allow-vault")? {
        let parsed = Host::parse(&host);
        let parsed = parsed
            .map_err(|error| mistyped("--allow-vault", error.context(format!("`{host}`"))))?;
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
) -> Result<Vec<(String, Reference)>, Error> {
    let mut targets = Vec::new();
    while let Some(pair) = one(options, option)? {
        let Some((name, reference)) = pair.split_once('=').filter(|(name, _)| !name.is_empty())
        else {
            return Err(usage(&format!(
                "{option} takes NAME=REF: {target}, `=`, a reference"
            )));
        };
        let reference = Reference::parse(reference).map_err(|error| error.context(name))?;
        targets.push((name.to_owned(), reference));
    }
    Ok(targets)
}

/// What every command takes that asks Azure for something.
fn parse_shared(options: &mut Arguments) -> Result<Shared, Error> {
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
        log_format: parsed(options, "--log-format", Format::parse, Format::NAMES)?,
        verbose: options.contains(["-v", "--verbose"]),
        ..Shared::default()
    })
}

/// A value that was typed wrongly is the business of whoever typed it, whoever else uses the same words.
fn mistyped(option: &str, error: Error) -> Error {
    let hint = error.hint.as_deref().map(str::to_owned);
    let typed = usage(&error.context(option).to_string());
    match hint {
        Some(hint) => typed.hint(hint),
        None => typed,
    }
}
