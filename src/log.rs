//! The only writer of standard error, and of standard output where a command prints.
//!
//! * As text, every line starts with `akv-init: `, and then with `error: `, `hint: `, `warning: `, `debug: ` or, for
//!   information, nothing. Lower case, no full stop at the end.
//! * As JSON, every line is one object with `level` and `message`; an error also has `code`, `cause` and, if there is
//!   one, `hint`. Each fact in the message is a field too.
//! * Silent on success, except for a line about what `write` has written. `--quiet` leaves out information. `--verbose`
//!   adds one `debug:` line for each step: names, hosts, status codes, attempts, milliseconds.
//! * Never a value, a value's length, a token, a header, a whole body, a query string or a whole environment. A message
//!   is made of chosen parts; the error text of a server goes through [`redact`] or [`excerpt`].
//! * One line is one `write`, so that lines of several processes on one descriptor do not mix. Control characters in
//!   the text of a server are replaced, so that a response can neither forge a line nor control a terminal.
//! * A standard error that is closed, or full and not read, must not keep COMMAND from starting: the line is dropped.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IsTerminal, Write};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::{Map, Value};

use crate::error::{Cause, Error};
use crate::os;

/// The maximum length of a line in bytes, without its newline. A pipe takes PIPE_BUF bytes (4096) at once.
const MAX_LINE_LEN: usize = 4095;
/// A message or a hint that is cut keeps at least this many bytes.
const MIN_TEXT_LEN: usize = 900;
/// A fact that is cut keeps at least this many bytes.
const MIN_FACT_LEN: usize = 100;
/// How many milliseconds to wait for the reader of standard error if it is a full pipe.
const READER_TIMEOUT_MS: u16 = 500;

/// Whether `debug:` lines are written.
static IS_VERBOSE: AtomicBool = AtomicBool::new(false);
/// Whether lines of information are left out.
static IS_QUIET: AtomicBool = AtomicBool::new(false);
/// Whether lines are written as JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);
/// Whether a line is dropped at once if standard error is a full pipe: the reader was too slow once, or a signal is
/// ending the process.
static DROPS_WHEN_FULL: AtomicBool = AtomicBool::new(false);
/// With [`begin_round`]: which lines were written.
static ROUND: Mutex<Option<Round>> = Mutex::new(None);
/// The function that is called before each write to standard output.
static STDOUT_HOOK: OnceLock<fn(BorrowedFd<'_>)> = OnceLock::new();

/// The format of the lines on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineFormat {
    /// Plain lines.
    #[default]
    Text,
    /// One JSON object per line, for log collectors.
    Json,
}

impl LineFormat {
    /// The values of `--log-format`, and of `--format` of `check`, each with the format that it selects.
    pub const CHOICES: [(&str, LineFormat); 2] =
        [("text", LineFormat::Text), ("json", LineFormat::Json)];
}

/// The lines of one round of several that do the same, each as its hash.
struct Round {
    /// Those of the round before; `None` in the first one.
    previous: Option<Vec<u64>>,
    /// Those of this round, including those that were left out.
    current: Vec<u64>,
}

/// A message, and the facts in it for programs.
pub struct Event {
    message: String,
    facts: Map<String, Value>,
}

impl Event {
    /// An event with a message only.
    pub fn new(message: impl Into<String>) -> Event {
        Event {
            message: message.into(),
            facts: Map::new(),
        }
    }

