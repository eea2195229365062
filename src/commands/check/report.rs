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
/// The least width of the text itself, however narrow the terminal is.
const MIN_TEXT_WIDTH: usize = 20;
/// The kind of the verdict, which is printed like a check.
const VERDICT: &str = "verdict";

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `exec` would fail.
    Failed,
    /// `exec` would not fail here.
    Passed,
    /// Not checked, since something before it failed.
    Skipped,
    /// Passed, but may fail later.
    Warning,
}

impl State {
    /// The first word of a line, and its colour: a parameter of SGR (ECMA-48); `None` for the terminal's default.
    fn label_and_color(self) -> (&'static str, Option<u8>) {
        match self {
            State::Failed => ("FAILED", Some(31)),
            State::Passed => ("ok", Some(32)),
            State::Skipped => ("skipped", None),
            State::Warning => ("warning", Some(33)),
        }
    }
}

/// When `exec` needs what was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before any request.
    BeforeRequests,
    /// During the requests, which run in parallel: for tokens, and to the vaults that there is a token for.
    Requests,
    /// After a token, which is missing: the vault that it is for.
    WithoutToken,
    /// At execve(2).
    Execve,
    /// Unknown: there was no result when the time was up.
    TimedOut,
}

/// Something that `exec` needs on the way from a reference to its value, and whether it works.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was checked: `token`.
    pub kind: &'static str,
    /// Which one of its kind: a host, a variable; empty where there is only one.
    pub subject: String,
    /// The result.
    pub state: State,
    /// The result in words, one line.
    pub text: String,
    /// What the user can do.
    pub hint: Option<String>,
    /// The values in the text, for programs: fields of the JSON object.
    pub facts: Map<String, Value>,
    /// How long it took; `None` for a check without the network.
    pub duration: Option<Duration>,
    /// The cause of the error that `exec` would fail with.
    pub cause: Option<Cause>,
    /// What went wrong with a request, if that is the error.
    pub request_failure: Option<RequestFailure>,
    /// When `exec` needs what was checked.
    pub phase: Phase,
    /// Orders the checks of one phase.
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

    /// A check that failed with this error, as `exec` would.
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

    /// Makes it a warning, which is added to the text. Without a hint it keeps the one that it has.
    pub fn warn(mut self, warning: &str, hint: Option<&str>) -> Check {
        self.state = State::Warning;
        self.text = join_nonempty(&self.text, "; ", warning);
        self.hint = hint.map(str::to_owned).or(self.hint);
        self
    }

    /// Adds a value for programs.
    pub fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Check {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a value, if there is one, as a fact and, after the label, to the text.
    pub fn labeled(mut self, fact: &'static str, label: &str, value: Option<String>) -> Check {
        let Some(value) = value else {
            return self;
        };
        self.text.push_str(&format!(", {label}{value}"));
        self.fact(fact, value)
    }

    /// Sets its duration: the time since this instant.
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

    /// Whether both are results of the same check.
    pub fn is_same_check(&self, other: &Check) -> bool {
        (self.kind, &self.subject, self.order) == (other.kind, &other.subject, other.order)
    }

    /// Whether both failed for the same reason: with one kind of error, or since something was unavailable.
    pub fn has_same_reason(&self, other: &Check) -> bool {
        let unavailable = Some(Cause::Unavailable);
        self.request_failure == other.request_failure
            || [self.cause, other.cause] == [unavailable; 2]
    }

    /// The kind and subject of the check, as the verdict names it.
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
}

impl Report {
    /// A report without checks, for standard output.
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
        }
    }

    /// Prints a check, and keeps it for the verdict.
    pub fn add(&mut self, check: Check) {
        self.print(&check);
        self.checks.push(check);
    }

    /// Whether a check failed.
    pub fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.state == State::Failed)
    }

    /// Prints the verdict. Returns the exit code that `exec` would have, or 0 if it would start COMMAND.
    pub fn finish(self) -> u8 {
        let verdict = self.verdict();
        self.print(&verdict);
        verdict.cause.map_or(0, Cause::exit_code)
    }

    /// The first check at which `exec` would fail, if there is one, and a summary of the others.
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

    /// The titles of the checks with this result.
    fn titles(&self, state: State) -> Vec<String> {
        let checks = self.checks.iter().filter(|check| check.state == state);
        checks.map(Check::title).collect()
    }

    fn print(&self, check: &Check) {
        log::print(&match self.format {
            log::LineFormat::Json => format!("{}\n", check.to_json()),
            log::LineFormat::Text => self.render(check),
        });
    }

    /// The check as text: one line, or several that are wrapped to the width, and its hint.
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

    /// Wraps the words into lines that fit to the right of [`TEXT_COLUMN`].
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

/// Both texts with the separator between them, or only the one that is not empty.
fn join_nonempty(first: &str, separator: &str, second: &str) -> String {
    match (first, second) {
        ("", only) | (only, "") => only.to_owned(),
        _ => format!("{first}{separator}{second}"),
    }
}
