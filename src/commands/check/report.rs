//! The report: one line for each link of the chain, or one JSON object. The verdict is the last.
//!
//! Lines are folded to the terminal's width, or to 80 columns. Without a terminal, failed links and the verdict stay in
//! one line each, for `grep`, `tail` and tickets.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::error::{Cause, Error, RequestFailure};
use crate::log;
use crate::os;
use crate::request::environment::Environment;

/// The column where the text of a link begins.
const MARGIN: usize = 20;
/// Where lines are folded without a terminal.
const DEFAULT_WIDTH: usize = 80;
/// The narrowest column of text.
const MIN_TEXT_WIDTH: usize = 20;
const VERDICT: &str = "verdict";

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `exec` would fail.
    Failed,
    /// `exec` would get past it.
    Passed,
    /// Not checked, since something before it failed.
    Skipped,
    /// Passed, but may fail later.
    Warning,
}

impl State {
    /// The first word of a line, and its colour (ECMA-48, SGR).
    fn word(self) -> (&'static str, Option<u8>) {
        match self {
            State::Failed => ("FAILED", Some(31)),
            State::Passed => ("ok", Some(32)),
            State::Skipped => ("skipped", None),
            State::Warning => ("warning", Some(33)),
        }
    }
}

/// When `exec` needs a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before any request.
    Before,
    /// With the requests: tokens, and the vaults that there is a token for, all at the same time.
    Requests,
    /// Not before there is a token, which is missing: the vault of that token.
    WithoutToken,
    /// At the execve.
    Execve,
    /// Unknown: there was no result when time was up.
    TimedOut,
}

/// One link of the chain from a reference to its value.
#[derive(Clone, Debug)]
pub struct Link {
    /// What was checked, as in `token`.
    pub kind: &'static str,
    /// Which one: a host, a variable.
    pub subject: String,
    /// The result.
    pub state: State,
    /// The result in words, one line.
    pub text: String,
    /// What to do.
    pub hint: Option<String>,
    /// The parts of the text, for programs.
    pub facts: Map<String, Value>,
    /// How long a request took.
    pub took: Option<Duration>,
    /// Why `exec` would fail.
    pub cause: Option<Cause>,
    /// What went wrong with a request.
    pub request_failure: Option<RequestFailure>,
    /// When `exec` needs it.
    pub phase: Phase,
    /// The order of links in the same phase.
    pub index: usize,
}

impl Link {
    /// A link that passed.
    pub fn passed(kind: &'static str, subject: impl Into<String>, text: impl Into<String>) -> Link {
        Link {
            kind,
            subject: subject.into(),
            state: State::Passed,
            text: text.into(),
            hint: None,
            facts: Map::new(),
            took: None,
            cause: None,
            request_failure: None,
            phase: Phase::Before,
            index: 0,
        }
    }

    /// A link at which `exec` would fail.
    pub fn failed(kind: &'static str, subject: impl Into<String>, error: &Error) -> Link {
        let link = Link {
            state: State::Failed,
            hint: error.hint.clone(),
            cause: Some(error.cause),
            request_failure: error.request_failure,
            ..Link::passed(kind, subject, error.to_string())
        };
        let facts = error.facts.iter();
        facts.fold(link, |link, (name, value)| link.fact(name, value.as_str()))
    }

    /// A link that was not checked.
    pub fn skipped(kind: &'static str, subject: impl Into<String>, reason: &str) -> Link {
        Link {
            state: State::Skipped,
            ..Link::passed(kind, subject, reason)
        }
    }

    /// Makes it a warning.
    pub fn warn(mut self, warning: &str, hint: Option<&str>) -> Link {
        self.state = State::Warning;
        self.text = joined(&self.text, "; ", warning);
        self.hint = hint.map(str::to_owned).or(self.hint);
        self
    }

    /// Adds a fact.
    pub fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Link {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a value as a fact and, after a label, to the text, if there is one.
    pub fn labeled(mut self, fact: &'static str, label: &str, value: Option<String>) -> Link {
        let Some(value) = value else {
            return self;
        };
        self.text.push_str(&format!(", {label}{value}"));
        self.fact(fact, value)
    }

    /// Sets how long it took.
    pub fn took(mut self, started: Instant) -> Link {
        self.took = Some(started.elapsed());
        self
    }

    /// Sets when `exec` needs it.
    pub fn at(self, phase: Phase, index: usize) -> Link {
        Link {
            phase,
            index,
            ..self
        }
    }

    /// Whether it is the same link, with another result.
    pub fn is_same(&self, other: &Link) -> bool {
        (self.kind, &self.subject, self.index) == (other.kind, &other.subject, other.index)
    }

    /// Whether both failed for the same reason.
    pub fn has_same_reason(&self, other: &Link) -> bool {
        let unavailable = Some(Cause::Unavailable);
        self.request_failure == other.request_failure
            || [self.cause, other.cause] == [unavailable; 2]
    }

    /// Its kind and subject.
    fn name(&self) -> String {
        joined(self.kind, " ", &self.subject)
    }

    fn object(&self) -> Value {
        let state = self.state.word().0.to_ascii_lowercase();
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
        if let Some(took) = self.took {
            object.insert("ms".to_owned(), (took.as_millis() as u64).into());
        }
        log::make_plain(&mut object);
        Value::Object(object)
    }
}

/// The links so far, and how they are printed.
pub struct Report {
    links: Vec<Link>,
    format: log::Format,
    is_terminal: bool,
    has_color: bool,
    width: usize,
}

impl Report {
    /// An empty report on standard output.
    pub fn new(format: log::Format, env: &Environment) -> Report {
        let is_terminal = os::standard(1).is_terminal();
        let width = os::terminal_width(1).unwrap_or(DEFAULT_WIDTH);
        Report {
            links: Vec::new(),
            format,
            is_terminal,
            // https://no-color.org
            has_color: is_terminal && env.get("NO_COLOR").is_none_or(|value| value.is_empty()),
            width: width.max(MARGIN + MIN_TEXT_WIDTH),
        }
    }

