//! The command lines of `write` and `install`: which options there are, what they take, and DIR.

use super::{Nothing, USAGE};
use crate::support::{akv_init, write};
use crate::support_files::MISSING;

const HELP: &str = "hint: see akv-init --help";

impl Nothing {
    /// A run of the program with exactly these words is refused.
    #[track_caller]
    fn mistyped(&self, words: &[&str], why: &str) {
        let run = akv_init(words).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.azure.imds());
        let outcome = run.env("AKV_INIT_VAULT", self.azure.vault()).outcome();
        outcome.failed(USAGE, &[&format!("error: {why}"), HELP]);
        self.end();
    }
}

#[test]
fn dir_is_the_last_word_and_the_only_one() {
    let nothing = Nothing::new();
    let dir = nothing.place.word();
    for verb in [&["install"][..], &["write", "--secret", "a=alpha"]] {
        let with = |words: &[&'static str]| [verb, words].concat();
        nothing.mistyped(&with(&[]), "no DIR given");
        nothing.mistyped(&with(&["--"]), "no DIR given");
        nothing.mistyped(&with(&[""]), "no DIR given");
        nothing.mistyped(&with(&["one", "two"]), "`two` is one word too many");
        nothing.mistyped(
            &with(&["--", "one", "two", "three"]),
            "`two` is one word too many",
        );
        nothing.mistyped(&with(&["one", ""]), "`` is one word too many");
        let behind = "`--verbose` stands behind DIR: options go before it";
        nothing.mistyped(&with(&["one", "--verbose"]), behind);
        nothing.mistyped(&with(&["--", "one", "--verbose"]), behind);
    }
    nothing.mistyped(
        &[
            "write",
            "--secret",
            "a=alpha",
            "--dry-run",
            &dir,
            "--secret",
            "b=beta",
        ],
        "`--secret` stands behind DIR: options go before it",
    );
}

#[test]
fn there_has_to_be_something_to_write() {
    let nothing = Nothing::new();
    let why = "nothing to write: give --secret FILE=REF or --from-env";
    for words in [
        &["write", "/nowhere"][..],
        &["write", "--output", "files", "/nowhere"],
        &["write", "--dry-run", "--vault", "kv1", "/nowhere"],
        &["write", "--literal", "A", "/nowhere"],
    ] {
        nothing.mistyped(words, why);
    }
    let words = ["write", "--secret", "a=alpha", "--literal", "A", "/nowhere"];
    nothing.mistyped(&words, "--literal is for --from-env");
}

#[test]
fn an_option_of_another_command_is_said_to_be_one() {
    let nothing = Nothing::new();
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
        ("token", &["--mode", "0400"]),
        ("token", &["--memfd", "A=alpha"]),
        ("token", &["--output", "files"]),
        ("token", &["--keep-existing"]),
        ("token", &["--from-env"]),
        ("install", &["--secret", "a=alpha"]),
        ("install", &["--mode", "0555"]),
        ("install", &["--dry-run"]),
        ("install", &["--require-tmpfs"]),
        ("install", &["--timeout", "5"]),
        ("install", &["--identity", "managed"]),
    ] {
        let name = words[0].split('=').next().unwrap();
        let words = [&[verb], words, &["word"]].concat();
        nothing.mistyped(&words, &format!("{name} is no option of {verb}"));
    }
}

