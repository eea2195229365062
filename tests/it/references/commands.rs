//! Every command makes the same of a reference, and none shows any of it in a message.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::azure::{Azure, Endpoint};
use crate::support::{Outcome, Run, akv_init, exec};
use crate::support_files::{MANIFEST, Place};

/// A part of every value and every default, in each spelling; no message holds it.
const CANARIES: [&str; 2] = ["c4n4ry", "MAZjNG40cnk"];
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAZjNG40cnk=\n-----END PRIVATE KEY-----\n";
/// A COMMAND that prints the variable, or the file that it is the path of, or that it is not set.
const PRINT: &str = "case $S in /proc/*) cat $S;; *) if [ ${S+set} ]; then printf %s \"$S\"; else printf unset; fi; esac";

/// References, what their target gets (`None`: it is left out), and a label of `--dry-run`.
const ROWS: [(&str, Option<&str>, &str); 12] = [
    ("akv://KV/db#/user", Some("c4n4ry a"), "do"),
    (
        "akv://KV/db?decode=base64&trim&encode=url#/bytes",
        Some("c4n4ry%20a"),
        "do",
    ),
    (
        "<{akv://KV/db?encode=ado#/user}>",
        Some("<\"c4n4ry a\">"),
        "compose",
    ),
    ("akv://KV/absent?optional", None, "optional"),
    ("akv://KV/db?optional&trim#/absent", None, "optional"),
    (
        "akv://KV/absent?default=c4n4ry-d",
        Some("c4n4ry-d"),
        "default",
    ),
    (
        "<{akv://KV/db?default=c4n4ry-d#/none}>",
        Some("<c4n4ry-d>"),
        "default",
    ),
    ("akv://KV/tls?pem=key", Some(KEY), "do"),
    ("akv://KV/db?file#/user", Some("c4n4ry a"), "memfd"),
    (
        "@Microsoft.KeyVault(SecretUri=https://KV/secrets/plain)",
        Some("c4n4ry"),
        "secret",
    ),
    ("ref+azurekeyvault://KV/db#/user", Some("c4n4ry a"), "do"),
    ("azure:keyvault:plain", Some("c4n4ry"), "secret"),
];

/// References that fail, and the exit code.
const FAILURES: [(&str, i32); 9] = [
    ("akv://KV/db#/absent", 66),
    ("akv://KV/db#/object", 78),
    ("akv://KV/plain?optional#/a", 78),
    ("akv://KV/plain?decode=hex", 78),
    ("akv://KV/plain?default=c4n4ry&decode=hex", 78),
    ("akv://KV/plain?pem", 78),
    ("akv://KV/tls?pem=chain", 66),
    ("<{akv://KV/latin-1?decode=base64&encode=json}>", 78),
    ("akv://KV/absent?file", 66),
];

fn azure() -> Azure {
    let azure = Azure::start();
    azure.secret(
        "db",
        r#"{"user":"c4n4ry a","bytes":"YzRuNHJ5IGEK","none":null,"object":{"c4n4ry":1}}"#,
    );
    azure.secret("plain", "c4n4ry");
    azure.secret("tls", KEY);
    azure.secret("latin-1", "YzRuNHJ56Q==");
    azure
}

#[track_caller]
fn assert_hides(text: &str) {
    assert!(!CANARIES.iter().any(|it| text.contains(it)), "{text}");
}

/// Every command that makes the value of this reference and hands it over in a way of its own: what it is called, the run,
/// and the directory that it writes to.
fn runs(azure: &Azure, reference: &str) -> Vec<(&'static str, Run, Option<Place>)> {
    let option = |name: &str| format!("--{name}=S={reference}");
    let print = |words: &[&str]| exec(azure, words).args(["/bin/sh", "-c", PRINT]);
    let get = akv_init(["get", reference])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault());
    let mut runs = vec![
        ("exec", print(&[]).env("S", reference), None),
        ("exec --secret", print(&[&option("secret")]), None),
        ("exec --memfd", print(&[&option("memfd")]), None),
        ("get", get, None),
    ];
    for output in ["files", "json:all", "dotenv:all", "k8s-env:all"] {
        for from_env in [false, true] {
            let place = Place::in_memory();
            let output_option = format!("--output={output}");
            let run = match from_env {
                true => place
                    .write(azure, &[&output_option, "--from-env"])
                    .env("S", reference),
                false => place.write(azure, &[&output_option, &option("secret")]),
            };
            runs.push((output, run, Some(place)));
        }
    }
    let with_vault =
        |(how, run, place): (_, Run, _)| (how, run.env("AKV_INIT_VAULT", azure.vault()), place);
    runs.into_iter().map(with_vault).collect()
}

