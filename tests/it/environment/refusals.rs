//! Targets that are refused before anything is asked of anyone: names, conflicts, two sources.

use crate::azure::{Azure, Door};
use crate::become_command::inherited;
use crate::support::{Run, akv_init, exec};

/// A run that needs no stand-in, since it ends before any request. If it does not, it ends soon.
fn run(words: &[&str]) -> Run {
    let run = akv_init(["exec", "--timeout", "0"]).args(words);
    run.args(["/bin/true"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NOBODY)
}

/// The same where the environment has these entries too, in this order.
fn run_with(words: &[&str], entries: [&str; 2]) -> Run {
    let way = format!("AZURE_POD_IDENTITY_AUTHORITY_HOST={NOBODY}");
    run(words).with(|command| inherited::environ(command, &[&way, entries[0], entries[1]]))
}

/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn what_decides_which_code_runs_is_never_a_target() {
    let reserved = [
        "PATH",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_",
        "BASH_ENV",
        "ENV",
        "IFS",
        "GLIBC_TUNABLES",
    ];
    for name in reserved {
        let error = format!(
            "error: {name}: this variable decides which code runs; a secret may not set it"
        );
        let secret = format!("{name}=akv://kv1/sa");
        run(&["--secret", &secret]).outcome().failed(78, &[&error]);
        run(&["--secret", &secret, "--override"])
            .outcome()
            .failed(78, &[&error]);
        // A dynamic loader would speak of this one before we can.
        if name != "LD_PRELOAD" {
            let run = run(&[]).env(name, "akv://kv1/sa");
            run.outcome().failed(78, &[&error]);
        }
    }
    for name in ["LDPATH", "path", "MY_PATH", "ENVIRONMENT"] {
        let secret = format!("{name}=akv://kv1/sa");
        let outcome = run(&["--dry-run", "--secret", &secret]).outcome();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
}

#[test]
fn our_own_settings_are_never_a_target() {
    run(&["--secret", "AKV_INIT_TIMEOUT=akv://kv1/sa"]).outcome().failed(
        78,
        &["error: AKV_INIT_TIMEOUT: names that start with AKV_INIT_ are akv-init's own settings"],
    );
}

#[test]
fn a_target_of_an_option_is_an_identifier() {
    for name in ["1ST", "my-app", "my.app", "a b", "ä", "$A"] {
        run(&["--secret", &format!("{name}=akv://kv1/sa")]).outcome().failed(
            78,
            &[&format!(
                "error: {name}: a variable's name has letters, digits and `_`, and does not start with a digit"
            )],
        );
    }
    for name in ["_", "a", "_1", "Aa_9"] {
        let outcome = run(&["--dry-run", "--secret", &format!("{name}=akv://kv1/sa")]).outcome();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
}

#[test]
fn a_target_that_has_a_value_is_a_conflict() {
    let conflict = [
        "error: S: the variable has a value already",
        "hint: remove it from the environment, or let the secret win with --override",
    ];
    let words = ["--secret", "S=akv://kv1/sa"];
    run(&words)
        .env("S", "other")
        .outcome()
        .failed(78, &conflict);
    run(&words).env("S", " ").outcome().failed(78, &conflict);
    // Which of two entries a program reads is its own affair: either is a value.
    for entries in [["S=", "S=other"], ["S=other", "S="]] {
        run_with(&words, entries).outcome().failed(78, &conflict);
    }
}

#[test]
fn a_target_that_is_a_reference_already_is_two_sources() {
    let two = [
        "error: S: two sources: the variable is a reference already",
        "hint: remove the variable from the environment, or let the option win with --override",
    ];
    let words = ["--secret", "S=akv://kv1/sa"];
    run(&words)
        .env("S", "akv://kv1/other")
        .outcome()
        .failed(78, &two);
    // Not even where both say the same.
    run(&words)
        .env("S", "akv://kv1/sa")
        .outcome()
        .failed(78, &two);
}

#[test]
fn with_override_the_option_wins_over_a_reference_too() {
    let words = ["--override", "--dry-run", "--secret", "S=akv://kv1/sa"];
    // What is overridden is not even looked at.
    for value in [
        "akv://kv1/other",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=b)",
        "akv://k_v/x",
    ] {
        let outcome = run(&words).env("S", value).outcome();
        let secrets: Vec<&str> = outcome
            .stdout
            .lines()
            .filter(|line| line.starts_with("secret"))
            .collect();
        let expected = "secret    S <- https://kv1.vault.azure.net/secrets/sa (resource https://vault.azure.net)";
        assert_eq!(secrets, [expected], "{}", outcome.stderr);
    }
}

#[test]
fn a_target_is_given_once() {
    run(&["--secret", "S=akv://kv1/a", "--secret", "S=akv://kv1/b"])
        .outcome()
        .failed(78, &["error: S: it is given twice"]);
    run(&["--secret", "S=akv://kv1/a", "--unset", "S"])
        .outcome()
        .failed(78, &["error: S: it is also named by --unset"]);
    run(&["--secret", "S=akv://kv1/a", "--literal", "S"])
        .outcome()
        .failed(78, &["error: S: it is also named by --literal"]);
}

#[test]
fn a_reference_that_stands_twice_is_refused() {
    let twice = ["error: S: the variable stands twice in the environment, once as a reference"];
    let cases = [
        ["S=akv://kv1/sa", "S=other"],
        ["S=other", "S=akv://kv1/sa"],
        ["S=akv://kv1/sa", "S=akv://kv1/sa"],
        ["S=", "S=akv://kv1/sa"],
    ];
    for entries in cases {
        run_with(&[], entries).outcome().failed(78, &twice);
    }
}

#[test]
fn what_is_refused_is_never_asked_for() {
    let azure = Azure::start();
    azure.secret("good", "s3cret");
    let vault = azure.vault();
    let good = format!("GOOD=akv://{vault}/good");
    let bad = format!("PATH=akv://{vault}/good");
    let run = exec(&azure, ["--secret", &good, "--secret", &bad, "/bin/true"]);
    assert_eq!(run.outcome().code, Some(78));
    let run = exec(&azure, ["--secret", &good, "/bin/true"]).env("BAD", "see akv://kv1/sa");
    assert_eq!(run.outcome().code, Some(78));
    for door in Door::ALL {
        assert_eq!(azure.connections(door), 0, "{door:?}");
    }
}
