//! Options and fields of references: each meaning has one text, and everything else is an error before any request.

use serde_json::Value;

use super::{NO_SERVER, dry_run};
use crate::support::akv_init;

/// The reference as `check` prints it.
#[track_caller]
pub fn printed(text: &str, variables: &[(&str, &str)]) -> String {
    let run = akv_init(["check", "--format", "json"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NO_SERVER)
        .env("HTTPS_PROXY", NO_SERVER)
        .env("S", text);
    let run = variables
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    let outcome = run.outcome();
    let mut lines = outcome.stdout.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line is an object");
        line["reference"].as_str().map(str::to_owned)
    });
    let reference = lines.find_map(|reference| reference);
    reference.unwrap_or_else(|| panic!("{text}: {outcome:?}"))
}

#[test]
fn each_meaning_has_one_text() {
    for (written, canonical) in [
        ("", ""),
        ("?trim&decode=base64#/a%20b", "?decode=base64&trim#/a%20b"),
        ("?encode=url&trim&decode=hex", "?decode=hex&trim&encode=url"),
        ("?decode=escapes", "?decode=escapes"),
        ("?encode=ado", "?encode=ado"),
        ("?encode=json", "?encode=json"),
        ("?encode=base64", "?encode=base64"),
        ("?pem", "?pem"),
        ("?pem=all", "?pem"),
        ("?trim&encode=json&pem=chain", "?pem=chain&trim&encode=json"),
        ("?pem=leaf", "?pem=leaf"),
        ("?pem=ca", "?pem=ca"),
        ("?pem=key", "?pem=key"),
        ("?file&optional&pem=key", "?pem=key&optional&file"),
        ("#/m~0n/a~1b", "#/m~0n/a~1b"),
        ("#/ø", "#/%C3%B8"),
        ("#/%61%2fb", "#/a/b"),
        ("#/%7E1", "#/~1"),
        ("#/", "#/"),
        ("#//", "#//"),
        ("#/a:b@c/-._~0", "#/a:b@c/-._~0"),
        ("#/a?b&c=d+e", "#/a%3Fb%26c%3Dd%2Be"),
        ("#/%00%0A%7B%7D%23%25", "#/%00%0A%7B%7D%23%25"),
        (
            "/0123456789abcdef0123456789abcdef?trim#/a",
            "/0123456789abcdef0123456789abcdef?trim#/a",
        ),
        ("/?trim", "?trim"),
        ("?optional", "?optional"),
        ("?optional&encode=url#/a", "?encode=url&optional#/a"),
        ("?default=", "?default=..."),
        ("?file&optional&trim#/a", "?trim&optional&file#/a"),
        ("?default=a%26b", "?default=..."),
    ] {
        let reference = format!("akv://kv1.vault.azure.net/sa{canonical}");
        assert_eq!(printed(&format!("akv://kv1/sa{written}"), &[]), reference);
        assert_eq!(printed(&reference, &[]), reference);
    }
}

#[test]
fn malformed_option_is_rejected() {
    for options in [
        "?",
        "?&trim",
        "?trim&",
        "?trim&trim",
        "?Trim",
        "?trim=",
        "?trim=1",
        "?version=1",
        "?decode",
        "?decode=",
        "?decode=Base64",
        "?decode=base32",
        "?decode=hex&decode=hex",
        "?encode=xml",
        "?trim?decode=hex",
        "?pem=",
        "?pem=cert",
        "?pem=Key",
        "?Pem",
        "?pem&pem=key",
        "?pem&decode=base64",
        "?decode=escapes&pem=key",
        "?pem#/a",
        "#",
        "#a",
        "#/a#/b",
        "#/a b",
        "#/a\tb",
        "#/a\u{a0}b",
        "#/a\u{7f}b",
        "#/{a",
        "#/a}",
        "#/%",
        "#/%4",
        "#/%zz",
        "#/%+1",
        "#/%€",
        "#/%ff",
        "#/a~",
        "#/a~2",
        "#/a%7e",
        "#/a?trim#",
    ] {
        let run = dry_run(&[]).env("TARGET_1", format!("akv://kv1/sa{options}"));
        let failure = run.failure(78, "config");
        failure.names("TARGET_1").names("`akv://kv1/sa…`");
    }
}

/// Other forms have no options; the hint is the reference that has them.
#[test]
fn only_akv_takes_options() {
    let url = "https://kv1.vault.azure.net/secrets/sa";
    for (text, hint) in [
        (
            format!("{url}?trim#/a"),
            "akv://kv1.vault.azure.net/sa?trim#/a",
        ),
        (
            "@Microsoft.KeyVault(VaultName=kv1;SecretName=sa)?trim".to_owned(),
            "akv://kv1/sa?trim",
        ),
        (
            format!("@Microsoft.KeyVault(SecretUri={url})#/a"),
            "akv://kv1.vault.azure.net/sa#/a",
        ),
        ("sa#/a".to_owned(), "akv:///sa#/a"),
        // Neither the text of a default nor what follows a colon is shown.
        ("sa?default=pw-4711".to_owned(), "akv:///sa?default=..."),
        ("sa#/a:pw-4711".to_owned(), "akv:///sa and the options"),
    ] {
        let run = dry_run(&["--secret", &format!("S={text}")]);
        run.failure(78, "config").hint_names(hint);
    }
    let value = "@Microsoft.KeyVault(VaultName=kv1;SecretName=sa)?trim";
    let run = dry_run(&[]).env("S", value);
    run.failure(78, "config").hint_names("akv://kv1/sa?trim");
}

#[test]
fn plan_shows_what_is_done() {
    let run = dry_run(&[]).env("S", "akv://kv1/sa?decode=base64&encode=url#/a");
    let outcome = run.outcome();
    assert_eq!(
        outcome.planned("do"),
        ["S, field /a, decoded (base64), encoded (url)"]
    );
}
