//! Usage errors: 64, the option by its name, and where the help is. What stands behind an option's name is shown only
//! where it is known not to be a secret.

use super::dry_run;
use crate::support::akv_init;

const HELP: &str = "hint: see akv-init --help";

/// Options that take a value, with a good one; those that may be repeated come first.
const VALUES: [(&str, &str); 16] = [
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
    ("--timeout", "5"),
    ("--vault", "kv1"),
    ("--vault-resource", "https://vault.example"),
    ("--wait-for-access", "5"),
];
const REPEATABLE: usize = 5;
const FLAGS: [&str; 3] = ["--dry-run", "--override", "--verbose"];

#[test]
fn a_command_of_our_own_comes_first() {
    akv_init::<&str>([])
        .outcome()
        .failed(64, &["error: no command given", HELP]);
    for option in ["--verbose", "--", "-x"] {
        akv_init([option, "exec"]).outcome().failed(
            64,
            &[
                &format!("error: `{option}` stands where a command must"),
                "hint: options stand behind it: akv-init exec [OPTIONS] -- PROGRAM",
            ],
        );
    }
    for verb in ["frobnicate", "", "EXEC", "/bin/true"] {
        akv_init([verb, "exec"]).outcome().failed(
            64,
            &[
                &format!("error: unknown command `{verb}`"),
                "hint: to start a program: akv-init exec -- PROGRAM; see akv-init --help",
            ],
        );
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
        akv_init(words).outcome().failed(
            64,
            &[
                "error: no COMMAND given",
                "hint: write akv-init exec [OPTIONS] -- COMMAND; a new ENTRYPOINT or `command:` drops the image's \
                 CMD: repeat it",
            ],
        );
    }
}

#[test]
fn an_unknown_option_is_an_error() {
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
        let error = format!("error: unknown option `{name}`");
        dry_run(&[word]).outcome().failed(64, &[&error, HELP]);
        dry_run(&["--vault", "kv1", word])
            .outcome()
            .failed(64, &[&error, HELP]);
    }
}

#[test]
fn an_option_without_its_value_is_an_error() {
    for (option, _) in VALUES {
        let error = format!("error: {option} needs a value");
        let lines = [error.as_str(), HELP];
        akv_init(["exec", option]).outcome().failed(64, &lines);
        akv_init(["exec", option, "--", "/bin/true"])
            .outcome()
            .failed(64, &lines);
        akv_init(["exec", option, "--verbose", "/bin/true"])
            .outcome()
            .failed(64, &lines);
        akv_init(["exec", option, "", "/bin/true"])
            .outcome()
            .failed(64, &lines);
        akv_init(["exec", &format!("{option}="), "/bin/true"])
            .outcome()
            .failed(64, &lines);
        akv_init(["exec", &format!("{option}=--verbose"), "/bin/true"])
            .outcome()
            .failed(64, &lines);
    }
}

#[test]
fn a_flag_with_a_value_is_an_error() {
    for flag in FLAGS.into_iter().chain(["-v"]) {
        for word in [format!("{flag}=true"), format!("{flag}=")] {
            let error = format!("error: {flag} takes no value");
            akv_init(["exec", &word, "/bin/true"])
                .outcome()
                .failed(64, &[&error, HELP]);
        }
    }
}

#[test]
fn an_option_that_is_given_twice_is_an_error() {
    for (option, value) in &VALUES[REPEATABLE..] {
        let error = format!("error: {option} is given twice");
        dry_run(&[option, value, option, value])
            .outcome()
            .failed(64, &[&error, HELP]);
        let joined = format!("{option}={value}");
        dry_run(&[&joined, "--verbose", option, value])
            .outcome()
            .failed(64, &[&error, HELP]);
    }
    for flag in FLAGS {
        let error = format!("error: {flag} is given twice");
        let words = ["exec", flag, "--vault=kv1", flag, "/bin/true"];
        akv_init(words).outcome().failed(64, &[&error, HELP]);
    }
}

