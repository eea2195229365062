//! House rules that the compiler cannot enforce: which module may import which others, which of them may use a
//! third-party crate, and which alone may print, use `unsafe`, exit, or read a secret.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files beside `main.rs`, and `os`: what everything else stands on.
const LEAVES: [&str; 8] = [
    "date", "der", "error", "input", "log", "os", "secret", "signals",
];

/// Which top-level module may import which others.
const ARROWS: [(&str, &[&str]); 7] = [
    (
        "main",
        &["commands", "azure", "http", "output", "request", "leaves"],
    ),
    (
        "commands",
        &["azure", "http", "output", "request", "leaves"],
    ),
    ("azure", &["http", "request", "leaves"]),
    ("output", &["request", "leaves"]),
    ("http", &["request", "leaves"]),
    ("request", &["leaves"]),
    ("leaves", &["leaves"]),
];

/// Each third-party crate, and the modules that may name it: a top-level one, or a path below it.
const DOORS: [(&str, &[&str]); 13] = [
    ("aes", &["request::pfx"]),
    (
        "base64",
        &["azure::identity", "request::pem", "request::value"],
    ),
    ("cbc", &["request::pfx"]),
    ("des", &["request::pfx"]),
    ("log", &[]),
    ("nix", &["input", "output", "os", "signals"]),
    ("percent_encoding", &["request::percent"]),
    ("rc2", &["request::pfx"]),
    (
        "ring",
        &[
            "http",
            "azure::identity",
            "output::directory::manifest",
            "request::pfx",
        ],
    ),
    ("rustls", &["http", "azure::identity"]),
    (
        "serde_json",
        &[
            "azure",
            "commands::check",
            "commands::every",
            "http",
            "log",
            "output",
            "request::value",
        ],
    ),
    ("ureq", &["http"]),
    ("webpki", &["http"]),
];

struct Source {
    path: PathBuf,
    /// As in `azure::identity::imds`; `mod.rs` has the name of its folder.
    module: String,
    text: String,
}

impl Source {
    /// The first part of its path: `azure`.
    fn top(&self) -> &str {
        first(&self.module)
    }
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap()
}

