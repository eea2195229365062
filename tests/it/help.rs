//! The help of each command, a complete part of the whole help, and the manual page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::akv_init;

#[path = "../../examples/man.rs"]
mod man;

const HELP: &str = include_str!("../../src/request/cli/help.txt");
const PARSER: &str = include_str!("../../src/request/cli/option_table.rs");
const SETTINGS: &str = include_str!("../../src/request/options.rs");

const COMMANDS: [&str; 6] = ["check", "exec", "get", "install", "token", "write"];

fn help_of(command: &str) -> String {
    let outcome = akv_init([command, "--help"]).outcome();
    outcome.stdout_alone().to_owned()
}

/// Each string in double quotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// The parser's table: each option and its commands.
fn table() -> BTreeMap<&'static str, Vec<&'static str>> {
    let lists: BTreeMap<&str, Vec<&str>> = PARSER
        .lines()
        .filter_map(|line| {
            let (_, constant) = line.split_once("const ")?;
            let (name, list) = constant.split_once(": &[&str] = &[")?;
            Some((name, quoted(list)))
        })
        .collect();
    let rows = PARSER.split("\nconst OPTIONS").nth(1).unwrap();
    let rows = rows.split("\n];").next().unwrap();
    let rows = rows.lines().filter(|line| line.starts_with("    (\""));
    let table: BTreeMap<_, _> = rows
        .map(|row| {
            let (option, whose) = row.split_once(", Takes::").unwrap();
            let whose = whose.split_once(", ").unwrap().1;
            let whose = match whose.split_once('[') {
                Some((_, list)) => quoted(list),
                None => lists[whose.trim_end_matches("),")].clone(),
            };
            (quoted(option)[0], whose)
        })
        .collect();
    assert!(table.len() > 30, "{table:?}");
    table
}

/// The options of a command, as the parser has them.
fn row(command: &str) -> BTreeSet<&'static str> {
    let mut table = table();
    table.retain(|_, whose| whose.contains(&command));
    table.into_keys().collect()
}

/// The words of a text that start with a hyphen.
fn options_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with('-') && !word.trim_start_matches('-').is_empty())
        .collect()
}

/// The options that have an entry.
fn entries_of(help: &str) -> BTreeSet<&str> {
    let lines = help.lines().filter(|line| line.starts_with("  -"));
    lines
        .flat_map(|line| options_in(line.trim_start().split("  ").next().unwrap()))
        .collect()
}

#[test]
fn whole_help_has_an_entry_for_each_option() {
    for words in [&["--help"][..], &["-h"], &["help"], &["help", "frobnicate"]] {
        assert_eq!(akv_init(words).outcome().stdout_alone(), HELP, "{words:?}");
    }
    assert_eq!(entries_of(HELP), table().into_keys().collect());
}

#[test]
fn help_of_a_command_does_not_depend_on_other_arguments() {
    for command in COMMANDS {
        let help = help_of(command);
        assert_ne!(help, HELP);
        for words in [
            &[command, "-h"][..],
            &[command, "--timeout", "never", "--help", "more"],
            &["help", command],
            &["--help", command],
        ] {
            assert_eq!(akv_init(words).outcome().stdout_alone(), help, "{words:?}");
        }
    }
}

/// `exec` and `write` have nearly the whole help.
#[test]
fn help_of_a_command_is_that_of_its_file() {
    for command in ["check", "get", "install", "token"] {
        let path = format!("tests/it/help/{command}.txt");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
        assert_eq!(
            help_of(command),
            fs::read_to_string(golden).unwrap_or_default(),
            "read what `cargo run -- {command} --help > {path}` changes"
        );
    }
}

#[test]
fn help_of_a_command_names_exactly_its_options() {
    for command in COMMANDS {
        let help = help_of(command);
        assert_eq!(entries_of(&help), row(command), "{command}");
        // In the text too. An example starts a program, which has its own options.
        let text = help.split("\nExample").next().unwrap();
        let missing: Vec<&str> = options_in(text)
            .difference(&row(command))
            .copied()
            .filter(|word| word.starts_with("--"))
            .collect();
        assert!(missing.is_empty(), "{command}: {missing:?}");
    }
}

#[test]
fn marks_of_the_help_text_match_the_parser() {
    let mut marked: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut unmarked = BTreeSet::new();
    let entries: Vec<&str> = HELP.lines().collect();
    for (at, line) in entries.iter().enumerate() {
        if !line.starts_with("  -") {
            continue;
        }
        let (names, text) = match line.trim_start().split_once("  ") {
            Some((names, text)) => (names, text.trim_start()),
            None => (line.trim_start(), entries[at + 1].trim_start()),
        };
        let name = names.split([' ', ',', '[']).next().unwrap();
        match text
            .strip_prefix('(')
            .and_then(|text| text.split_once(") "))
        {
            Some((mark, _)) => marked.entry(name).or_default().extend(mark.split(", ")),
            None => {
                unmarked.insert(name);
            }
        }
    }
    assert!(marked.len() > 5, "{marked:?}");
    for (name, commands) in marked {
        let row: BTreeSet<&str> = table()[name].iter().copied().collect();
        assert_eq!(commands, row, "{name}");
        assert!(
            !unmarked.contains(name),
            "{name}: once with a mark and once without"
        );
    }
}

