//! The pages, `--help` and the code agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::akv_init;
use crate::support_pages::{all_pages, blocks, page, pages, section, words};

fn help() -> String {
    akv_init(["--help"]).outcome().stdout_alone().to_owned()
}

fn source(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Every option in a text.
fn options_of(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--") && !word.ends_with('-'))
        .map(str::to_owned)
        .collect()
}

/// The value of a key in the first section of a TOML file that starts with this text.
fn toml_value(file: &str, section: &str, key: &str) -> String {
    let text = source(file);
    let section = text.split(section).nth(1).expect(section);
    let start = format!("{key} = \"");
    let line = section.lines().find_map(|line| line.strip_prefix(&start));
    line.expect(key).trim_end_matches('"').to_owned()
}

/// `akv-init VERSION (commit COMMIT, TARGET, webpki-roots VERSION of DATE)`
#[test]
fn version_names_the_commit_the_target_and_the_roots() {
    let version = akv_init(["--version"]).outcome().stdout_alone().to_owned();
    assert_eq!(akv_init(["exec", "-V"]).outcome().stdout_alone(), version);
    let words: Vec<&str> = version.split([' ', ',', '(', ')', '\n']).collect();
    let [
        _,
        package,
        _,
        "commit",
        commit,
        _,
        target,
        _,
        "webpki-roots",
        roots,
        "of",
        date,
        "",
        "",
    ] = words[..]
    else {
        panic!("{version}");
    };
    assert!(version.starts_with("akv-init "), "{version}");
    assert_eq!(package, env!("CARGO_PKG_VERSION"));
    let is_hash = commit.len() == 12 && commit.chars().all(|c| c.is_ascii_hexdigit());
    assert!(is_hash || commit == "unknown", "{version}");
    assert!(target.contains("-linux-"), "{version}");
    let section = "[package.metadata.webpki-roots]";
    assert_eq!(roots, toml_value("Cargo.toml", section, "version"));
    assert_eq!(date, toml_value("Cargo.toml", section, "date"));
    let locked = toml_value("Cargo.lock", "name = \"webpki-roots\"", "version");
    assert_eq!(
        roots, locked,
        "[package.metadata.webpki-roots] in Cargo.toml is that of another version: \
         .ci/roots prints what belongs there"
    );
}

/// The version is in Cargo.toml alone; what else names it agrees.
#[test]
fn changelog_manual_page_and_image_have_the_version_of_the_package() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = source("CHANGELOG.md");
    let mut releases = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "));
    let newest = releases.find(|title| *title != "Unreleased").unwrap();
    assert_eq!(newest.split(' ').next(), Some(version), "CHANGELOG.md");
    let title = format!("\"akv\\-init {version}\"");
    assert!(source("man/akv-init.1").contains(&title), "man/akv-init.1");
}

#[test]
fn commands_contain_the_help_text() {
    let help = help();
    assert!(page("docs/commands.md").contains(&format!("```text\n{help}```\n")));
}

/// A page without Dockerfiles and the command lines of other programs, and without the arguments of COMMAND.
fn without_other_programs(page: &str) -> String {
    let mut text = String::new();
    for (index, part) in page.split("```").enumerate() {
        match part.strip_prefix("sh\n") {
            Some(block) if index % 2 == 1 => {
                let block = block.replace("\\\n", " ");
                for line in block.lines() {
                    let ours = line.split("akv-init ").skip(1);
                    text.extend(ours.map(|words| words.split(" -- ").next().unwrap()));
                    text.push('\n');
                }
            }
            _ if index % 2 == 1 && part.starts_with("dockerfile\n") => {}
            _ if index % 2 == 1 => text.push_str(part),
            _ => {
                let programs = [
                    "az ", "cargo ", "docker ", "kubectl ", "kvenv ", "skopeo ", "tests/",
                ];
                let is_other = |code: &&str| programs.iter().any(|name| code.starts_with(name));
                let codes = part.split('`');
                text.extend(
                    codes
                        .filter(|code| !is_other(code))
                        .flat_map(|code| [code, "`"]),
                );
            }
        }
    }
    text
}

