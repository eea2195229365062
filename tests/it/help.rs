//! The help of each command, a complete part of the whole help, the manual page and the completions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::akv_init;

#[path = "../../examples/completions.rs"]
mod completions;
#[path = "../../examples/man.rs"]
mod man;

const COMMANDS: [&str; 6] = ["check", "exec", "get", "install", "token", "write"];

fn help_of(command: &str) -> String {
    let outcome = akv_init([command, "--help"]).outcome();
    outcome.stdout_alone().to_owned()
}

/// The whole help.
fn help() -> String {
    akv_init(["--help"]).outcome().stdout_alone().to_owned()
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
fn whole_help_does_not_depend_on_other_arguments() {
    let help = help();
    for words in [&["-h"][..], &["help"], &["help", "frobnicate"]] {
        assert_eq!(akv_init(words).outcome().stdout_alone(), help, "{words:?}");
    }
}

#[test]
fn help_of_a_command_does_not_depend_on_other_arguments() {
    for command in COMMANDS {
        let help = help_of(command);
        assert_ne!(help, self::help());
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
fn help_of_a_command_names_only_its_options() {
    let whole = help();
    for command in COMMANDS {
        let help = help_of(command);
        let own = entries_of(&help);
        assert!(own.is_subset(&entries_of(&whole)), "{command}");
        // In other texts, too, but for the examples, in which COMMAND has options.
        let text = help.split("\nExample").next().unwrap();
        let mut others = options_in(text);
        others.retain(|word| word.starts_with("--") && !own.contains(word));
        assert!(others.is_empty(), "{command}: {others:?}");
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
        let marks = COMMANDS.map(|name| [format!("({name}, "), format!("({name}) ")]);
        assert!(
            !marks.concat().iter().any(|mark| help.contains(mark)),
            "{command}"
        );
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
    for line in help().lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn help_of_a_command_has_its_exit_codes_and_deadline() {
    for (command, codes, deadline) in [
        (
            "check",
            "64 66 69 70 73 76 77 78 126 127 128+N",
            Some("10s"),
        ),
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
fn completions_are_current() {
    for shell in ["bash", "zsh", "fish"] {
        let path = format!("completions/akv-init.{shell}");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
        assert!(
            fs::read_to_string(file).unwrap_or_default() == completions::completion(shell).unwrap(),
            "run `cargo run --example completions -- {shell} >{path}`"
        );
    }
}

#[test]
fn manual_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/akv-init.1");
    let page = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        page,
        man::page(&help()),
        "run `cargo run -- --help | cargo run --example man > man/akv-init.1`"
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
    let page = man::page(&help());
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
    let whole = help();
    let help: String = whole
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