#[test]
fn help_of_a_command_is_well_formed() {
    for command in COMMANDS {
        let help = help_of(command);
        assert!(help.starts_with(&format!("Usage:\n  akv-init {command} ")));
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{command}: {line}");
            assert_eq!(line, line.trim_end(), "{command}");
        }
        for mark in COMMANDS.map(|name| [format!("({name}, "), format!("({name}) ")]) {
            assert!(
                !mark.iter().any(|mark| help.contains(mark)),
                "{command}: {mark:?}"
            );
        }
        assert!(!help.contains("\n\n\n"), "{command}");
        // No heading without a line below it.
        let lines: Vec<&str> = help.lines().collect();
        for pair in lines.windows(2) {
            let heading = pair[0].ends_with(':') && !pair[0].starts_with(' ');
            assert!(!heading || !pair[1].is_empty(), "{command}: {}", pair[0]);
        }
        let exactly_one = help.matches(&format!("\n\n{command} ")).count();
        assert_eq!(exactly_one, 1, "{command}: the paragraph on what it does");
        assert!(help.contains("\n\nExample"), "{command}");
    }
    for line in HELP.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn help_of_a_command_has_its_exit_codes_and_deadline() {
    for (command, codes, deadline) in [
        ("check", "64 66 69 70 76 77 78 126 127", Some("10s")),
        (
            "exec",
            "64 66 69 70 73 76 77 78 126 127 128+N",
            Some("120s"),
        ),
        ("get", "64 66 69 70 73 76 77 78 128+N", Some("15s")),
        ("install", "64 70 73 78", None),
        ("token", "64 69 70 73 76 77 78 128+N", Some("15s")),
        ("write", "64 66 69 70 73 76 77 78 128+N", Some("120s")),
    ] {
        let help = help_of(command);
        let section = help.split("\nExit codes:\n").nth(1).unwrap();
        let lines = section.lines().take_while(|line| !line.is_empty());
        let found: Vec<&str> = lines
            .filter_map(|line| line.split_whitespace().next())
            .filter(|word| *word != "Any")
            .collect();
        assert_eq!(found.join(" "), codes, "{command}");
        assert_eq!(section.contains("Any other code"), command == "exec");
        let words: Vec<&str> = help.split_whitespace().collect();
        let stated = words
            .windows(2)
            .find(|pair| pair[0] == "(default" && pair[1].ends_with("s)"))
            .map(|pair| pair[1].trim_end_matches(')'));
        assert_eq!(stated, deadline, "{command}");
    }
}

#[test]
fn help_of_a_command_has_the_variables_of_its_options() {
    let variables = SETTINGS
        .split("const ENVIRONMENT_EQUIVALENTS")
        .nth(1)
        .unwrap();
    let variables = quoted(variables.split("];").next().unwrap());
    assert!(variables.len() > 10, "{variables:?}");
    for command in COMMANDS {
        let help = help_of(command);
        let list = help.split("\n  AKV_INIT").nth(1).unwrap();
        let list = list.split(": stand").next().unwrap();
        let names = list.split(',').map(|name| name.split_whitespace().next());
        let found: BTreeSet<String> = names
            .map(|name| name.unwrap().trim_start_matches('_').to_owned())
            .collect();
        let row = row(command);
        let expected = variables.iter().filter(|name| {
            let option = format!("--{}", name.to_ascii_lowercase().replace('_', "-"));
            row.contains(option.as_str())
        });
        let expected: BTreeSet<String> = expected.map(|&name| name.to_owned()).collect();
        assert_eq!(found, expected, "{command}");
    }
}

#[test]
fn manual_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/akv-init.1");
    let page = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        page,
        man::page(),
        "run `cargo run --example man > man/akv-init.1`"
    );
    let sections = page.lines().filter_map(|line| line.strip_prefix(".SH "));
    let sections: Vec<&str> = sections.collect();
    let expected = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "ENVIRONMENT",
        "EXIT STATUS",
        "EXAMPLES",
    ];
    assert_eq!(sections, expected);
}

/// In roff a leading dot is a request, a hyphen is typographic, and a backslash is an escape.
#[test]
fn manual_page_has_all_words_of_the_help_text() {
    let page = man::page();
    let requests = [
        ".\\\" ", ".TH ", ".SH ", ".SS ", ".TP", ".PP", ".IP", ".B ", ".EX", ".EE", ".RS", ".RE",
    ];
    let mut text = String::new();
    for line in page.lines() {
        let request = requests.iter().find(|request| line.starts_with(**request));
        assert!(
            request.is_some() || !line.starts_with(['.', '\'']),
            "{line}"
        );
        assert!(line.len() <= 120, "{line}");
        if matches!(request, None | Some(&".SS " | &".B ")) {
            text.push_str(line.trim_start_matches(".SS ").trim_start_matches(".B "));
            text.push('\n');
        }
    }
    for (escape, character) in [
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
        ("\\&", ""),
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\e", "\u{1}"),
    ] {
        text = text.replace(escape, character);
    }
    assert!(!text.contains('\\'), "{text}");
    let text = text.replace('\u{1}', "\\");
    // Except for the headings, all words are the same, in the same order.
    let of_page: Vec<&str> = text.split_whitespace().collect();
    let headings = ["Usage:", "Environment:", "Exit codes:", "Examples:"];
    let help: String = HELP
        .lines()
        .filter(|line| !headings.contains(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let bare = |words: Vec<&str>| -> Vec<String> {
        let words = words.iter().map(|word| word.trim_end_matches([':', '.']));
        let words = words.filter(|word| !word.is_empty() && *word != "-");
        words.map(str::to_owned).collect()
    };
    assert_eq!(bare(of_page), bare(help.split_whitespace().collect()));
}
