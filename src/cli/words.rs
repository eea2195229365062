//! The words of a command line: where COMMAND begins, what is an option, and an option's value.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pico_args::Arguments;

use super::Action;
use crate::failure::{Cause, Failure};

/// Options that take a value, and options that do not.
const VALUES: [&str; 15] = [
    "--allow-vault",
    "--ca-file",
    "--client-id",
    "--cloud",
    "--identity",
    "--literal",
    "--object-id",
    "--resource-id",
    "--scope",
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

/// Options that only one command has.
pub const OF_EXEC: [&str; 8] = [
    "--allow-vault",
    "--dry-run",
    "--literal",
    "--override",
    "--secret",
    "--unset",
    "--vault",
    "--vault-resource",
];
pub const OF_TOKEN: [&str; 1] = ["--scope"];

/// Whether help or the version is asked for before COMMAND, whatever else is wrong there.
pub fn asked_for_help(words: &[OsString]) -> Option<Action> {
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
pub fn split_at_command(words: Vec<OsString>) -> Result<(Vec<OsString>, Vec<OsString>), Failure> {
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
pub fn one(options: &mut Arguments, name: &'static str) -> Result<Option<String>, Failure> {
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

/// The value of an option, parsed.
pub fn parsed<T>(
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
pub fn names(options: &mut Arguments, name: &'static str) -> Result<Vec<OsString>, Failure> {
    let values = options.values_from_os_str(name, |value| Ok::<_, Failure>(value.to_owned()));
    match values {
        Ok(values) if !values.iter().any(|value| value.is_empty()) => Ok(values),
        _ => Err(usage(&format!("{name} needs a value"))),
    }
}

/// The value of an option that takes a path, once.
pub fn one_path(options: &mut Arguments, name: &'static str) -> Result<Option<PathBuf>, Failure> {
    let mut paths = names(options, name)?;
    let path = paths.pop().map(PathBuf::from);
    if paths.is_empty() {
        return Ok(path);
    }
    Err(usage(&format!("{name} is given twice")))
}

/// What is left is another command's, or was given twice: everything else was refused before.
pub fn refuse_leftovers(options: Arguments, verb: &str, others: &[&str]) -> Result<(), Failure> {
    match options.finish().first() {
        None => Ok(()),
        Some(word) => {
            let word = word.to_string_lossy();
            let name = word.split('=').next().unwrap_or_default();
            Err(usage(&match others.contains(&name) {
                true => format!("{name} is no option of {verb}"),
                false => format!("{name} is given twice"),
            }))
        }
    }
}

/// What was typed wrongly.
pub fn usage(message: &str) -> Failure {
    Failure::new(Cause::Usage, message).hint("see akv-init --help")
}
