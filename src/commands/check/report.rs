//! The report: one line for each link of the chain, or one JSON object. The verdict is the last.
//!
//! Lines are folded to the terminal's width, or to 80 columns. Without a terminal, failed links and the verdict stay in
//! one line each, for `grep`, `tail` and tickets.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::error::{Cause, Error, ErrorKind};
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
    /// Passed.
    Good,
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
            State::Good => ("ok", Some(32)),
            State::Skipped => ("skipped", None),
            State::Warning => ("warning", Some(33)),
        }
    }
}

/// When `exec` comes to a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before any request.
    #[default]
    Before,
    /// Tokens, and the vaults whose token is there: all at the same time.
    Requests,
    /// Vaults whose token is missing.
    WithoutToken,
    /// At its execve.
    Execve,
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
    pub facts: Vec<(&'static str, Value)>,
    /// How long a request took.
    pub took: Option<Duration>,
    /// Why `exec` would fail.
    pub cause: Option<Cause>,
    /// When `exec` comes to it, and the order of simultaneous links.
    pub turn: (Phase, usize),
    /// It failed because of the time of day.
    pub is_about_time: bool,
    /// It was not finished when time was up.
    pub timed_out: bool,
}

impl Link {
    /// A link that passed.
    pub fn good(kind: &'static str, subject: impl Into<String>, text: impl Into<String>) -> Link {
        Link {
            kind,
            subject: subject.into(),
            state: State::Good,
            text: text.into(),
            hint: None,
            facts: Vec::new(),
            took: None,
            cause: None,
            turn: (Phase::Before, 0),
            is_about_time: false,
            timed_out: false,
        }
    }

    /// A link at which `exec` would fail.
    pub fn failed(kind: &'static str, subject: impl Into<String>, error: &Error) -> Link {
        Link {
            state: State::Failed,
            hint: error.hint.clone(),
            cause: Some(error.cause),
            is_about_time: matches!(
                error.kind,
                Some(
                    ErrorKind::AssertionExpired
                        | ErrorKind::CertificateExpired
                        | ErrorKind::TokenNotYetValid
                )
            ),
            ..Link::good(kind, subject, error.to_string())
        }
    }

    /// A link that was not checked.
    pub fn skipped(kind: &'static str, subject: impl Into<String>, reason: &str) -> Link {
        Link {
            state: State::Skipped,
            ..Link::good(kind, subject, reason)
        }
    }

    /// Makes it a warning.
    pub fn warn(mut self, warning: &str, hint: Option<&str>) -> Link {
        self.state = State::Warning;
        self.text = match self.text.as_str() {
            "" => warning.to_owned(),
            before => format!("{before}; {warning}"),
        };
        self.hint = hint.map(str::to_owned).or(self.hint);
        self
    }

    /// Sets the hint, if there is none.
    pub fn or_hint(mut self, hint: &str) -> Link {
        self.hint.get_or_insert_with(|| hint.to_owned());
        self
    }

    /// Adds a fact.
    pub fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Link {
        self.facts.push((name, value.into()));
        self
    }

    /// Sets how long it took.
    pub fn took(mut self, started: Instant) -> Link {
        self.took = Some(started.elapsed());
        self
    }

    /// Sets when `exec` comes to it.
    pub fn at(mut self, phase: Phase, index: usize) -> Link {
        self.turn = (phase, index);
        self
    }

    /// Whether it is the same link, with another result.
    pub fn is_same(&self, other: &Link) -> bool {
        (self.kind, &self.subject, self.turn.1) == (other.kind, &other.subject, other.turn.1)
    }

    /// Its kind and subject.
    fn name(&self) -> String {
        match self.subject.as_str() {
            "" => self.kind.to_owned(),
            subject => format!("{} {subject}", self.kind),
        }
    }

    fn object(&self) -> Value {
        let mut object: Map<String, Value> = Map::new();
        for (name, value) in &self.facts {
            let value = match value {
                Value::String(text) => log::plain(text).into(),
                other => other.clone(),
            };
            object.insert((*name).to_owned(), value);
        }
        let state = self.state.word().0.to_ascii_lowercase();
        object.insert("link".to_owned(), self.kind.into());
        object.insert("state".to_owned(), state.into());
        object.insert("message".to_owned(), log::plain(&self.text).into());
        if !self.subject.is_empty() {
            object.insert("subject".to_owned(), log::plain(&self.subject).into());
        }
        if let Some(hint) = &self.hint {
            object.insert("hint".to_owned(), log::plain(hint).into());
        }
        if let Some(took) = self.took {
            object.insert("ms".to_owned(), (took.as_millis() as u64).into());
        }
        Value::Object(object)
    }
}

