//! References: every form names one URL, in every cloud. `--dry-run` shows the URL without a request.

mod commands;
mod dialects;
mod options;
mod refusals;
mod silence;

use crate::azure::{Azure, Endpoint};
use crate::support::{Outcome, Run, akv_init, exec};

/// An address without a server.
const NO_SERVER: &str = "http://127.0.0.1:1";
const VERSION: &str = "0123456789abcdef0123456789ABCDEF";

/// A dry run with these arguments.
fn dry_run(words: &[&str]) -> Run {
    let run = akv_init(["exec", "--dry-run"]).args(words);
    run.args(["/bin/true"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NO_SERVER)
}

/// The URL of the only reference of a dry run, and the resource of its token.
#[track_caller]
fn url_and_resource(outcome: &Outcome) -> (String, String) {
    let lines = outcome.stdout_alone().lines();
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("trim ")).collect();
    let [_, secret, deadline, "exec      /bin/true"] = lines[..] else {
        panic!("not the plan of one secret: {lines:?}");
    };
    assert_eq!(
        deadline,
        "deadline  120 s; 600 s while requests are throttled"
    );
    let rest = secret
        .strip_prefix("secret    S <- ")
        .expect("a secret for S");
    let (url, resource) = rest
        .split_once(" (resource ")
        .expect("a resource behind it");
    (url.to_owned(), resource.trim_end_matches(')').to_owned())
}

#[track_caller]
fn url_of_variable(words: &[&str], value: &str) -> String {
    url_and_resource(&dry_run(words).env("S", value).outcome()).0
}

#[track_caller]
fn url_of_option(words: &[&str], value: &str) -> String {
    let secret = format!("S={value}");
    url_and_resource(&dry_run(&[words, &["--secret", &secret]].concat()).outcome()).0
}

#[test]
fn every_form_names_the_same_secret() {
    let url = "https://kv1.vault.azure.net/secrets/sql-sa";
    let forms = [
        "akv://kv1/sql-sa",
        "akv://KV1/sql-sa/",
        "AKV://kv1/sql-sa",
        "akv://kv1.vault.azure.net/sql-sa",
        "akv://Kv1.VAULT.azure.net:443/sql-sa/",
        "akv://kv1/sql-sa?trim",
        " \t\r\nakv://kv1/sql-sa \n",
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/secrets/sql-sa)",
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/secrets/sql-sa/)",
        "@Microsoft.KeyVault(SecretUri=HTTPS://KV1.vault.azure.net:443/secrets/sql-sa)",
        "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net//secrets/sql-sa)",
        "@microsoft.keyvault(secreturi=https://kv1.vault.azure.net/secrets/sql-sa)",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=sql-sa)",
        "@Microsoft.KeyVault( SecretName = sql-sa ; VaultName = KV1 ; )",
        "@Microsoft.KeyVault(VaultName=kv1;SecretName=sql-sa;SecretVersion=)",
        "\n@Microsoft.KeyVault(VaultName=kv1;SecretName=sql-sa)\n",
    ];
    for form in forms {
        assert_eq!(url_of_variable(&[], form), url, "{form}");
        assert_eq!(url_of_option(&[], form), url, "{form}");
    }
    for form in [
        "https://kv1.vault.azure.net/secrets/sql-sa",
        "HTTPS://KV1.vault.azure.net:443/secrets/sql-sa/",
        "https://kv1.vault.azure.net//secrets/sql-sa",
    ] {
        assert_eq!(url_of_option(&[], form), url, "{form}");
    }
}

#[test]
fn every_form_takes_a_version() {
    let url = format!("https://kv1.vault.azure.net/secrets/sql-sa/{VERSION}");
    let forms = [
        format!("akv://kv1/sql-sa/{VERSION}"),
        format!("akv://kv1/sql-sa/{VERSION}/?trim"),
        format!(
            "@Microsoft.KeyVault(SecretUri=https://kv1.vault.azure.net/secrets/sql-sa/{VERSION})"
        ),
        format!("@Microsoft.KeyVault(VaultName=kv1;SecretName=sql-sa;SecretVersion={VERSION})"),
    ];
    for form in &forms {
        assert_eq!(url_of_variable(&[], form), url, "{form}");
        assert_eq!(url_of_option(&[], form), url, "{form}");
    }
    let form = format!("https://kv1.vault.azure.net/secrets/sql-sa/{VERSION}");
    assert_eq!(url_of_option(&[], &form), url);
    let form = format!("sql-sa/{VERSION}");
    assert_eq!(url_of_option(&["--vault", "kv1"], &form), url);
}