/// What a run handed over.
fn delivered(how: &str, outcome: &Outcome, place: Option<&Place>) -> Option<String> {
    let Some(place) = place else {
        let is_left_out = match how {
            "get" => outcome.stdout.is_empty(),
            _ => outcome.stdout == "unset",
        };
        return (!is_left_out).then(|| outcome.stdout.clone());
    };
    if how == "files" {
        return fs::read_to_string(place.path("S")).ok();
    }
    let all = String::from_utf8(place.read("all")).unwrap();
    match how {
        "json:all" => {
            let object: Value = serde_json::from_str(&all).unwrap();
            object["S"].as_str().map(str::to_owned)
        }
        "dotenv:all" => {
            let script = format!(". ./all; {PRINT}");
            let mut shell = Command::new("/bin/sh");
            let shell = shell.args(["-c", &script]).current_dir(place.dir());
            let printed = String::from_utf8(shell.output().unwrap().stdout).unwrap();
            (printed != "unset").then_some(printed)
        }
        _ => {
            let value = all.strip_prefix("S='")?;
            value.strip_suffix("'\n").map(str::to_owned)
        }
    }
}

#[test]
fn every_command_makes_the_same_value() {
    let azure = azure();
    for (reference, expected, _) in ROWS {
        let reference = reference.replace("KV", &azure.vault());
        for (how, run, place) in runs(&azure, &reference) {
            let outcome = run.outcome();
            let case = format!("{reference}, {how}: {}", outcome.stderr);
            assert_eq!(outcome.code, Some(0), "{case}");
            assert_hides(&outcome.stderr);
            let value = delivered(how, &outcome, place.as_ref());
            assert_eq!(value.as_deref(), expected, "{case}");
        }
    }
}

/// Nothing is started or written.
#[test]
fn every_command_fails_in_the_same_way() {
    let azure = azure();
    for (reference, code) in FAILURES {
        let reference = reference.replace("KV", &azure.vault());
        for (how, run, place) in runs(&azure, &reference) {
            let outcome = run.outcome();
            let case = format!("{reference}, {how}: {}", outcome.stderr);
            assert_eq!((outcome.code, &*outcome.stdout), (Some(code), ""), "{case}");
            assert_hides(&outcome.stderr);
            assert!(place.is_none_or(|place| place.names().is_empty()), "{case}");
        }
    }
}

#[test]
fn check_and_plan_show_no_value() {
    let azure = azure();
    for (reference, expected, label) in ROWS {
        let reference = reference.replace("KV", &azure.vault());
        let plan = exec(&azure, ["--dry-run", "/bin/true"]).env("AKV_INIT_VAULT", azure.vault());
        let plan = plan.env("S", &reference).outcome();
        assert_eq!(plan.planned(label).len(), 1, "{}", plan.stdout);
        assert_hides(&plan.stdout);
        let (code, report) = check(&azure, &reference);
        assert_eq!(code, Some(0), "{report}");
        let is_missing = ["not needed", "has no field"]
            .iter()
            .any(|it| report.contains(it));
        let may_be_missing = expected.is_none() || reference.contains("default");
        assert_eq!(is_missing, may_be_missing, "{report}");
    }
    for (reference, code) in FAILURES {
        let reference = reference.replace("KV", &azure.vault());
        let (checked, report) = check(&azure, &reference);
        assert_eq!(checked, Some(code), "{report}");
    }
}

/// The exit code of `check`, and its output without line breaks.
#[track_caller]
fn check(azure: &Azure, reference: &str) -> (Option<i32>, String) {
    let run = akv_init(["check"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .env("AKV_INIT_VAULT", azure.vault());
    let outcome = run.env("S", reference).outcome();
    let report = format!("{}{}", outcome.stdout, outcome.stderr);
    assert_hides(&report);
    (
        outcome.code,
        report.split_whitespace().collect::<Vec<_>>().join(" "),
    )
}

/// Also those that are left out, or have a default, which the manifest does not hold.
#[test]
fn files_of_every_reference_are_kept() {
    let azure = azure();
    let places = ROWS.map(|(reference, expected, _)| {
        let place = Place::in_memory();
        let secret = format!("S={}", reference.replace("KV", &azure.vault()));
        let words = ["--keep-existing", "--timeout=0", "--secret"].map(str::to_owned);
        let words = [&words[..], &[secret]].concat();
        (place, words, expected)
    });
    let write = |place: &Place, words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        place.write(&azure, &words).outcome()
    };
    for (place, words, _) in &places {
        let outcome = write(place, words);
        assert_eq!(outcome.code, Some(0), "{words:?}: {}", outcome.stderr);
        assert_hides(&String::from_utf8(place.read(MANIFEST)).unwrap());
    }
    azure.close(Endpoint::Vault);
    for (place, words, expected) in &places {
        let outcome = write(place, words);
        assert_eq!(outcome.code, Some(0), "{words:?}: {}", outcome.stderr);
        let kept = fs::read_to_string(place.path("S")).ok();
        assert_eq!(kept.as_deref(), *expected, "{words:?}");
    }
}
