//! The report: a line, or a JSON object, for each check, and the verdict at the end.
//!
//! Lines are wrapped to the terminal's width, or to 80 columns. Without a terminal, a failed check and the verdict take
//! one line each, for `grep`, `tail` and tickets.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::error::{Cause, Error, RequestFailure};
use crate::log;
use crate::os;
use crate::request::environment::Environment;

/// The column at which the text of a check begins, from 0.
const TEXT_COLUMN: usize = 20;
/// The width of lines if standard output is not a terminal.
const DEFAULT_WIDTH: usize = 80;
/// The minimum width of the text beside [`TEXT_COLUMN`], however narrow the terminal is.
const MIN_TEXT_WIDTH: usize = 20;
/// The kind of the verdict, which is printed like a check.
const VERDICT: &str = "verdict";

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `exec` would fail.
    Failed,
    /// `exec` would get past this check.
    Passed,
    /// Not checked, because a check that it depends on failed.
    Skipped,
    /// Passed, but may fail later.
    Warning,
}

impl State {
    /// The first word of the line, and the parameter of SGR for its colour (ECMA-48); `None` is the terminal's default
    /// colour.
    fn label_and_color(self) -> (&'static str, Option<u8>) {
        match self {
            State::Failed => ("FAILED", Some(31)),
            State::Passed => ("ok", Some(32)),
            State::Skipped => ("skipped", None),
            State::Warning => ("warning", Some(33)),
        }
    }
}

/// The phase of `exec` that needs what was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before all requests.
    BeforeRequests,
    /// During the requests, which run in parallel: requests for tokens, and to those vaults for which a token was
    /// issued.
    Requests,
    /// Never reached: requests to a vault for which no token was issued.
    WithoutToken,
    /// At execve(2), when COMMAND is started.
    Execve,
    /// Not known: the time was up before there was a result.
    TimedOut,
}

/// One step of `exec` on the way from a reference to its value, and whether it works.
#[derive(Clone, Debug)]
pub struct Check {
    /// The kind of check, such as `token`.
    pub kind: &'static str,
    /// What was checked: a host or a variable, for example; empty if the kind has only one check.
    pub subject: String,
    /// Whether the check passed.
    pub state: State,
    /// The result in words, on one line.
    pub text: String,
    /// What the user can do about the result.
    pub hint: Option<String>,
    /// The values in the text, as fields of the JSON object for programs.
    pub facts: Map<String, Value>,
    /// How long the check took; `None` if it did not use the network.
    pub duration: Option<Duration>,
    /// The cause of the error that `exec` would fail with; `None` unless the check failed.
    pub cause: Option<Cause>,
    /// What went wrong with the request; `None` if the check did not fail by a request.
    pub request_failure: Option<RequestFailure>,
    /// The phase of `exec` that needs what was checked.
    pub phase: Phase,
    /// The position of the check within its phase.
    pub order: usize,
}

impl Check {
    /// A check that passed.
    pub fn passed(
        kind: &'static str,
        subject: impl Into<String>,
        text: impl Into<String>,
    ) -> Check {
        Check {
            kind,
            subject: subject.into(),
            state: State::Passed,
            text: text.into(),
            hint: None,
            facts: Map::new(),
            duration: None,
            cause: None,
            request_failure: None,
            phase: Phase::BeforeRequests,
            order: 0,
        }
    }

    /// A check that failed with this error; `exec` would fail with it too.
    pub fn failed(kind: &'static str, subject: impl Into<String>, error: &Error) -> Check {
        let check = Check {
            state: State::Failed,
            hint: error.hint.clone(),
            cause: Some(error.cause),
            request_failure: error.request_failure,
            ..Check::passed(kind, subject, error.to_string())
        };
        let facts = error.facts.iter();
        facts.fold(check, |check, (name, value)| {
            check.fact(name, value.as_str())
        })
    }

    /// A check that was not made, and why.
    pub fn skipped(kind: &'static str, subject: impl Into<String>, reason: &str) -> Check {
        Check {
            state: State::Skipped,
            ..Check::passed(kind, subject, reason)
        }
    }

    /// Turns the check into a warning and adds `warning` to its text. If `hint` is `None`, the check keeps the hint
    /// that it has.
    pub fn warn(mut self, warning: &str, hint: Option<&str>) -> Check {
        self.state = State::Warning;
        self.text = join_nonempty(&self.text, "; ", warning);
        self.hint = hint.map(str::to_owned).or(self.hint);
        self
    }

