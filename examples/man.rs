//! The manual page, made from the help text, so that the two cannot differ:
//!
//! ```sh
//! cargo run -- --help | cargo run --example man > man/akv-init.1
//! ```
//!
//! The help text consists of blocks, headings, and entries that start in column three. How a page is written: <https://man7.org/linux/man-pages/man7/groff_man.7.html>,
//! <https://man.openbsd.org/mandoc_char.7>.

use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Where the text of an option begins, and where that of an exit code does.
const OPTION: usize = 26;
const CODE: usize = 24;
/// The widest line of the page's source.
const WIDTH: usize = 80;

#[allow(dead_code)] // The tests include this file for the page.
fn main() -> io::Result<()> {
    let help = io::read_to_string(io::stdin())?;
    io::stdout().write_all(page(&help).as_bytes())
}

/// The page for a help text.
pub fn page(help: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".\\\" Made from the help text by examples/man.rs.\n\
         .TH AKV\\-INIT 1 \"\" \"akv\\-init {version}\" \"User Commands\"\n"
    );
    let mut blocks = help.trim_end().split("\n\n");
    let name = blocks.next().unwrap_or_default().trim_end_matches('.');
    let about = name.strip_prefix("akv-init ").unwrap_or(name);
    let _ = writeln!(
        page,
        ".SH NAME\n{}",
        sentences(&format!("akv-init - {about}"))
    );
    let mut section = "";
    for block in blocks {
        let (heading, rest) = match block.split_once(":\n  ") {
            Some((heading, _)) if !heading.contains('\n') => {
                (heading, &block[heading.len() + ":\n".len()..])
            }
            _ => ("", block),
        };
        let wanted = match heading {
            "Usage" => "SYNOPSIS",
            "Environment" => "ENVIRONMENT",
            "Exit codes" => "EXIT STATUS",
            "Examples" => "EXAMPLES",
            _ if rest.starts_with("  -") => "OPTIONS",
            _ if section == "EXAMPLES" => section,
            _ => "DESCRIPTION",
        };
        if wanted != section {
            section = wanted;
            let _ = writeln!(page, ".SH {section}");
        } else if section == "EXAMPLES" || heading.is_empty() {
            page.push_str(".PP\n");
        }
        match section {
            "SYNOPSIS" => literal(&mut page, rest, styled),
            "EXAMPLES" => literal(&mut page, rest, escaped),
            "ENVIRONMENT" => {
                let entries = entries(rest);
                let entries: Vec<String> = entries.iter().map(|entry| sentences(entry)).collect();
                let _ = writeln!(page, "{}", entries.join("\n.PP\n"));
            }
            "EXIT STATUS" => entries(rest)
                .iter()
                .for_each(|entry| code(&mut page, entry)),
            "OPTIONS" => {
                let _ = writeln!(page, ".SS {}", escaped(heading));
                entries(rest)
                    .iter()
                    .for_each(|entry| option(&mut page, entry));
            }
            _ if heading.is_empty() => paragraph(&mut page, rest),
            _ => {
                let _ = writeln!(page, ".SS {}", escaped(heading));
                literal(&mut page, rest, escaped);
            }
        }
    }
    page
}

