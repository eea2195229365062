//! `write --dry-run`: the identity, the secrets and the files.

use crate::azure::Azure;
use crate::support::{NO_OPTIONS, write};
use crate::support_files::Place;
use crate::support_requests::connections;

#[test]
fn dry_run_prints_the_plan_and_does_nothing() {
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
    let outcome = run.outcome();
    assert!(outcome.planned("identity").concat().contains(&imds));
    let secrets = outcome.planned("secret");
    let expected = [
        format!("DB_PASSWORD <- https://{vault}/secrets/alpha "),
        "tls/key <- https://kv1.vault.azure.net/secrets/key ".to_owned(),
    ];
    assert_eq!(secrets.len(), expected.len(), "{secrets:?}");
    for (secret, expected) in secrets.iter().zip(&expected) {
        assert!(secret.starts_with(expected), "{secret}");
    }
    let token = outcome.planned("token").concat();
    assert!(token.starts_with("SQL_TOKEN <- "), "{token}");
    assert!(token.contains("https://database.windows.net/"), "{token}");
    assert!(outcome.planned("trim").concat().starts_with("tls/key"));
    assert_eq!(outcome.planned("deadline"), ["30 s"]);
    let files = outcome.planned("write");
    let expected = ["DB_PASSWORD", "SQL_TOKEN", "tls/key", "all/app.json"];
    assert_eq!(files.len(), expected.len(), "{files:?}");
    for (file, name) in files.iter().zip(expected) {
        assert!(file.starts_with(&format!("{dir}/{name} (")), "{file}");
        assert!(file.ends_with(", 0600)"), "{file}");
    }
    assert_eq!(place.tree(), NO_OPTIONS);
    assert_eq!(connections(&azure), 0);
}

/// DIR may be on another machine.
#[test]
fn dry_run_does_not_need_dir() {
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
        let dir = dir.trim_end_matches('/');
        let files = outcome.planned("write");
        assert_eq!(files.len(), 1, "{files:?}");
        assert!(files[0].starts_with(&format!("{dir}/a (")), "{files:?}");
        assert!(files[0].ends_with(", 0440)"), "{files:?}");
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn dry_run_fails_as_the_run_does() {
    let (azure, place) = (Azure::start(), Place::new());
    for (words, code) in [
        (&["--secret", "../a=alpha"][..], 78),
        (&["--secret", "a=alpha", "--secret", "a=beta"], 78),
        (&["--secret", "a=alpha", "--secret", "a/b=beta"], 78),
        (&["--secret", "a=akv://_/alpha"], 78),
        (&["--from-env"], 78),
        (&["--secret", "a-b=alpha", "--output", "dotenv:env"], 78),
        (&["--identity", "workload", "--secret", "a=alpha"], 78),
        (&["--mode", "rw", "--secret", "a=alpha"], 64),
        (&["--output", "json:..", "--secret", "a=alpha"], 64),
    ] {
        let dry = [&["--dry-run"], words].concat();
        let run = |words: &[&str]| place.write(&azure, words).json().outcome();
        let (dry, outcome) = (run(&dry), run(words));
        assert_eq!(dry.code, Some(code), "{}", dry.stderr);
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
        // The run looks at DIR before the identity, and may warn about it.
        let warned = words.contains(&"--identity") && outcome != dry;
        let stderr = match warned {
            true => place.without_warning(&outcome.stderr),
            false => outcome.stderr,
        };
        assert_eq!(dry.stderr, stderr);
    }
    assert_eq!(place.tree(), NO_OPTIONS);
    assert_eq!(connections(&azure), 0);
}
