//! A malformed reference may contain a password, which no message shows.

use super::dry_run;
use crate::support::{Failure, Run};

/// Asserts that it is rejected and that neither password is in the output.
#[track_caller]
fn assert_rejected(run: Run, code: i32, cause: &str) -> Failure {
    let failure = run.failure(code, cause);
    failure.omits("hunter").omits("4711");
    failure
}

#[test]
fn rest_of_a_malformed_reference_is_not_shown() {
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
        let run = dry_run(&[]).env("MY_CONNECTION", value);
        assert_rejected(run, 78, "config").names("MY_CONNECTION");
        let secret = format!("S={value}");
        let run = dry_run(&["--vault", "kv1", "--secret", &secret]);
        assert_rejected(run, 78, "config");
    }
}

#[test]
fn rest_of_a_malformed_option_is_not_shown() {
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
        let run = dry_run(&["--vault", "kv1", "--secret", &secret]);
        assert_rejected(run, 78, "config");
    }
    // A value without NAME=, and one in an unknown option.
    for words in [&["--secret", "hunter_2"][..], &["--password=hunter2"]] {
        assert_rejected(dry_run(words), 64, "usage");
    }
}
