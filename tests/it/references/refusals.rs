//! Malformed references: each is rejected before any request, in a variable and in an option.

use super::dry_run;
use crate::support::{Failure, Run};

/// Asserts that the reference is rejected, with this part of it in the message.
#[track_caller]
fn assert_rejected(run: Run, shown: &str, hint: bool) -> Failure {
    let failure = run.failure(78, "config");
    failure.names(NAME).names(&format!("`{shown}`"));
    assert_eq!(failure.line["hint"].is_string(), hint, "{}", failure.line);
    failure
}

/// The target of every reference.
const NAME: &str = "TARGET_1";

fn variable(text: &str) -> Run {
    dry_run(&[]).env(NAME, text)
}

fn option(text: &str) -> Run {
    let secret = format!("{NAME}={text}");
    dry_run(&["--vault", "kv1", "--secret", &secret])
}

/// References, the part of each that is shown, and whether there is a hint.
const EVERYWHERE: &[(&str, &str, bool)] = &[
    // A Managed HSM has keys, not secrets.
    ("akv://hsm1.managedhsm.azure.net/sa", "", true),
    ("akv://hsm1.managedhsm.usgovcloudapi.net/sa", "", true),
    ("akv://hsm1.managedhsm.azure.cn/sa", "", true),
    (
        "@Microsoft.KeyVault(SecretUri=https://hsm1.managedhsm.azure.net/secrets/sa)",
        APP_SERVICE,
        true,
    ),
    // The name of a secret.
    ("akv://kv1/SQL_PASSWORD", "", true),
    (
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=sql.sa_2)",
        APP_SERVICE,
        true,
    ),
    ("akv://kv1/a b", "akv://kv1/a…", false),
    ("akv://kv1/a%20b", "akv://kv1/a…", false),
    ("akv://kv1/ä", "akv://kv1/…", false),
    ("akv://kv1", "", true),
    ("akv://", "", true),
    ("akv://kv1/", "", false),
    ("akv://kv1//", "", false),
    // The version.
    ("akv://kv1/a/b/c", "", false),
    ("akv://kv1/a//", "", false),
    ("akv://kv1/a/b-c", "", true),
    ("akv://kv1/a/latest_1", "", true),
    ("akv://kv1/a/v1", "", true),
    ("akv://kv1/a/0123456789abcdef0123456789abcdeg", "", true),
    ("akv://kv1/a/0123456789abcdef0123456789abcdef0", "", true),
    (
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=a;SecretVersion=latest)",
        APP_SERVICE,
        true,
    ),
    (
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/secrets/secrets/f)",
        APP_SERVICE,
        true,
    ),
    (
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net///secrets/f)",
        APP_SERVICE,
        false,
    ),
    // A URL, and the path of one.
    ("akv://https://kv1.vault.azure.net/secrets/sa", "", true),
    ("akv://HTTPS://kv1.vault.azure.net/keys/sa", "", true),
    ("akv://https://", "", true),
    ("akv://kv1/certificates/nl", "", true),
    (
        "akv://kv1/Certificates/nl/0123456789abcdef0123456789abcdef",
        "",
        true,
    ),
    ("akv://kv1/keys/nl", "", true),
    // Options.
    ("akv://kv1/sa?", "akv://kv1/sa…", true),
    ("akv://kv1/sa?Trim", "akv://kv1/sa…", true),
    ("akv://kv1/sa?trim=1", "akv://kv1/sa…", true),
    ("akv://kv1/sa?trim&", "akv://kv1/sa…", true),
    ("akv://kv1/sa?trim&version=1", "akv://kv1/sa…", true),
    ("akv://kv1/sa?api-version=7.4", "akv://kv1/sa…", true),
    (
        "@Microsoft.KeyVault(SecretUri=http://kv1.vault.azure.net/secrets/sa)",
        APP_SERVICE,
        false,
    ),
    // The name of a vault.
    ("akv://ab/sa", "", false),
    ("akv://1ab/sa", "", false),
    ("akv://-ab/sa", "", false),
    ("akv://ab-/sa", "", false),
    ("akv://a--b/sa", "", false),
    ("akv://a_b/sa", "", false),
    ("akv://a234567890123456789012345/sa", "", false),
    ("akv://vault.azure.net/sa", "", false),
    ("akv://ab.vault.azure.net/sa", "", false),
    ("akv://a.b.vault.azure.net/sa", "", false),
    ("akv://a--b.vault.azure.cn/sa", "", false),
    // The port.
    (
        "akv://kv1.vault.azure.net:65536/sa",
        "akv://kv1.vault.azure.net…",
        false,
    ),
    (
        "akv://kv1.vault.azure.net:port/sa",
        "akv://kv1.vault.azure.net…",
        false,
    ),
    (
        "akv://kv1.vault.azure.net:/sa",
        "akv://kv1.vault.azure.net…",
        false,
    ),
    (
        "akv://kv1.vault.azure.net:-1/sa",
        "akv://kv1.vault.azure.net…",
        false,
    ),
    // App Service's form.
    (
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=sa",
        APP_SERVICE,
        false,
    ),
    ("@Microsoft.KeyVault()", APP_SERVICE, false),
    ("@Microsoft.KeyVault(VaultName=kv1)", APP_SERVICE, false),
    (
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/secrets/sa;SecretName=sa)",
        APP_SERVICE,
        false,
    ),
    ("@Microsoft.KeyVault(kv1;sa)", APP_SERVICE, false),
    (
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=a;SecretName=b)",
        APP_SERVICE,
        false,
    ),
    (
        "@Microsoft.KeyVault(Vault=kv1;Secret=a)",
        APP_SERVICE,
        false,
    ),
    (
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/keys/sa)",
        APP_SERVICE,
        false,
    ),
];

