//! The arguments after the name of a command: its options, and the operands after them.
//!
//! Arguments are read from left to right, and an option takes its value as the table of options says. The first
//! argument that is neither an option nor the value of one ends the options; so does `--`. Options of COMMAND are
//! therefore never parsed. An argument that starts with a hyphen is never the value of an option: `--timeout --verbose`
//! is an error, and no value that akv-init takes starts with a hyphen.
//!
//! An option that was not given has the value of its variable. An empty variable counts as unset.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Cause, Error};
use crate::request::environment::{Environment, SETTINGS_PREFIX, unquoted};
use crate::request::option_table::{CliOption, Takes, all_options};
use crate::request::suggestion::nearest;

/// The parsed command line of a command: its options, with the variables that can replace them, and its operands.
pub struct Arguments<'a> {
    /// The name of the command.
    pub command: &'static str,
    /// The caller's environment.
    pub env: &'a Environment,
    /// The options that were given, each with its value; `None` if the option takes no value.
    options: Vec<(&'static CliOption, Option<OsString>)>,
    /// The operands: COMMAND and its arguments, DIR, REF or RESOURCE.
    pub operands: Vec<OsString>,
}

/// `--help` or `--version` if one of them is among the options, even if other options are wrong; otherwise `None`.
pub fn find_help_or_version(args: &[OsString]) -> Option<&'static str> {
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next().filter(|arg| is_option(arg) && *arg != "--") {
        let option = all_options().find(|option| is_named(option, arg.as_bytes()));
        match option.map(|option| (option.name, option.takes)) {
            Some((name @ ("--help" | "--version"), _)) => return Some(name),
            Some((_, Takes::Value(_) | Takes::Values(_))) => {
                args.next_if(|value| !value.as_bytes().starts_with(b"-"));
            }
            _ => {}
        }
    }
    None
}

/// A usage error, with a hint that names the help to read: that of the command, or of all commands if it is `None`.
pub fn usage_error(command: Option<&str>, message: impl Into<String>) -> Error {
    Error::new(Cause::Usage, message).hint(help_hint(command))
}

/// The hint that names the help of a command, or of all commands for `None`.
fn help_hint(command: Option<&str>) -> String {
    match command {
        Some(command) => format!("see `akv-init {command} --help`"),
        None => "see `akv-init --help`".to_owned(),
    }
}

/// A usage error for a name that is not known. If it is similar to a known name, the hint suggests that one.
pub fn unknown_name_error<'a>(
    command: Option<&str>,
    message: String,
    name: &str,
    known_names: impl Iterator<Item = &'a str>,
) -> Error {
    let error = usage_error(command, message);
    match nearest(name, known_names) {
        Some(nearest) => {
            let help = help_hint(command);
            error.hint(format!("did you mean `{nearest}`? {help}"))
        }
        None => error,
    }
}

/// Whether an argument is an option rather than an operand; `-` alone is an operand.
fn is_option(arg: &OsStr) -> bool {
    arg.as_bytes().starts_with(b"-") && arg != "-"
}

/// Whether an option has this long or short name.
fn is_named(option: &CliOption, name: &[u8]) -> bool {
    let mut names = [Some(option.name), option.short].into_iter().flatten();
    names.any(|known| known.as_bytes() == name)
}

