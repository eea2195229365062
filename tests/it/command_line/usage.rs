//! Usage errors: exit code 64, with the option's name and a hint. An option's value is shown only where it is known not
//! to be a secret.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::dry_run;
use crate::support::{Run, akv_init};

/// Asserts that the run is a usage error that names this and has a hint.
#[track_caller]
fn usage_error(run: Run, name: &str) {
    run.failure(64, "usage").names(name).hinted();
}

/// Options that take a value, with a good one; those that may be repeated come first.
const VALUES: [(&str, &str); 17] = [
    ("--allow-vault", "vault.example.com"),
    ("--literal", "A"),
    ("--memfd", "M=akv://kv1/sa"),
    ("--secret", "A=akv://kv1/sa"),
    ("--unset", "B"),
    ("--ca-file", "/nowhere"),
    ("--client-id", "id"),
    ("--cloud", "china"),
    ("--identity", "managed"),
    ("--log-format", "json"),
    ("--object-id", "id"),
    ("--resource-id", "id"),
    ("--throttle-timeout", "5"),
    ("--timeout", "5"),
    ("--vault", "kv1"),
    ("--vault-resource", "https://vault.example"),
    ("--wait-for-access", "5"),
];
const REPEATABLE: usize = 5;
const FLAGS: [&str; 4] = ["--dry-run", "--override", "--quiet", "--verbose"];

#[test]
fn command_must_come_first() {
    usage_error(akv_init::<&str>([]), "");
    for word in [
        "--verbose",
        "--",
        "-x",
        "frobnicate",
        "",
        "EXEC",
        "/bin/true",
    ] {
        usage_error(akv_init([word, "exec"]), &format!("`{word}`"));
    }
}

#[test]
fn exec_needs_a_command() {
    let cases: [&[&str]; 4] = [
        &["exec"],
        &["exec", "--"],
        &["exec", "--timeout", "5"],
        &["exec", "--dry-run", "--secret", "A=akv://kv1/sa", "--"],
    ];
    for words in cases {
        usage_error(akv_init(words), "COMMAND");
    }
}

#[test]
fn unknown_option_is_rejected_without_its_value() {
    for (word, name) in [
        ("--bogus", "--bogus"),
        ("--bogus=hunter2", "--bogus"),
        ("--Timeout", "--Timeout"),
        ("--timeou", "--timeou"),
        ("-timeout", "-timeout"),
        ("-x", "-x"),
        ("-vV", "-vV"),
        ("---", "---"),
        ("--=x", "--"),
    ] {
        for words in [&[word][..], &["--vault", "kv1", word]] {
            let failure = dry_run(words).failure(64, "usage");
            failure.names(&format!("`{name}`")).hinted();
            failure.omits("hunter2").omits("=x");
        }
    }
}