/// The part of App Service's form that is shown.
const APP_SERVICE: &str = "@Microsoft.KeyVault(…";

/// The same for references that only `--secret` accepts; elsewhere they are ordinary values.
const OPTIONS: &[(&str, &str, bool)] = &[
    ("https://hsm1.managedhsm.azure.net/secrets/sa", "", true),
    ("SQL_PASSWORD", "", true),
    ("", "", false),
    // A bare name with something that is not a version is usually a vault and a name.
    ("kv1/sa", "", true),
    ("sa/0123456789abcdef0123456789abcdeg", "", true),
    ("http://kv1.vault.azure.net/secrets/sa", "", true),
    ("vault://kv1/sa", "", false),
    ("https://kv1.vault.azure.net", "", false),
    ("https://kv1.vault.azure.net/sa", "", false),
    ("https://kv1.vault.azure.net/keys/sa", "", false),
    ("https://kv1/secrets/sa", "", false),
];

#[test]
fn malformed_reference_is_rejected() {
    for &(text, shown, hint) in EVERYWHERE {
        let shown = if shown.is_empty() { text } else { shown };
        assert_rejected(variable(text), shown, hint);
        assert_rejected(option(text), shown, hint);
    }
    for &(text, shown, hint) in OPTIONS {
        let shown = if shown.is_empty() { text } else { shown };
        assert_rejected(option(text), shown, hint);
    }
    let long = format!("akv://kv1/{}", "a".repeat(128));
    assert_rejected(variable(&long), &long, false);
    assert_rejected(option(&long), &long, false);
}

#[test]
fn correction_is_named() {
    assert_rejected(
        variable("akv://kv1/SQL_PASSWORD"),
        "akv://kv1/SQL_PASSWORD",
        true,
    )
    .hint_names("SQL-PASSWORD");
    assert_rejected(option("kv1/sa"), "kv1/sa", true).hint_names("akv://kv1/sa");
    let text = "akv://https://kv1.vault.azure.net//secrets/sa";
    for run in [variable(text), option(text)] {
        assert_rejected(run, text, true).hint_names("akv://kv1.vault.azure.net/sa");
    }
    let text = "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/secrets/secrets/f)";
    assert_rejected(variable(text), APP_SERVICE, true).hint_names("`secrets/` once");
    for (domain, suffix) in [
        ("azure.net", "vault.azure.net"),
        ("usgovcloudapi.net", "vault.usgovcloudapi.net"),
        ("azure.cn", "vault.azure.cn"),
    ] {
        for zone in ["privatelink.vaultcore", "vaultcore"] {
            let text = format!("akv://kv1.{zone}.{domain}/sa");
            for run in [variable(&text), option(&text)] {
                assert_rejected(run, &text, true).hint_names(&format!("kv1.{suffix}"));
            }
        }
    }
}

/// The challenge of such a host decides its resource.
#[test]
fn host_of_no_cloud_has_the_resource_of_its_challenge() {
    for (host, shown) in [
        ("vault.example.com", "vault.example.com"),
        (
            "kv1.vault.azure.net.example.com",
            "kv1.vault.azure.net.example.com",
        ),
        ("kv1.vault.azure.net:8443", "kv1.vault.azure.net:8443"),
        ("KV1.vault.azure.com:443", "kv1.vault.azure.com"),
        ("169.254.169.254", "169.254.169.254"),
        ("localhost:443", "localhost"),
    ] {
        for options in [&[][..], &["--allow-vault", "vault.example.com:8443"]] {
            let run = dry_run(options).env("S", format!("akv://{host}/sa"));
            let outcome = run.outcome();
            let line = outcome.stdout_alone().lines().nth(1).unwrap();
            assert!(
                line.contains(&format!("https://{shown}/secrets/sa ")),
                "{line}"
            );
            assert!(!line.contains("https://vault.azure.net)"), "{line}");
        }
    }
}
