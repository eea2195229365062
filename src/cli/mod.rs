//! argv → [`Action`]. Pure: no environment, no file, and nothing of COMMAND is looked at.
//!
//! Words are read left to right; an option takes its value by its own arity; the first word that is neither is
//! COMMAND. pico-args searches all words, so it only ever sees those before COMMAND: otherwise
//! `akv-init exec app --help` would print our help.

mod words;

use std::ffi::OsString;

use pico_args::Arguments;

use crate::cloud::Cloud;
use crate::failure::Failure;
use crate::host::{Host, parse_vault};
use crate::secret_ref::{Reference, check_resource};
use crate::settings::{CLOUDS, DURATION, IdentityName, Shared, parse_duration};

use words::{
    OF_EXEC, OF_TOKEN, asked_for_help, names, one, one_path, parsed, refuse_leftovers,
    split_at_command, usage,
};

/// The help text, written by hand.
pub const HELP: &str = include_str!("../help.txt");

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Become COMMAND with its secrets.
    Exec(Box<Exec>),
    /// Print the help.
    Help,
    /// Print an access token.
    Token(Box<Token>),
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
    match verb.to_str() {
        Some("exec") => parse_exec(words.collect()),
        Some("token") => parse_token(words.collect()),
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
    let mut shared = parse_shared(&mut options)?;
    shared.vault = one(&mut options, "--vault")?
        .map(|text| parse_vault(&text).map_err(|failure| mistyped("--vault", failure)))
        .transpose()?;
    shared.vault_resource = one(&mut options, "--vault-resource")?;
    while let Some(host) = one(&mut options, "--allow-vault")? {
        let parsed = Host::parse(&host);
        let parsed = parsed
            .map_err(|failure| mistyped("--allow-vault", failure.about(&format!("`{host}`"))))?;
        shared.allow_vault.push(parsed);
    }
    while let Some(pair) = one(&mut options, "--secret")? {
        let Some((name, reference)) = pair.split_once('=').filter(|(name, _)| !name.is_empty())
        else {
            return Err(usage(
                "--secret takes NAME=REF: a variable, `=`, a reference",
            ));
        };
        let reference = Reference::parse(reference).map_err(|failure| failure.about(name))?;
        shared.secrets.push((name.to_owned(), reference));
    }
    let exec = Exec {
        shared,
        overwrite: options.contains("--override"),
        literal: names(&mut options, "--literal")?,
        unset: names(&mut options, "--unset")?,
        dry_run: options.contains("--dry-run"),
        command,
    };
    refuse_leftovers(options, "exec", &OF_TOKEN)?;
    if exec.command.is_empty() {
        return Err(usage("no COMMAND given").hint(
            "write akv-init exec [OPTIONS] -- COMMAND; a new ENTRYPOINT or `command:` drops the image's CMD: repeat it",
        ));
    }
    Ok(Action::Exec(Box::new(exec)))
}

fn parse_token(words: Vec<OsString>) -> Result<Action, Failure> {
    if let Some(answer) = asked_for_help(&words) {
        return Ok(answer);
    }
    let (options, words) = split_at_command(words)?;
    let mut options = Arguments::from_vec(options);
    let shared = parse_shared(&mut options)?;
    let scope = one(&mut options, "--scope")?;
    refuse_leftovers(options, "token", &OF_EXEC)?;
    let resource = match (words.as_slice(), scope) {
        ([], None) => None,
        ([], Some(scope)) => match scope.strip_suffix("/.default") {
            Some(resource) => Some(resource.to_owned()),
            None => {
                return Err(usage(
                    "--scope: only a scope that ends in /.default has a token without a user",
                ));
            }
        },
        ([resource], None) => match resource.to_str() {
            Some(resource) => Some(resource.to_owned()),
            None => return Err(usage("RESOURCE is not UTF-8")),
        },
        ([_], Some(_)) => return Err(usage("RESOURCE and --scope say the same: give one")),
        ([_, more, ..], _) if more.to_string_lossy().starts_with('-') => {
            let more = more.display();
            return Err(usage(&format!(
                "`{more}` stands behind RESOURCE: options go before it"
            )));
        }
        ([_, more, ..], _) => {
            return Err(usage(&format!("`{}` is one word too many", more.display())));
        }
    };
    if let Some(resource) = &resource {
        check_resource(resource).map_err(|failure| usage(&failure.about(resource).to_string()))?;
    }
    Ok(Action::Token(Box::new(Token { shared, resource })))
}

/// What every command takes.
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
