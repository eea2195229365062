//! Targets that are refused before any request: their names, conflicts, two sources.

use crate::azure::{Azure, Endpoint};
use crate::support::{Failure, Run, akv_init, exec};
use crate::support_inherited as inherited;

/// A run that needs no fake Azure, since it ends before any request.
fn run(words: &[&str]) -> Run {
    let run = akv_init(["exec", "--timeout", "0"]).args(words);
    run.args(["/bin/true"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NO_IMDS)
}

/// The same with exactly these two entries in its environment, in this order.
fn run_with(words: &[&str], entries: [&str; 2]) -> Run {
    let imds = format!("AZURE_POD_IDENTITY_AUTHORITY_HOST={NO_IMDS}");
    run(words).with(|command| inherited::environ(command, &[&imds, entries[0], entries[1]]))
}

/// An address where nothing listens.
const NO_IMDS: &str = "http://127.0.0.1:1";

/// Asserts that the run is a configuration error that names this variable.
#[track_caller]
fn refused(run: Run, name: &str) -> Failure {
    let failure = run.failure(78, "config");
    failure.names(name);
    failure
}

#[test]
fn variable_that_decides_which_code_runs_is_refused() {
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
        let secret = format!("{name}=akv://kv1/sa");
        refused(run(&["--secret", &secret]), name);
        refused(run(&["--secret", &secret, "--override"]), name);
        // The dynamic loader would print an error about this one first.
        if name != "LD_PRELOAD" {
            refused(run(&[]).env(name, "akv://kv1/sa"), name);
        }
    }
    for name in ["LDPATH", "path", "MY_PATH", "ENVIRONMENT"] {
        let secret = format!("{name}=akv://kv1/sa");
        let outcome = run(&["--dry-run", "--secret", &secret]).outcome();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
}

#[test]
fn setting_of_akv_init_is_refused() {
    let secret = "AKV_INIT_TIMEOUT=akv://kv1/sa";
    refused(run(&["--secret", secret]), "AKV_INIT_TIMEOUT");
}

#[test]
fn target_of_an_option_has_a_name_that_the_environment_may_have() {
    for name in ["a b", "ä", "$A", "a/b", "akv://kv1/sa?encode"] {
        refused(run(&["--secret", &format!("{name}=akv://kv1/sa")]), name);
    }
    for name in [
        "_",
        "a",
        "_1",
        "Aa_9",
        "1ST",
        "a.b",
        "my-var",
        "ConnectionStrings:Main",
    ] {
        let outcome = run(&["--dry-run", "--secret", &format!("{name}=akv://kv1/sa")]).outcome();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
}

#[test]
fn target_that_has_a_value_is_refused() {
    let words = ["--secret", "S=akv://kv1/sa"];
    for value in ["other", " "] {
        let failure = refused(run(&words).env("S", value), "S");
        failure.hint_names("--override");
    }
    // Programs differ in which of two entries they read.
    for entries in [["S=", "S=other"], ["S=other", "S="]] {
        let outcome = run_with(&words, entries).outcome();
        assert_eq!(outcome.code, Some(78), "{outcome:?}");
    }
}

#[test]
fn target_that_is_a_reference_is_refused() {
    let words = ["--secret", "S=akv://kv1/sa"];
    for value in ["akv://kv1/other", "akv://kv1/sa"] {
        let failure = refused(run(&words).env("S", value), "S");
        failure.hint_names("--override");
    }
}

#[test]
fn override_replaces_a_reference() {
    let words = ["--override", "--dry-run", "--secret", "S=akv://kv1/sa"];
    // The last one is malformed, and not parsed.
    for value in [
        "akv://kv1/other",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=b)",
        "akv://k_v/x",
    ] {
        let outcome = run(&words).env("S", value).outcome();
        let secrets = outcome.planned("secret");
        assert_eq!(secrets.len(), 1, "{secrets:?}");
        let expected = "S <- https://kv1.vault.azure.net/secrets/sa ";
        assert!(secrets[0].starts_with(expected), "{secrets:?}");
    }
}

#[test]
fn target_that_is_given_twice_is_refused() {
    for (words, name) in [
        (["--secret", "S=akv://kv1/b"], "S"),
        (["--unset", "S"], "--unset"),
        (["--literal", "S"], "--literal"),
    ] {
        let words = [&["--secret", "S=akv://kv1/a"], &words[..]].concat();
        refused(run(&words), name).names("S");
    }
}

#[test]
fn reference_in_a_duplicate_variable_is_refused() {
    let cases = [
        ["S=akv://kv1/sa", "S=other"],
        ["S=other", "S=akv://kv1/sa"],
        ["S=akv://kv1/sa", "S=akv://kv1/sa"],
        ["S=", "S=akv://kv1/sa"],
    ];
    for entries in cases {
        let outcome = run_with(&[], entries).outcome();
        assert_eq!(outcome.code, Some(78), "{outcome:?}");
    }
}

#[test]
fn refused_target_costs_no_request() {
    let azure = Azure::start();
    azure.secret("good", "s3cret");
    let vault = azure.vault();
    let good = format!("GOOD=akv://{vault}/good");
    let bad = format!("PATH=akv://{vault}/good");
    let run = exec(&azure, ["--secret", &good, "--secret", &bad, "/bin/true"]);
    assert_eq!(run.outcome().code, Some(78));
    let run = exec(&azure, ["--secret", &good, "/bin/true"]).env("BAD", "see akv://kv1/sa");
    assert_eq!(run.outcome().code, Some(78));
    for endpoint in Endpoint::ALL {
        assert_eq!(azure.connections(endpoint), 0, "{endpoint:?}");
    }
}
