//! The command line: argv → a command with its options, or help. Nothing is known of COMMAND.

use std::ffi::OsString;

use crate::error::Error;
use crate::request::arguments::{Arguments, find_help_or_version, unknown, usage};
use crate::request::environment::Environment;
use crate::request::option_table::ALL;

/// What the command line asks for.
pub enum Invocation<'a> {
    /// A command.
    Command(Arguments<'a>),
    /// The help, of one command or of all.
    Help(Option<&'static str>),
    /// The version.
    Version,
}

/// Parses the words after the name of the program.
pub fn parse(words: Vec<OsString>, env: &Environment) -> Result<Invocation<'_>, Error> {
    let mut words = words.into_iter();
    let Some(first) = words.next() else {
        return Err(usage(None, "no subcommand given"));
    };
    let words: Vec<OsString> = words.collect();
    let Some(command) = ALL.iter().find(|known| first == **known).copied() else {
        return parse_without_command(&first.to_string_lossy(), &words);
    };
    // First, so that help is there for a user who has just made a mistake.
    match find_help_or_version(&words) {
        Some("--help") => return Ok(Invocation::Help(Some(command))),
        Some(_) => return Ok(Invocation::Version),
        None => {}
    }
    let is_cut_off = words.last().is_some_and(|word| word == "--");
    let arguments = Arguments::parse(command, words, env)?;
    let needs_words = match command {
        "exec" => true,
        // A `check` with `exec`'s arguments may have lost its COMMAND to the same mistake.
        "check" => is_cut_off,
        _ => false,
    };
    if needs_words && arguments.words.is_empty() {
        return Err(no_command(command));
    }
    Ok(Invocation::Command(arguments))
}

fn parse_without_command(first: &str, words: &[OsString]) -> Result<Invocation<'static>, Error> {
    match first {
        "help" | "--help" | "-h" => {
            let topic = words.first();
            let topic = topic.and_then(|word| ALL.iter().find(|known| word == **known));
            Ok(Invocation::Help(topic.copied()))
        }
        "--version" | "-V" => Ok(Invocation::Version),
        option if option.starts_with('-') => {
            let option = option.split('=').next().unwrap_or_default();
            Err(usage(None, format!("expected a subcommand before `{option}`")).hint(
                "write `akv-init exec [OPTIONS] -- COMMAND`; `akv-init --help` lists the other subcommands",
            ))
        }
        name => {
            let message = format!("unknown subcommand `{name}`");
            let error = unknown(None, message, name, ALL.iter().copied());
            Err(match name.contains('/') {
                true => error.hint("to start a program, write `akv-init exec -- COMMAND`"),
                false => error,
            })
        }
    }
}

fn no_command(command: &str) -> Error {
    usage(Some(command), "no COMMAND given").hint(format!(
        "write `akv-init {command} [OPTIONS] -- COMMAND`; a new ENTRYPOINT or `command:` discards the image's CMD, \
         so repeat that CMD after the `--`"
    ))
}
