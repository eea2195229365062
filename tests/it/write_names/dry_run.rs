//! `write --dry-run`: who would be asked for what, and what would be written where.

use super::CONFIG;
use crate::azure::Azure;
use crate::network::wire::connections;
use crate::support::write;
use crate::support_files::Place;

#[test]
fn it_says_who_would_be_asked_for_what_and_does_nothing() {
    let (azure, place) = (Azure::start(), Place::new());
    let (imds, vault, dir) = (azure.imds(), azure.vault(), place.word());
    let words = [
        "--dry-run",
        "--from-env",
        "--literal",
        "OTHER",
        "--layout",
        "atomic",
        "--mode",
        "600",
        "--keep-existing=12h",
        "--secret",
        "tls/key=akv://kv1/key?trim",
        "--output",
        "files",
        "--output",
        "json:all/app.json",
    ];
    let run = write(&azure, words)
        .args([format!("{dir}/")])
        .env("DB_PASSWORD", format!("akv://{vault}/alpha"))
        .env("SQL_TOKEN", "entra-token:https://database.windows.net/")
        .env("OTHER", "akv://kv1/other");
    let expected = format!(
        "identity  IMDS ({imds}, managed identity)\n\
         secret    DB_PASSWORD <- https://{vault}/secrets/alpha (resource https://vault.azure.net)\n\
         token     SQL_TOKEN <- for https://database.windows.net/\n\
         secret    tls/key <- https://kv1.vault.azure.net/secrets/key (resource https://vault.azure.net)\n\
         trim      tls/key, without line ends at its end\n\
         deadline  30 s\n\
         write     {dir}/DB_PASSWORD (the secret itself, 0600)\n\
         write     {dir}/SQL_TOKEN (the secret itself, 0600)\n\
         write     {dir}/tls/key (the secret itself, 0600)\n\
         write     {dir}/all/app.json (json, 0600)\n"
    );
    assert_eq!(run.outcome().stdout_alone(), expected);
    assert_eq!(place.tree(), [""; 0]);
    assert_eq!(connections(&azure), 0);
}

/// DIR may be another machine's.
#[test]
fn dir_need_not_be_there() {
    let azure = Azure::start();
    for dir in ["/nowhere", "nowhere/below", "/dev/null", "/"] {
        let words = [
            "--dry-run",
            "--require-tmpfs",
            "--secret",
            "a=akv://kv1/alpha",
            dir,
        ];
        let outcome = write(&azure, words).outcome();
        let last = outcome.stdout_alone().lines().last().unwrap();
        let dir = dir.trim_end_matches('/');
        assert_eq!(last, format!("write     {dir}/a (the secret itself, 0440)"));
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn it_fails_as_the_run_would() {
    let (azure, place) = (Azure::start(), Place::new());
    for (words, code) in [
        (&["--secret", "../a=alpha"][..], CONFIG),
        (&["--secret", "a=alpha", "--secret", "a=beta"], CONFIG),
        (&["--secret", "a=alpha", "--secret", "a/b=beta"], CONFIG),
        (&["--secret", "a=akv://_/alpha"], CONFIG),
        (&["--from-env"], CONFIG),
        (&["--secret", "a-b=alpha", "--output", "dotenv:env"], CONFIG),
        (&["--identity", "workload", "--secret", "a=alpha"], CONFIG),
        (&["--mode", "rw", "--secret", "a=alpha"], 64),
        (&["--output", "json:..", "--secret", "a=alpha"], 64),
    ] {
        let dry = place
            .write(&azure, &[&["--dry-run"], words].concat())
            .outcome();
        let without_identity = words.contains(&"--identity");
        let outcome = place.write(&azure, words).outcome();
        assert_eq!(dry.code, Some(code), "{}", dry.stderr);
        match without_identity {
            // The run looks at DIR first.
            true => place.failed(
                &outcome,
                code,
                &[dry.stderr.trim_start_matches("akv-init: ").trim_end()],
            ),
            false => assert_eq!(dry, outcome),
        }
    }
    assert_eq!(place.tree(), [""; 0]);
    assert_eq!(connections(&azure), 0);
}
