//! argv → [`Action`]. Pure: no environment, no file, and nothing of COMMAND is looked at.
//!
//! Words are read left to right; an option takes its value by its own arity; the first word that is neither is
//! COMMAND. pico-args searches all words, so it only ever sees those before COMMAND: otherwise
//! `akv-init exec app --help` would print our help.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pico_args::Arguments;

use crate::cloud::Cloud;
use crate::failure::{Cause, Failure};
use crate::host::{Host, parse_vault};
use crate::secret_ref::SecretRef;
use crate::settings::{CLOUDS, DURATION, IdentityName, Shared, parse_duration};

/// The help text, written by hand.
pub const HELP: &str = include_str!("help.txt");

/// Options that take a value, and options that do not.
const VALUES: [&str; 14] = [
    "--allow-vault",
    "--ca-file",
    "--client-id",
    "--cloud",
    "--identity",
    "--literal",
    "--object-id",
    "--resource-id",
    "--secret",
    "--timeout",
    "--unset",
    "--vault",
    "--vault-resource",
    "--wait-for-access",
];
const FLAGS: [&str; 8] = [
    "--dry-run",
    "--help",
    "--override",
    "--verbose",
    "--version",
    "-V",
    "-h",
    "-v",
];

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Become COMMAND with its secrets.
    Exec(Box<Exec>),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// `akv-init exec`.
#[derive(Debug)]
pub struct Exec {
    /// Options that several commands share.
    pub shared: Shared,
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

/// Reads the words behind the program's name.
pub fn parse(words: Vec<OsString>) -> Result<Action, Failure> {
    let mut words = words.into_iter();
    let Some(verb) = words.next() else {
        return Err(usage("no command given"));
    };
    match verb.to_str() {
        Some("exec") => parse_exec(words.collect()),
        Some("help" | "--help" | "-h") => Ok(Action::Help),
        Some("--version" | "-V") => Ok(Action::Version),
        _ => Err(usage(&format!("unknown command `{}`", verb.display()))
            .hint("to start a program: akv-init exec -- PROGRAM; see akv-init --help")),
    }
}

fn parse_exec(words: Vec<OsString>) -> Result<Action, Failure> {
    // Before anything that can fail, so that help is there for whoever has just made a mistake.
    if let Some(answer) = asked_for_help(&words) {
        return Ok(answer);
    }
    let (options, command) = split_at_command(words)?;
    let mut options = Arguments::from_vec(options);
    let shared = parse_shared(&mut options)?;
    let exec = Exec {
        shared,
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

fn parse_shared(options: &mut Arguments) -> Result<Shared, Failure> {
    let mut shared = Shared {
        vault: one(options, "--vault")?
            .map(|text| parse_vault(&text).map_err(|failure| mistyped("--vault", failure)))
            .transpose()?,
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
        vault_resource: one(options, "--vault-resource")?,
        ca_file: one_path(options, "--ca-file")?,
        verbose: options.contains(["-v", "--verbose"]),
        ..Shared::default()
    };
    while let Some(host) = one(options, "--allow-vault")? {
        let parsed = Host::parse(&host);
        let parsed = parsed
            .map_err(|failure| mistyped("--allow-vault", failure.about(&format!("`{host}`"))))?;
        shared.allow_vault.push(parsed);
    }
    while let Some(pair) = one(options, "--secret")? {
        let Some((name, reference)) = pair.split_once('=').filter(|(name, _)| !name.is_empty())
        else {
            return Err(usage(
                "--secret takes NAME=REF: a variable, `=`, a reference",
            ));
        };
        let reference = SecretRef::parse(reference).map_err(|failure| failure.about(name))?;
        shared.secrets.push((name.to_owned(), reference));
    }
    Ok(shared)
}

/// Whether help or the version is asked for before COMMAND, whatever else is wrong there.
fn asked_for_help(words: &[OsString]) -> Option<Action> {
    let mut words = words.iter();
    while let Some(word) = words.next().filter(|word| *word != "--") {
        match word.to_str().unwrap_or_default() {
            "-h" | "--help" => return Some(Action::Help),
            "-V" | "--version" => return Some(Action::Version),
            option if VALUES.contains(&option) => {
                let mut ahead = words.clone();
                if ahead
                    .next()
                    .is_some_and(|value| !value.as_bytes().starts_with(b"-"))
                {
                    words = ahead;
                }
            }
            option if option.starts_with('-') && option != "-" => {}
            _ => return None,
        }
    }
    None
}

/// Splits at COMMAND. A word that looks like an option is never taken as another option's value: `--timeout --verbose`
/// is a mistake, and nothing that we take starts with a hyphen.
fn split_at_command(words: Vec<OsString>) -> Result<(Vec<OsString>, Vec<OsString>), Failure> {
    let mut options = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            return Ok((options, words.collect()));
        }
        if !word.as_bytes().starts_with(b"-") || word == "-" {
            return Ok((options, std::iter::once(word).chain(words).collect()));
        }
        let name = word
            .as_bytes()
            .split(|b| *b == b'=')
            .next()
            .unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        let has_value = word.len() > name.len();
        if FLAGS.contains(&name.as_str()) && !has_value {
            options.push(word);
        } else if VALUES.contains(&name.as_str()) && has_value {
            // pico-args only knows `--option=value` where the value is UTF-8.
            let value = OsStr::from_bytes(&word.as_bytes()[name.len() + 1..]);
            if value.is_empty() || value.as_bytes().starts_with(b"-") {
                return Err(usage(&format!("{name} needs a value")));
            }
            options.extend([name.into(), value.to_owned()]);
        } else if VALUES.contains(&name.as_str()) {
            let value = words
                .next()
                .filter(|value| !value.as_bytes().starts_with(b"-"));
            let Some(value) = value else {
                return Err(usage(&format!("{name} needs a value")));
            };
            options.extend([word, value]);
        } else if FLAGS.contains(&name.as_str()) {
            return Err(usage(&format!("{name} takes no value")));
        } else {
            return Err(usage(&format!("unknown option `{name}`")));
        }
    }
    Ok((options, Vec::new()))
}

/// The value of an option, once; the next call gives the next one. Empty is a mistake in a script, not a value.
fn one(options: &mut Arguments, name: &'static str) -> Result<Option<String>, Failure> {
    let value = options
        .opt_value_from_os_str(name, |value| Ok::<_, Failure>(value.to_owned()))
        .map_err(|_| usage(&format!("{name} needs a value")))?;
    match value.map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) if text.is_empty() => Err(usage(&format!("{name} needs a value"))),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(usage(&format!("{name}: the value is not UTF-8"))),
    }
}

