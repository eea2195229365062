//! The only writer of standard error, and of standard output where a command prints.
//!
//! The rules of this voice:
//!
//! * Every line starts with `akv-init: `; then `error: `, `hint: `, `warning: ` or `debug: `, or nothing for the two
//!   lines that show patience. Lower case, no full stop at the end.
//! * Silent on success. `--verbose` adds one `debug:` line a step: names, hosts, status codes, tries, milliseconds.
//! * Never a value, a value's length, a token, a header, a body, a query string or a whole environment. What is
//!   printed was chosen; it is not what remained after hiding something.
//! * One line is one `write`, so that lines of several processes on one descriptor do not mix. Text of a server may
//!   hold anything: control characters are replaced, so that an answer can neither forge a line nor steer a terminal.
//! * A standard error that is closed, or full and read by nobody, must not keep a database down: what cannot be written
//!   is lost.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::os;

/// So much fits into a pipe at once (PIPE_BUF), with its line end.
const LONGEST_LINE: usize = 4095;
/// So long, in milliseconds, the reader of a full pipe may take.
const READER_PATIENCE: i32 = 500;

static VERBOSE: AtomicBool = AtomicBool::new(false);
/// The reader took too long once: it is not waited for again.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Turns `debug:` lines on.
pub fn set_verbose() {
    VERBOSE.store(true, Ordering::Relaxed);
}

/// Why the process ends.
pub fn error(text: &str) {
    write_line("error: ", text);
}

/// What to do about it.
pub fn hint(text: &str) {
    write_line("hint: ", text);
}

/// What is odd and was done nevertheless.
pub fn warning(text: &str) {
    write_line("warning: ", text);
}

/// What is being waited for, and that it came.
pub fn note(text: &str) {
    write_line("", text);
}

/// One step, for `--verbose`. The text is only made when it is wanted.
pub fn debug(text: impl FnOnce() -> String) {
    if VERBOSE.load(Ordering::Relaxed) {
        write_line("debug: ", &text());
    }
}

/// What a command prints, as it is: help, version, a plan. Whoever does not read it has seen enough.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What a command is for, as it is, with a line end only for somebody who looks at it. Whoever asked for it must learn
/// that it did not arrive.
pub fn hand_over(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if out.is_terminal() {
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn write_line(kind: &str, text: &str) {
    let mut line = String::with_capacity(16 + kind.len() + text.len());
    line.push_str("akv-init: ");
    line.push_str(kind);
    line.push_str(&plain(text));
    let end = line.floor_char_boundary(LONGEST_LINE);
    line.truncate(end);
    line.push('\n');
    let patience = if UNREAD.load(Ordering::Relaxed) {
        0
    } else {
        READER_PATIENCE
    };
    if !os::write_to_stderr(line.as_bytes(), patience) {
        UNREAD.store(true, Ordering::Relaxed);
    }
}

/// A text as it can stand in one line: without control characters, and without those that turn the direction of
/// writing.
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if steers(c) { ' ' } else { c })
        .collect()
}

/// A text without the strings of `hidden` and without anything that is shaped like a JWT: some servers echo the
/// request that they refuse.
pub fn without(text: &str, hidden: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in hidden.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[hidden]");
    }
    while let Some(start) = text.find("eyJ") {
        let end = text[start..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
            .map_or(text.len(), |length| start + length);
        text.replace_range(start..end, "[hidden]");
    }
    text
}

/// The first line of such a text, at most 300 characters of it.
pub fn excerpt(text: &str, hidden: &[&str]) -> String {
    let line = without(text, hidden);
    let line = line
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    match line.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_the_first_line_without_what_was_sent_and_without_a_jwt() {
        let text = "\r\n bad secret s3cr3t and eyJhbGciOi.J9-_x.sig, sorry\nsecond line";
        assert_eq!(
            excerpt(text, &["s3cr3t", ""]),
            "bad secret [hidden] and [hidden], sorry"
        );
    }

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        assert_eq!(
            excerpt(&"é".repeat(301), &[]),
            format!("{}…", "é".repeat(300))
        );
    }
}
