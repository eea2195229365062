//! House rules that the compiler cannot keep: which room may import which, which crate has which door, and who alone
//! may print, be unsafe, or look at a secret.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, highest first. A room imports only what stands below it.
const ROOMS: [&str; 30] = [
    "main",
    "check",
    "contents",
    "fetch",
    "reader",
    "plan",
    "cli",
    "init",
    "exec",
    "files",
    "memfd",
    "tokens",
    "vault",
    "identity",
    "http",
    "settings",
    "env",
    "volume",
    "render",
    "secret_ref",
    "challenge",
    "host",
    "cloud",
    "secret",
    "progress",
    "log",
    "date",
    "failure",
    "os",
    "help.txt",
];

/// Each third-party crate and the rooms that may name it; anyhow may be named anywhere.
const DOORS: [(&str, &[&str]); 9] = [
    ("base64", &["identity"]),
    ("log", &[]),
    ("nix", &["exec", "files", "init", "memfd", "os", "progress"]),
    ("pico_args", &["cli"]),
    ("ring", &["http", "identity"]),
    ("rustls", &["http", "identity"]),
    (
        "serde_json",
        &[
            "check", "files", "http", "identity", "log", "render", "vault",
        ],
    ),
    ("ureq", &["http"]),
    ("webpki", &["http"]),
];

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let inside = path.strip_prefix(root().join("src")).unwrap();
            let room = inside
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap();
            found.push(Source {
                room: room.trim_end_matches(".rs").to_owned(),
                text: fs::read_to_string(&path).unwrap(),
                path,
            });
        }
    }
    assert!(found.len() > 15, "the sources were not found");
    found
}

/// The lines of a source that are code: no comments, and not the tests at its end.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source
        .text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]");
    lines
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Every place where one of the words stands as a path's first part: `word::`.
fn mentions(line: &str, word: &str) -> bool {
    let path = format!("{word}::");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// `log::` is our own room, wherever `crate::log` is imported.
fn mentions_the_crate_log(line: &str) -> bool {
    let line = line.trim_start();
    let imports = ["extern crate log", "use log::", "use log;"];
    imports.iter().any(|import| line.starts_with(import))
        || line.replace("crate::log::", "").contains("::log::")
}

fn place_of(room: &str) -> usize {
    ROOMS
        .iter()
        .position(|known| *known == room)
        .unwrap_or_else(|| panic!("{room} is not in the list of rooms"))
}

#[track_caller]
fn assert_none(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn a_room_imports_only_what_stands_below_it() {
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in code(&source) {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                let rooms: Vec<&str> = match rest.strip_prefix('{') {
                    Some(list) => list.split(['}', ',']).map(str::trim).collect(),
                    None => vec![rest],
                };
                for room in rooms {
                    let room = room.split([':', ';', ' ', '(']).next().unwrap_or_default();
                    if room.is_empty() || room == source.room {
                        continue;
                    }
                    if place_of(room) <= place_of(&source.room) {
                        offences.push(format!("{}:{number}: {line}", source.path.display()));
                    }
                }
            }
        }
    }
    assert_none(offences);
}

#[test]
fn each_crate_is_named_only_where_it_has_its_door() {
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in code(&source) {
            for (name, rooms) in DOORS {
                let named = match name {
                    "log" => mentions_the_crate_log(line),
                    _ => mentions(line, name),
                };
                if named && !rooms.contains(&source.room.as_str()) {
                    offences.push(format!("{}:{number}: {line}", source.path.display()));
                }
            }
        }
    }
    assert_none(offences);
}

#[test]
fn the_binary_has_the_runtime_crates_that_were_argued_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest
        .split("\n[dependencies]\n")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let names: BTreeSet<&str> = section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .collect();
    let mut expected: BTreeSet<String> = DOORS
        .iter()
        .map(|(name, _)| name.replace('_', "-"))
        .collect();
    // Where a crate's name is not its path with hyphens.
    for (path, name) in [("serde-json", "serde_json"), ("webpki", "rustls-webpki")] {
        expected.remove(path);
        expected.insert(name.to_owned());
    }
    expected.extend(["anyhow".to_owned(), "webpki-roots".to_owned()]);
    assert_eq!(names, expected.iter().map(String::as_str).collect());
}

#[test]
fn only_one_room_is_unsafe_one_prints_and_one_ends_the_process() {
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in code(&source) {
            let room = source.room.as_str();
            for (forbidden, but_in) in [
                ("unsafe", "os"),
                ("io::stderr", ""),
                ("io::stdout", "log"),
                ("write_to_stderr", "log progress os"),
                ("exit_at_once", "main progress os"),
                ("process::exit", ""),
                ("println!", ""),
                ("eprintln!", ""),
                ("set_var", ""),
                ("remove_var", ""),
                ("set_logger", ""),
                ("log::set_max_level", ""),
            ] {
                if line.contains(forbidden) && !but_in.split(' ').any(|allowed| allowed == room) {
                    offences.push(format!("{}:{number}: {line}", source.path.display()));
                }
            }
        }
    }
    assert_none(offences);
}

#[test]
fn a_secret_is_looked_at_only_where_it_is_used() {
    let mut places = BTreeSet::new();
    for source in sources() {
        for (_, line) in code(&source) {
            if line.contains(".expose()") {
                places.insert(
                    source
                        .path
                        .strip_prefix(root())
                        .unwrap()
                        .display()
                        .to_string(),
                );
            }
            for forbidden in [
                "Display for Secret {",
                "Clone for Secret {",
                "Serialize for Secret {",
                "Deref for Secret {",
            ] {
                assert!(
                    !line.contains(forbidden),
                    "{}: {line}",
                    source.path.display()
                );
            }
        }
        if source.room == "secret" {
            assert!(
                !source.text.contains("#[derive"),
                "a secret derives nothing"
            );
        }
    }
    let expected = [
        "src/contents.rs",
        "src/env.rs",
        "src/fetch.rs",
        "src/identity/app_service.rs",
        "src/identity/arc.rs",
        "src/identity/claims.rs",
        "src/identity/entra.rs",
        "src/identity/legacy.rs",
        "src/identity/principal.rs",
        "src/main.rs",
        "src/secret.rs",
        "src/vault/mod.rs",
        "src/vault/refusal.rs",
    ];
    assert_eq!(places, expected.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_file_says_what_it_owns_and_none_outgrows_its_room() {
    let mut offences = Vec::new();
    for source in sources() {
        let lines = source
            .text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        if lines > 350 {
            offences.push(format!(
                "{}: {lines} lines: two rooms",
                source.path.display()
            ));
        }
        if !source.text.starts_with("//! ") {
            offences.push(format!("{}: does not open with //!", source.path.display()));
        }
        for (index, line) in source.text.lines().enumerate() {
            if ["TODO", "FIXME", "XXX", "HACK"]
                .iter()
                .any(|word| line.contains(word))
            {
                offences.push(format!("{}:{}: {line}", source.path.display(), index + 1));
            }
        }
    }
    assert_none(offences);
}

#[test]
fn the_top_level_holds_what_a_rust_project_has_and_nothing_else() {
    let allowed = [
        ".cargo",
        ".ci",
        ".git",
        ".gitignore",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "bench",
        "docker",
        "examples",
        "man",
        "src",
        "target",
        "tests",
    ];
    let entries = fs::read_dir(root()).unwrap();
    let names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let odd: Vec<&String> = names
        .iter()
        .filter(|name| !allowed.contains(&name.as_str()))
        .collect();
    assert!(odd.is_empty(), "{odd:?}");
}
