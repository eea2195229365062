//! The words after the name of a command: its options, and the words after those.
//!
//! Words are read from left to right, and an option takes its value as the table says. The first word that is neither,
//! or `--`, ends the options, so that options of COMMAND are never parsed. A word that looks like an option is never
//! the value of another: `--timeout --verbose` is an error, and no value that akv-init takes starts with a hyphen.
//!
//! An option that was not given has the value of its variable. An empty variable is unset.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Cause, Error};
use crate::request::environment::{Environment, OWN_PREFIX};
use crate::request::option_table::{CliOption, Takes, options};
use crate::request::suggestion::nearest;

/// The options of a command, the variables with the same meaning, and the words after the options.
pub struct Arguments<'a> {
    /// The command.
    pub command: &'static str,
    /// The caller's environment.
    pub env: &'a Environment,
    /// The options that were given, each with its value.
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
    Error::new(Cause::Usage, message).hint(help_hint(command))
}

fn help_hint(command: Option<&str>) -> String {
    match command {
        Some(command) => format!("see `akv-init {command} --help`"),
        None => "see `akv-init --help`".to_owned(),
    }
}

/// A usage error for a name that may be a typo of one of the known names.
pub fn unknown<'a>(
    command: Option<&str>,
    message: String,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Error {
    let error = usage(command, message);
    match nearest(name, known) {
        Some(nearest) => {
            let help = help_hint(command);
            error.hint(format!("did you mean `{nearest}`? {help}"))
        }
        None => error,
    }
}

fn is_option(word: &OsStr) -> bool {
    word.as_bytes().starts_with(b"-") && word != "-"
}

fn is_named(option: &CliOption, name: &[u8]) -> bool {
    let mut names = [Some(option.name), option.short].into_iter().flatten();
    names.any(|known| known.as_bytes() == name)
}

