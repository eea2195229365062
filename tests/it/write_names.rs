//! The arguments of `write` and the names of its files: an error names what is wrong, before any request and before
//! anything is written.

mod dry_run;
mod words;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::azure::Azure;
use crate::support::{Failure, NO_OPTIONS};
use crate::support_files::Place;
use crate::support_inherited as inherited;
use crate::support_requests::connections;

/// Exit code and cause.
const CONFIG: (i32, &str) = (78, "config");
const USAGE: (i32, &str) = (64, "usage");

/// A fake Azure that must not receive a request, and a directory that must stay empty.
struct Refusals {
    azure: Azure,
    place: Place,
}

impl Refusals {
    fn new() -> Refusals {
        let (azure, place) = (Azure::start(), Place::new());
        Refusals { azure, place }
    }

    /// A run with these words and DIR fails, and the error names this.
    #[track_caller]
    fn refused(&self, words: &[&str], (code, cause): (i32, &str), name: &str) -> Failure {
        let failure = self.place.write(&self.azure, words).failure(code, cause);
        failure.names(name);
        self.end();
        failure
    }

    /// The same with a secret for each of these files.
    #[track_caller]
    fn files(&self, options: &[&str], files: &[&str], name: &str) {
        let secrets = secrets(files);
        let secrets = secrets.iter().map(String::as_str);
        let words: Vec<&str> = options.iter().copied().chain(secrets).collect();
        self.refused(&words, CONFIG, name);
    }

    #[track_caller]
    fn end(&self) {
        assert_eq!(self.place.tree(), NO_OPTIONS);
        assert_eq!(connections(&self.azure), 0);
    }
}

/// One secret for each of these names.
fn secrets(names: &[&str]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("--secret={name}=alpha"))
        .collect()
}

#[test]
fn file_name_must_be_a_relative_path_of_ordinary_components() {
    let refusals = Refusals::new();
    let long = "x".repeat(256);
    let long_inside = format!("a/{long}/b");
    // Two bytes each.
    let long_in_bytes = "ü".repeat(128);
    for name in [
        "/a",
        "/",
        "a/",
        "a//b",
        ".",
        "./a",
        "a/.",
        "a/./b",
        // Components that begin with `..` are akv-init's own.
        "..",
        "../a",
        "a/..",
        "a/../b",
        "...",
        "..a",
        "..data",
        "..data/a",
        "..data_tmp",
        "..akv-init.json",
        "..akv-init-0123456789abcdef/a",
        "a/..data",
        &long,
        &long_inside,
        &long_in_bytes,
    ] {
        let shown = match name.char_indices().nth(255) {
            Some((end, _)) => format!("`{}…`", &name[..end]),
            None => format!("`{name}`"),
        };
        refusals.files(&[], &[name], &shown);
        refusals.files(&["--layout", "atomic"], &["good", name], &shown);
        let output = format!("json:{name}");
        let words = ["--output", &output, "--secret", "a=alpha"];
        let failure = refusals.refused(&words, USAGE, "--output");
        failure.names(&shown).hinted();
    }
}

/// A control character could steer a terminal.
#[test]
fn file_name_with_a_control_character_is_refused() {
    let refusals = Refusals::new();
    for name in ["a\n", "\u{1}", "a\u{7f}b", "a\u{85}", "a\tb", "\u{1b}[2J"] {
        let shown = name.replace(char::is_control, " ");
        refusals.files(&[], &[name], &format!("`{shown}`"));
    }
}

#[test]
fn file_name_is_limited_by_the_length_of_a_path() {
    let azure = Azure::start();
    azure.secret("alpha", "first");
    let component = "x".repeat(255);
    let deep = [component.as_str(); 15].join("/");
    for layout in ["plain", "atomic"] {
        let place = Place::new();
        let secret = format!("--secret={deep}=alpha");
        place.wrote(&azure, &["--layout", layout, &secret]);
        assert_eq!(place.read(&deep), b"first");
    }
    let longer = [component.as_str(); 17].join("/");
    Refusals::new().files(&[], &[&longer], &format!("`{component}…`"));
}