/// How links are printed.
#[derive(Clone, Copy)]
pub struct Style {
    format: log::Format,
    is_terminal: bool,
    has_color: bool,
    width: usize,
}

impl Style {
    /// The style for standard output.
    pub fn new(format: log::Format, env: &Environment) -> Style {
        let is_terminal = os::is_terminal(1);
        let width = os::terminal_width(1).unwrap_or(DEFAULT_WIDTH);
        Style {
            format,
            is_terminal,
            // https://no-color.org
            has_color: is_terminal && env.get("NO_COLOR").is_none_or(|value| value.is_empty()),
            width: width.max(MARGIN + MIN_TEXT_WIDTH),
        }
    }

    fn print(self, link: &Link) -> String {
        match self.format {
            log::Format::Json => format!("{}\n", link.object()),
            log::Format::Text => self.lines(link),
        }
    }

    fn lines(self, link: &Link) -> String {
        let about = match (link.subject.as_str(), link.text.as_str()) {
            ("", text) => text.to_owned(),
            (subject, "") => subject.to_owned(),
            (subject, text) => format!("{subject}: {text}"),
        };
        let took = link.took.map(|took| format!("({} ms)", took.as_millis()));
        let text = log::plain(&about);
        let hint = link.hint.as_deref().filter(|_| link.kind != VERDICT);
        let hint = hint.map(|hint| log::plain(&format!("hint: {hint}")));
        let mut rows = self.rows(link, text.split(' ').chain(took.as_deref()));
        rows.extend(
            hint.iter()
                .flat_map(|hint| self.rows(link, hint.split(' '))),
        );
        let (word, color) = link.state.word();
        let padding = " ".repeat(8 - word.len());
        let word = match color.filter(|_| self.has_color) {
            Some(color) => format!("\x1b[{color}m{word}\x1b[0m"),
            None => word.to_owned(),
        };
        let head = format!("{word}{padding}{:<12}", link.kind);
        let indent = format!("\n{}", " ".repeat(MARGIN));
        format!("{}\n", (head + &rows.join(&indent)).trim_end_matches(' '))
    }

    /// The words in rows.
    fn rows<'a>(self, link: &Link, words: impl Iterator<Item = &'a str>) -> Vec<String> {
        let is_whole = !self.is_terminal && (link.state == State::Failed || link.kind == VERDICT);
        let mut rows = vec![String::new()];
        for word in words.filter(|word| !word.is_empty()) {
            let row = rows.last_mut().expect("there is always one");
            let length = row.chars().count() + 1 + word.chars().count();
            if row.is_empty() {
                row.push_str(word);
            } else if is_whole || length <= self.width - MARGIN {
                row.push(' ');
                row.push_str(word);
            } else {
                rows.push(word.to_owned());
            }
        }
        rows
    }
}

/// The links so far, in the order in which `exec` needs them.
pub struct Report {
    style: Style,
    links: Vec<Link>,
}

impl Report {
    /// An empty report.
    pub fn new(style: Style) -> Report {
        Report {
            style,
            links: Vec::new(),
        }
    }

    /// Prints a link.
    pub fn add(&mut self, link: Link) {
        log::print(&self.style.print(&link));
        self.links.push(link);
    }

    /// Whether a link failed.
    pub fn has_failed(&self) -> bool {
        self.links.iter().any(|link| link.state == State::Failed)
    }

    /// Whether there is a link of this kind and subject.
    pub fn has(&self, kind: &str, subject: &str) -> bool {
        let mut links = self.links.iter();
        links.any(|link| link.kind == kind && link.subject == subject)
    }

    /// Prints the verdict, and returns the exit code that `exec` would have: 0 is that it would start COMMAND.
    pub fn finish(self) -> u8 {
        let verdict = self.verdict();
        log::print(&self.style.print(&verdict));
        verdict.cause.map_or(0, Cause::exit_code)
    }