/// Each line that starts two columns in, with the deeper ones below it.
fn entries(text: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines() {
        match entries.last_mut() {
            Some(entry) if line.starts_with("   ") => {
                entry.push('\n');
                entry.push_str(line);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

/// A paragraph on a command, which it names first.
fn paragraph(page: &mut String, text: &str) {
    let (name, text) = text.split_once(' ').unwrap_or((text, ""));
    let _ = writeln!(page, ".B {}\n{}", escaped(name), sentences(text));
}

/// Lines as they are.
fn literal(page: &mut String, text: &str, write: impl Fn(&str) -> String) {
    let depth = text.lines().map(indent).min().unwrap_or_default();
    page.push_str(".EX\n");
    for line in text.lines() {
        let _ = writeln!(page, "{}", guarded(&write(&line[depth..])));
    }
    page.push_str(".EE\n");
}

/// An option: its name, its text, and below that the values that it takes, if they have a text each.
fn option(page: &mut String, entry: &str) {
    // A name that is too long for its column has its text below it.
    let (name, text) = match entry.get(OPTION - 2..OPTION) == Some("  ") {
        true => entry.split_at(OPTION),
        false => entry.split_once('\n').unwrap_or((entry, "")),
    };
    let _ = writeln!(page, ".TP\n{}", styled(name.trim()));
    let mut words = String::new();
    let mut values: Vec<(String, String)> = Vec::new();
    let mut after = String::new();
    for line in text.lines() {
        // The first line has lost the columns before it.
        let depth = match line.starts_with(' ') {
            true => indent(line),
            false => OPTION,
        };
        let line = line.trim();
        match (depth.cmp(&(OPTION + 2)), values.last_mut()) {
            (std::cmp::Ordering::Equal, _) => {
                let (value, text) = line.split_once("  ").unwrap_or((line, ""));
                values.push((value.to_owned(), text.trim().to_owned()));
            }
            (std::cmp::Ordering::Greater, Some((_, text))) => {
                let _ = write!(text, " {line}");
            }
            (_, Some(_)) => {
                let _ = write!(after, "{line} ");
            }
            (_, None) => {
                let _ = write!(words, "{line} ");
            }
        }
    }
    let _ = writeln!(page, "{}", sentences(&words));
    if values.is_empty() {
        return;
    }
    page.push_str(".RS\n");
    for (value, text) in values {
        let _ = writeln!(page, ".TP\n{}\n{}", styled(&value), sentences(&text));
    }
    let _ = writeln!(page, ".RE\n.IP\n{}", sentences(&after));
}

/// An exit code, its name if it has one, and its text.
fn code(page: &mut String, entry: &str) {
    if entry.len() <= CODE || !entry.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
        let _ = writeln!(page, ".PP\n{}", sentences(entry));
        return;
    }
    let (front, text) = entry.split_at(CODE);
    let (number, name) = front.trim().split_once(' ').unwrap_or((front.trim(), ""));
    let text = match name.trim() {
        "" => text.to_owned(),
        name => format!("{name}: {text}"),
    };
    let _ = writeln!(page, ".TP\n.B {}\n{}", escaped(number), sentences(&text));
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Words that flow; each sentence starts a line, whose end is what makes the wider space behind the one before.
fn sentences(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut ended = true;
    for word in text.split_whitespace() {
        let escaped = escaped(word);
        match lines.last_mut() {
            Some(line) if !ended && line.len() + 1 + escaped.len() <= WIDTH => {
                line.push(' ');
                line.push_str(&escaped);
            }
            _ => lines.push(guarded(&escaped)),
        }
        ended = word.ends_with('.');
    }
    lines.join("\n")
}

/// What is typed in bold, and what stands for something else in italics.
fn styled(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut styled = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c: char| is_word(c) != is_word(first))
            .unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        let stands_for = !run.starts_with('-') && !run.contains(|c: char| c.is_ascii_lowercase());
        let _ = match (is_word(first), stands_for) {
            (false, _) => write!(styled, "{}", escaped(run)),
            (true, true) => write!(styled, "\\fI{}\\fR", escaped(run)),
            (true, false) => write!(styled, "\\fB{}\\fR", escaped(run)),
        };
        rest = behind;
    }
    styled
}

/// Characters that would be something else: a hyphen would be a typographic one, a quote a curly one.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\\' => "\\e".to_owned(),
            '-' => "\\-".to_owned(),
            '\'' => "\\(aq".to_owned(),
            '`' => "\\(ga".to_owned(),
            '^' => "\\(ha".to_owned(),
            '~' => "\\(ti".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

/// A line that starts with a dot would be a request.
fn guarded(line: &str) -> String {
    match line.starts_with('.') {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    }
}
