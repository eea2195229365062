//! The golden file: each message once, by page, without what differs between runs; and the difference of two versions.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::azure::{APPLICATION, Azure, TENANT};
use crate::support::{Outcome, Run};
use crate::support_identities::CLIENT;

/// One section of the file.
pub struct Page {
    heading: &'static str,
    /// Addresses and paths of this run, and what replaces them.
    names: Vec<(String, String)>,
    runs: Vec<Recorded>,
}

/// The messages of one run, and where the test starts it.
struct Recorded {
    location: String,
    messages: Vec<Message>,
}

/// A line and its hint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    line: String,
    hint: Option<String>,
}

/// The start of a continued line.
const MARGIN: &str = "                    ";

impl Page {
    pub fn new(heading: &'static str) -> Page {
        Page {
            heading,
            names: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Replaces the addresses of the fake Azure by the real ones.
    pub fn know(&mut self, azure: &Azure) {
        let bare = |url: String| url.split("://").nth(1).map(str::to_owned).unwrap_or(url);
        let token_proxy = azure.token_proxy();
        let path = token_proxy.rfind("/federation").unwrap_or_default();
        for (from, to) in [
            (azure.imds(), "http://169.254.169.254"),
            (bare(azure.imds()), "169.254.169.254:80"),
            (bare(azure.login()), "login.microsoftonline.com"),
            (
                bare(azure.login().replace("localhost", "127.0.0.1")),
                "login.microsoftonline.com",
            ),
            (bare(azure.proxy()), "proxy.example.com:3128"),
            (bare(azure.platform()), "localhost:42356"),
            (bare(token_proxy[..path].to_owned()), "10.0.0.1:443"),
            (azure.vault(), "vault.example.com"),
            (azure.dir().display().to_string(), "/azure"),
            (TENANT.to_owned(), "TENANT-ID"),
            (APPLICATION.to_owned(), "CLIENT-ID"),
            (CLIENT.to_owned(), "OTHER-ID"),
        ] {
            self.replace(&from, to);
        }
    }

    /// Replaces a text by another.
    pub fn replace(&mut self, from: &str, to: &str) {
        // A port may be reused.
        self.names.retain(|(known, _)| known != from);
        self.names.push((from.to_owned(), to.to_owned()));
        // A text that contains another one goes first.
        self.names.sort_by_key(|(from, _)| usize::MAX - from.len());
    }

    /// Records standard error of a run.
    #[track_caller]
    pub fn run(&mut self, run: Run) {
        self.record(&run.outcome());
    }

    /// Records standard error and standard output of a run.
    #[track_caller]
    pub fn show(&mut self, run: Run) {
        self.record_both(run.outcome());
    }

    /// Records standard error and standard output.
    #[track_caller]
    pub fn record_both(&mut self, mut outcome: Outcome) {
        outcome.stderr.push_str(&outcome.stdout);
        self.record(&outcome);
    }

    /// Records standard error, without progress lines: on a busy machine any run may print them.
    #[track_caller]
    pub fn record(&mut self, outcome: &Outcome) {
        let progress = ["akv-init: still ", "akv-init: got every "];
        let is_progress = |line: &&str| progress.iter().any(|start| line.starts_with(start));
        let lines = outcome.stderr.lines().filter(|line| !is_progress(line));
        self.note(&lines.collect::<Vec<_>>().join("\n"));
    }

    /// Records standard error with progress lines.
    #[track_caller]
    pub fn record_all(&mut self, outcome: &Outcome) {
        self.note(&outcome.stderr);
    }

    #[track_caller]
    fn note(&mut self, text: &str) {
        let text = normal(&unfolded(text), &self.names);
        let caller = std::panic::Location::caller();
        self.runs.push(Recorded {
            location: format!("{}:{}: {text:?}", caller.file(), caller.line()),
            messages: messages(&text),
        });
    }
}

/// The text with the continued lines of `check` joined.
fn unfolded(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let inner = line
            .strip_prefix(MARGIN)
            .filter(|inner| !inner.starts_with("hint: "));
        match (inner, lines.last_mut()) {
            (Some(inner), Some(last)) => last.push_str(&format!(" {inner}")),
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// Each line with the hint that follows it.
fn messages(text: &str) -> Vec<Message> {
    let mut found: Vec<Message> = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix("akv-init: ").unwrap_or(line);
        match (line.trim_start().strip_prefix("hint: "), found.last_mut()) {
            (Some(_), Some(last)) if last.hint.is_none() => last.hint = Some(line.to_owned()),
            _ => found.push(Message {
                line: line.to_owned(),
                hint: None,
            }),
        }
    }
    found
}

/// The text of all pages; and the locations of runs without a new message.
pub fn text_of(pages: &[Page]) -> (String, Vec<&str>) {
    let mut text = String::new();
    let mut redundant = Vec::new();
    let mut known = BTreeSet::new();
    for page in pages {
        writeln!(text, "\n## {}", page.heading).unwrap();
        let mut fresh = Vec::new();
        for run in &page.runs {
            let before = fresh.len();
            let messages = run.messages.iter();
            fresh.extend(messages.filter(|message| known.insert((*message).clone())));
            if fresh.len() == before {
                redundant.push(run.location.as_str());
            }
        }
        let mut rest = fresh.into_iter().peekable();
        while let Some(message) = rest.next() {
            // Consecutive messages with the same hint, or without one, are a group.
            writeln!(text).unwrap();
            writeln!(text, "{}", message.line).unwrap();
            while let Some(next) = rest.next_if(|next| next.hint == message.hint) {
                writeln!(text, "{}", next.line).unwrap();
            }
            if let Some(hint) = &message.hint {
                writeln!(text, "{hint}").unwrap();
            }
        }
    }
    (text, redundant)
}

/// The text without what differs between runs or machines.
fn normal(text: &str, names: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in names {
        text = text.replace(from.as_str(), to);
    }
    let digits = |c: char| c.is_ascii_digit();
    for (before, after) in [
        (" after ", " attempts in "),
        (" attempts in ", " s"),
        (" attempts in ", " s"),
        (" after ", " s"),
        (" in ", " ms"),
        (" due in ", " s"),
        (", ", " ms"),
        ("(", " ms)"),
        ("sleep (", ")"),
        (", ", " days left"),
        (", ", " s left"),
        ("next in ", " s, "),
        ("would be ", " bytes together"),
        ("clock       ", " s behind "),
        ("clock       ", " s ahead "),
        ("ms\":", ""),
    ] {
        text = between(&text, before, after, digits, "N");
    }
    let decimal = |c: char| c.is_ascii_digit() || c == '.';
    text = between(&text, "not stopped after ", " s: ", decimal, "N");
    let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    for (before, after) in [
        ("request id ", ""),
        ("request_id\":\"", ""),
        ("correlation id ", ""),
        ("trace id ", ""),
        ("appid=", ""),
        (";oid=", ""),
        (" (version ", ")"),
        (", version ", ","),
        ("/..akv-init-", ""),
    ] {
        text = between(&text, before, after, hex, "ID");
    }
    // One of several clocks that agree is named.
    let host = |c: char| !c.is_whitespace() && c != ';';
    text = between(&text, "agrees with ", "", host, "HOST");
    dateless(&text)
}

/// Replaces text of such characters between two others.
fn between(text: &str, before: &str, after: &str, such: impl Fn(char) -> bool, by: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(before) {
        let (kept, found) = rest.split_at(at + before.len());
        let behind = found.trim_start_matches(&such);
        let replaced = behind.len() < found.len() && behind.starts_with(after);
        done.push_str(kept);
        done.push_str(if replaced { by } else { "" });
        rest = if replaced { behind } else { found };
    }
    done + rest
}

/// The text without dates such as `2026-01-31 23:59:59 UTC`.
fn dateless(text: &str) -> String {
    const SHOWN: &str = "YYYY-MM-DD hh:mm:ss UTC";
    let is_date = |text: &str| {
        let pairs = text.bytes().zip(SHOWN.bytes());
        pairs.clone().count() == SHOWN.len() && { pairs }.all(|(found, shown)| match shown {
            b'Y' | b'M' | b'D' | b'h' | b'm' | b's' => found.is_ascii_digit(),
            other => found == other,
        })
    };
    let mut done = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..SHOWN.len()).is_some_and(is_date) {
            true => {
                done.push_str(SHOWN);
                rest = &rest[SHOWN.len()..];
            }
            false => {
                done.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    done
}

/// The lines in which two texts differ, each below its heading: `-` is old, `+` is new.
pub fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // The longest common subsequence, from the end.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i][j] = match one == other {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let mut text = String::new();
    let (mut i, mut j) = (0, 0);
    let mut heading = None;
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            if old[i].starts_with("## ") {
                heading = Some(old[i]);
            }
            (i, j) = (i + 1, j + 1);
            continue;
        }
        if let Some(heading) = heading.take() {
            writeln!(text, "{heading}").unwrap();
        }
        let gone = j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1];
        match gone {
            true => {
                writeln!(text, "- {}", old[i]).unwrap();
                i += 1;
            }
            false => {
                writeln!(text, "+ {}", new[j]).unwrap();
                j += 1;
            }
        }
    }
    text
}
