//! A value that holds something like a reference may hold a password beside it: whatever the message says, it does not
//! say that.

use super::dry_run;
use crate::support::Outcome;

/// Refused, and neither password is in what was said.
#[track_caller]
fn refused_in_silence(outcome: &Outcome, code: i32) {
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(code), ""),
        "{}",
        outcome.stderr
    );
    for password in ["hunter", "4711"] {
        assert!(!outcome.stderr.contains(password), "{}", outcome.stderr);
    }
}

#[test]
fn nothing_behind_a_malformed_reference_is_shown() {
    let values = [
        "akv://kv1/name;Password=hunter2",
        "akv://kv1/name Password=hunter2",
        "akv://kv1/name,hunter2",
        "akv://kv1/name#hunter2",
        "akv://kv1/name?hunter2",
        "akv://kv1/name?trim&hunter2",
        "akv://kv1/name\nhunter2",
        "akv://kv1/name:hunter2",
        "akv://kv1/name:47114711",
        "akv://kv1/name=hunter2/x",
        "akv://kv1;Password=hunter2",
        "akv://kv1;Password=hunter2/x",
        "akv://kv1.vault.azure.net;Password=hunter2/x",
        "akv://kv1.vault.azure.net:443;Password=hunter2/x",
        "akv://user:hunter2@kv1/x",
        "akv://user:hunter2@kv1.vault.azure.net/x",
        "akv://user:hunter2@kv1.vault.azure.net:443/x",
        "Server=db;Password=hunter2;Vault=akv://kv1/sa",
        "akv://kv1/sa?trim akv://hunter2/x",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=sa);Password=hunter2",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=sa;Password=hunter2)",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=sa hunter2)",
        "@Microsoft.KeyVault(VaultName=kv.1 Password=hunter2;SecretName=sa)",
        "@Microsoft.KeyVault(VaultName=u:hunter2@kv1;SecretName=sa)",
        "@Microsoft.KeyVault(SecretUri=https://u:hunter2@kv1.vault.azure.net/secrets/sa)",
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net Password=hunter2/secrets/sa)",
        "@Microsoft.KeyVault(hunter2)",
    ];
    for value in values {
        let outcome = dry_run(&[]).env("MY_CONNECTION", value).outcome();
        refused_in_silence(&outcome, 78);
        assert!(
            outcome.stderr.contains("MY_CONNECTION"),
            "{}",
            outcome.stderr
        );
        let secret = format!("S={value}");
        refused_in_silence(
            &dry_run(&["--vault", "kv1", "--secret", &secret]).outcome(),
            78,
        );
    }
}

#[test]
fn nothing_of_a_malformed_option_is_shown_behind_its_name() {
    let options = [
        "kv1/name;Password=hunter2",
        "name;Password=hunter2",
        "https://u:hunter2@kv1.vault.azure.net/secrets/sa",
        "https://kv1.vault.azure.net/secrets/sa?code=hunter2",
        "http://u:hunter2@kv1.vault.azure.net/secrets/sa",
        "postgres://u:hunter2@db/x",
    ];
    for value in options {
        let secret = format!("S={value}");
        refused_in_silence(
            &dry_run(&["--vault", "kv1", "--secret", &secret]).outcome(),
            78,
        );
    }
    // A value where NAME=REF should stand, and one in an option that does not exist.
    for words in [&["--secret", "hunter2"][..], &["--password=hunter2"]] {
        refused_in_silence(&dry_run(words).outcome(), 64);
    }
}