    /// Adds a value as a field of the JSON object.
    pub fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Check {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a value to the text, after `label`, and as a fact. `None` adds nothing.
    pub fn labeled(mut self, fact: &'static str, label: &str, value: Option<String>) -> Check {
        let Some(value) = value else {
            return self;
        };
        self.text.push_str(&format!(", {label}{value}"));
        self.fact(fact, value)
    }

    /// Sets the duration of the check to the time since `started`.
    pub fn with_duration_since(mut self, started: Instant) -> Check {
        self.duration = Some(started.elapsed());
        self
    }

    /// Sets the phase in which `exec` needs what was checked, and the position of this check within that phase.
    pub fn needed_in(self, phase: Phase, order: usize) -> Check {
        Check {
            phase,
            order,
            ..self
        }
    }

    /// Whether both are the same check, whatever their results.
    pub fn is_same_check(&self, other: &Check) -> bool {
        (self.kind, &self.subject, self.order) == (other.kind, &other.subject, other.order)
    }

    /// Whether both checks failed for the same reason: the same kind of request failure, or something unavailable in
    /// both.
    pub fn has_same_reason(&self, other: &Check) -> bool {
        let unavailable = Some(Cause::Unavailable);
        self.request_failure == other.request_failure
            || [self.cause, other.cause] == [unavailable; 2]
    }

    /// The kind and the subject of the check, as the verdict shows them.
    fn title(&self) -> String {
        join_nonempty(self.kind, " ", &self.subject)
    }

    fn to_json(&self) -> Value {
        let state = self.state.label_and_color().0.to_ascii_lowercase();
        let mut object = self.facts.clone();
        object.insert("link".to_owned(), self.kind.into());
        object.insert("state".to_owned(), state.into());
        object.insert("message".to_owned(), self.text.as_str().into());
        if !self.subject.is_empty() {
            object.insert("subject".to_owned(), self.subject.as_str().into());
        }
        if let Some(hint) = &self.hint {
            object.insert("hint".to_owned(), hint.as_str().into());
        }
        if let Some(duration) = self.duration {
            object.insert("ms".to_owned(), (duration.as_millis() as u64).into());
        }
        log::make_single_line(&mut object);
        Value::Object(object)
    }
}

/// The checks made so far, and how they are printed.
pub struct Report {
    checks: Vec<Check>,
    format: log::LineFormat,
    is_terminal: bool,
    has_color: bool,
    width: usize,
    /// The first error of standard output.
    print_error: Option<Error>,
}

impl Report {
    /// A report without checks, to standard output.
    pub fn new(format: log::LineFormat, env: &Environment) -> Report {
        let is_terminal = os::standard_descriptor(1).is_terminal();
        let width = os::terminal_width(1).unwrap_or(DEFAULT_WIDTH);
        Report {
            checks: Vec::new(),
            format,
            is_terminal,
            // https://no-color.org
            has_color: is_terminal && env.get("NO_COLOR").is_none_or(|value| value.is_empty()),
            width: width.max(TEXT_COLUMN + MIN_TEXT_WIDTH),
            print_error: None,
        }
    }

    /// Prints a check, and records it for the verdict.
    pub fn add(&mut self, check: Check) {
        self.print(&check);
        self.checks.push(check);
    }

