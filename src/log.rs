//! The only writer of standard error, and of standard output where a command prints.
//!
//! * As text, every line starts with `akv-init: `; then `error: `, `hint: `, `warning: ` or `debug: `, or none of them for
//!   the two lines about a long wait. Lower case, no full stop at the end.
//! * As JSON, every line is one object: `level` and `message`; of an error also `code`, `cause` and, where there is
//!   one, `hint`; and the facts in the message, each as a field.
//! * Silent on success. `--verbose` adds one `debug:` line a step: names, hosts, status codes, attempts, milliseconds.
//! * Never a value, a value's length, a token, a header, a body, a query string or a whole environment. A message is
//!   made of chosen parts; it is not a text from which secrets were removed.
//! * One line is one `write`, so that lines of several processes on one descriptor do not mix. Control characters in the
//!   text of a server are replaced, so that a response can neither forge a line nor control a terminal.
//! * A standard error that is closed, or full and not read, must not stop a database from starting: the line is dropped.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use crate::os;

/// Bytes of a line without its end. A pipe takes PIPE_BUF (4096) at once.
const LONGEST_LINE: usize = 4095;
/// Bytes of a message and of a hint that are never cut.
const LEAST_TEXT: usize = 900;
/// Bytes of a fact that are never cut.
const LEAST_FACT: usize = 100;
/// Milliseconds to wait for the reader of a full pipe.
const READER_TIMEOUT: u16 = 500;

static VERBOSE: AtomicBool = AtomicBool::new(false);
static JSON: AtomicBool = AtomicBool::new(false);
/// Whether a full pipe is not waited for: its reader took too long once, or a signal ends the process.
static NEVER_WAIT: AtomicBool = AtomicBool::new(false);
static BEFORE_STDOUT: OnceLock<fn(BorrowedFd<'_>)> = OnceLock::new();

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Plain lines.
    #[default]
    Text,
    /// One object a line, for log collectors.
    Json,
}

impl Format {
    /// The names that `--log-format` takes.
    pub const NAMES: [(&str, Format); 2] = [("text", Format::Text), ("json", Format::Json)];
}

/// A message, and the facts in it.
pub struct Event {
    message: String,
    facts: Map<String, Value>,
}

impl Event {
    /// An event without facts.
    pub fn new(message: impl Into<String>) -> Event {
        Event {
            message: message.into(),
            facts: Map::new(),
        }
    }