#[test]
fn duplicate_file_name_is_refused() {
    let refusals = Refusals::new();
    for (outputs, secrets, name) in [
        (&[][..], &["a", "a"][..], "a"),
        (&["--output=json:all"], &["a", "a"], "a"),
        (&["--output=files", "--output=json:a"], &["a"], "`a`"),
        (&["--output=json:a", "--output=files"], &["b", "a"], "`a`"),
        (&["--output=json:x", "--output=dotenv:x"], &["A"], "`x`"),
        (&["--output=json:x", "--output=json:x"], &["A"], "`x`"),
        (&["--output=files", "--output=files"], &["a"], "`a`"),
    ] {
        refusals.files(outputs, secrets, name);
    }
}

/// With `--output json` the name of a secret is only a key.
#[test]
fn key_and_file_may_have_the_same_name() {
    let azure = Azure::start();
    azure.secret("alpha", "first");
    let place = Place::new();
    place.wrote(
        &azure,
        &[
            "--secret", "a=alpha", "--secret", "A=alpha", "--output", "json:a",
        ],
    );
    assert_eq!(place.names(), ["a 0440"]);
}

#[test]
fn file_that_is_the_directory_of_another_is_refused() {
    let refusals = Refusals::new();
    for (files, name, other) in [
        (&["a", "a/b"][..], "`a/b`", "`a`"),
        (&["a/b", "a"], "`a`", "`a/b`"),
        (&["a/b/c/d", "x", "a/b"], "`a/b`", "`a/b/c/d`"),
        (&["a/b", "a/b.c", "a/b/c"], "`a/b/c`", "`a/b`"),
    ] {
        for layout in ["plain", "atomic"] {
            refusals.files(&["--layout", layout], files, name);
            refusals.files(&["--layout", layout], files, other);
        }
    }
    let outputs = ["--output", "files", "--output", "json:a/all"];
    refusals.files(&outputs, &["a"], "`a/all`");
}

#[test]
fn variable_whose_name_is_not_a_file_name_is_refused() {
    let refusals = Refusals::new();
    let (azure, place) = (&refusals.azure, &refusals.place);
    let from_env = |words: &[&str]| place.write(azure, &[&["--from-env"], words].concat());
    for name in ["/a", "a//b", "..data"] {
        let failure = from_env(&[])
            .env(name, "akv:///alpha")
            .failure(78, "config");
        failure.names(&format!("`{name}`"));
    }
    let twice = from_env(&["--secret", "A=beta"]).env("A", "akv:///alpha");
    twice.failure(78, "config").names("A");
    let inside = from_env(&[]).env("a", "akv:///alpha");
    inside.env("a/b", "akv:///alpha").failure(78, "config");
    // std's Command cannot express these.
    let imds = format!("AZURE_POD_IDENTITY_AUTHORITY_HOST={}", azure.imds()).into();
    let json = OsString::from("AKV_INIT_LOG_FORMAT=json");
    let environ = |entries: &[&[u8]]| {
        let entries = entries
            .iter()
            .map(|entry| OsString::from_vec(entry.to_vec()));
        let entries: Vec<OsString> = [&imds, &json].into_iter().cloned().chain(entries).collect();
        let run = from_env(&[]).with(|command| inherited::environ(command, &entries));
        run.failure(78, "config")
    };
    environ(&[b"A\xff=akv://kv1/alpha"]).names("A\u{fffd}");
    environ(&[b"A=akv://kv1/alpha", b"A=other"]).names("A");
    refusals.end();
}

#[test]
fn from_env_without_a_reference_is_refused() {
    let refusals = Refusals::new();
    let no_reference = |words: &[&str], value: &str| {
        let words = [&["--from-env"], words].concat();
        let run = refusals.place.write(&refusals.azure, &words);
        let failure = run.env("A", value).failure(78, "config");
        failure.names("--from-env").hinted();
    };
    no_reference(&[], "a value");
    no_reference(&["--literal", "A", "--literal", "ABSENT"], "a value");
    no_reference(&["--literal", "A"], "akv:///alpha");
    refusals.end();
}

#[test]
fn reference_inside_a_value_is_refused() {
    let refusals = Refusals::new();
    let run = refusals.place.write(&refusals.azure, &["--from-env"]);
    let failure = run.env("A", "see akv:///alpha").failure(78, "config");
    failure.names("A").hinted();
    refusals.end();
}