/// Whether a module is another one or is below it.
fn is_within(module: &str, outer: &str) -> bool {
    module
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
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
            let module = inside
                .with_extension("")
                .to_str()
                .unwrap()
                .replace('/', "::");
            found.push(Source {
                module: module.trim_end_matches("::mod").to_owned(),
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

#[track_caller]
fn assert_none(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// Every path that a source imports or names, from the crate's root: of `use crate::a::{b, c::D}` both.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<(usize, &str)> = code(source).collect();
    let mut found = Vec::new();
    for (index, (number, line)) in lines.iter().enumerate() {
        for start in ["crate::", "super::"] {
            for (at, _) in line.match_indices(start) {
                let before = line[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                // An import may go on over several lines.
                let mut text = line[at..].to_owned();
                for (_, more) in &lines[index + 1..] {
                    if text.matches('{').count() <= text.matches('}').count() || text.contains(';')
                    {
                        break;
                    }
                    text.push_str(more.trim());
                }
                let is_use = line.trim_start().starts_with("use ")
                    || line.trim_start().starts_with("pub use ");
                let paths = match is_use {
                    true => expand(text.split(';').next().unwrap()),
                    false => vec![
                        text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                            .next()
                            .unwrap()
                            .to_owned(),
                    ],
                };
                for path in paths {
                    found.push((*number, absolute(source, &path)));
                }
            }
        }
    }
    found
}

/// `a::{b, c::{D, E}}` as `a::b`, `a::c::D`, `a::c::E`.
fn expand(text: &str) -> Vec<String> {
    let Some((start, rest)) = text.split_once('{') else {
        return vec![text.trim().split(" as ").next().unwrap().to_owned()];
    };
    let inner = &rest[..rest.rfind('}').unwrap_or(rest.len())];
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| expand(&format!("{}{}", start.trim(), part.trim())))
        .map(|path| path.trim_end_matches("::self").to_owned())
        .collect()
}

/// A path from the crate's root, without `crate::`.
fn absolute(source: &Source, path: &str) -> String {
    if let Some(path) = path.strip_prefix("crate::") {
        return path.to_owned();
    }
    let (mut module, mut rest) = (source.module.as_str(), path);
    while let Some(below) = rest.strip_prefix("super::") {
        module = module.rsplit_once("::").map_or("", |(outer, _)| outer);
        rest = below;
    }
    format!("{module}::{rest}")
        .trim_start_matches("::")
        .to_owned()
}

#[test]
fn modules_import_only_along_the_arrows() {
    let group = |module: &str| match LEAVES.contains(&first(module)) {
        true => "leaves".to_owned(),
        false => first(module).to_owned(),
    };
    let mut offences = Vec::new();
    for source in sources() {
        let own = group(&source.module);
        let (_, allowed) = ARROWS
            .iter()
            .find(|(name, _)| *name == own)
            .unwrap_or_else(|| panic!("{own} is not in the table of arrows"));
        for (number, path) in imports(&source) {
            if first(&path) != source.top() && !allowed.contains(&group(&path).as_str()) {
                offences.push(format!("{}:{number}: {path}", source.path.display()));
            }
        }
    }
    assert_none(offences);
}

#[test]
fn no_module_imports_itself_through_others() {
    let sources = sources();
    let modules: Vec<&str> = sources
        .iter()
        .map(|source| source.module.as_str())
        .collect();
    // Of `azure::identity::Source` the module is `azure::identity`, the longest that there is.
    let module_of = |path: &str| {
        let found = modules.iter().filter(|module| is_within(path, module));
        found.max_by_key(|module| module.len()).copied()
    };
    let edges: Vec<(&str, BTreeSet<&str>)> = sources
        .iter()
        .map(|source| {
            let own = source.module.as_str();
            let mut found: BTreeSet<&str> = imports(source)
                .iter()
                .filter_map(|(_, path)| module_of(path))
                .filter(|module| *module != own)
                .collect();
            // A folder's `mod.rs` hands on what its files define.
            let is_folder = source.path.ends_with("mod.rs");
            found.extend(modules.iter().filter(|module| {
                is_folder
                    && module
                        .rsplit_once("::")
                        .is_some_and(|(outer, _)| outer == own)
            }));
            (own, found)
        })
        .collect();
    let mut offences = Vec::new();
    for (start, _) in &edges {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut next = vec![*start];
        while let Some(module) = next.pop() {
            let (_, targets) = edges.iter().find(|(name, _)| *name == module).unwrap();
            next.extend(targets.iter().filter(|target| reached.insert(target)));
        }
        if reached.contains(start) {
            offences.push(format!(
                "{start} imports itself, through others of {reached:?}"
            ));
        }
    }
    assert_none(offences);
}

#[test]
fn third_party_crates_are_named_only_in_their_modules() {
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in code(&source) {
            for (name, rooms) in DOORS {
                let named = match name {
                    "log" => mentions_the_crate_log(line),
                    _ => mentions(line, name),
                };
                let is_allowed = rooms.iter().any(|room| is_within(&source.module, room));
                if named && !is_allowed {
                    offences.push(format!("{}:{number}: {line}", source.path.display()));
                }
            }
        }
    }
    assert_none(offences);
}

#[test]
fn runtime_dependencies_are_those_in_the_table() {
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
    expected.insert("webpki-roots".to_owned());
    assert_eq!(names, expected.iter().map(String::as_str).collect());
}

/// The fuzz folder is a workspace of its own that compiles the same modules.
#[test]
fn fuzz_folder_has_the_runtime_dependencies() {
    let lines = |manifest: &str| {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let (_, section) = text.split_once("\n[dependencies]\n").unwrap();
        let lines = section.split("\n[").next().unwrap().lines();
        let lines = lines.filter(|line| line.contains(" = ") && !line.starts_with("libfuzzer-sys"));
        lines.map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(lines("fuzz/Cargo.toml"), lines("Cargo.toml"));
}

#[test]
fn unsafe_printing_exiting_and_reading_files_have_their_modules() {
    let mut offences = Vec::new();
    for source in sources() {
        for (number, line) in code(&source) {
            let room = source.top();
            for (forbidden, but_in) in [
                ("unsafe", "os"),
                ("io::stderr", ""),
                ("io::stdout", "log"),
                ("write_to_stderr", "log os signals"),
                ("exit_at_once", "main os signals"),
                ("process::exit", ""),
                ("println!", ""),
                ("eprintln!", ""),
                ("File::open(", "input"),
                ("fs::read(", "output"),
                ("read_to_string(", ""),
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
fn secrets_are_exposed_only_in_listed_files() {
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
            for forbidden in ["Display", "Clone", "Serialize", "Deref"] {
                let is_for_secret = [" {", "<"].iter().any(|end| {
                    let implementation = format!("{forbidden} for Secret{end}");
                    line.contains(&implementation)
                });
                assert!(!is_for_secret, "{}: {line}", source.path.display());
            }
        }
        if source.module == "secret" {
            assert!(
                !source.text.contains("#[derive"),
                "a secret derives nothing"
            );
        }
    }
    let expected = [
        "src/azure/fetch/mod.rs",
        "src/azure/fetch/values.rs",
        "src/azure/identity/credential.rs",
        "src/azure/identity/entra.rs",
        "src/azure/identity/managed.rs",
        "src/azure/identity/token.rs",
        "src/commands/every.rs",
        "src/commands/exec.rs",
        "src/commands/write.rs",
        "src/http/request.rs",
        "src/request/environment.rs",
        "src/request/value.rs",
    ];
    assert_eq!(places, expected.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_file_opens_with_its_purpose_and_has_no_open_ends() {
    let mut offences = Vec::new();
    for source in sources() {
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
fn top_level_has_only_the_usual_entries() {
    let allowed = [
        ".cargo",
        ".ci",
        ".git",
        ".github",
        ".gitignore",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "SECURITY.md",
        "bench",
        "build.rs",
        "completions",
        "deploy",
        "docker",
        "docs",
        "examples",
        "fuzz",
        "man",
        "rust-toolchain.toml",
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