impl<'a> Arguments<'a> {
    /// Parses the arguments after the name of a command into options and operands.
    pub fn parse(
        command: &'static str,
        args: Vec<OsString>,
        env: &'a Environment,
    ) -> Result<Arguments<'a>, Error> {
        let mut arguments = Arguments {
            command,
            env,
            options: Vec::new(),
            operands: Vec::new(),
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next().filter(|arg| arg != "--") {
            if !is_option(&arg) {
                arguments.operands.push(arg);
                break;
            }
            let mut parts = arg.as_bytes().splitn(2, |byte| *byte == b'=');
            let option = arguments.find_option(parts.next().unwrap_or_default())?;
            let name = option.name;
            let attached_value = parts.next();
            let attached_value = attached_value.map(|value| OsStr::from_bytes(value).to_owned());
            let value = match (option.takes, attached_value) {
                (Takes::Nothing, Some(_)) => {
                    return Err(arguments.usage_error(format!("`{name}` takes no value")));
                }
                (Takes::Nothing | Takes::Optional(_), None) => None,
                (_, attached_value) => attached_value
                    .or_else(|| args.next())
                    .or(Some(OsString::new())),
            };
            let is_missing = |value: &OsString| value.is_empty() || value.as_bytes()[0] == b'-';
            if value.as_ref().is_some_and(is_missing) {
                return Err(arguments.usage_error(format!("`{name}` needs a value")));
            }
            if arguments.has(name) && !matches!(option.takes, Takes::Values(_)) {
                return Err(arguments.usage_error(format!("`{name}` was given twice")));
            }
            arguments.options.push((option, value));
        }
        arguments.operands.extend(args);
        Ok(arguments)
    }

