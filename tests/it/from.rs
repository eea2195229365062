//! `--from`: the fields of one secret, or the secrets of a vault, as many variables or files.

mod fields;
mod large;
mod lists;
mod pages;
mod reserved;

use crate::azure::{Azure, Endpoint, Stored};
use crate::support::{Outcome, Run, akv_init, exec};

/// The full reference for a text whose `kv` stands for the fake Azure's vault.
fn reference(azure: &Azure, text: &str) -> String {
    text.replace("akv://kv/", &format!("akv://{}/", azure.vault()))
}

/// A run of `exec` with this reference, whose COMMAND prints its environment.
fn run(azure: &Azure, text: &str) -> Run {
    exec(azure, ["--from", &reference(azure, text), "--", "env"])
}

/// The outcome of `check` with this reference.
fn check(azure: &Azure, text: &str) -> Outcome {
    akv_init(["check", "--from", &reference(azure, text)])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .outcome()
}

/// The variables that COMMAND has got, sorted, without those of every run.
#[track_caller]
fn variables(outcome: &Outcome) -> String {
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let is_of_every_run = |line: &&str| line.starts_with("AZURE_") || line.starts_with("SSL_CERT");
    let lines = outcome.stdout.lines().filter(|line| !is_of_every_run(line));
    let mut lines: Vec<&str> = lines.collect();
    lines.sort_unstable();
    lines.join(" ")
}

/// The paths of the requests to the vault.
fn paths(azure: &Azure) -> Vec<String> {
    let requests = azure.requests_at(Endpoint::Vault);
    requests.iter().map(|it| it.path().to_owned()).collect()
}

/// A secret with tags.
fn tagged(name: &str, value: &str, tags: serde_json::Value) -> Stored {
    Stored {
        extra: serde_json::json!({ "tags": tags }),
        ..Stored::new(name, value)
    }
}