#[test]
fn typo_is_corrected_in_the_hint() {
    for (words, name) in [
        (&["exec", "--valt", "kv1", "/bin/true"][..], "`--vault`"),
        (&["exec", "-vault", "kv1", "/bin/true"], "`--vault`"),
        (
            &["exec", "--vault-res", "x", "/bin/true"],
            "`--vault-resource`",
        ),
        (&["exec", "--timeuot", "5", "/bin/true"], "`--timeout`"),
        (&["exec", "--time", "5", "/bin/true"], "`--timeout`"),
        (&["write", "--from-evn", "/secrets"], "`--from-env`"),
        (&["exce", "/bin/true"], "`exec`"),
    ] {
        akv_init(words).failure(64, "usage").hint_names(name);
    }
    for unlike in ["--frobnicate", "-x"] {
        let outcome = akv_init(["exec", unlike]).outcome();
        assert!(
            !outcome.stderr.contains("did you mean"),
            "{}",
            outcome.stderr
        );
    }
    let run = dry_run(&[]).env("AKV_INIT_TIMOUT", "5").json();
    let warnings = run.outcome().lines_of("warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let message = warnings[0]["message"].as_str().unwrap();
    assert!(message.contains("AKV_INIT_TIMEOUT"), "{message}");
}

#[test]
fn usage_error_names_the_help_of_its_command() {
    for command in ["exec", "write", "check", "get", "token", "install"] {
        let failure = akv_init([command, "--bogus"]).failure(64, "usage");
        failure.hint_names(&format!("`akv-init {command} --help`"));
    }
}

#[test]
fn option_without_its_value_is_rejected() {
    for (option, _) in VALUES {
        let (empty, followed) = (format!("{option}="), format!("{option}=--verbose"));
        let cases: [&[&str]; 6] = [
            &[option],
            &[option, "--", "/bin/true"],
            &[option, "--verbose", "/bin/true"],
            &[option, "", "/bin/true"],
            &[&empty, "/bin/true"],
            &[&followed, "/bin/true"],
        ];
        for words in cases {
            usage_error(akv_init(["exec"]).args(words), option);
        }
    }
}

#[test]
fn flag_with_a_value_is_rejected() {
    for flag in FLAGS.into_iter().chain(["-v"]) {
        for word in [format!("{flag}=true"), format!("{flag}=")] {
            usage_error(akv_init(["exec", &word, "/bin/true"]), flag);
        }
    }
}

#[test]
fn option_that_is_given_twice_is_rejected() {
    for (option, value) in &VALUES[REPEATABLE..] {
        let joined = format!("{option}={value}");
        usage_error(dry_run(&[option, value, option, value]), option);
        usage_error(dry_run(&[&joined, "--verbose", option, value]), option);
    }
    for flag in FLAGS {
        let words = ["exec", flag, "--vault=kv1", flag, "/bin/true"];
        usage_error(akv_init(words), flag);
    }
}

#[test]
fn repeatable_option_adds_up() {
    let words = [
        [
            "--allow-vault",
            "one.example",
            "--allow-vault",
            "two.example:8443",
        ],
        [
            "--secret",
            "A=akv://one.example/a",
            "--secret",
            "B=akv://two.example:8443/b",
        ],
        ["--unset", "C", "--unset", "D"],
        ["--literal", "E", "--literal", "F"],
    ];
    let run = dry_run(&words.concat())
        .env("E", "akv://kv1/e")
        .env("F", "akv://kv1/f");
    let outcome = run.outcome();
    let secrets = outcome.planned("secret");
    assert_eq!(secrets.len(), 2, "{secrets:?}");
    assert!(secrets[0].starts_with("A <- https://one.example/secrets/a "));
    assert!(secrets[1].starts_with("B <- https://two.example:8443/secrets/b "));
    assert_eq!(outcome.planned("unset"), ["C", "D"]);
}

#[test]
fn value_that_an_option_does_not_take_is_rejected() {
    for (option, value) in [
        ("--identity", "system"),
        ("--identity", "Managed"),
        ("--cloud", "AzureCloud"),
        ("--vault", "a_b"),
        ("--vault", "kv1.vault.azure.net/secrets"),
        ("--vault", "http://kv1.vault.azure.net"),
        ("--allow-vault", "a b"),
        ("--allow-vault", "vault.example.com:0"),
        ("--secret", "akv://kv1/sa"),
        ("--secret", "s_a"),
        ("--secret", "=akv://kv1/sa"),
        ("--secret", "="),
    ] {
        usage_error(dry_run(&[option, value]), option);
    }
}

#[test]
fn malformed_duration_is_rejected() {
    let times = [
        "never",
        "s",
        "1.5",
        "5d",
        "2m30s",
        "5 m",
        "+5",
        "0x5",
        "4294967296",
        "71582789m",
        "1193047h",
    ];
    for option in ["--timeout", "--wait-for-access", "--throttle-timeout"] {
        for time in times {
            let failure = dry_run(&[option, time]).failure(64, "usage");
            failure.names(option).names(&format!("`{time}`")).hinted();
        }
    }
}

#[test]
fn duration_is_in_seconds_or_has_a_unit() {
    for (time, seconds) in [
        ("90", 90_u32),
        ("90s", 90),
        ("2m", 120),
        ("1h", 3600),
        ("007", 7),
        ("4294967295", 4_294_967_295),
    ] {
        let outcome = dry_run(&["--timeout", time, "--secret", "A=akv://kv1/sa"]).outcome();
        assert_eq!(
            outcome.planned("deadline"),
            [format!("{seconds} s")],
            "{time}"
        );
    }
    let zero = |time| dry_run(&["--timeout", time, "--secret", "A=akv://kv1/sa"]).outcome();
    assert_eq!(zero("0").planned("deadline").len(), 1);
    assert_eq!(zero("0s"), zero("0"));
}

/// Throttling moves the deadline only to a later time.
#[test]
fn plan_has_the_deadline_while_requests_are_throttled() {
    for (timeout, throttle_timeout, expected) in [
        ("7", "1m", "7 s; 60 s while requests are throttled"),
        ("7", "7", "7 s"),
        ("7", "0", "7 s"),
        ("0", "7", "none; each request is sent once"),
    ] {
        let run = dry_run(&[
            "--timeout",
            timeout,
            "--throttle-timeout",
            throttle_timeout,
            "--secret",
            "A=akv://kv1/sa",
        ]);
        assert_eq!(run.outcome().planned("deadline"), [expected]);
    }
}

#[test]
fn more_than_one_identity_is_rejected() {
    let options = ["--client-id", "--object-id", "--resource-id"];
    for (one, other) in [(0, 1), (0, 2), (1, 2), (2, 0)] {
        let words = [options[one], "a", options[other], "b"];
        let failure = dry_run(&words).failure(64, "usage");
        failure.names(options[one]).names(options[other]);
    }
}

#[test]
fn value_that_is_not_utf8_is_rejected_except_for_names() {
    let bad = OsStr::from_bytes(b"\xff");
    for (option, _) in VALUES {
        let run = akv_init(["exec".as_ref(), option.as_ref(), bad, "/bin/true".as_ref()]);
        match option {
            // Names of variables and files are bytes.
            "--unset" | "--ca-file" => assert_eq!(run.outcome().stdout_alone(), ""),
            "--literal" => {
                let outcome = run.json().outcome();
                assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""));
                assert_eq!(outcome.lines_of("warning").len(), 1, "{}", outcome.stderr);
            }
            _ => usage_error(run, option),
        }
    }
}