    /// The options that this command has.
    fn command_options(&self) -> impl Iterator<Item = &'static CliOption> {
        all_options().filter(|option| option.commands.contains(&self.command))
    }

    /// The option of this command with this name. Fails if there is none.
    fn find_option(&self, name: &[u8]) -> Result<&'static CliOption, Error> {
        if let Some(option) = self.command_options().find(|option| is_named(option, name)) {
            return Ok(option);
        }
        let shown = String::from_utf8_lossy(name);
        if all_options().any(|option| is_named(option, name)) {
            let command = self.command;
            return Err(self.usage_error(format!("`{shown}` is not an option of `{command}`")));
        }
        let message = format!("unknown option `{shown}`");
        let known_names = self.command_options().map(|option| option.name);
        Err(unknown_name_error(
            Some(self.command),
            message,
            &shown,
            known_names,
        ))
    }

    /// A usage error in the arguments of this command.
    pub fn usage_error(&self, message: impl Into<String>) -> Error {
        usage_error(Some(self.command), message)
    }

    /// The error for a malformed value of `name`, an option or a variable. It is a usage error in the case of an
    /// option.
    pub fn malformed_value_error(&self, name: &str, error: Error) -> Error {
        let mut error = error.context(name);
        if !name.starts_with(SETTINGS_PREFIX) {
            error.cause = Cause::Usage;
            let help = || help_hint(Some(self.command));
            error.hint.get_or_insert_with(help);
        }
        error
    }

    /// Whether an option is on the command line.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option.name == name)
    }

    /// Whether an option is on the command line, or its variable is set.
    pub fn is_set(&self, name: &str) -> bool {
        let mut options = self.command_options();
        let option = options.find(|option| option.name == name);
        let value = option.and_then(|option| self.env.get(option.variable));
        self.has(name) || value.is_some_and(|value| !value.is_empty())
    }

    /// The values of an option, each with the name of the option. If the option was not given: the value of its
    /// variable, with the name of the variable; or else the default. Values need not be UTF-8.
    pub fn values(&self, name: &str) -> Vec<(&'static str, &OsStr)> {
        let given_options = self
            .options
            .iter()
            .filter(|(option, _)| option.name == name);
        let mut values: Vec<_> = given_options
            .filter_map(|(option, value)| Some((option.name, value.as_deref()?)))
            .collect();
        let option = self.command_options().find(|option| option.name == name);
        if let Some(option) = option.filter(|_| !self.has(name)) {
            let variable_value = self.env.get(option.variable);
            let variable_value = variable_value.filter(|value| !value.is_empty());
            let mut defaults = option.defaults.iter();
            let default = defaults.find(|(commands, _)| commands.contains(&self.command));
            let default = default.map(|(_, value)| (option.name, OsStr::new(value)));
            values.extend(
                variable_value
                    .map(|value| (option.variable, value))
                    .or(default),
            );
        }
        values
    }

    /// All values of an option, its variable or its default, parsed.
    pub fn parse_values<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut parsed = Vec::new();
        self.parse_each(name, &mut |text| {
            parsed.push(parse(text)?);
            Ok(())
        })?;
        Ok(parsed)
    }

    /// Not generic: each type would add a copy to the binary.
    fn parse_each(
        &self,
        name: &str,
        parse: &mut dyn FnMut(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.values(name).into_iter().try_for_each(|(name, value)| {
            let text = value.to_str().map(unquoted);
            let text = text.ok_or_else(|| Error::config("the value is not UTF-8"));
            text.and_then(&mut *parse)
                .map_err(|error| self.malformed_value_error(name, error))
        })
    }

    /// The names of variables that an option takes as its values, each with the name of the option, and then those in
    /// its variable, separated by commas, each with the name of that. The variable adds names, and does not give way to
    /// the option: an option in the ENTRYPOINT of an image must not make a container's variable useless.
    pub fn variable_names(&self, name: &str) -> Result<Vec<(&'static str, OsString)>, Error> {
        let given_options = self.options.iter();
        let given_options = given_options.filter(|(option, _)| option.name == name);
        let mut names: Vec<_> = given_options
            .filter_map(|(option, name)| Some((option.name, name.clone()?)))
            .collect();
        if let Some(option) = self.command_options().find(|option| option.name == name) {
            let listed = self.env.setting(option.variable)?.unwrap_or_default();
            let listed = listed.split(',').map(str::trim);
            let listed = listed.filter(|name| !name.is_empty());
            names.extend(listed.map(|name| (option.variable, OsString::from(name))));
        }
        Ok(names)
    }

    /// The value of an option, its variable or its default, parsed; `None` if there is none of these.
    pub fn parse_value<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        Ok(self.parse_values(name, parse)?.pop())
    }

    /// The value of an option that accepts only certain names, converted by means of `choices`; `None` if neither the
    /// option nor its variable is set.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        self.parse_value(name, |text| choose(text, choices))
    }

    /// Whether an option without a value is set: on the command line, or by its variable as `true` or `1`.
    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        let variable_value = || {
            self.parse_value(name, |text| match text {
                "0" | "false" => Ok(false),
                "1" | "true" => Ok(true),
                _ => Err(unexpected_value_error(text, "true or false")),
            })
        };
        Ok(self.has(name) || variable_value()?.unwrap_or(false))
    }

    /// The operand of a command that takes at most one; `None` if there is none. Errors call it `placeholder`.
    pub fn single_operand(&self, placeholder: &str) -> Result<Option<&OsStr>, Error> {
        let Some(unexpected) = self.operands.get(1) else {
            return Ok(self.operands.first().map(OsString::as_os_str));
        };
        let shown = unexpected.to_string_lossy();
        Err(self.usage_error(match is_option(unexpected) {
            true => format!("`{shown}` is after {placeholder}; options go before it"),
            false => format!("unexpected argument `{shown}`"),
        }))
    }

    /// The operand of a command that takes at most one, as text; `None` if there is none. Fails if it is not UTF-8.
    pub fn single_operand_text(&self, placeholder: &str) -> Result<Option<&str>, Error> {
        let operand = self.single_operand(placeholder)?;
        let text = operand.map(|operand| {
            let not_utf8_error = || self.usage_error(format!("{placeholder} is not UTF-8"));
            operand.to_str().ok_or_else(not_utf8_error)
        });
        text.transpose()
    }
}

/// The choice with this name. Fails if there is none.
pub fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Error> {
    if let Some((_, choice)) = choices.iter().find(|(known, _)| *known == text) {
        return Ok(*choice);
    }
    let names: Vec<&str> = choices.iter().map(|(known, _)| *known).collect();
    Err(unexpected_value_error(text, &alternatives(&names)))
}

/// Joins names for a message: `A, B or C`.
pub fn alternatives(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The error for a value that is none of the expected ones.
pub fn unexpected_value_error(text: &str, expected: &str) -> Error {
    Error::config(format!("expected {expected}, not `{text}`"))
}