fn parsed<T>(
    options: &mut Arguments,
    name: &'static str,
    parse: impl Fn(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, Failure> {
    one(options, name)?
        .map(|text| {
            parse(&text).ok_or_else(|| usage(&format!("{name}: `{text}` is not {expected}")))
        })
        .transpose()
}

/// Every value of an option that takes names or paths, which need not be UTF-8.
fn names(options: &mut Arguments, name: &'static str) -> Result<Vec<OsString>, Failure> {
    let values = options.values_from_os_str(name, |value| Ok::<_, Failure>(value.to_owned()));
    match values {
        Ok(values) if !values.iter().any(|value| value.is_empty()) => Ok(values),
        _ => Err(usage(&format!("{name} needs a value"))),
    }
}

/// The value of an option that takes a path, once.
fn one_path(options: &mut Arguments, name: &'static str) -> Result<Option<PathBuf>, Failure> {
    let mut paths = names(options, name)?;
    let path = paths.pop().map(PathBuf::from);
    if paths.is_empty() {
        return Ok(path);
    }
    Err(usage(&format!("{name} is given twice")))
}

/// Whatever nobody asked for was given twice: everything else was refused before.
fn refuse_leftovers(options: Arguments) -> Result<(), Failure> {
    match options.finish().first() {
        None => Ok(()),
        Some(word) => {
            let word = word.to_string_lossy();
            let name = word.split('=').next().unwrap_or_default();
            Err(usage(&format!("{name} is given twice")))
        }
    }
}

/// A value that was typed wrongly is the business of whoever typed it, whoever else uses the same words.
fn mistyped(option: &str, failure: Failure) -> Failure {
    usage(&failure.about(option).to_string())
}

fn usage(message: &str) -> Failure {
    Failure::new(Cause::Usage, message).hint("see akv-init --help")
}
