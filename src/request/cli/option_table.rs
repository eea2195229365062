//! The words of a command line: where COMMAND begins, what is an option, and an option's value.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use pico_args::Arguments;

use super::Action;
use crate::error::{Cause, Error};

/// What stands behind an option's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// A value: the next word, or behind `=`.
    Value,
    /// A value behind `=`, or none: the next word is never it.
    Perhaps,
    /// Nothing.
    Nothing,
}

/// Every command that asks Azure for something.
pub const ASKING: &[&str] = &["check", "exec", "get", "token", "write"];
/// Those of them that read secrets.
pub const READING: &[&str] = &["check", "exec", "get", "write"];
/// Those of them that have targets for secrets.
const TARGETS: &[&str] = &["check", "exec", "write"];
/// Those that start COMMAND, or look whether they could.
const STARTING: &[&str] = &["check", "exec"];
/// Every command.
pub const ALL: &[&str] = &["check", "exec", "get", "install", "token", "write"];

/// Every option, what it takes, and whose it is.
const OPTIONS: [(&str, Takes, &[&str]); 34] = [
    ("--allow-vault", Takes::Value, READING),
    ("--ca-file", Takes::Value, ASKING),
    ("--client-id", Takes::Value, ASKING),
    ("--cloud", Takes::Value, ASKING),
    ("--dry-run", Takes::Nothing, &["exec", "write"]),
    ("--drain", Takes::Value, STARTING),
    ("--format", Takes::Value, &["check"]),
    ("--from-env", Takes::Nothing, &["write"]),
    ("--help", Takes::Nothing, ALL),
    ("--identity", Takes::Value, ASKING),
    ("--init", Takes::Perhaps, STARTING),
    ("--keep-existing", Takes::Perhaps, &["write"]),
    ("--layout", Takes::Value, &["write"]),
    ("--literal", Takes::Value, TARGETS),
    ("--log-format", Takes::Value, ALL),
    ("--memfd", Takes::Value, STARTING),
    ("--mode", Takes::Value, &["write"]),
    ("--object-id", Takes::Value, ASKING),
    ("--output", Takes::Value, &["write"]),
    ("--override", Takes::Nothing, STARTING),
    ("--require-tmpfs", Takes::Nothing, &["write"]),
    ("--resource-id", Takes::Value, ASKING),
    ("--scope", Takes::Value, &["token"]),
    ("--secret", Takes::Value, TARGETS),
    ("--timeout", Takes::Value, ASKING),
    ("--unset", Takes::Value, STARTING),
    ("--vault", Takes::Value, READING),
    ("--vault-resource", Takes::Value, READING),
    ("--verbose", Takes::Nothing, ALL),
    ("--version", Takes::Nothing, ALL),
    ("--wait-for-access", Takes::Value, ASKING),
    ("-V", Takes::Nothing, ALL),
    ("-h", Takes::Nothing, ALL),
    ("-v", Takes::Nothing, ALL),
];

/// Whose an option is; none where there is no such option.
pub fn commands_with(name: &str) -> Option<&'static [&'static str]> {
    option(name).map(|(_, commands)| commands)
}

fn option(name: &str) -> Option<(Takes, &'static [&'static str])> {
    let known = OPTIONS.iter().find(|(known, ..)| *known == name)?;
    Some((known.1, known.2))
}

/// Whether help or the version is asked for before COMMAND, whatever else is wrong there.
pub fn asked_for_help(verb: &'static str, words: &[OsString]) -> Option<Action> {
    let mut words = words.iter();
    while let Some(word) = words.next().filter(|word| *word != "--") {
        match word.to_str().unwrap_or_default() {
            "-h" | "--help" => return Some(Action::Help(Some(verb))),
            "-V" | "--version" => return Some(Action::Version),
            word if option(word).is_some_and(|(takes, _)| takes == Takes::Value) => {
                let mut ahead = words.clone();
                if ahead
                    .next()
                    .is_some_and(|value| !value.as_bytes().starts_with(b"-"))
                {
                    words = ahead;
                }
            }
            word if word.starts_with('-') && word != "-" => {}
            _ => return None,
        }
    }
    None
}

