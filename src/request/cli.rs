//! The command line: from argv to a command with its options, or to the help.

use std::ffi::OsString;

use crate::error::Error;
use crate::request::arguments::{Arguments, find_help_or_version, unknown_name_error, usage_error};
use crate::request::environment::Environment;
use crate::request::option_table::ALL_COMMANDS;

/// What the command line asks for.
pub enum Invocation<'a> {
    /// A command with its arguments.
    Command(Arguments<'a>),
    /// The help of one command, or of all commands (`None`).
    Help(Option<&'static str>),
    /// The version of the program.
    Version,
}

/// Parses the command line, without the name of the program.
pub fn parse(args: Vec<OsString>, env: &Environment) -> Result<Invocation<'_>, Error> {
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return Err(usage_error(None, "no subcommand given"));
    };
    let args: Vec<OsString> = args.collect();
    let Some(command) = ALL_COMMANDS.iter().find(|known| first == **known).copied() else {
        return parse_without_subcommand(&first.to_string_lossy(), &args);
    };
    // Before the rest is parsed, so that a mistake there does not keep the help from a user.
    match find_help_or_version(&args) {
        Some("--help") => return Ok(Invocation::Help(Some(command))),
        Some(_) => return Ok(Invocation::Version),
        None => {}
    }
    let ends_with_double_dash = args.last().is_some_and(|arg| arg == "--");
    let arguments = Arguments::parse(command, args, env)?;
    let needs_operands = match command {
        "exec" => true,
        // `check` needs no COMMAND, but if its arguments end with `--`, the COMMAND was probably lost.
        "check" => ends_with_double_dash,
        _ => false,
    };
    if needs_operands && arguments.operands.is_empty() {
        return Err(missing_command_error(command));
    }
    Ok(Invocation::Command(arguments))
}

/// Parses a command line whose first argument is not a subcommand: help, version, or an error.
fn parse_without_subcommand(first: &str, args: &[OsString]) -> Result<Invocation<'static>, Error> {
    match first {
        "help" | "--help" | "-h" => {
            let topic = args.first();
            let topic = topic.and_then(|topic| ALL_COMMANDS.iter().find(|known| topic == **known));
            Ok(Invocation::Help(topic.copied()))
        }
        "--version" | "-V" => Ok(Invocation::Version),
        option if option.starts_with('-') => {
            let option = option.split('=').next().unwrap_or_default();
            Err(usage_error(None, format!("expected a subcommand before `{option}`")).hint(
                "write `akv-init exec [OPTIONS] -- COMMAND`; `akv-init --help` lists the other subcommands",
            ))
        }
        name => {
            let message = format!("unknown subcommand `{name}`");
            let error = unknown_name_error(None, message, name, ALL_COMMANDS.iter().copied());
            Err(match name.contains('/') {
                true => error.hint("to start a program, write `akv-init exec -- COMMAND`"),
                false => error,
            })
        }
    }
}

/// The usage error for `exec` or `check` without COMMAND.
fn missing_command_error(subcommand: &str) -> Error {
    usage_error(Some(subcommand), "no COMMAND given").hint(format!(
        "write `akv-init {subcommand} [OPTIONS] -- COMMAND`; a new ENTRYPOINT or `command:` discards the image's CMD, \
         so repeat that CMD after the `--`; `docker inspect IMAGE` or `skopeo inspect --config docker://IMAGE` shows it"
    ))
}
