//! The words after the name of a command: its options, and the words after those.
//!
//! Words are read from left to right, and an option takes its value as the table says. The first word that is neither,
//! or `--`, ends the options, so that options of COMMAND are never parsed. A word that looks like an option is never
//! the value of another: `--timeout --verbose` is a mistake, and no value that akv-init takes starts with a hyphen.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Cause, Error};
use crate::request::option_table::{CliOption, Takes, options};
use crate::request::suggestion::nearest;

/// The options that were given to a command, and the words after them.
pub struct Arguments {
    command: &'static str,
    options: Vec<(&'static CliOption, Option<OsString>)>,
    /// COMMAND and its arguments, DIR, REF or RESOURCE.
    pub words: Vec<OsString>,
}

/// `--help` or `--version`, if one of them comes before COMMAND, whatever else is wrong there.
pub fn find_help_or_version(words: &[OsString]) -> Option<&'static str> {
    let mut words = words.iter().peekable();
    while let Some(word) = words.next().filter(|word| is_option(word) && *word != "--") {
        let option = options().find(|option| is_named(option, word.as_bytes()));
        match option.map(|option| (option.name, option.takes)) {
            Some((name @ ("--help" | "--version"), _)) => return Some(name),
            Some((_, Takes::Value(_) | Takes::Values(_))) => {
                words.next_if(|value| !value.as_bytes().starts_with(b"-"));
            }
            _ => {}
        }
    }
    None
}

/// A usage error, with the help to read.
pub fn usage(command: Option<&str>, message: impl Into<String>) -> Error {
    let hint = match command {
        Some(command) => format!("see `akv-init {command} --help`"),
        None => "see `akv-init --help`".to_owned(),
    };
    Error::new(Cause::Usage, message).hint(hint)
}

/// A usage error for a name that may be a typo of one of the known names.
pub fn unknown<'a>(
    command: Option<&str>,
    message: String,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Error {
    let mut error = usage(command, message);
    if let Some(nearest) = nearest(name, known) {
        let help = error.hint.take().unwrap_or_default();
        error.hint = Some(format!("did you mean `{nearest}`? {help}"));
    }
    error
}

fn is_option(word: &OsStr) -> bool {
    word.as_bytes().starts_with(b"-") && word != "-"
}

fn is_named(option: &CliOption, name: &[u8]) -> bool {
    let mut names = [Some(option.name), option.short].into_iter().flatten();
    names.any(|known| known.as_bytes() == name)
}

impl Arguments {
    /// Splits the words into the options of the command and the words after them.
    pub fn parse(command: &'static str, words: Vec<OsString>) -> Result<Arguments, Error> {
        let mut arguments = Arguments {
            command,
            options: Vec::new(),
            words: Vec::new(),
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next().filter(|word| word != "--") {
            if !is_option(&word) {
                arguments.words.push(word);
                break;
            }
            let mut parts = word.as_bytes().splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default();
            let attached = parts
                .next()
                .map(|value| OsStr::from_bytes(value).to_owned());
            let option = arguments.option(name)?;
            let name = option.name;
            let value = match (option.takes, attached) {
                (Takes::Nothing, Some(_)) => {
                    return Err(arguments.usage(format!("`{name}` takes no value")));
                }
                (Takes::Nothing | Takes::Optional(_), None) => None,
                (_, Some(value)) => Some(value),
                (_, None) => Some(words.next().unwrap_or_default()),
            };
            if value
                .as_ref()
                .is_some_and(|value| value.is_empty() || value.as_bytes()[0] == b'-')
            {
                return Err(arguments.usage(format!("`{name}` needs a value")));
            }
            if arguments.has(name) && !matches!(option.takes, Takes::Values(_)) {
                return Err(arguments.usage(format!("`{name}` was given twice")));
            }
            arguments.options.push((option, value));
        }
        arguments.words.extend(words);
        Ok(arguments)
    }

    /// The row of an option of this command.
    fn option(&self, name: &[u8]) -> Result<&'static CliOption, Error> {
        let own = || options().filter(|option| option.commands.contains(&self.command));
        if let Some(option) = own().find(|option| is_named(option, name)) {
            return Ok(option);
        }
        let shown = String::from_utf8_lossy(name);
        if options().any(|option| is_named(option, name)) {
            let command = self.command;
            return Err(self.usage(format!("`{shown}` is not an option of `{command}`")));
        }
        let message = format!("unknown option `{shown}`");
        let known = own().map(|option| option.name);
        Err(unknown(Some(self.command), message, &shown, known))
    }

    /// A usage error of this command.
    pub fn usage(&self, message: impl Into<String>) -> Error {
        usage(Some(self.command), message)
    }

    /// A value on the command line that is malformed is a usage error, even if the same text in a variable is not.
    pub fn malformed(&self, option: &str, error: Error) -> Error {
        let error = error.context(option);
        let malformed = self.usage(error.to_string());
        match &error.hint {
            Some(hint) => malformed.hint(hint.as_str()),
            None => malformed,
        }
    }

    /// Whether an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option.name == name)
    }

    /// Every value of an option, which need not be UTF-8.
    pub fn os_values(&self, name: &str) -> impl Iterator<Item = &OsString> {
        let given = self
            .options
            .iter()
            .filter(move |(option, _)| option.name == name);
        given.filter_map(|(_, value)| value.as_ref())
    }

    /// Every value of an option.
    pub fn values(&self, name: &str) -> Result<Vec<&str>, Error> {
        let texts = self.os_values(name).map(|value| {
            value
                .to_str()
                .ok_or_else(|| self.usage(format!("{name}: the value is not UTF-8")))
        });
        texts.collect()
    }

    /// The value of an option.
    pub fn value(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.values(name)?.first().map(|text| text.to_string()))
    }

    /// The value of an option, parsed.
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        let values = self.values(name)?;
        let value = values.first().map(|text| {
            parse(text).ok_or_else(|| self.usage(format!("{name}: `{text}` is not {expected}")))
        });
        value.transpose()
    }

    /// The only word after the options, if there is one.
    pub fn single_word(&mut self, placeholder: &str) -> Result<Option<OsString>, Error> {
        let mut words = std::mem::take(&mut self.words).into_iter();
        let (word, unexpected) = (words.next(), words.next());
        let Some(unexpected) = unexpected else {
            return Ok(word);
        };
        let shown = unexpected.to_string_lossy();
        Err(match is_option(&unexpected) {
            true => self.usage(format!(
                "`{shown}` is after {placeholder}; options go before it"
            )),
            false => self.usage(format!("unexpected argument `{shown}`")),
        })
    }
}
