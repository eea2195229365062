//! The command lines of `write` and `install`: which options there are, what they take, and DIR.

use super::{Refusals, USAGE};
use crate::support::{akv_init, write};

impl Refusals {
    /// Asserts that a run of the program with exactly these words is a usage error that names this and has a hint.
    #[track_caller]
    fn usage_error(&self, words: &[&str], name: &str) {
        let run = akv_init(words).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.azure.imds());
        let run = run.env("AKV_INIT_VAULT", self.azure.vault());
        run.failure(64, "usage").names(name).hinted();
        self.end();
    }
}

#[test]
fn dir_is_the_last_word_and_the_only_one() {
    let refusals = Refusals::new();
    let dir = refusals.place.word();
    for verb in [&["install"][..], &["write", "--secret", "a=alpha"]] {
        for (words, name) in [
            (&[][..], "DIR"),
            (&["--"], "DIR"),
            (&[""], "DIR"),
            (&["one", "two"], "`two`"),
            (&["--", "one", "two", "three"], "`two`"),
            (&["one", ""], "``"),
            (&["one", "--verbose"], "`--verbose`"),
            (&["--", "one", "--verbose"], "`--verbose`"),
        ] {
            refusals.usage_error(&[verb, words].concat(), name);
        }
    }
    let words = ["write", "--secret", "a=alpha", "--dry-run", &dir];
    let words = [&words[..], &["--secret", "b=beta"]].concat();
    refusals.usage_error(&words, "`--secret`");
}

#[test]
fn write_without_a_secret_is_rejected() {
    let refusals = Refusals::new();
    for words in [
        &["write", "/nowhere"][..],
        &["write", "--output", "files", "/nowhere"],
        &["write", "--dry-run", "--vault", "kv1", "/nowhere"],
        &["write", "--literal", "A", "/nowhere"],
    ] {
        refusals.usage_error(words, "--from-env");
    }
    let words = ["write", "--secret", "a=alpha", "--literal", "A", "/nowhere"];
    refusals.usage_error(&words, "--literal");
}

#[test]
fn option_of_another_command_is_rejected() {
    let refusals = Refusals::new();
    for (verb, words) in [
        ("write", &["--unset", "A"][..]),
        ("write", &["--override"]),
        ("write", &["--memfd", "A=alpha"]),
        ("write", &["--memfd=A=alpha"]),
        ("write", &["--scope", "https://vault.azure.net/.default"]),
        ("exec", &["--mode", "0400"]),
        ("exec", &["--layout", "atomic"]),
        ("exec", &["--output", "files"]),
        ("exec", &["--from-env"]),
        ("exec", &["--keep-existing"]),
        ("exec", &["--keep-existing=5m"]),
        ("exec", &["--require-tmpfs"]),
        ("exec", &["--allow-loose-mode"]),
        ("token", &["--mode", "0400"]),
        ("token", &["--memfd", "A=alpha"]),
        ("token", &["--output", "files"]),
        ("token", &["--keep-existing"]),
        ("token", &["--from-env"]),
        ("install", &["--secret", "a=alpha"]),
        ("install", &["--mode", "0555"]),
        ("install", &["--dry-run"]),
        ("install", &["--require-tmpfs"]),
        ("install", &["--allow-loose-mode"]),
        ("install", &["--timeout", "5"]),
        ("install", &["--identity", "managed"]),
    ] {
        let name = words[0].split('=').next().unwrap();
        let words = [&[verb], words, &["word"]].concat();
        refusals.usage_error(&words, name);
    }
}

#[test]
fn value_that_an_option_does_not_take_is_rejected() {
    let refusals = Refusals::new();
    let rows = [
        (
            "--output",
            &[
                "file", "Files", "json", "yaml:a", "env:a", "JSON:a", ":a", "files:a", "a",
            ][..],
        ),
        ("--layout", &["Atomic", "kubelet", "plain,atomic"]),
        (
            "--mode",
            &[
                "0888", "1000", "4755", "07777", "00440", "0o440", "u=r", "+440", "rw", "4 40",
            ],
        ),
        (
            "--keep-existing",
            &["never", "1d", "5 m", "1.5h", "4294967296"],
        ),
    ];
    for (option, values) in rows {
        for value in values {
            let word = format!("{option}={value}");
            let failure = refusals.refused(&[&word, "--secret", "a=alpha"], USAGE, option);
            failure.names(&format!("`{value}`")).hinted();
        }
    }
    for value in ["al_pha", "=alpha", "="] {
        refusals
            .refused(&["--secret", value], USAGE, "--secret")
            .hinted();
    }
}