    /// Whether a check failed.
    pub fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.state == State::Failed)
    }

    /// Prints the verdict. Returns the exit code that `exec` would have, or 0 if it would start COMMAND. If a part of the
    /// report could not be printed, that is the error.
    pub fn finish(mut self) -> Result<u8, Error> {
        let verdict = self.verdict();
        self.print(&verdict);
        match self.print_error {
            Some(error) => Err(error),
            None => Ok(verdict.cause.map_or(0, Cause::exit_code)),
        }
    }

    /// The verdict, in the form of a check: the check at which `exec` would fail first, if any failed, and a summary
    /// of the others.
    fn verdict(&self) -> Check {
        let failures = self.checks.iter();
        let failures = failures.filter_map(|check| Some((check, check.cause?)));
        // `exec` retries what is unavailable, so another failure of the same phase ends it first.
        let first_failure = failures
            .min_by_key(|(check, cause)| (check.phase, *cause == Cause::Unavailable, check.order));
        let Some((failed, cause)) = first_failure else {
            let text = match self.titles(State::Warning).join(", ") {
                none if none.is_empty() => "all checks passed".to_owned(),
                warnings => format!("all checks passed; warnings: {warnings}"),
            };
            let warning = self
                .checks
                .iter()
                .find(|check| check.state == State::Warning);
            let mut verdict = Check::passed(VERDICT, "", text).fact("code", 0);
            verdict.hint = warning.and_then(|check| check.hint.clone());
            return verdict;
        };
        let (code, title) = (cause.exit_code(), failed.title());
        let failed_titles = self.titles(State::Failed);
        let has_timed_out = failed.phase == Phase::TimedOut;
        let mut text = match has_timed_out {
            true => {
                let (reason, unfinished) = (&failed.text, failed_titles.join(", "));
                format!("{reason}; not finished: {unfinished}; all others passed")
            }
            false => format!("exec would fail with exit code {code}; failed check: {title}"),
        };
        let is_clock_related = matches!(
            failed.request_failure,
            Some(
                RequestFailure::AssertionExpired
                    | RequestFailure::CertificateExpired
                    | RequestFailure::TokenNotYetValid
                    | RequestFailure::TokenRejected
            )
        );
        if let Some(clock) = self.checks.iter().find(|check| check.kind == "clock")
            && is_clock_related
        {
            text.push_str(&format!("; clock: {}", clock.text));
        }
        match failed_titles.len() - 1 {
            others if others == 0 || has_timed_out => {}
            1 => text.push_str("; 1 more check failed"),
            others => text.push_str(&format!("; {others} more checks failed")),
        }
        Check {
            state: State::Failed,
            hint: failed.hint.clone(),
            cause: Some(cause),
            ..Check::passed(VERDICT, "", text)
        }
        .fact("code", code)
        .fact("cause", cause.name())
        .fact("broken", title)
    }

    /// The titles of the checks with this state.
    fn titles(&self, state: State) -> Vec<String> {
        let checks = self.checks.iter().filter(|check| check.state == state);
        checks.map(Check::title).collect()
    }

    fn print(&mut self, check: &Check) {
        let printed = log::print(&match self.format {
            log::LineFormat::Json => format!("{}\n", check.to_json()),
            log::LineFormat::Text => self.render(check),
        });
        if let Err(error) = printed {
            self.print_error.get_or_insert(error);
        }
    }

    /// A check as text: one line, or several if it is longer than the width, and then its hint.
    fn render(&self, check: &Check) -> String {
        let text = log::to_single_line(&join_nonempty(&check.subject, ": ", &check.text));
        let duration = check.duration;
        let duration = duration.map(|duration| format!("({} ms)", duration.as_millis()));
        let mut lines = self.wrap(check, text.split(' ').chain(duration.as_deref()));
        if let Some(hint) = &check.hint
            && check.kind != VERDICT
        {
            let hint = log::to_single_line(&format!("hint: {hint}"));
            lines.extend(self.wrap(check, hint.split(' ')));
        }
        let (label, color) = check.state.label_and_color();
        let padding = " ".repeat(8 - label.len());
        let label = match color.filter(|_| self.has_color) {
            Some(color) => format!("\x1b[{color}m{label}\x1b[0m"),
            None => label.to_owned(),
        };
        let indent = format!("\n{}", " ".repeat(TEXT_COLUMN));
        let text = format!("{label}{padding}{:<12}{}", check.kind, lines.join(&indent));
        format!("{}\n", text.trim_end_matches(' '))
    }

    /// Wraps words into lines that fit to the right of [`TEXT_COLUMN`].
    fn wrap<'a>(&self, check: &Check, words: impl Iterator<Item = &'a str>) -> Vec<String> {
        let is_single_line =
            !self.is_terminal && (check.state == State::Failed || check.kind == VERDICT);
        let mut lines = vec![String::new()];
        for word in words.filter(|word| !word.is_empty()) {
            let line = lines.last_mut().expect("there is always one");
            let length = line.chars().count() + 1 + word.chars().count();
            if line.is_empty() || is_single_line || length <= self.width - TEXT_COLUMN {
                *line = join_nonempty(line, " ", word);
            } else {
                lines.push(word.to_owned());
            }
        }
        lines
    }
}

/// Joins two texts with the separator. If one is empty, returns the other alone.
fn join_nonempty(first: &str, separator: &str, second: &str) -> String {
    match (first, second) {
        ("", only) | (only, "") => only.to_owned(),
        _ => format!("{first}{separator}{second}"),
    }
}
