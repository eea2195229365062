//! `--memfd` that is refused: the names and conflicts of `--secret`, and limits that leave no room for a descriptor.

use std::fs::{self, File};

use nix::sys::resource::Resource;

use super::{VALUE, one_secret, run};
use crate::azure::{Azure, Endpoint};
use crate::support::{Failure, Run, akv_init};
use crate::support_inherited as inherited;
use crate::support_namespaces::cover;
use crate::support_requests::connections;

/// Asserts that the run fails with this code and cause without a request, and that the error names this.
#[track_caller]
fn refused(words: &[&str], (code, cause): (i32, &str), name: &str) -> Failure {
    refused_with(words, None, (code, cause), name)
}

/// The same with a value of the variable `A`.
#[track_caller]
fn refused_with(
    words: &[&str],
    a: Option<&str>,
    (code, cause): (i32, &str),
    name: &str,
) -> Failure {
    let azure = Azure::start();
    let run = run(&azure, words).args(["--", "/bin/true"]);
    let run = a.into_iter().fold(run, |run, value| run.env("A", value));
    let failure = run.failure(code, cause);
    failure.names(name);
    assert_eq!(connections(&azure), 0);
    failure
}

const CONFIG: (i32, &str) = (78, "config");
const USAGE: (i32, &str) = (64, "usage");

#[test]
fn name_that_a_secret_may_not_set_is_refused() {
    for name in [
        "a b",
        "a/b",
        "ä",
        "PATH",
        "LD_PRELOAD",
        "BASH_ENV",
        "IFS",
        "AKV_INIT_TIMEOUT",
    ] {
        let words = ["--memfd", &format!("{name}=alpha"), "--override"];
        refused(&words, CONFIG, name);
    }
}

#[test]
fn variable_with_two_sources_is_refused() {
    for words in [
        ["--memfd=A=alpha", "--memfd=A=alpha"],
        ["--memfd=A=alpha", "--memfd=A=beta"],
        ["--memfd=A=alpha", "--secret=A=alpha"],
        ["--secret=A=beta", "--memfd=A=alpha"],
    ] {
        refused(&words, CONFIG, "A");
        refused(&[&words[..], &["--override"]].concat(), CONFIG, "A");
    }
    for option in ["--unset", "--literal"] {
        refused(&["--memfd", "A=alpha", option, "A"], CONFIG, option);
    }
    for value in ["/run/secrets/a", "akv:///alpha"] {
        let failure = refused_with(&["--memfd", "A=alpha"], Some(value), CONFIG, "A");
        failure.hint_names("--override");
    }
}

#[test]
fn override_replaces_a_value_by_the_path() {
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
fn malformed_option_is_refused() {
    for value in ["alpha", "=alpha", "akv:///alpha"] {
        refused(&["--memfd", value], USAGE, "--memfd").hinted();
    }
    for words in [&["--memfd"][..], &["--memfd", "--verbose"], &["--memfd="]] {
        refused(words, USAGE, "--memfd").hinted();
    }
    for mode in ["rw", "1000", ""] {
        let words = ["--memfd=A=alpha", &format!("--memfd-mode={mode}")];
        refused(&words, USAGE, "--memfd-mode").hinted();
    }
    refused(&["--memfd", "A=akv://_/alpha"], CONFIG, "A");
}

#[test]
fn low_limit_of_open_files_is_refused_before_any_request() {
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
        let failure = limited(limit).failure(73, "cannot create");
        failure.names("--memfd").names(&limit.to_string());
        failure.hint_names("102");
    }
    assert_eq!(connections(&azure), 0);
    let outcome = limited(102).outcome();
    assert_eq!(outcome.stdout_alone(), format!("{VALUE}{VALUE}"));
}

/// The path would lead nowhere.
#[test]
fn missing_proc_is_refused_before_any_request() {
    let azure = one_secret();
    let words = ["--memfd", "A=alpha", "--", "/bin/echo", "started"];
    let without_proc = |run: Run| run.with(|command| cover(command, "/proc", "", 0));
    let failure = without_proc(run(&azure, &words)).failure(73, "cannot create");
    failure.names("--memfd").names("`/proc/self/fd`").hinted();
    assert_eq!(connections(&azure), 0);
    let secret = run(
        &azure,
        &["--secret", "A=alpha", "--", "/bin/echo", "started"],
    );
    assert_eq!(without_proc(secret).outcome().stdout_alone(), "started\n");
    let check = akv_init(["check", "--vault=kv1", "--timeout=1"]).args(words);
    let check = check.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
    let outcome = without_proc(check).outcome();
    assert_eq!(outcome.code, Some(73), "{outcome:?}");
}

#[test]
fn inherited_descriptors_that_leave_no_room_are_reported() {
    let azure = one_secret();
    let inherited_file = azure.dir().join("inherited");
    fs::write(&inherited_file, "").unwrap();
    let run = run(
        &azure,
        &["--memfd", "A=alpha", "--", "/bin/echo", "started"],
    );
    let run = run.with(|command| {
        inherited::pass(command, File::open(&inherited_file).unwrap().into(), 100);
        inherited::limit(command, Resource::RLIMIT_NOFILE, 101, 101);
    });
    run.failure(73, "cannot create").names("A").hinted();
}

#[test]
fn limit_on_the_size_of_files_is_reported() {
    let azure = one_secret();
    let words = ["--memfd", "A=alpha", "--", "/bin/echo", "started"];
    let limited = |bytes| {
        run(&azure, &words).with(move |command| {
            inherited::limit(command, Resource::RLIMIT_FSIZE, bytes, bytes);
        })
    };
    for bytes in [0, VALUE.len() as u64 - 1] {
        let failure = limited(bytes).failure(73, "cannot create");
        failure.names("A").names("File too large");
    }
    let outcome = limited(VALUE.len() as u64).outcome();
    assert_eq!(outcome.stdout_alone(), "started\n");
}

#[test]
fn missing_secret_is_reported_with_its_variable() {
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
    let failure = run(&azure, &words).failure(66, "not found");
    failure.fact("for", "A").fact("secret", "missing");
    failure.fact("vault", azure.vault());
    assert!(azure.requests_at(Endpoint::Vault).len() <= 2);
}