    /// Adds a fact.
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Event {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}

impl From<String> for Event {
    fn from(message: String) -> Event {
        Event::new(message)
    }
}

/// Turns `debug:` lines on.
pub fn set_verbose() {
    VERBOSE.store(true, Ordering::Relaxed);
}

/// Sets how lines are written.
pub fn set_format(format: Format) {
    JSON.store(format == Format::Json, Ordering::Relaxed);
}

/// How lines are written.
pub fn format() -> Format {
    match JSON.load(Ordering::Relaxed) {
        true => Format::Json,
        false => Format::Text,
    }
}

/// From now on a line for which standard error has no room is dropped at once.
pub fn never_wait() {
    NEVER_WAIT.store(true, Ordering::Relaxed);
}

/// Writes the error that ends the process, and its hint.
pub fn error(event: Event, hint: Option<&str>) {
    let Some(hint) = hint else {
        return write("error", "error: ", event);
    };
    match format() {
        Format::Json => write_object("error", event.fact("hint", hint)),
        Format::Text => {
            write_line("error: ", &event.message);
            write_line("hint: ", hint);
        }
    }
}

/// Writes a warning: something is suspicious, and the run goes on.
pub fn warning(event: impl Into<Event>) {
    write("warning", "warning: ", event.into());
}

/// Writes a line about a long wait.
pub fn note(event: impl Into<Event>) {
    write("info", "", event.into());
}

/// Writes one step for `--verbose`. `event` is only called where that is on.
pub fn debug<E: Into<Event>>(event: impl FnOnce() -> E) {
    if VERBOSE.load(Ordering::Relaxed) {
        write("debug", "debug: ", event().into());
    }
}

fn write(level: &str, prefix: &str, event: Event) {
    match format() {
        Format::Text => write_line(prefix, &event.message),
        Format::Json => write_object(level, event),
    }
}

/// Sets what is called before each write to standard output, whose reader may be slow.
pub fn before_stdout(wait: fn(BorrowedFd<'_>)) {
    let _ = BEFORE_STDOUT.set(wait);
}

/// Prints the text of a command: help, version, a plan. A reader that stops reading has read enough.
pub fn print(text: &str) {
    let _ = write_stdout(text);
}

/// Prints a value, with a line end only on a terminal. The caller must report an error: the value did not arrive.
pub fn print_value(text: &str) -> io::Result<()> {
    // What is written there now goes to the /dev/null that std has opened.
    if os::was_closed_at_start(1) {
        return Err(io::Error::other("it is closed"));
    }
    write_stdout(text)?;
    if io::stdout().is_terminal() {
        write_stdout("\n")?;
        note(Event::new(
            "a secret was printed to a terminal, which keeps it in its scrollback",
        ));
    }
    Ok(())
}

/// In parts for which a pipe that has room at all has room.
fn write_stdout(text: &str) -> io::Result<()> {
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    for part in text.as_bytes().chunks(LONGEST_LINE + 1) {
        if let Some(wait) = BEFORE_STDOUT.get() {
            wait(out.as_fd());
        }
        out.write_all(part)?;
    }
    Ok(())
}

fn write_line(prefix: &str, text: &str) {
    let mut line = format!("akv-init: {prefix}{}", plain(text));
    line.truncate(line.floor_char_boundary(LONGEST_LINE));
    write_to_stderr(line);
}

fn write_object(level: &str, event: Event) {
    let mut object = event.facts;
    object.insert("level".to_owned(), level.into());
    object.insert("message".to_owned(), event.message.into());
    for value in object.values_mut() {
        if let Value::String(text) = value {
            *text = plain(text);
        }
    }
    let mut line = Value::Object(object.clone()).to_string();
    // A cut object is not JSON, so its texts are cut: the facts first, which the message has too.
    for (are_facts, least) in [(true, LEAST_FACT), (false, LEAST_TEXT)] {
        for (name, value) in object.clone() {
            let is_fact = !matches!(name.as_str(), "hint" | "message");
            if let Value::String(mut text) = value
                && is_fact == are_facts
            {
                // Escapes only make it longer.
                let excess = line.len().saturating_sub(LONGEST_LINE);
                let length = text.len().saturating_sub(excess).max(least);
                text.truncate(text.floor_char_boundary(length));
                object.insert(name, text.into());
                line = Value::Object(object.clone()).to_string();
            }
        }
    }
    write_to_stderr(line);
}

fn write_to_stderr(mut line: String) {
    line.push('\n');
    let timeout = match NEVER_WAIT.load(Ordering::Relaxed) {
        true => 0,
        false => READER_TIMEOUT,
    };
    if !os::write_to_stderr(line.as_bytes(), timeout) {
        never_wait();
    }
}

/// A text fit for one line: control characters, and those that change the direction of text, become blanks.
pub fn plain(text: &str) -> String {
    let is_control = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if is_control(c) { ' ' } else { c })
        .collect()
}

/// Makes every text in an object [`plain`].
pub fn make_plain(object: &mut Map<String, Value>) {
    for value in object.values_mut() {
        if let Value::String(text) = value {
            *text = plain(text);
        }
    }
}

/// A text without the strings of `hidden` and without anything that is shaped like a JWT: some servers repeat the
/// request that they refuse.
pub fn without(text: &str, hidden: &[&str]) -> String {
    redacted(text, hidden).collect()
}

/// The first line of such a text that is not blank, at most 300 characters of it. No more than that is redacted: a
/// response may be long.
pub fn excerpt(text: &str, hidden: &[&str]) -> String {
    let line = redacted(text, hidden).skip_while(|c| c.is_whitespace());
    let mut line = line.take_while(|c| *c != '\n');
    let mut excerpt: String = line.by_ref().take(300).collect();
    if line.any(|c| !c.is_whitespace()) {
        excerpt.push('…');
    } else {
        excerpt.truncate(excerpt.trim_end().len());
    }
    excerpt
}

fn redacted(text: &str, hidden: &[&str]) -> impl Iterator<Item = char> {
    let is_in_jwt = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let (mut hidden_until, mut jwt_end) = (0, 0);
    text.char_indices().flat_map(move |(at, c)| {
        let rest = &text[at..];
        let secrets = hidden
            .iter()
            .filter(|secret| !secret.is_empty() && rest.starts_with(**secret));
        let mut end = secrets.map(|secret| at + secret.len()).max().unwrap_or(0);
        if at >= jwt_end && rest.starts_with("eyJ") {
            jwt_end = at + rest.find(|c| !is_in_jwt(c)).unwrap_or(rest.len());
            end = end.max(jwt_end);
        }
        let was_hidden = at < hidden_until;
        hidden_until = hidden_until.max(end);
        let shown: &str = match (was_hidden, at < hidden_until) {
            (true, _) => "",
            (false, true) => "[hidden]",
            (false, false) => &rest[..c.len_utf8()],
        };
        shown.chars()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_has_no_secrets() {
        let text = "\r\n bad secret s3cr3t and eyJhbGciOi.J9-_x.sig, sorry\nsecond line";
        let long = "é".repeat(301);
        for (text, hidden, expected) in [
            (text, "s3cr3t", "bad secret [hidden] and [hidden], sorry"),
            ("a eyJx.y=z b", "y=z", "a [hidden] b"),
            ("keyJey eyJ eyJ", "key", "[hidden] [hidden] [hidden]"),
            (&long, "", &format!("{}…", "é".repeat(300))),
            // Quadratic work on these would take minutes.
            (&"\n".repeat(1 << 21), "s3cr3t", ""),
            (&"eyJ".repeat(1 << 20), "s3cr3t", "[hidden]"),
        ] {
            assert_eq!(excerpt(text, &[hidden]), expected);
        }
    }
}
