//! The texts of the sources that can be printed: string literals with a blank, split at their placeholders.
//!
//! Tests, comments, byte strings, the reasons of `expect` and `unreachable!`, and texts that are searched for are left
//! out. So are single words: most are names of fields and settings.

use std::fs;
use std::path::{Path, PathBuf};

/// A text.
pub struct Text {
    /// File and line.
    pub location: String,
    /// With its placeholders.
    pub text: String,
}

/// Shorter fragments are ignored.
const SHORTEST: usize = 4;

/// Texts of the help, which has its own tests.
const HELP: [&str; 2] = ["src/request/help.rs", "src/request/option_table.rs"];

/// A text after these is not printed.
const NOT_PRINTED: [&str; 10] = [
    ".contains(",
    ".expect(",
    ".find(",
    ".split(",
    ".split_once(",
    ".starts_with(",
    ".strip_prefix(",
    ".text_after(",
    "Secret::new(format!(",
    "unreachable!(",
];

impl Text {
    /// The fragments between its placeholders and line ends.
    pub fn fragments(&self) -> Vec<&str> {
        let mut fragments = Vec::new();
        for line in self.text.split('\n') {
            let mut rest = line;
            while let Some(start) = rest.find('{') {
                fragments.push(&rest[..start]);
                rest = rest[start..].split_once('}').map_or("", |(_, rest)| rest);
            }
            fragments.push(rest);
        }
        fragments.retain(|fragment| fragment.trim().len() >= SHORTEST);
        fragments
    }

    /// Whether a line contains its fragments in this order.
    pub fn is_in(&self, line: &str) -> bool {
        let mut rest = line;
        self.fragments().iter().all(|fragment| {
            let found = rest.split_once(fragment);
            rest = found.map_or("", |(_, rest)| rest);
            found.is_some()
        })
    }
}

/// All texts, ordered by file.
pub fn texts() -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).expect("a source is text");
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let shown = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        if HELP.contains(&shown.as_str()) {
            continue;
        }
        for (line, before, text) in literals(code) {
            let is_printed = !NOT_PRINTED.iter().any(|call| before.ends_with(call));
            if is_printed && text.trim().contains(' ') {
                texts.push(Text {
                    location: format!("{shown}:{line}"),
                    text,
                });
            }
        }
    }
    texts
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("they can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Each string literal: its line, the code before it without blanks, and its value.
fn literals(code: &str) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    let mut before = String::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let read = &code[..code.len() - rest.len()];
        let line = read.matches('\n').count() + 1;
        let word = read.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let (false, Some((text, behind))) = (word, raw_string(rest)) {
            found.push((line, before.clone(), text.to_owned()));
            before.push('"');
            rest = behind;
        } else if first == '"' {
            let (text, behind) = string(&rest[1..]);
            // Not `b"…"` and `c"…"`.
            if !read.ends_with(['b', 'c']) {
                found.push((line, before.clone(), text));
            }
            before.push('"');
            rest = behind;
        } else if let Some(behind) = character(rest) {
            before.push('\'');
            rest = behind;
        } else {
            if !first.is_whitespace() {
                before.push(first);
            }
            rest = &rest[first.len_utf8()..];
        }
        // Only the end of it is compared.
        if before.len() > 256 && before.is_ascii() {
            before.drain(..before.len() - 64);
        }
    }
    found
}

/// `r"…"` or `r#"…"#`, and what follows it.
fn raw_string(code: &str) -> Option<(&str, &str)> {
    let open = code.strip_prefix('r')?;
    let hashes = open.len() - open.trim_start_matches('#').len();
    let text = open[hashes..].strip_prefix('"')?;
    text.split_once(&format!("\"{}", "#".repeat(hashes)))
}

/// The text behind a quote, up to the next one, and what follows that.
fn string(code: &str) -> (String, &str) {
    let mut text = String::new();
    let mut rest = code.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '"' => return (text, &code[at + 1..]),
            '\\' => match rest.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('\n') => {
                    let (more, behind) = string(rest.as_str().trim_start());
                    return (text + &more, behind);
                }
                Some(other) => text.push(other),
                None => break,
            },
            c => text.push(c),
        }
    }
    (text, "")
}

/// What follows a character literal; none where it is a lifetime.
fn character(code: &str) -> Option<&str> {
    let inner = code.strip_prefix('\'')?;
    let mut chars = inner.chars();
    match chars.next()? {
        '\\' => inner[2..].split_once('\'').map(|(_, rest)| rest),
        _ => chars.as_str().strip_prefix('\''),
    }
}