#[test]
fn option_without_its_value_is_rejected() {
    let refusals = Refusals::new();
    for option in [
        "--output",
        "--layout",
        "--mode",
        "--secret",
        "--literal",
        "--vault",
    ] {
        for words in [
            &[option][..],
            &[option, "--verbose"],
            &[&format!("{option}=")],
        ] {
            let words = [&["write"], words, &["--", "/nowhere"]].concat();
            refusals.usage_error(&words, option);
        }
    }
    for option in [
        "--from-env",
        "--require-tmpfs",
        "--allow-loose-mode",
        "--dry-run",
    ] {
        let word = format!("{option}=yes");
        refusals.refused(&[&word], USAGE, option).hinted();
    }
}

#[test]
fn option_that_is_given_twice_is_rejected() {
    let refusals = Refusals::new();
    for words in [
        &["--layout", "plain", "--layout=plain"][..],
        &["--mode", "0400", "--mode", "0400"],
        &["--keep-existing", "--keep-existing"],
        &["--keep-existing=5m", "--keep-existing"],
        &["--keep-existing", "--keep-existing=5m"],
        &["--from-env", "--from-env"],
        &["--require-tmpfs", "--secret=b=beta", "--require-tmpfs"],
        &["--allow-loose-mode", "--allow-loose-mode"],
        &["--dry-run", "--dry-run"],
    ] {
        let name = words[0].split('=').next().unwrap();
        let words = [words, &["--secret", "a=alpha"]].concat();
        refusals.refused(&words, USAGE, name).hinted();
    }
}

/// The word after the option may be DIR.
#[test]
fn age_of_keep_existing_must_follow_an_equals_sign() {
    let refusals = Refusals::new();
    let secret = ["--secret", "a=alpha"];
    let empty = [&["--keep-existing="], &secret[..]].concat();
    refusals.refused(&empty, USAGE, "--keep-existing").hinted();
    let dir = refusals.place.word();
    let slip = ["--secret", "a=alpha", "--keep-existing", "5m"];
    for (more, name) in [
        (&[][..], dir.as_str()),
        (&["--secret", "b=beta"], "--secret"),
    ] {
        let failure = refusals.refused(&[&slip[..], more].concat(), USAGE, name);
        failure.hint_names("--keep-existing=");
    }
    // So it is DIR here.
    let words = ["--secret", "a=akv://kv1/alpha", "--keep-existing", "5m"];
    let run = write(&refusals.azure, words).with(|command| {
        command.current_dir(refusals.place.beside("."));
    });
    run.failure(73, "cannot create").names("`5m`").hinted();
    refusals.end();
}

#[test]
fn help_and_version_are_printed() {
    let version = akv_init(["--version"]).outcome().stdout;
    for words in [
        &["write", "--help"][..],
        &["write", "--mode", "rw", "-h", "/nowhere"],
        &["write", "--keep-existing", "--help"],
        &["write", "--keep-existing=", "--bogus", "-h"],
        &["install", "--help"],
        &["install", "--secret", "-h"],
    ] {
        let help = akv_init(["help", words[0]]).outcome();
        let usage = format!("Usage:\n  akv-init {} ", words[0]);
        assert!(help.stdout.starts_with(&usage), "{}", help.stdout);
        assert_eq!(
            akv_init(words).outcome().stdout_alone(),
            help.stdout,
            "{words:?}"
        );
    }
    for words in [&["write", "--version"][..], &["install", "-V", "/nowhere"]] {
        assert_eq!(
            akv_init(words).outcome().stdout_alone(),
            version,
            "{words:?}"
        );
    }
}