#[test]
fn a_value_that_an_option_does_not_take_is_an_error() {
    let nothing = Nothing::new();
    let outputs = "files, dotenv:FILE, k8s-env:FILE or json:FILE";
    let mode = "a mode like 0440 (octal, 0777 at most)";
    let duration = "a duration like 90, 90s, 2m or 1h";
    let rows = [
        (
            "--output",
            &[
                "file", "Files", "json", "yaml:a", "env:a", "JSON:a", ":a", "files:a", "a",
            ][..],
            outputs,
        ),
        (
            "--layout",
            &["Atomic", "kubelet", "plain,atomic"],
            "plain or atomic",
        ),
        (
            "--mode",
            &[
                "0888", "1000", "4755", "07777", "00440", "0o440", "u=r", "+440", "rw", " 440",
            ],
            mode,
        ),
        (
            "--keep-existing",
            &["never", "1d", "5 m", "1.5h", "4294967296"],
            duration,
        ),
    ];
    for (option, values, expected) in rows {
        for value in values {
            let error = format!("error: {option}: `{value}` is not {expected}");
            let word = format!("{option}={value}");
            nothing.refused(&[&word, "--secret", "a=alpha"], USAGE, &[&error, HELP]);
        }
    }
    let pair = "error: --secret takes NAME=REF: a file, `=`, a reference";
    for value in ["alpha", "=alpha", "="] {
        nothing.refused(&["--secret", value], USAGE, &[pair, HELP]);
    }
}

#[test]
fn an_option_without_its_value_is_an_error() {
    let nothing = Nothing::new();
    for option in [
        "--output",
        "--layout",
        "--mode",
        "--secret",
        "--literal",
        "--vault",
    ] {
        let error = format!("error: {option} needs a value");
        for words in [
            &[option][..],
            &[option, "--verbose"],
            &[&format!("{option}=")],
        ] {
            let mut words = words.to_vec();
            words.extend(["--", "/nowhere"]);
            akv_init(["write"])
                .args(words)
                .outcome()
                .failed(USAGE, &[&error, HELP]);
        }
    }
    for option in ["--from-env", "--require-tmpfs", "--dry-run"] {
        let error = format!("error: {option} takes no value");
        nothing.refused(&[&format!("{option}=yes")], USAGE, &[&error, HELP]);
    }
}

#[test]
fn an_option_that_is_given_twice_is_an_error() {
    let nothing = Nothing::new();
    for words in [
        &["--layout", "plain", "--layout=plain"][..],
        &["--mode", "0400", "--mode", "0400"],
        &["--keep-existing", "--keep-existing"],
        &["--keep-existing=5m", "--keep-existing"],
        &["--keep-existing", "--keep-existing=5m"],
        &["--from-env", "--from-env"],
        &["--require-tmpfs", "--secret=b=beta", "--require-tmpfs"],
        &["--dry-run", "--dry-run"],
    ] {
        let name = words[0].split('=').next().unwrap();
        let words = [words, &["--secret", "a=alpha"]].concat();
        nothing.refused(
            &words,
            USAGE,
            &[&format!("error: {name} is given twice"), HELP],
        );
    }
}

/// Its age stands behind `=`, since what follows may be DIR.
#[test]
fn keep_existing_takes_its_age_only_behind_an_equals_sign() {
    let nothing = Nothing::new();
    let secret = ["--secret", "a=alpha"];
    nothing.refused(
        &[&["--keep-existing="], &secret[..]].concat(),
        USAGE,
        &["error: --keep-existing needs a value", HELP],
    );
    let dir = nothing.place.word();
    let hint = "hint: the age of --keep-existing stands behind `=`: --keep-existing=12h";
    let slip = ["--secret", "a=alpha", "--keep-existing", "5m"];
    for (more, why) in [
        (&[][..], format!("`{dir}` is one word too many")),
        (
            &["--secret", "b=beta"],
            "`--secret` stands behind DIR: options go before it".to_owned(),
        ),
    ] {
        let words = [&slip[..], more].concat();
        let lines = [&format!("error: {why}"), hint];
        nothing.refused(&words, USAGE, &lines);
    }
    // And so it is DIR here.
    write(
        &nothing.azure,
        ["--secret", "a=akv://kv1/alpha", "--keep-existing", "5m"],
    )
    .with(|command| {
        command.current_dir(nothing.place.beside("."));
    })
    .outcome()
    .failed(
        73,
        &[
            &format!("error: cannot write `5m`: {}", MISSING[0]),
            MISSING[1],
        ],
    );
    nothing.end();
}

#[test]
fn help_and_version_are_there_for_them_too() {
    let version = concat!("akv-init ", env!("CARGO_PKG_VERSION"), "\n");
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
