//! Which secrets are written, and to which files.

use super::two_secrets;
use crate::azure::Endpoint;

#[test]
fn each_output_holds_all_secrets() {
    for layout in ["plain", "atomic"] {
        let (azure, place) = two_secrets();
        let words = [
            "--layout",
            layout,
            "--secret",
            "A=alpha",
            "--secret",
            "B=beta",
            "--output",
            "json:app.json",
            "--output",
            "dotenv:env/app.env",
            "--output=k8s-env:env/k8s.env",
            "--output",
            "json:env/again.json",
        ];
        place.wrote(&azure, &words);
        assert_eq!(azure.requests_at(Endpoint::Vault).len(), 2);
        let bundles = ["app.json", "env/again.json", "env/app.env", "env/k8s.env"];
        for name in bundles {
            let text = String::from_utf8(place.read(name)).unwrap();
            assert!(
                text.contains("first") && text.contains("second"),
                "{name}: {text}"
            );
        }
        // Without `files` no secret has a file of its own.
        let [a, b] = ["A", "B"].map(|name| place.path(name).exists());
        assert_eq!((a, b), (false, false));
        let with_files = [&words[..], &["--output", "files"]].concat();
        place.wrote(&azure, &with_files);
        assert_eq!(
            (place.read("A"), place.read("B")),
            (b"first".into(), b"second".into())
        );
        for name in bundles {
            assert!(place.path(name).is_file(), "{name}");
        }
    }
}

/// Programs usually remove the final line end of a file that holds one secret, and keep it in a value among others.
#[test]
fn final_line_end_in_a_bundle_is_kept_with_one_warning() {
    let (azure, place) = two_secrets();
    azure.secret("alpha", "with a line end\n");
    let secret = [
        "--secret", "A=alpha", "--secret", "B=beta", "--output", "files",
    ];
    place.wrote(&azure, &secret);
    let bundles = [
        "--output",
        "json:a",
        "--output",
        "dotenv:b",
        "--output",
        "k8s-env:c",
    ];
    let run = place.write(&azure, &[&secret[..], &bundles].concat());
    let outcome = run.json().outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""));
    let warning = place.without_warning(&outcome.stderr);
    assert_eq!(warning.lines().count(), 1, "{warning}");
    assert!(warning.contains("\"warning\""), "{warning}");
    let trimmed = format!("akv://{}/alpha?trim", azure.vault());
    assert!(warning.contains(&trimmed), "{warning}");
    let trimmed = ["--secret", "A=akv:///alpha?trim"];
    place.wrote(&azure, &[&trimmed[..], &bundles].concat());
}

#[test]
fn from_env_writes_a_file_for_each_reference() {
    let (azure, place) = two_secrets();
    let vault = azure.vault();
    let run = place
        .write(
            &azure,
            &["--from-env", "--literal", "OTHER", "--secret", "c=alpha"],
        )
        .env("DB_PASSWORD", format!("akv://{vault}/alpha"))
        .env("tls/key", " akv:///beta?trim\n")
        .env(
            "app.token",
            format!("@Microsoft.KeyVault(SecretUri=https://{vault}/secrets/beta)"),
        )
        .env("OTHER", "akv://kv1/not-read")
        .env("PLAIN", "a value")
        .env("EMPTY", "");
    place.quiet(&run.outcome());
    let expected = [
        "DB_PASSWORD 0440 \"first\"",
        "app.token 0440 \"second\"",
        "c 0440 \"first\"",
        "tls/ 0750",
        "tls/key 0440 \"second\"",
    ];
    assert_eq!(place.tree(), expected);
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 2);
}

#[test]
fn without_from_env_the_environment_is_not_read() {
    let (azure, place) = two_secrets();
    let run = place
        .write(&azure, &["--secret", "a=alpha"])
        .env("DB_PASSWORD", "akv:///beta")
        .env("BROKEN", "see akv://kv1/name");
    place.quiet(&run.outcome());
    assert_eq!(place.tree(), ["a 0440 \"first\""]);
}

#[test]
fn one_secret_for_several_files_costs_one_request() {
    let (azure, place) = two_secrets();
    let other = format!("c=https://{}/secrets/ALPHA", azure.vault());
    let words = [
        "--secret",
        "a=alpha",
        "--secret",
        "sub/b=Alpha",
        "--secret",
        &other,
        "--secret",
        "d=akv:///alpha?trim",
    ];
    place.wrote(&azure, &words);
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
    let expected = [
        "a 0440 \"first\"",
        "c 0440 \"first\"",
        "d 0440 \"first\"",
        "sub/ 0750",
        "sub/b 0440 \"first\"",
    ];
    assert_eq!(place.tree(), expected);
}