/// Splits into the options of `verb` and what stands behind them: COMMAND, DIR, RESOURCE. A word that looks like an
/// option is never taken as another option's value: `--timeout --verbose` is a mistake, and nothing that we take starts
/// with a hyphen.
pub fn split_at_command(
    verb: &str,
    words: Vec<OsString>,
) -> Result<(Arguments, Vec<OsString>), Error> {
    let mut options = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            return Ok((Arguments::from_vec(options), words.collect()));
        }
        if !word.as_bytes().starts_with(b"-") || word == "-" {
            let words = std::iter::once(word).chain(words).collect();
            return Ok((Arguments::from_vec(options), words));
        }
        let name = word
            .as_bytes()
            .split(|b| *b == b'=')
            .next()
            .unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        let Some((takes, verbs)) = option(&name) else {
            return Err(usage(&format!("unknown option `{name}`")));
        };
        if !verbs.contains(&verb) {
            return Err(usage(&format!("{name} is no option of {verb}")));
        }
        // pico-args only knows `--option=value` where the value is UTF-8.
        let behind = word
            .as_bytes()
            .get(name.len() + 1..)
            .map(|value| OsStr::from_bytes(value).to_owned());
        let is_value = |value: &OsString| !value.is_empty() && !value.as_bytes().starts_with(b"-");
        match (takes, behind) {
            (Takes::Nothing, None) => options.push(word),
            (Takes::Nothing, Some(_)) => {
                return Err(usage(&format!("{name} takes no value")));
            }
            // To pico-args it is an option with a value; an empty one is what nobody can write.
            (Takes::Perhaps, None) => options.extend([word, OsString::new()]),
            (Takes::Value, None) => {
                let value = words
                    .next()
                    .filter(|word| !word.as_bytes().starts_with(b"-"));
                let Some(value) = value else {
                    return Err(usage(&format!("{name} needs a value")));
                };
                options.extend([word, value]);
            }
            (Takes::Value | Takes::Perhaps, Some(value)) if is_value(&value) => {
                options.extend([name.into(), value]);
            }
            (Takes::Value | Takes::Perhaps, Some(_)) => {
                return Err(usage(&format!("{name} needs a value")));
            }
        }
    }
    Ok((Arguments::from_vec(options), Vec::new()))
}

/// What stands behind the options of a command that takes one word there, at most.
pub fn one_word(words: Vec<OsString>, name: &str) -> Result<Option<OsString>, Error> {
    let mut words = words.into_iter();
    let word = words.next();
    let Some(more) = words.next() else {
        return Ok(word);
    };
    let more = more.to_string_lossy();
    Err(usage(&match more.starts_with('-') {
        true => format!("`{more}` stands behind {name}: options go before it"),
        false => format!("`{more}` is one word too many"),
    }))
}

/// The value of an option, once; the next call gives the next one. Empty is a mistake in a script, not a value.
pub fn one(options: &mut Arguments, name: &'static str) -> Result<Option<String>, Error> {
    let value = options
        .opt_value_from_os_str(name, |value| Ok::<_, Error>(value.to_owned()))
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
) -> Result<Option<T>, Error> {
    one(options, name)?
        .map(|text| {
            parse(&text).ok_or_else(|| usage(&format!("{name}: `{text}` is not {expected}")))
        })
        .transpose()
}

/// Every value of an option that takes names or paths, which need not be UTF-8.
pub fn names(options: &mut Arguments, name: &'static str) -> Result<Vec<OsString>, Error> {
    let values = options.values_from_os_str(name, |value| Ok::<_, Error>(value.to_owned()));
    match values {
        Ok(values) if !values.iter().any(|value| value.is_empty()) => Ok(values),
        _ => Err(usage(&format!("{name} needs a value"))),
    }
}

/// The value of an option that takes a path, once.
pub fn one_path(options: &mut Arguments, name: &'static str) -> Result<Option<PathBuf>, Error> {
    let mut paths = names(options, name)?;
    let path = paths.pop().map(PathBuf::from);
    if paths.is_empty() {
        return Ok(path);
    }
    Err(usage(&format!("{name} is given twice")))
}

/// The value of an option that may go without: given, and then perhaps its value.
pub fn perhaps<T>(
    options: &mut Arguments,
    name: &'static str,
    parse: impl Fn(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<Option<T>>, Error> {
    let value = options
        .opt_value_from_os_str(name, |value| Ok::<_, Error>(value.to_owned()))
        .unwrap_or_default();
    match value {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(Some(None)),
        Some(value) => match value.to_str().and_then(&parse) {
            Some(parsed) => Ok(Some(Some(parsed))),
            None => {
                let value = value.display();
                Err(usage(&format!("{name}: `{value}` is not {expected}")))
            }
        },
    }
}

/// What is left was given twice: everything else was refused before.
pub fn refuse_leftovers(options: Arguments) -> Result<(), Error> {
    match options.finish().first() {
        None => Ok(()),
        Some(word) => {
            let word = word.to_string_lossy();
            let name = word.split('=').next().unwrap_or_default();
            Err(usage(&format!("{name} is given twice")))
        }
    }
}

/// What was typed wrongly.
pub fn usage(message: &str) -> Error {
    Error::new(Cause::Usage, message).hint("see akv-init --help")
}