    /// Adds a fact, which becomes a field of the JSON object. A fact of the same name is replaced.
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Event {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// A message about an error, with its cause and facts.
    pub fn about(error: &Error, message: String) -> Event {
        let mut event = Event::new(message)
            .fact("cause", error.cause.name())
            .fact("code", error.cause.exit_code());
        for (name, value) in &error.facts {
            event = event.fact(name, value.as_str());
        }
        event
    }
}

impl From<String> for Event {
    fn from(message: String) -> Event {
        Event::new(message)
    }
}

/// Turns `debug:` lines on.
pub fn set_verbose() {
    IS_VERBOSE.store(true, Ordering::Relaxed);
}

/// Turns lines of information off.
pub fn set_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Sets the format of the lines on standard error.
pub fn set_format(format: LineFormat) {
    IS_JSON.store(format == LineFormat::Json, Ordering::Relaxed);
}

/// The format of the lines on standard error.
pub fn format() -> LineFormat {
    match IS_JSON.load(Ordering::Relaxed) {
        true => LineFormat::Json,
        false => LineFormat::Text,
    }
}

/// From now on, drops every line for which standard error has no room at once.
pub fn drop_when_full() {
    DROPS_WHEN_FULL.store(true, Ordering::Relaxed);
}

/// Begins a round. From now on, a warning or a line of information that the round before had, by its hash in
/// `previous`, is left out, and so is progress. The first round has no `previous`, and leaves nothing out.
pub fn begin_round(previous: Option<Vec<u64>>) {
    *lock_round() = Some(Round {
        previous,
        current: Vec::new(),
    });
}

/// The hashes of this round's lines so far, for the round after it.
pub fn lines_of_round() -> Vec<u64> {
    let round = lock_round();
    round
        .as_ref()
        .map_or_else(Vec::new, |round| round.current.clone())
}

fn lock_round() -> MutexGuard<'static, Option<Round>> {
    ROUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hash of a text, the same in each process of this program.
pub fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Records a line of this round. Returns whether the round before had it too.
fn is_repeated(event: &Event) -> bool {
    let mut round = lock_round();
    let Some(round) = round.as_mut() else {
        return false;
    };
    let hash = hash(&event.message);
    round.current.push(hash);
    let mut previous = round.previous.iter().flatten();
    previous.any(|other| *other == hash)
}

/// Writes the error that ends the process, with its hint.
pub fn error(event: Event, hint: Option<&str>) {
    // Other threads may still be at work, and nothing is to follow the error.
    IS_VERBOSE.store(false, Ordering::Relaxed);
    IS_QUIET.store(true, Ordering::Relaxed);
    write_with_hint("error", "error: ", event, hint);
}

/// Writes a warning about a failure that does not end the process, with its hint. It is not left out as a repetition.
pub fn failure(event: Event, hint: Option<&str>) {
    write_with_hint("warning", "warning: ", event, hint);
}

fn write_with_hint(level: &str, prefix: &str, event: Event, hint: Option<&str>) {
    let Some(hint) = hint else {
        return write_event(level, prefix, event);
    };
    match format() {
        LineFormat::Json => write_json(level, event.fact("hint", hint)),
        LineFormat::Text => {
            write_line(prefix, &event.message);
            write_line("hint: ", hint);
        }
    }
}

/// Writes an error with its hint without allocating. Neither text may need an escape in JSON.
pub fn error_without_memory(cause: Cause, message: &str, hint: &str) {
    let mut buffer = [0; 512];
    let mut rest = &mut buffer[..];
    let (name, code) = (cause.name(), cause.exit_code());
    let _ = match format() {
        LineFormat::Json => writeln!(
            rest,
            r#"{{"cause":"{name}","code":{code},"hint":"{hint}","level":"error","message":"{message}"}}"#
        ),
        LineFormat::Text => writeln!(rest, "akv-init: error: {message}")
            .and_then(|()| writeln!(rest, "akv-init: hint: {hint}")),
    };
    let unused = rest.len();
    write_to_stderr(&buffer[..buffer.len() - unused]);
}

/// Writes a warning: something looks wrong, but the run continues.
pub fn warning(event: impl Into<Event>) {
    let event = event.into();
    if !is_repeated(&event) {
        write_event("warning", "warning: ", event);
    }
}

/// Writes a line of information about what was found, unless `--quiet` is set.
pub fn info(event: impl Into<Event>) {
    let event = event.into();
    if !is_repeated(&event) {
        outcome(event);
    }
}

/// Writes a line of information about what was done, unless `--quiet` is set. It is not left out as a repetition.
pub fn outcome(event: impl Into<Event>) {
    if !IS_QUIET.load(Ordering::Relaxed) {
        write_event("info", "", event.into());
    }
}

/// Writes a line of information about a long wait, unless `--quiet` is set, or a round before this one has succeeded.
pub fn progress(event: impl Into<Event>) {
    let is_later_round = lock_round()
        .as_ref()
        .is_some_and(|round| round.previous.is_some());
    if !is_later_round {
        outcome(event);
    }
}

/// Writes what is being done, if `--verbose` is set; otherwise `event` is not called.
pub fn debug<E: Into<Event>>(event: impl FnOnce() -> E) {
    if IS_VERBOSE.load(Ordering::Relaxed) {
        write_event("debug", "debug: ", event().into());
    }
}

/// Writes an event in the format that is set. `level` is for JSON, `prefix` for text.
fn write_event(level: &str, prefix: &str, event: Event) {
    match format() {
        LineFormat::Text => write_line(prefix, &event.message),
        LineFormat::Json => write_json(level, event),
    }
}

/// Sets the function to call before each write to standard output. It waits until there is room, since the reader may
/// be slow.
pub fn set_stdout_hook(hook: fn(BorrowedFd<'_>)) {
    let _ = STDOUT_HOOK.set(hook);
}

/// Prints output that contains no value, such as a help text. It is not an error if the reader has closed the pipe: it
/// wants no more.
pub fn print(text: &str) -> Result<(), Error> {
    match write_stdout(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = Error::new(Cause::CannotCreate, error.to_string());
            Err(error.context("writing to standard output"))
        }
        _ => Ok(()),
    }
}

/// Prints the lines of a plan, in which settings are quoted.
pub fn print_lines(lines: &[String]) -> Result<(), Error> {
    let lines = lines.iter().map(|line| to_single_line(line) + "\n");
    print(&lines.collect::<String>())
}

/// Whether standard output is a terminal.
pub fn is_stdout_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints a value, followed by a newline only on a terminal. The caller must report an error, since the value has not
/// arrived.
pub fn print_value(value: &[u8]) -> io::Result<()> {
    // std has opened /dev/null in its place, so a write would succeed and the value would be lost.
    if os::was_closed_at_start(1) {
        return Err(io::Error::other("it is closed"));
    }
    write_stdout(value)?;
    if is_stdout_terminal() {
        write_stdout(b"\n")?;
        info(Event::new(
            "a secret was printed to a terminal, which keeps it in its scrollback",
        ));
    }
    Ok(())
}

/// Writes to standard output in parts of PIPE_BUF bytes. If a pipe polls as writable, it has room for one part.
fn write_stdout(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        if let Some(hook) = STDOUT_HOOK.get() {
            hook(os::standard_descriptor(1));
        }
        let part = &bytes[..bytes.len().min(MAX_LINE_LEN + 1)];
        match os::write_to_stdout(part) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_line(prefix: &str, text: &str) {
    write_to_stderr((text_line(prefix, text) + "\n").as_bytes());
}

/// A line in the text format, at most [`MAX_LINE_LEN`] bytes long.
pub fn text_line(prefix: &str, text: &str) -> String {
    let mut line = format!("akv-init: {prefix}{}", to_single_line(text));
    line.truncate(line.floor_char_boundary(MAX_LINE_LEN));
    line
}

fn write_json(level: &str, event: Event) {
    write_to_stderr((json_line(level, event) + "\n").as_bytes());
}

/// A line in the JSON format. Its strings are cut where it would be longer than [`MAX_LINE_LEN`] bytes.
pub fn json_line(level: &str, event: Event) -> String {
    let mut object = event.facts;
    object.insert("level".to_owned(), level.into());
    object.insert("message".to_owned(), event.message.into());
    for value in object.values_mut() {
        if let Value::String(text) = value {
            *text = to_single_line(text);
        }
    }
    let mut line = Value::Object(object.clone()).to_string();
    // A cut object is not JSON, so its strings are cut: first the facts, which the message has too.
    for (cuts_facts, min_len) in [(true, MIN_FACT_LEN), (false, MIN_TEXT_LEN)] {
        for (name, value) in object.clone() {
            let is_fact = !matches!(name.as_str(), "hint" | "message");
            if let Value::String(mut text) = value
                && is_fact == cuts_facts
            {
                // An escaped string is longer in the line than in `text`, so enough is cut.
                let excess = line.len().saturating_sub(MAX_LINE_LEN);
                let length = text.len().saturating_sub(excess).max(min_len);
                text.truncate(text.floor_char_boundary(length));
                object.insert(name, text.into());
                line = Value::Object(object.clone()).to_string();
            }
        }
    }
    line
}

/// Writes a line to standard error, or drops it if there is no room for it in time.
fn write_to_stderr(line: &[u8]) {
    let timeout_ms = match DROPS_WHEN_FULL.load(Ordering::Relaxed) {
        true => 0,
        false => READER_TIMEOUT_MS,
    };
    if !os::write_to_stderr(line, timeout_ms) {
        drop_when_full();
    }
}

/// Replaces every character that a line must not have by a blank: control characters, and those that change the
/// direction of text.
pub fn to_single_line(text: &str) -> String {
    let is_control = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if is_control(c) { ' ' } else { c })
        .collect()
}

/// Applies [`to_single_line`] to every string in an object.
pub fn make_single_line(object: &mut Map<String, Value>) {
    for value in object.values_mut() {
        if let Value::String(text) = value {
            *text = to_single_line(text);
        }
    }
}

/// Replaces each of the `secrets` in a text, however it is encoded, everything that looks like a JWT, and each field of a
/// form or of JSON with Entra's credential, by `[hidden]`. Some servers repeat the request in an error.
pub fn redact(text: &str, secrets: &[&str]) -> String {
    redacted_chars(text, secrets).collect()
}

/// The first non-blank line of a text, redacted and cut to 300 characters. The rest of the text, which may be long, is
/// dropped without being redacted.
pub fn excerpt(text: &str, secrets: &[&str]) -> String {
    let line = redacted_chars(text, secrets).skip_while(|c| c.is_whitespace());
    let mut line = line.take_while(|c| *c != '\n');
    let mut excerpt: String = line.by_ref().take(300).collect();
    if line.any(|c| !c.is_whitespace()) {
        excerpt.push('…');
    } else {
        excerpt.truncate(excerpt.trim_end().len());
    }
    excerpt
}

/// The characters of a text, redacted as by [`redact`].
fn redacted_chars(text: &str, secrets: &[&str]) -> impl Iterator<Item = char> {
    let is_in_jwt = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let (mut hidden_end, mut jwt_end, mut field_end) = (0, 0, 0);
    text.char_indices().flat_map(move |(index, c)| {
        let rest = &text[index..];
        let found = secrets
            .iter()
            .filter_map(|secret| spelling_len(rest, secret));
        let mut end = index + found.max().unwrap_or(0);
        if index >= jwt_end && rest.starts_with("eyJ") {
            jwt_end = index + rest.find(|c| !is_in_jwt(c)).unwrap_or(rest.len());
            end = end.max(jwt_end);
        }
        if index >= field_end
            && let Some(length) = credential_field_len(rest)
        {
            field_end = index + length;
            end = end.max(field_end);
        }
        let was_hidden = index < hidden_end;
        hidden_end = hidden_end.max(end);
        let shown: &str = match (was_hidden, index < hidden_end) {
            (true, _) => "",
            (false, true) => "[hidden]",
            (false, false) => &rest[..c.len_utf8()],
        };
        shown.chars()
    })
}

/// The length of a secret at the start of a text, with each character as it is, or as a form or JSON spells it: `%7E`,
/// `+`, `\u007e`, `\"`. `None` if the text starts with anything else.
fn spelling_len(text: &str, secret: &str) -> Option<usize> {
    // A secret may contain what looks like an escaped character.
    if text.starts_with(secret) {
        return Some(secret.len());
    }
    let mut rest = text;
    for c in secret.chars() {
        rest = after_escaped(rest, c).or_else(|| rest.strip_prefix(c))?;
    }
    Some(text.len() - rest.len())
}

/// What follows an escaped `c` at the start of a text; `None` if the text starts with anything else.
fn after_escaped(text: &str, c: char) -> Option<&str> {
    fn after_hex(text: &str, value: u16, length: usize) -> Option<&str> {
        let (digits, rest) = text.split_at_checked(length)?;
        (u16::from_str_radix(digits, 16) == Ok(value)).then_some(rest)
    }
    match text.as_bytes() {
        [b'+', ..] if c == ' ' => Some(&text[1..]),
        [b'%', ..] => c
            .encode_utf8(&mut [0; 4])
            .bytes()
            .try_fold(text, |rest, byte| {
                after_hex(rest.strip_prefix('%')?, byte.into(), 2)
            }),
        [b'\\', b'u', ..] => c
            .encode_utf16(&mut [0; 2])
            .iter()
            .try_fold(text, |rest, unit| {
                after_hex(rest.strip_prefix("\\u")?, *unit, 4)
            }),
        [b'\\', ..] => text[1..].strip_prefix(c),
        _ => None,
    }
}

/// The length of the field with Entra's credential, name and value, at the start of a form or of JSON; `None` if the text
/// starts with anything else. Whatever its value is, it is a credential, however it is encoded.
fn credential_field_len(text: &str) -> Option<usize> {
    let names = ["client_secret", "client_assertion"];
    let after_name = names.iter().find_map(|name| text.strip_prefix(*name))?;
    let is_filler = |c| matches!(c, ' ' | '"' | '\'' | '\\');
    let after_filler = after_name.trim_start_matches(is_filler);
    let signs = ["=", ":", "%3D", "%3d"];
    let after_sign = signs
        .iter()
        .find_map(|sign| after_filler.strip_prefix(*sign))?;
    let value = after_sign.trim_start_matches(is_filler);
    let start = text.len() - value.len();
    let is_quoted = text[..start].ends_with(['"', '\'']);
    let length = value.find(|c: char| match is_quoted {
        true => matches!(c, '"' | '\''),
        false => c.is_whitespace() || matches!(c, '"' | '\'' | '&' | '<'),
    });
    Some(start + length.unwrap_or(value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_has_no_secrets() {
        let text = "\r\n bad secret s3cr3t and eyJhbGciOi.J9-_x.sig, sorry\nsecond line";
        let long = "é".repeat(301);
        for (text, secret, expected) in [
            (text, "s3cr3t", "bad secret [hidden] and [hidden], sorry"),
            ("a eyJx.y=z b", "y=z", "a [hidden] b"),
            ("keyJey eyJ eyJ", "key", "[hidden] [hidden] [hidden]"),
            (&long, "", &format!("{}…", "é".repeat(300))),
            ("x a%7Eb+c%20%C3%a9 y", "a~b c é", "x [hidden] y"),
            (
                r#"x a\u007Eb\\\"\ud83d\ude00 y"#,
                r#"a~b\"😀"#,
                "x [hidden] y",
            ),
            ("x a%25\\u0062 y", "a%25\\u0062", "x [hidden] y"),
            (
                "a=b&client_secret=c%2520d&scope=x",
                "",
                "a=b&[hidden]&scope=x",
            ),
            (
                r#"{"client_assertion": "c d", "x": 1}"#,
                "",
                r#"{"[hidden]", "x": 1}"#,
            ),
            (
                "client_secret%3Dc client_assertion_type=d 'client_secret'.",
                "",
                "[hidden] client_assertion_type=d 'client_secret'.",
            ),
            // Quadratic work on these would take minutes.
            (&"\n".repeat(1 << 21), "s3cr3t", ""),
            (&"eyJ".repeat(1 << 20), "s3cr3t", "[hidden]"),
            (&"client_secret=".repeat(1 << 18), "s3cr3t", "[hidden]"),
        ] {
            assert_eq!(excerpt(text, &[secret]), expected);
        }
    }
}
