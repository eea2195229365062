//! `--memfd` that is refused: the names and conflicts of `--secret`, and limits that leave no room for a descriptor.

use std::fs::{self, File};

use nix::sys::resource::Resource;

use super::{VALUE, one_secret, run};
use crate::azure::{Azure, Door};
use crate::become_command::inherited;
use crate::network::wire::connections;
use crate::support::Outcome;

/// What a run comes to that must ask nobody.
#[track_caller]
fn refused(words: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let azure = Azure::start();
    let run = run(&azure, words).args(["--", "/bin/true"]);
    let run = variables
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    let outcome = run.outcome();
    assert_eq!(connections(&azure), 0);
    outcome
}

#[test]
fn its_name_is_that_of_a_variable_that_a_secret_may_set() {
    let identifier =
        "a variable's name has letters, digits and `_`, and does not start with a digit";
    let code = "this variable decides which code runs; a secret may not set it";
    for (name, why) in [
        ("1ST", identifier),
        ("my-app", identifier),
        ("a/b", identifier),
        ("ä", identifier),
        ("PATH", code),
        ("LD_PRELOAD", code),
        ("BASH_ENV", code),
        ("IFS", code),
        (
            "AKV_INIT_TIMEOUT",
            "names that start with AKV_INIT_ are akv-init's own settings",
        ),
    ] {
        let outcome = refused(&["--memfd", &format!("{name}=alpha"), "--override"], &[]);
        outcome.failed(78, &[&format!("error: {name}: {why}")]);
    }
}

#[test]
fn its_variable_is_nobody_elses() {
    let twice = "error: A: it is given twice";
    for words in [
        ["--memfd=A=alpha", "--memfd=A=alpha"],
        ["--memfd=A=alpha", "--memfd=A=beta"],
        ["--memfd=A=alpha", "--secret=A=alpha"],
        ["--secret=A=beta", "--memfd=A=alpha"],
    ] {
        refused(&words, &[]).failed(78, &[twice]);
        refused(&[&words[..], &["--override"]].concat(), &[]).failed(78, &[twice]);
    }
    for option in ["--unset", "--literal"] {
        let error = format!("error: A: it is also named by {option}");
        refused(&["--memfd", "A=alpha", option, "A"], &[]).failed(78, &[&error]);
    }
    let words = ["--memfd", "A=alpha"];
    refused(&words, &[("A", "/run/secrets/a")]).failed(
        78,
        &[
            "error: A: the variable has a value already",
            "hint: remove it from the environment, or let the secret win with --override",
        ],
    );
    let two = [
        "error: A: two sources: the variable is a reference already",
        "hint: remove the variable from the environment, or let the option win with --override",
    ];
    refused(&words, &[("A", "akv:///alpha")]).failed(78, &two);
}

#[test]
fn with_override_the_path_replaces_a_value() {
    let azure = one_secret();
    for (words, value) in [
        (&["--memfd", "A=alpha", "--override"][..], "/run/secrets/a"),
        (&["--memfd", "A=alpha"], ""),
    ] {
        let words = [words, &["--", "/bin/sh", "-c", "cat $A"]].concat();
        let outcome = run(&azure, &words).env("A", value).outcome();
        assert_eq!(outcome.stdout_alone(), VALUE);
    }
}

#[test]
fn what_is_typed_wrongly_is_said_by_its_name() {
    let help = "hint: see akv-init --help";
    let pair = "error: --memfd takes NAME=REF: a variable, `=`, a reference";
    for value in ["alpha", "=alpha", "akv:///alpha"] {
        refused(&["--memfd", value], &[]).failed(64, &[pair, help]);
    }
    for words in [&["--memfd"][..], &["--memfd", "--verbose"], &["--memfd="]] {
        refused(words, &[]).failed(64, &["error: --memfd needs a value", help]);
    }
    let outcome = refused(&["--memfd", "A=akv://_/alpha"], &[]);
    assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
}

#[test]
fn a_limit_of_open_files_that_is_too_low_is_refused_before_anything_is_asked() {
    let azure = one_secret();
    let words = [
        "--memfd",
        "A=alpha",
        "--memfd",
        "B=alpha",
        "--",
        "/bin/sh",
        "-c",
        "cat $A $B",
    ];
    let limited = |limit| {
        run(&azure, &words)
            .env("C", "akv:///alpha")
            .with(move |command| {
                inherited::limit(command, Resource::RLIMIT_NOFILE, limit, limit);
            })
    };
    for limit in [64, 100, 101] {
        let error = format!(
            "error: --memfd: COMMAND gets descriptors from 100 on, and the limit of open files is {limit}"
        );
        let hint = "hint: raise it to 102 or more (ulimit -n)";
        limited(limit).outcome().failed(73, &[&error, hint]);
    }
    assert_eq!(connections(&azure), 0);
    let outcome = limited(102).outcome();
    assert_eq!(outcome.stdout_alone(), format!("{VALUE}{VALUE}"));
}

/// COMMAND is not started with less than it was promised.
#[test]
fn inherited_descriptors_that_leave_no_room_are_an_error() {
    let azure = one_secret();
    let theirs = azure.dir().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    let run = run(
        &azure,
        &["--memfd", "A=alpha", "--", "/bin/echo", "started"],
    );
    let run = run.with(|command| {
        inherited::pass(command, File::open(&theirs).unwrap().into(), 100);
        inherited::limit(command, Resource::RLIMIT_NOFILE, 101, 101);
    });
    run.outcome().failed(
        73,
        &[
            "error: A: making a file in memory: Too many open files",
            "hint: COMMAND gets it as descriptor 100 or above: raise the limit of open files (ulimit -n)",
        ],
    );
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    let azure = one_secret();
    let words = ["--memfd", "A=alpha", "--", "/bin/echo", "started"];
    let limited = |bytes| {
        run(&azure, &words).with(move |command| {
            inherited::limit(command, Resource::RLIMIT_FSIZE, bytes, bytes);
        })
    };
    for bytes in [0, VALUE.len() as u64 - 1] {
        let outcome = limited(bytes).outcome();
        let error = "A: making a file in memory: File too large";
        assert_eq!(
            (outcome.code, outcome.error()),
            (Some(73), Some(error)),
            "{outcome:?}"
        );
        assert_eq!(outcome.stdout, "");
    }
    let outcome = limited(VALUE.len() as u64).outcome();
    assert_eq!(outcome.stdout_alone(), "started\n");
}

#[test]
fn a_secret_that_is_not_there_is_said_by_its_variable() {
    let azure = one_secret();
    let words = [
        "--memfd",
        "A=missing",
        "--memfd",
        "B=alpha",
        "--",
        "/bin/echo",
        "started",
    ];
    let outcome = run(&azure, &words).outcome();
    let start = format!(
        "reading secret `missing` from {} for A: 404 Not Found",
        azure.vault()
    );
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(66), ""));
    assert!(
        outcome
            .error()
            .is_some_and(|error| error.starts_with(&start)),
        "{}",
        outcome.stderr
    );
    assert!(azure.requests_at(Door::Vault).len() <= 2);
}
