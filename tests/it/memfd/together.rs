//! `--memfd` with variables, tokens and many other files.

use super::{VALUE, one_secret, run};
use crate::azure::{Azure, Endpoint};

#[test]
fn one_secret_as_variable_and_file_costs_one_request() {
    let azure = one_secret();
    azure.secret("beta", "second\n");
    let words = [
        "--memfd",
        "A=alpha",
        "--secret",
        "B=alpha",
        "--",
        "/bin/sh",
        "-c",
        "cat $A; echo \" $B $C\"; cat $D",
    ];
    let words = [&["--memfd", "D=akv:///beta?trim"], &words[..]].concat();
    let run = run(&azure, &words).env("C", "akv:///alpha");
    assert_eq!(
        run.outcome().stdout_alone(),
        format!("{VALUE} {VALUE} {VALUE}\nsecond")
    );
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 2);
}

#[test]
fn dry_run_distinguishes_a_path_from_a_value() {
    let azure = Azure::start();
    let words = [
        "--dry-run",
        "--memfd",
        "A=akv://kv1/alpha?trim",
        "--secret",
        "B=akv://kv1/beta",
        "--",
        "/bin/true",
    ];
    let outcome = run(&azure, &words).outcome();
    let secrets = outcome.planned("secret");
    assert_eq!(secrets.len(), 2, "{secrets:?}");
    assert!(secrets[0].starts_with("B <- https://kv1.vault.azure.net/secrets/beta "));
    assert!(secrets[1].starts_with("A <- https://kv1.vault.azure.net/secrets/alpha "));
    for label in ["memfd", "trim"] {
        let lines = outcome.planned(label);
        assert!(
            matches!(lines[..], [line] if line.starts_with('A')),
            "{lines:?}"
        );
    }
}

#[test]
fn access_token_can_be_delivered_in_memory() {
    let azure = Azure::start();
    let words = [
        "--memfd",
        "A=entra-token:https://database.windows.net/",
        "--",
        "/bin/sh",
        "-c",
        "cat $A",
    ];
    let outcome = run(&azure, &words).outcome();
    assert!(
        azure
            .tokens()
            .iter()
            .any(|token| token == outcome.stdout_alone())
    );
}

/// The limit of the environment does not apply.
#[test]
fn many_large_secrets_are_delivered() {
    let azure = Azure::start();
    let value = "x".repeat(25 * 1024);
    let mut words = Vec::new();
    for index in 0..40 {
        azure.secret(&format!("large-{index}"), &value);
        words.push(format!("--memfd=A{index}=large-{index}"));
    }
    words.extend(["--", "/bin/sh", "-c", "cat $A0 $A39 | wc -c"].map(str::to_owned));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = run(&azure, &words).outcome();
    assert_eq!(outcome.stdout_alone().trim(), (2 * value.len()).to_string());
}