#[test]
fn default_vault_completes_a_reference_without_one() {
    let url = "https://kv1.vault.azure.net/secrets/sql-sa";
    for vault in [
        "kv1",
        "KV1",
        "kv1.vault.azure.net",
        "kv1.vault.azure.net:443",
        "https://kv1.vault.azure.net",
        "https://KV1.vault.azure.net/",
    ] {
        for form in ["akv:///sql-sa", "akv:///sql-sa/"] {
            assert_eq!(url_of_variable(&["--vault", vault], form), url, "{vault}");
        }
        for form in ["sql-sa", " sql-sa ", "akv:///sql-sa"] {
            assert_eq!(url_of_option(&["--vault", vault], form), url, "{vault}");
        }
    }
    // A full reference ignores it.
    let options = ["--vault", "other"];
    assert_eq!(url_of_variable(&options, "akv://kv1/sql-sa"), url);
    assert_eq!(
        url_of_option(
            &options,
            "@Microsoft.KeyVault(VaultName=kv1;SecretName=sql-sa)"
        ),
        url
    );
    for run in [
        dry_run(&[]).env("S", "akv:///sql-sa"),
        dry_run(&["--secret", "S=sql-sa"]),
    ] {
        let failure = run.failure(78, "config");
        failure.names("`akv:///sql-sa`").hint_names("--vault");
    }
}

#[test]
fn names_are_used_unchanged() {
    let long = "N".repeat(127);
    for name in ["a", "0", "-", "SQL-Sa", "a--b-", &long] {
        let expected = format!("https://kv1.vault.azure.net/secrets/{name}");
        assert_eq!(url_of_variable(&[], &format!("akv://kv1/{name}")), expected);
    }
    for vault in ["abc", "a-b", "a23456789012345678901234"] {
        let expected = format!("https://{vault}.vault.azure.net/secrets/sa");
        assert_eq!(url_of_variable(&[], &format!("akv://{vault}/sa")), expected);
    }
}

#[test]
fn suffix_decides_the_resource_and_the_cloud_completes_a_short_name() {
    let clouds = [
        ("public", "vault.azure.net"),
        ("usgov", "vault.usgovcloudapi.net"),
        ("china", "vault.azure.cn"),
    ];
    for (cloud, suffix) in clouds {
        let expected = (
            format!("https://kv1.{suffix}/secrets/sa"),
            format!("https://{suffix}"),
        );
        let outcome = dry_run(&["--cloud", cloud])
            .env("S", "akv://kv1/sa")
            .outcome();
        assert_eq!(url_and_resource(&outcome), expected);
        // Whatever the cloud and the resource for other hosts are.
        for (other, _) in clouds {
            let words = [
                "--cloud",
                other,
                "--vault-resource",
                "https://other.example",
            ];
            let mut outcome = dry_run(&words)
                .env("S", format!("akv://kv1.{suffix}/sa"))
                .outcome();
            let warning = std::mem::take(&mut outcome.stderr);
            assert!(warning.contains("--vault-resource"), "{warning}");
            assert_eq!(url_and_resource(&outcome), expected);
        }
    }
}

#[test]
fn allowed_host_has_the_resource_of_the_option_or_the_cloud() {
    let hosts = [
        ("vault.internal", "vault.internal"),
        ("VAULT.internal:443", "vault.internal"),
        ("vault:8443", "vault:8443"),
        ("10.0.0.4", "10.0.0.4"),
        ("[::1]:8443", "[::1]:8443"),
        ("[FD00::4]", "[fd00::4]"),
        ("kv1.vault.azure.net:8443", "kv1.vault.azure.net:8443"),
    ];
    for (host, shown) in hosts {
        let url = format!("https://{shown}/secrets/sa");
        let run = dry_run(&["--allow-vault", host]).env("S", format!("akv://{host}/sa"));
        let expected = (url.clone(), "https://vault.azure.net".to_owned());
        assert_eq!(url_and_resource(&run.outcome()), expected);
        let words = ["--allow-vault", host, "--cloud", "china"];
        let run = dry_run(&words).env("S", format!("akv://{host}/sa"));
        let expected = (url.clone(), "https://vault.azure.cn".to_owned());
        assert_eq!(url_and_resource(&run.outcome()), expected);
        let words = [
            "--allow-vault",
            host,
            "--vault-resource",
            "https://vault.example",
        ];
        let run = dry_run(&words).env("S", format!("akv://{host}/sa"));
        let expected = (url, "https://vault.example".to_owned());
        assert_eq!(url_and_resource(&run.outcome()), expected);
    }
}

#[test]
fn second_equals_sign_is_a_part_of_the_reference() {
    let form = "S=@Microsoft.KeyVault(VaultName=kv1;SecretName=sa)";
    let url = "https://kv1.vault.azure.net/secrets/sa".to_owned();
    for words in [&["--secret", form][..], &[&format!("--secret={form}")]] {
        assert_eq!(url_and_resource(&dry_run(words).outcome()).0, url);
    }
}