#[test]
fn pages_name_only_existing_options() {
    // Options of other programs.
    let others = ["--enable-oidc-issuer", "--enable-workload-identity"];
    let mut known = options_of(&help());
    known.extend(others.map(str::to_owned));
    let mut unused: BTreeSet<String> = others.map(str::to_owned).into();
    for (path, text) in pages() {
        let options = options_of(&without_other_programs(&text));
        let unknown: Vec<&String> = options.difference(&known).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
        unused.retain(|option| !options.contains(option));
    }
    assert!(unused.is_empty(), "no page names {unused:?}");
}

#[test]
fn help_text_names_all_variables() {
    let mut names = BTreeSet::new();
    for file in [
        "src/request/settings.rs",
        "src/request/plan.rs",
        "src/azure/identity/entra.rs",
        "src/azure/identity/credential.rs",
        "src/azure/identity/managed_endpoints.rs",
        "src/azure/identity/select.rs",
        "src/azure/identity/token_proxy.rs",
        "src/http/tls.rs",
        "src/http/proxy.rs",
    ] {
        let text = source(file);
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in code.split(|c: char| !(c.is_ascii_uppercase() || c == '_')) {
            let ours = ["AKV_INIT_", "AZURE_", "SSL_CERT_"]
                .iter()
                .any(|prefix| word.starts_with(prefix));
            if (ours || word.ends_with("S_PROXY") || word == "NO_PROXY") && !word.ends_with('_') {
                names.insert(word.to_owned());
            }
        }
    }
    assert!(names.len() >= 20, "{names:?}");
    let help = help();
    let missing = names.iter().filter(|name| !help.contains(name.as_str()));
    let missing: Vec<&String> = missing.collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn exit_codes_of_help_pages_and_code_agree() {
    let numbers = |text: &str| -> BTreeSet<u32> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let code = source("src/error.rs");
    let causes = code
        .split("pub enum Cause {")
        .nth(1)
        .unwrap()
        .split('}')
        .next()
        .unwrap();
    let mut in_code: BTreeSet<u32> = causes
        .lines()
        .filter_map(|line| numbers(line.split(" = ").nth(1)?).pop_first())
        .collect();
    in_code.insert(128);
    let whole = help();
    let help = whole
        .split("Exit codes:\n")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    assert_eq!(numbers(help), in_code);
    let troubleshooting = page("docs/troubleshooting.md");
    let section = section(&troubleshooting, "Exit codes");
    let table = section.split("\n\nAny other").next().unwrap();
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let in_table: BTreeSet<u32> = rows.flat_map(numbers).collect();
    assert_eq!(in_table, in_code);
}

/// Without Azure: none is an error of usage or configuration.
#[test]
fn command_lines_of_the_pages_are_valid() {
    let verbs = ["exec", "write", "check", "get", "token"];
    let mut counts = verbs.map(|_| 0);
    for (path, page) in all_pages() {
        for block in blocks(&page, "sh") {
            let block = block.replace("\\\n", " ");
            for (at, _) in block.match_indices("akv-init ") {
                let mut words = words(&block[at..], &page);
                let Some(verb) = verbs.iter().position(|verb| words[1] == *verb) else {
                    continue;
                };
                let context = format!("{path}: {words:?}");
                words.retain(|word| word != "--dry-run");
                counts[verb] += 1;
                match verbs[verb] {
                    "exec" => {
                        // /bin/true replaces a program that this machine lacks.
                        let end = words.iter().position(|word| *word == "--");
                        words.truncate(end.expect(&context) + 1);
                        words.push("/bin/true".to_owned());
                        words.insert(2, "--dry-run".to_owned());
                    }
                    "write" => words.insert(2, "--dry-run".to_owned()),
                    _ => {}
                }
                // Nothing listens at these addresses.
                let run = akv_init(&words[1..])
                    .env("REFERENCE", "akv://prod-kv/db-password")
                    .env("AKV_INIT_VAULT", "prod-kv")
                    .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")
                    .env("HTTPS_PROXY", "http://127.0.0.1:1")
                    .env("AKV_INIT_TIMEOUT", "0");
                let outcome = run.outcome();
                let expected: &[i32] = match verbs[verb] {
                    "exec" | "write" => &[0],
                    // The program is missing, or the identity endpoint.
                    "check" => &[127, 69],
                    // There is no sign-in of the Azure CLI.
                    _ if words.contains(&"cli".to_owned()) => &[78],
                    _ => &[69],
                };
                let code = outcome.code.unwrap();
                assert!(
                    expected.contains(&code),
                    "{context}: {code} {}",
                    outcome.stderr
                );
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= 1), "{counts:?}");
}

/// Those that a command line in a `sh` block reads or starts, and the examples of `cargo run --example`.
#[test]
fn files_that_command_lines_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "tests/",
        "bench/",
        "fuzz/",
        ".ci/",
        "docker/",
        "examples/",
        "man/",
    ];
    let mut count = 0;
    for (path, page) in all_pages() {
        for rest in page.split("--example ").skip(1) {
            let name = rest.split(|c: char| !c.is_ascii_lowercase()).next();
            let file = root.join(format!("examples/{}.rs", name.unwrap()));
            assert!(file.exists(), "{path}: {}", file.display());
        }
        for block in blocks(&page, "sh") {
            for word in block.split_whitespace() {
                let file = word.trim_end_matches([';', ')', '"']);
                let is_output = block.contains(&format!("> {file}"));
                if folders.iter().any(|folder| file.starts_with(folder)) && !is_output {
                    assert!(root.join(file).exists(), "{path}: {word}");
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for (path, page) in all_pages() {
        let targets = [("](", ")"), ("src=\"", "\""), ("href=\"", "\"")];
        let targets = targets.iter().flat_map(|(start, end)| {
            let parts = page.split(start).skip(1);
            parts.map(move |part| part.split(end).next().unwrap())
        });
        for target in targets {
            count += 1;
            if target.contains("://") {
                assert!(target.starts_with("https://"), "{path}: {target}");
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = root.join(&path).parent().unwrap().to_owned();
            let file = match file {
                "" => root.join(&path),
                file => folder.join(file),
            };
            assert!(file.exists(), "{path}: {target}");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&file).unwrap();
                let titles = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = titles.map(anchor_of);
                assert!(anchors.any(|it| it == anchor), "{path}: {target}");
            }
        }
    }
    assert!(count >= 50, "{count}");
}

/// The name that GitHub gives to a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// What is longer has more than one job.
#[test]
fn pages_are_short() {
    for (path, page) in pages() {
        let most = if path == "README.md" { 180 } else { 300 };
        let lines = page.lines().count();
        assert!(lines <= most, "{path}: {lines} lines");
    }
}

/// The tables under "By hint" quote words of every hint, and none of a hint that there is not.
#[test]
fn every_hint_is_in_the_troubleshooting_page() {
    let messages = source("tests/it/messages.golden.txt").replace('`', "");
    let hints: Vec<&str> = messages
        .lines()
        .filter_map(|line| line.strip_prefix("hint: "))
        .collect();
    let page = page("docs/troubleshooting.md");
    let rows = section(&page, "By hint")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split(" | ").next().unwrap());
    let quoted: Vec<&str> = cells
        .flat_map(|cell| cell.trim_end_matches('`').split("`, `"))
        .collect();
    for hint in &hints {
        let is_quoted = quoted.iter().any(|words| hint.contains(words));
        assert!(
            is_quoted,
            "docs/troubleshooting.md, By hint: no row for `{hint}`"
        );
    }
    for words in quoted {
        let is_current = hints.iter().any(|hint| hint.contains(words));
        assert!(
            is_current,
            "docs/troubleshooting.md, By hint: no hint has `{words}`"
        );
    }
}

/// Those that the pages show as lines of a log. Names, numbers and ids differ, and are left out.
#[test]
fn messages_that_the_pages_show_are_those_of_the_program() {
    let words = |line: &str| -> Vec<String> {
        line.split_whitespace()
            .map(|word| word.trim_matches(|c: char| c.is_ascii_punctuation() && c != '`'))
            .filter(|word| {
                word.chars().all(|c| c.is_ascii_alphabetic()) && !["N", "ID"].contains(word)
            })
            .map(str::to_owned)
            .collect()
    };
    let messages = source("tests/it/messages.golden.txt");
    let messages: BTreeSet<Vec<String>> = messages.lines().map(words).collect();
    let mut count = 0;
    for (path, page) in all_pages() {
        for line in page
            .lines()
            .filter_map(|line| line.strip_prefix("akv-init: "))
        {
            assert!(messages.contains(&words(line)), "{path}: {line}");
            count += 1;
        }
    }
    assert!(count >= 4, "{count}");
}
