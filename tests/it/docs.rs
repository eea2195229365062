//! The pages, `--help` and the code agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::akv_init;
use crate::support_pages::{blocks, page, pages, section};

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

#[test]
fn pages_name_only_existing_options() {
    // Options of other programs.
    let others = [
        "--config",
        "--container",
        "--copy-to",
        "--env-file",
        "--example",
        "--from",
        "--include-ignored",
        "--init",
        "--port",
        "--release",
        "--table",
        "--target",
    ];
    let mut known = options_of(&help());
    known.extend(others.map(str::to_owned));
    for (path, text) in pages() {
        let unknown: Vec<String> = options_of(&text).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
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

#[test]
fn command_lines_of_exec_are_valid() {
    let mut count = 0;
    for line in blocks(&page("docs/exec.md"), "sh")[0].lines() {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[..2], ["akv-init", "exec"], "{line}");
        // /bin/true replaces a program that this machine lacks; --dry-run keeps Azure out of it.
        let at = words.iter().position(|word| *word == "--").unwrap();
        let mut words = words[1..=at].to_vec();
        words.retain(|word| *word != "--dry-run");
        words.insert(1, "--dry-run");
        words.push("/bin/true");
        let outcome = akv_init(&words).outcome();
        assert!(outcome.stdout_alone().contains("/bin/true"), "{line}");
        count += 1;
    }
    assert_eq!(count, 4);
}

/// Without Azure: none is a usage error.
#[test]
fn other_command_lines_are_valid() {
    let mut count = 0;
    for (path, command) in [
        ("docs/troubleshooting.md", "check"),
        ("docs/laptop.md", "get"),
        ("docs/laptop.md", "token"),
    ] {
        for line in blocks(section(&page(path), command), "sh")[0].lines() {
            let words = line.split("akv-init ").nth(1).unwrap();
            let words = words.split(" | ").next().unwrap().split(' ');
            // Nothing listens at these addresses.
            let run = akv_init(words)
                .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")
                .env("HTTPS_PROXY", "http://127.0.0.1:1")
                .env("AKV_INIT_TIMEOUT", "0");
            let outcome = run.outcome();
            let expected = match command {
                // Without a reference only the program is missing.
                "check" => 127,
                // There is no sign-in of the Azure CLI.
                _ if line.contains("--identity cli") => 78,
                _ => 69,
            };
            assert_eq!(outcome.code, Some(expected), "{line}: {}", outcome.stderr);
            count += 1;
        }
    }
    assert_eq!(count, 8);
}