#[test]
fn other_values_are_passed_on() {
    let azure = Azure::start();
    let ordinary = [
        "https://kv1.vault.azure.net/secrets/sa",
        "http://kv1.vault.azure.net/secrets/sa",
        "sa",
        "sa/0123456789abcdef0123456789abcdef",
        "akv",
        "akv:",
        "akv:1.2.3",
        "avk://kv1/sa",
        "@Microsoft.Storage(VaultName=kv1)",
        "postgres://u:hunter2@azurekeyvault/x",
        "mailto:sa@azurekeyvault.example",
        "two words@azurekeyvault",
        "@azurekeyvault",
        "$(NAME)",
        "keyvault://kv1/sa",
        "",
    ];
    for value in ordinary {
        let run = exec(&azure, ["/bin/sh", "-c", "printf %s \"$S\""]).env("S", value);
        assert_eq!(run.outcome().stdout_alone(), value);
    }
    assert_eq!(azure.connections(Endpoint::Imds), 0);
}

/// Asserts that this value of a variable is rejected without the password in it, and that `--literal` passes it on.
#[track_caller]
fn assert_rejected_unless_literal(value: &str) {
    let failure = dry_run(&[]).env("S", value).failure(78, "config");
    failure.names("S").hint_names("--literal");
    let outcome = dry_run(&["--literal", "S"]).env("S", value).outcome();
    assert!(!outcome.stdout_alone().contains("secret"), "{value}");
}

#[test]
fn value_that_is_almost_a_reference_is_rejected() {
    for value in [
        "akv:/kv1/sa",
        "AKV:kv1/sa",
        " akv//kv1/sa",
        "@Microsoft.KeyVault",
        "@Microsoft.KeyVault SecretUri=https://kv1.vault.azure.net/secrets/sa",
    ] {
        assert_rejected_unless_literal(value);
    }
}

#[test]
fn value_that_only_contains_a_reference_is_rejected() {
    for value in [
        "Server=db;Password=akv://kv1/sa",
        "\"akv://kv1/sa\"",
        "see AKV://kv1/sa",
        "postgres://u:@Microsoft.KeyVault(VaultName=kv1;SecretName=sa)@db/x",
        "xakv://kv1/sa",
    ] {
        assert_rejected_unless_literal(value);
    }
}

#[test]
fn reference_of_another_tool_is_rejected() {
    for value in ["sql-sa@azurekeyvault", " sql-sa@azurekeyvault?version=1\n"] {
        assert_rejected_unless_literal(value);
        let failure = dry_run(&[]).env("S", value).failure(78, "config");
        failure.hint_names("akv://VAULT/sql-sa");
    }
}

/// `docker run --env-file` keeps quotes.
#[test]
fn reference_in_quotes_is_rejected() {
    for quote in ["\"", "'"] {
        for reference in [
            "akv://kv1/sa",
            "akv://kv1/sa?trim#/a",
            "@Microsoft.KeyVault(VaultName=kv1;SecretName=sa)",
            "entra-token:https://database.windows.net/",
        ] {
            let value = format!("{quote}{reference}{quote}");
            assert_rejected_unless_literal(&value);
            let failure = dry_run(&[]).env("S", &value).failure(78, "config");
            failure.hint_names("without quotes");
            let option = format!("S={value}");
            let failure = dry_run(&["--secret", &option]).failure(78, "config");
            failure.names("S").hint_names("without quotes");
        }
    }
}

/// It belongs to the URL; a secret may have that name.
#[test]
fn path_of_a_url_in_a_reference_is_rejected() {
    for value in [
        "akv://kv1/secrets/sa",
        "akv://kv1/Secrets/sa/0123456789abcdef0123456789abcdef/",
        "akv://kv1/secrets/user:LEAK@host",
    ] {
        let failure = dry_run(&[]).env("S", value).failure(78, "config");
        failure.names("secrets/").hinted().omits("LEAK");
    }
    for path in [
        "secrets",
        "secrets/",
        "secrets/0123456789abcdef0123456789abcdef",
        "certificates",
        "keys/0123456789abcdef0123456789abcdef",
    ] {
        let run = dry_run(&[]).env("S", format!("akv://kv1/{path}"));
        let path = path.trim_end_matches('/');
        let expected = format!("https://kv1.vault.azure.net/secrets/{path}");
        assert_eq!(url_and_resource(&run.outcome()).0, expected);
    }
}

#[test]
fn variable_that_kubernetes_did_not_expand_is_rejected() {
    let run = dry_run(&[]).env("S", "akv://$(VAULT)/sa");
    run.failure(78, "config").hint_names("$(NAME)");
}
