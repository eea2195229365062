//! What went wrong, who has to act, and what to do next.
//!
//! The leaf that knows the cause makes a [`Failure`]; every caller above adds one `anyhow` context that says what was
//! being done to what. [`exit_code`] finds the failure through any number of contexts. An error without one is a bug
//! of ours and is 70. The numbers are those of sysexits (<https://man.freebsd.org/cgi/man.cgi?sysexits>) and, for the
//! command itself, the shell's
//! (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_08_02>).

use std::fmt;

/// Who has to act. Each cause is one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Whoever owns the place that is written to.
    CannotCreate,
    /// COMMAND is not there.
    CommandNotFound,
    /// Whoever wrote the manifest: a malformed reference, a duplicate target, half a credential.
    Config,
    /// Whoever grants access: 401, 403, an identity that is not assigned, a firewall.
    Denied,
    /// Whoever fills the vault: no such secret or version, or disabled.
    NotFound,
    /// COMMAND is there and cannot be executed.
    NotExecutable,
    /// We, or something in between: an answer that is not Azure's.
    Protocol,
    /// Nobody, a restart may help: deadline, no identity endpoint yet, DNS, 429, 5xx.
    Unavailable,
    /// Whoever typed the command line.
    Usage,
}

impl Cause {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Cause::CannotCreate => 73,
            Cause::CommandNotFound => 127,
            Cause::Config => 78,
            Cause::Denied => 77,
            Cause::NotFound => 66,
            Cause::NotExecutable => 126,
            Cause::Protocol => 76,
            Cause::Unavailable => 69,
            Cause::Usage => 64,
        }
    }
}

impl Cause {
    /// Its name in the table of exit codes.
    pub fn name(self) -> &'static str {
        match self {
            Cause::CannotCreate => "cannot create",
            Cause::CommandNotFound => "command not found",
            Cause::Config => "config",
            Cause::Denied => "denied",
            Cause::NotFound => "not found",
            Cause::NotExecutable => "not executable",
            Cause::Protocol => "protocol",
            Cause::Unavailable => "unavailable",
            Cause::Usage => "usage",
        }
    }
}

/// Our own bug: a panic, or an error that nobody classified.
pub const INTERNAL: u8 = 70;
/// Its name, beside those of [`Cause::name`].
pub const INTERNAL_NAME: &str = "internal";

/// An error whose cause is known. The message never holds a secret; the hint is an instruction or a question.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub cause: Cause,
    message: String,
    hint: Option<String>,
    /// What the message is made of, for those who read it by program.
    facts: Vec<(&'static str, String)>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Failure {
            cause,
            message: message.into(),
            hint: None,
            facts: Vec::new(),
        }
    }

    /// The same failure with what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure, its message led by what it is about.
    pub fn about(mut self, subject: &str) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// What to do about it, where that is known.
    pub fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The same failure with something more to say.
    pub fn and(mut self, fact: &str) -> Self {
        self.message = format!("{}; {fact}", self.message);
        self
    }

    /// The same failure with a fact that its message is made of. Of two with one name the first counts.
    pub fn fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if !self.facts.iter().any(|(known, _)| *known == name) {
            self.facts.push((name, value.into()));
        }
        self
    }

    /// A fact that its message is made of.
    pub fn known(&self, name: &str) -> Option<&str> {
        let known = self.facts.iter().find(|(known, _)| *known == name);
        known.map(|(_, value)| value.as_str())
    }

    /// The failure in a word: a refusal's own name, or ours for its cause.
    pub fn in_a_word(&self) -> &str {
        self.known("refusal").unwrap_or(self.cause.name())
    }

    /// The same failure with a hint where there is one.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code that belongs to an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error
        .downcast_ref::<Failure>()
        .map_or(INTERNAL, |failure| failure.cause.exit_code())
}

/// What an error's message is made of, and who has to act.
pub fn facts(error: &anyhow::Error) -> Vec<(&'static str, String)> {
    match error.downcast_ref::<Failure>() {
        None => vec![("cause", INTERNAL_NAME.to_owned())],
        Some(failure) => {
            let cause = ("cause", failure.cause.name().to_owned());
            std::iter::once(cause)
                .chain(failure.facts.clone())
                .collect()
        }
    }
}

/// What to do about an error, where that is known.
pub fn hint(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Failure>()?.what_to_do()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_nobody_classified_is_internal() {
        let error = anyhow::anyhow!("out of bounds").context("reading the answer");
        assert_eq!(exit_code(&error), 70);
        assert_eq!(hint(&error), None);
    }

    #[test]
    fn a_failure_is_found_through_any_number_of_contexts() {
        let failure = Failure::new(Cause::Denied, "403").hint("grant the role");
        let error = anyhow::Error::from(failure)
            .context("reading `a`")
            .context("starting");
        assert_eq!(exit_code(&error), 77);
        assert_eq!(hint(&error), Some("grant the role"));
        assert_eq!(format!("{error:#}"), "starting: reading `a`: 403");
    }
}