    fn verdict(&self) -> Link {
        let Some((failed, cause)) = self.first_failed() else {
            let warnings = self.names(State::Warning);
            let text = match warnings.len() {
                0 => "all checks passed".to_owned(),
                1 => format!("all checks passed, with a warning: {}", warnings[0]),
                more => {
                    let warnings = warnings.join(", ");
                    format!("all checks passed, with {more} warnings: {warnings}")
                }
            };
            let warning = self.links.iter().find(|link| link.state == State::Warning);
            let mut verdict = Link::good(VERDICT, "", text).fact("code", 0);
            verdict.hint = warning.and_then(|link| link.hint.clone());
            return verdict;
        };
        let (code, name) = (cause.exit_code(), failed.name());
        let all = self.names(State::Failed);
        let mut text = match failed.timed_out {
            true => {
                let (reason, all) = (&failed.text, all.join(", "));
                format!("{reason}; all checks passed so far; not finished: {all}")
            }
            false => format!("exec would fail with {code}: {name}"),
        };
        if let Some(clock) = self.links.iter().find(|link| link.kind == "clock")
            && failed.is_about_time
        {
            text.push_str(&format!("; this machine's clock is {}", clock.text));
        }
        match all.len() - 1 {
            others if others == 0 || failed.timed_out => {}
            1 => text.push_str("; 1 more check failed"),
            others => text.push_str(&format!("; {others} more checks failed")),
        }
        Link {
            state: State::Failed,
            hint: failed.hint.clone(),
            cause: Some(cause),
            ..Link::good(VERDICT, "", text)
        }
        .fact("code", code)
        .fact("cause", cause.name())
        .fact("broken", name)
    }

    fn names(&self, state: State) -> Vec<String> {
        let links = self.links.iter().filter(|link| link.state == state);
        links.map(Link::name).collect()
    }

    /// The link at which `exec` would fail: it retries what is unavailable while the other requests go on.
    fn first_failed(&self) -> Option<(&Link, Cause)> {
        let failed = self
            .links
            .iter()
            .filter_map(|link| Some((link, link.cause?)));
        failed.min_by_key(|(link, cause)| {
            let (phase, index) = link.turn;
            let is_retried = *cause == Cause::Unavailable;
            (link.timed_out, phase, is_retried, index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style {
        format: log::Format::Text,
        is_terminal: false,
        has_color: false,
        width: 80,
    };

    fn failed(kind: &'static str, subject: &str, cause: Cause, phase: Phase, index: usize) -> Link {
        Link::failed(kind, subject, &Error::new(cause, "it failed")).at(phase, index)
    }

    fn verdict(links: Vec<Link>) -> String {
        Report {
            style: STYLE,
            links,
        }
        .verdict()
        .text
    }

    #[test]
    fn verdict_names_the_link_at_which_exec_fails() {
        let refused = || failed("connection", "kv1", Cause::Unavailable, Phase::Requests, 1);
        let absent = || failed("secret", "B", Cause::NotFound, Phase::Requests, 2);
        let denied = || failed("secret", "A", Cause::Denied, Phase::WithoutToken, 0);
        let foreign = || failed("command", "x", Cause::NotExecutable, Phase::Execve, 0);
        let late = || Link {
            timed_out: true,
            text: "timed out after 10 s".to_owned(),
            ..failed("token", "r", Cause::Unavailable, Phase::Requests, 0)
        };
        for (links, expected) in [
            (vec![refused()], "exec would fail with 69: connection kv1"),
            (
                vec![refused(), absent()],
                "exec would fail with 66: secret B; 1 more check failed",
            ),
            (
                vec![denied(), refused(), late()],
                "exec would fail with 69: connection kv1; 2 more checks failed",
            ),
            (
                vec![foreign(), denied(), absent()],
                "exec would fail with 66: secret B; 2 more checks failed",
            ),
            (
                vec![late()],
                "timed out after 10 s; all checks passed so far; not finished: token r",
            ),
        ] {
            assert_eq!(verdict(links), expected);
        }
    }

    #[test]
    fn verdict_names_the_links_with_warnings() {
        let odd = |subject: &str| Link::good("secret", subject, "").warn("it ends soon", None);
        assert_eq!(verdict(vec![]), "all checks passed");
        assert_eq!(
            verdict(vec![odd("A"), odd("C")]),
            "all checks passed, with 2 warnings: secret A, secret C"
        );
    }
}