    /// Prints a link.
    pub fn add(&mut self, link: Link) {
        self.print(&link);
        self.links.push(link);
    }

    /// Whether a link failed.
    pub fn has_failed(&self) -> bool {
        self.links.iter().any(|link| link.state == State::Failed)
    }

    /// Prints the verdict, and returns the exit code that `exec` would have: 0 is that it would start COMMAND.
    pub fn finish(self) -> u8 {
        let verdict = self.verdict();
        self.print(&verdict);
        verdict.cause.map_or(0, Cause::exit_code)
    }

    fn verdict(&self) -> Link {
        let failed = self.links.iter();
        let failed = failed.filter_map(|link| Some((link, link.cause?)));
        // `exec` retries what is unavailable while the other requests go on.
        let first = failed
            .min_by_key(|(link, cause)| (link.phase, *cause == Cause::Unavailable, link.index));
        let Some((failed, cause)) = first else {
            let text = match self.names(State::Warning).join(", ") {
                none if none.is_empty() => "all checks passed".to_owned(),
                warnings => format!("all checks passed; warnings: {warnings}"),
            };
            let warning = self.links.iter().find(|link| link.state == State::Warning);
            let mut verdict = Link::passed(VERDICT, "", text).fact("code", 0);
            verdict.hint = warning.and_then(|link| link.hint.clone());
            return verdict;
        };
        let (code, name) = (cause.exit_code(), failed.name());
        let all = self.names(State::Failed);
        let timed_out = failed.phase == Phase::TimedOut;
        let mut text = match timed_out {
            true => {
                let (reason, all) = (&failed.text, all.join(", "));
                format!("{reason}; not finished: {all}; all others passed")
            }
            false => format!("exec would fail with exit code {code} at: {name}"),
        };
        let is_about_time = matches!(
            failed.request_failure,
            Some(
                RequestFailure::AssertionExpired
                    | RequestFailure::CertificateExpired
                    | RequestFailure::TokenNotYetValid
            )
        );
        if let Some(clock) = self.links.iter().find(|link| link.kind == "clock")
            && is_about_time
        {
            text.push_str(&format!("; clock: {}", clock.text));
        }
        match all.len() - 1 {
            others if others == 0 || timed_out => {}
            1 => text.push_str("; 1 more check failed"),
            others => text.push_str(&format!("; {others} more checks failed")),
        }
        Link {
            state: State::Failed,
            hint: failed.hint.clone(),
            cause: Some(cause),
            ..Link::passed(VERDICT, "", text)
        }
        .fact("code", code)
        .fact("cause", cause.name())
        .fact("broken", name)
    }

    fn names(&self, state: State) -> Vec<String> {
        let links = self.links.iter().filter(|link| link.state == state);
        links.map(Link::name).collect()
    }

    fn print(&self, link: &Link) {
        log::print(&match self.format {
            log::Format::Json => format!("{}\n", link.object()),
            log::Format::Text => self.text(link),
        });
    }

    /// One line, or several that are folded to the width.
    fn text(&self, link: &Link) -> String {
        let text = log::plain(&joined(&link.subject, ": ", &link.text));
        let took = link.took.map(|took| format!("({} ms)", took.as_millis()));
        let mut lines = self.fold(link, text.split(' ').chain(took.as_deref()));
        if let Some(hint) = &link.hint
            && link.kind != VERDICT
        {
            let hint = log::plain(&format!("hint: {hint}"));
            lines.extend(self.fold(link, hint.split(' ')));
        }
        let (word, color) = link.state.word();
        let padding = " ".repeat(8 - word.len());
        let word = match color.filter(|_| self.has_color) {
            Some(color) => format!("\x1b[{color}m{word}\x1b[0m"),
            None => word.to_owned(),
        };
        let indent = format!("\n{}", " ".repeat(MARGIN));
        let text = format!("{word}{padding}{:<12}{}", link.kind, lines.join(&indent));
        format!("{}\n", text.trim_end_matches(' '))
    }

    /// The words as lines that fit beside the margin.
    fn fold<'a>(&self, link: &Link, words: impl Iterator<Item = &'a str>) -> Vec<String> {
        let is_whole = !self.is_terminal && (link.state == State::Failed || link.kind == VERDICT);
        let mut lines = vec![String::new()];
        for word in words.filter(|word| !word.is_empty()) {
            let line = lines.last_mut().expect("there is always one");
            let length = line.chars().count() + 1 + word.chars().count();
            if line.is_empty() || is_whole || length <= self.width - MARGIN {
                *line = joined(line, " ", word);
            } else {
                lines.push(word.to_owned());
            }
        }
        lines
    }
}

/// Both texts with a separator between them, or the one that is not empty.
fn joined(first: &str, separator: &str, second: &str) -> String {
    match (first, second) {
        ("", only) | (only, "") => only.to_owned(),
        _ => format!("{first}{separator}{second}"),
    }
}
