//! `--memfd` beside variables, tokens, and many others of its kind.

use super::{VALUE, one_secret, run};
use crate::azure::{Azure, Endpoint};

#[test]
fn one_secret_in_both_ways_is_one_request() {
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
fn a_dry_run_tells_a_path_from_a_value() {
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
    let expected = format!(
        "identity  IMDS ({}, managed identity)\n\
         secret    B <- https://kv1.vault.azure.net/secrets/beta (resource https://vault.azure.net)\n\
         secret    A <- https://kv1.vault.azure.net/secrets/alpha (resource https://vault.azure.net)\n\
         memfd     A, which holds the path of a file in memory\n\
         trim      A, without line ends at its end\n\
         deadline  30 s\n\
         become    /bin/true\n",
        azure.imds()
    );
    assert_eq!(run(&azure, &words).outcome().stdout_alone(), expected);
}

#[test]
fn an_access_token_can_be_in_one() {
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

/// What a variable can hold is no limit here.
#[test]
fn many_large_secrets_are_no_matter() {
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