impl<'a> Arguments<'a> {
    /// A command without options and further words.
    pub fn new(command: &'static str, env: &'a Environment) -> Arguments<'a> {
        Arguments {
            command,
            env,
            options: Vec::new(),
            words: Vec::new(),
        }
    }

    /// Splits the words after the command into its options and the words after those.
    pub fn parse(
        command: &'static str,
        words: Vec<OsString>,
        env: &'a Environment,
    ) -> Result<Arguments<'a>, Error> {
        let mut arguments = Arguments::new(command, env);
        let mut words = words.into_iter();
        while let Some(word) = words.next().filter(|word| word != "--") {
            if !is_option(&word) {
                arguments.words.push(word);
                break;
            }
            let mut parts = word.as_bytes().splitn(2, |byte| *byte == b'=');
            let option = arguments.option(parts.next().unwrap_or_default())?;
            let name = option.name;
            let attached = parts.next();
            let attached = attached.map(|value| OsStr::from_bytes(value).to_owned());
            let value = match (option.takes, attached) {
                (Takes::Nothing, Some(_)) => {
                    return Err(arguments.usage(format!("`{name}` takes no value")));
                }
                (Takes::Nothing | Takes::Optional(_), None) => None,
                (_, attached) => attached.or_else(|| words.next()).or(Some(OsString::new())),
            };
            let is_missing = |value: &OsString| value.is_empty() || value.as_bytes()[0] == b'-';
            if value.as_ref().is_some_and(is_missing) {
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

    /// The options of this command.
    fn own_options(&self) -> impl Iterator<Item = &'static CliOption> {
        options().filter(|option| option.commands.contains(&self.command))
    }

    fn option(&self, name: &[u8]) -> Result<&'static CliOption, Error> {
        if let Some(option) = self.own_options().find(|option| is_named(option, name)) {
            return Ok(option);
        }
        let shown = String::from_utf8_lossy(name);
        if options().any(|option| is_named(option, name)) {
            let command = self.command;
            return Err(self.usage(format!("`{shown}` is not an option of `{command}`")));
        }
        let message = format!("unknown option `{shown}`");
        let known = self.own_options().map(|option| option.name);
        Err(unknown(Some(self.command), message, &shown, known))
    }

    /// A usage error of this command.
    pub fn usage(&self, message: impl Into<String>) -> Error {
        usage(Some(self.command), message)
    }

    /// The error of a malformed value of an option or a variable. On the command line it is a usage error.
    pub fn malformed(&self, name: &str, error: Error) -> Error {
        let mut error = error.context(name);
        if !name.starts_with(OWN_PREFIX) {
            error.cause = Cause::Usage;
            let help = || help_hint(Some(self.command));
            error.hint.get_or_insert_with(help);
        }
        error
    }

    /// Whether an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option.name == name)
    }

    /// The values of an option. If it was not given, the value of its variable, else the default. Each is with the name
    /// of the option or the variable, and need not be UTF-8.
    pub fn values(&self, name: &str) -> Vec<(&'static str, &OsStr)> {
        let given = self
            .options
            .iter()
            .filter(|(option, _)| option.name == name);
        let mut values: Vec<_> = given
            .filter_map(|(option, value)| Some((option.name, value.as_deref()?)))
            .collect();
        let option = self.own_options().find(|option| option.name == name);
        if let Some(option) = option.filter(|_| values.is_empty()) {
            let variable = self.env.get(option.variable);
            let variable = variable.filter(|value| !value.is_empty());
            let mut defaults = option.defaults.iter();
            let default = defaults.find(|(commands, _)| commands.contains(&self.command));
            let default = default.map(|(_, value)| (option.name, OsStr::new(value)));
            values.extend(variable.map(|value| (option.variable, value)).or(default));
        }
        values
    }

    /// The same, parsed.
    pub fn parsed_values<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let values = self.values(name).into_iter().map(|(name, value)| {
            let text = value.to_str();
            let text = text.ok_or_else(|| Error::config("the value is not UTF-8"));
            text.and_then(&parse)
                .map_err(|error| self.malformed(name, error))
        });
        values.collect()
    }

    /// The values of an option that takes names of variables.
    pub fn names(&self, option: &str) -> Vec<OsString> {
        let names = self.values(option).into_iter();
        names.map(|(_, name)| name.to_owned()).collect()
    }

    /// The value of an option, its variable or its default.
    pub fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        Ok(self.parsed_values(name, parse)?.pop())
    }

    /// The value of an option that takes one of a few names.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        self.parsed(name, |text| {
            if let Some((_, choice)) = choices.iter().find(|(known, _)| *known == text) {
                return Ok(*choice);
            }
            let names: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
            Err(unexpected(text, &alternatives(&names)))
        })
    }

    /// Whether an option without a value was given, or its variable is `true` or `1`.
    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        let variable = || {
            self.parsed(name, |text| match text {
                "0" | "false" => Ok(false),
                "1" | "true" => Ok(true),
                _ => Err(unexpected(text, "true or false")),
            })
        };
        Ok(self.has(name) || variable()?.unwrap_or(false))
    }

    /// The only word after the options, if there is one.
    pub fn single_word(&self, placeholder: &str) -> Result<Option<&OsStr>, Error> {
        let Some(unexpected) = self.words.get(1) else {
            return Ok(self.words.first().map(OsString::as_os_str));
        };
        let shown = unexpected.to_string_lossy();
        Err(self.usage(match is_option(unexpected) {
            true => format!("`{shown}` is after {placeholder}; options go before it"),
            false => format!("unexpected argument `{shown}`"),
        }))
    }

    /// The same, as text.
    pub fn single_text(&self, placeholder: &str) -> Result<Option<&str>, Error> {
        let word = self.single_word(placeholder)?;
        let text = word.map(|word| {
            let not_utf8 = || self.usage(format!("{placeholder} is not UTF-8"));
            word.to_str().ok_or_else(not_utf8)
        });
        text.transpose()
    }
}

/// `A, B or C`.
fn alternatives(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The error of a value that is not what was expected.
pub fn unexpected(text: &str, expected: &str) -> Error {
    Error::config(format!("`{text}` is not {expected}"))
}
