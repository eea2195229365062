//! argv: options and their values, COMMAND and its arguments, usage errors, help and version.

mod selectors;
mod settings;
mod usage;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::azure::{APPLICATION, Azure, Endpoint, TENANT};
use crate::support::{Outcome, Run, akv_init, exec};

/// An address where nothing listens.
const NO_IMDS: &str = "http://127.0.0.1:1";

/// A dry run with these words before COMMAND.
fn dry_run(words: &[&str]) -> Run {
    let run = akv_init(["exec", "--dry-run"]).args(words);
    run.args(["/bin/true"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NO_IMDS)
}

/// A run in which every setting is invalid.
fn with_invalid_settings(words: &[&str]) -> Outcome {
    let names = [
        "TIMEOUT",
        "IDENTITY",
        "CLOUD",
        "VAULT",
        "OVERRIDE",
        "VERBOSE",
        "ALLOW_VAULT",
        "LOG_FORMAT",
    ];
    let run = akv_init(words).env("BROKEN", "see akv://kv1/sa");
    let run = names
        .iter()
        .fold(run, |run, name| run.env(format!("AKV_INIT_{name}"), "!"));
    run.env("AKV_INIT_CA_FILE", "/nowhere/ca.pem").outcome()
}

/// The help of `exec`.
fn help_of_exec() -> String {
    let outcome = akv_init(["exec", "--help"]).outcome();
    outcome.stdout_alone().to_owned()
}

#[test]
fn help_is_printed_despite_invalid_settings() {
    let outcome = akv_init(["--help"]).outcome();
    let help = outcome.stdout_alone();
    for words in [&["--help"][..], &["-h"], &["help"], &["--help", "--bogus"]] {
        assert_eq!(
            with_invalid_settings(words).stdout_alone(),
            help,
            "{words:?}"
        );
    }
    let help = help_of_exec();
    let command_lines: [&[&str]; 8] = [
        &["exec", "--help"],
        &["exec", "-h"],
        &["exec", "--vault", "kv1", "--help", "--", "/bin/true"],
        &["exec", "--help", "/bin/true"],
        &["exec", "--timeout", "never", "--help"],
        &["exec", "--secret", "S=http://kv1/sa", "-h"],
        &["exec", "--client-id", "a", "--object-id", "b", "-h"],
        &["exec", "--dry-run", "--help", "--dry-run", "absent"],
    ];
    for words in command_lines {
        assert_eq!(
            with_invalid_settings(words).stdout_alone(),
            help,
            "{words:?}"
        );
    }
}

#[test]
fn help_is_printed_despite_usage_errors() {
    let help = help_of_exec();
    let command_lines: [&[&str]; 6] = [
        &["exec", "--bogus", "--help"],
        &["exec", "--help", "--bogus"],
        &["exec", "--timeout", "--help"],
        &["exec", "--override=1", "-h"],
        &["exec", "-x", "-h", "/bin/true"],
        &["exec", "--timeout=", "--help"],
    ];
    for words in command_lines {
        assert_eq!(
            with_invalid_settings(words).stdout_alone(),
            help,
            "{words:?}"
        );
    }
}

#[test]
fn version_is_printed_despite_invalid_settings() {
    let version = akv_init(["--version"]).outcome().stdout;
    let command_lines: [&[&str]; 6] = [
        &["--version"],
        &["-V"],
        &["exec", "--version"],
        &["exec", "-V"],
        &["exec", "--timeout", "never", "--version", "/bin/true"],
        &["exec", "--vault", "kv1", "-V"],
    ];
    for words in command_lines {
        assert_eq!(
            with_invalid_settings(words).stdout_alone(),
            version,
            "{words:?}"
        );
    }
}

/// A COMMAND that prints its arguments in brackets.
const SHOW: [&str; 4] = ["/bin/sh", "-c", "[ $# = 0 ] || printf '[%s]' \"$@\"", "sh"];

#[test]
fn arguments_of_command_are_not_parsed() {
    let arguments: [&[&str]; 7] = [
        &[],
        &["--help"],
        &["-h", "-V", "--version", "help"],
        &["--", "--", "-"],
        &[
            "--dry-run",
            "--secret",
            "S=akv://kv1/sa",
            "--secret",
            "--bogus",
        ],
        &["--verbose", "--unset=A", "exec", "--"],
        &["", " ", "a b", "\t\n", "$HOME", "akv://kv1/sa", "-%s\\n"],
    ];
    for words in arguments {
        let expected: String = words.iter().map(|word| format!("[{word}]")).collect();
        for options in [
            &["exec"][..],
            &["exec", "--"],
            &["exec", "--vault", "kv1", "--"],
        ] {
            let run = akv_init(options).args(SHOW).args(words);
            assert_eq!(
                run.outcome().stdout_alone(),
                expected,
                "{options:?} {words:?}"
            );
        }
    }
}

#[test]
fn arguments_of_command_may_be_any_bytes() {
    let words = [&b"\xff"[..], b"--\xfe=\x80", b"\xc3\x28"].map(OsStr::from_bytes);
    let script = [
        "exec",
        "/bin/sh",
        "-c",
        "printf '[%s]' \"$@\" | od -An -tx1 | tr -d ' \\n'",
        "sh",
    ];
    let run = akv_init(script).args(words).env("PATH", "/bin:/usr/bin");
    assert_eq!(run.outcome().stdout_alone(), "5bff5d5b2d2dfe3d805d5bc3285d");
}

#[test]
fn first_word_that_is_not_an_option_is_command() {
    // `exec` is the value of --vault here, and `echo` follows an option that takes no value.
    let outcome = akv_init([
        "exec",
        "--vault",
        "exec",
        "--override",
        "echo",
        "--override",
    ]);
    assert_eq!(
        outcome
            .env("PATH", "/bin:/usr/bin")
            .outcome()
            .stdout_alone(),
        "--override\n"
    );
    let not_found = |words: &[&str], name: &str| {
        let run = akv_init(["exec"]).args(words).env("PATH", "/bin");
        let failure = run.failure(127, "command not found");
        failure.names(&format!("`{name}`"));
    };
    not_found(&["absent", "--help"], "absent");
    not_found(&["-", "--help"], "-");
    not_found(&["--", "--help"], "--help");
    not_found(&["--", "--"], "--");
    not_found(&["--vault", "kv1", "--", "--vault", "kv2"], "--vault");
    not_found(&["--timeout=5", "5"], "5");
}

#[test]
fn value_of_an_option_follows_a_space_or_an_equals_sign() {
    let spaced = [
        "--vault",
        "kv2",
        "--secret",
        "A=sa",
        "--timeout",
        "7",
        "--unset",
        "B",
    ];
    let joined = ["--vault=kv2", "--secret=A=sa", "--timeout=7", "--unset=B"];
    let expected = dry_run(&spaced).outcome();
    let secret = expected.planned("secret").concat();
    assert!(
        secret.starts_with("A <- https://kv2.vault.azure.net/secrets/sa "),
        "{secret}"
    );
    assert_eq!(expected.planned("unset"), ["B"]);
    assert_eq!(expected.planned("deadline"), ["7 s"]);
    assert_eq!(dry_run(&joined).outcome(), expected);
    assert_eq!(
        dry_run(&[
            "--timeout=7",
            "--unset",
            "B",
            "--secret=A=sa",
            "--vault",
            "kv2"
        ])
        .outcome(),
        expected
    );
}

#[test]
fn dry_run_prints_the_plan_and_does_nothing() {
    let azure = Azure::start();
    azure.secret("sa", "s3cret");
    let vault = azure.vault();
    let marker = azure.dir().join("was-run");
    let words = [
        "--wait-for-access",
        "10m",
        "--dry-run",
        "--secret",
        "C=akv://kv1/other?trim",
        "--unset",
        "OLD",
        "--unset",
        "OLDER",
        "--",
    ];
    let command = [
        "touch",
        marker.to_str().expect("a temporary directory is UTF-8"),
    ];
    let version = "0123456789abcdef0123456789abcdef";
    let run = exec(&azure, words)
        .args(command)
        .env("PATH", "/nowhere:/bin:/usr/bin");
    let run = run
        .env("A", format!("akv://{vault}/sa"))
        .env("B", format!("akv://{vault}/SA"))
        .env("D", format!("akv://{vault}/sa/{version}"))
        .env("E", "an ordinary value")
        .env("OLD", "akv://kv1/not-read");
    let outcome = run.outcome();
    assert!(outcome.planned("identity").concat().contains(&azure.imds()));
    let secrets = outcome.planned("secret");
    let expected = [
        format!("A, B <- https://{vault}/secrets/sa "),
        format!("D <- https://{vault}/secrets/sa/{version} "),
        "C <- https://kv1.vault.azure.net/secrets/other ".to_owned(),
    ];
    assert_eq!(secrets.len(), expected.len(), "{secrets:?}");
    for (secret, expected) in secrets.iter().zip(&expected) {
        assert!(secret.starts_with(expected), "{secret}");
    }
    assert_eq!(outcome.planned("trim").len(), 1);
    assert_eq!(outcome.planned("unset"), ["OLD", "OLDER"]);
    let deadline = outcome.planned("deadline").concat();
    assert!(
        deadline.contains("30 s") && deadline.contains("600 s"),
        "{deadline}"
    );
    assert_eq!(outcome.stdout.lines().count(), 9, "{}", outcome.stdout);
    assert!(!marker.exists());
    for endpoint in Endpoint::ALL {
        assert_eq!(azure.connections(endpoint), 0, "{endpoint:?}");
    }
}

#[test]
fn dry_run_names_the_issuer_of_the_token() {
    let workload = [
        ("AZURE_CLIENT_ID", APPLICATION),
        ("AZURE_TENANT_ID", TENANT),
        // A dry run works on any machine: the file is not read.
        ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token"),
    ];
    let run = dry_run(&[
        "--timeout",
        "0",
        "--secret",
        "A=akv://kv1.vault.azure.cn/sa",
    ]);
    let run = workload
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    let outcome = run.outcome();
    let identity = outcome.planned("identity").concat();
    for part in ["https://login.microsoftonline.com", APPLICATION, TENANT] {
        assert!(identity.contains(part), "{identity}");
    }
}

#[test]
fn dry_run_without_a_reference_names_command() {
    let outcome = dry_run(&["--unset", "B", "--timeout", "5"]).outcome();
    assert_eq!(outcome.planned("unset"), ["B"]);
    assert_eq!(outcome.stdout.lines().count(), 2, "{}", outcome.stdout);
}

#[test]
fn dry_run_fails_as_the_run_does() {
    let run = |dry: &[&str], words: &[&str]| {
        let run = akv_init(["exec"]).args(dry).args(words).env("PATH", "/bin");
        run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NO_IMDS)
            .env("A", "a value")
            // Warned of before COMMAND is found.
            .env("AKV_INIT_TIMEOUTS", "5")
            .outcome()
    };
    let cases: [(&[&str], i32); 6] = [
        (&["--secret", "A=akv://kv1/sa", "/bin/true"], 78),
        (&["--secret", "B=akv://_/sa", "/bin/true"], 78),
        (&["--secret", "B=akv://kv1/sa", "absent"], 127),
        (&["--secret", "B=akv://kv1/sa", "/"], 126),
        (
            &[
                "--secret",
                "B=akv://kv1/sa",
                "--identity",
                "workload",
                "/bin/true",
            ],
            78,
        ),
        (&["--unset"], 64),
    ];
    for (words, code) in cases {
        let outcome = run(&["--dry-run"], words);
        assert_eq!(outcome, run(&[], words));
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
    }
}