#[test]
fn an_option_that_may_be_repeated_adds_up() {
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
    let lines: Vec<&str> = outcome.stdout_alone().lines().skip(1).collect();
    let expected = [
        "secret    A <- https://one.example/secrets/a (resource https://vault.azure.net)",
        "secret    B <- https://two.example:8443/secrets/b (resource https://vault.azure.net)",
        "unset     C",
        "unset     D",
        "deadline  120 s",
        "become    /bin/true",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_value_that_an_option_does_not_take_is_an_error() {
    let duration = "a duration like 90, 90s, 2m or 1h";
    let vault =
        "a vault's name has 3 to 24 letters, digits and single hyphens, and starts with a letter";
    let port = "the port is not a number from 1 to 65535";
    for (option, value, why) in [
        (
            "--identity",
            "system",
            "`system` is not workload, managed, service-principal or cli".to_owned(),
        ),
        (
            "--identity",
            "Managed",
            "`Managed` is not workload, managed, service-principal or cli".to_owned(),
        ),
        (
            "--cloud",
            "AzureCloud",
            "`AzureCloud` is not public, usgov or china".to_owned(),
        ),
        ("--vault", "a_b", vault.to_owned()),
        (
            "--vault",
            "kv1.vault.azure.net/secrets",
            "this is not a host name: leave https:// and the path out".to_owned(),
        ),
        (
            "--vault",
            "http://kv1.vault.azure.net",
            "a vault is only asked over https".to_owned(),
        ),
        (
            "--allow-vault",
            "a b",
            "`a b`: this is not a host name".to_owned(),
        ),
        (
            "--allow-vault",
            "vault.example.com:0",
            format!("`vault.example.com:0`: {port}"),
        ),
    ] {
        let error = format!("error: {option}: {why}");
        dry_run(&[option, value])
            .outcome()
            .failed(64, &[&error, HELP]);
    }
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
    for option in ["--timeout", "--wait-for-access"] {
        for time in times {
            let error = format!("error: {option}: `{time}` is not {duration}");
            dry_run(&[option, time])
                .outcome()
                .failed(64, &[&error, HELP]);
        }
    }
    for value in ["akv://kv1/sa", "sa", "=akv://kv1/sa", "="] {
        let error = "error: --secret takes NAME=REF: a variable, `=`, a reference";
        dry_run(&["--secret", value])
            .outcome()
            .failed(64, &[error, HELP]);
    }
}

#[test]
fn a_duration_has_a_unit_or_is_in_seconds() {
    for (time, shown) in [
        ("90", "90 s"),
        ("90s", "90 s"),
        ("2m", "120 s"),
        ("1h", "3600 s"),
        ("007", "7 s"),
        ("4294967295", "4294967295 s"),
        ("0", "one try each"),
        ("0s", "one try each"),
    ] {
        let outcome = dry_run(&["--timeout", time, "--secret", "A=akv://kv1/sa"]).outcome();
        let line = outcome.stdout_alone().lines().nth(2).map(str::to_owned);
        assert_eq!(line, Some(format!("deadline  {shown}")), "{time}");
    }
}

#[test]
fn only_one_identity_is_chosen() {
    let options = ["--client-id", "--object-id", "--resource-id"];
    for (one, other) in [(0, 1), (0, 2), (1, 2), (2, 0)] {
        let words = [options[one], "a", options[other], "b"];
        dry_run(&words).outcome().failed(
            64,
            &["error: of --client-id, --object-id and --resource-id only one can be given"],
        );
    }
}

#[test]
fn a_value_that_is_not_text_is_an_error_where_text_is_needed() {
    use std::os::unix::ffi::OsStrExt;
    let bad = std::ffi::OsStr::from_bytes(b"\xff");
    for (option, _) in VALUES {
        let outcome =
            akv_init(["exec".as_ref(), option.as_ref(), bad, "/bin/true".as_ref()]).outcome();
        match option {
            // Names of variables and files are bytes.
            "--unset" | "--ca-file" => assert_eq!(outcome.stdout_alone(), ""),
            "--literal" => assert_eq!(
                (outcome.code, outcome.stderr.as_str()),
                (
                    Some(0),
                    "akv-init: warning: --literal \u{fffd}: there is no such variable\n"
                )
            ),
            _ => outcome.failed(
                64,
                &[&format!("error: {option}: the value is not UTF-8"), HELP],
            ),
        }
    }
}
