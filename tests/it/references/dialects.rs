//! References of other tools: those that are read as they are, those that are an error with a hint, and those that are
//! passed on. A row is a value, and the canonical reference or what the hint names.

use super::options::printed;
use super::{NO_SERVER, VERSION, dry_run, url_of_option, url_of_variable};
use crate::azure::Azure;
use crate::support::{akv_init, exec};

/// Values, and the references that they are.
const READ: &[(&str, &str)] = &[
    // vals
    (
        "ref+azurekeyvault://test-vault/a-secret",
        "test-vault.vault.azure.net/a-secret",
    ),
    (
        "ref+azurekeyvault://test-vault/a-secret/",
        "test-vault.vault.azure.net/a-secret",
    ),
    (
        "ref+azurekeyvault://test-vault/a-secret+",
        "test-vault.vault.azure.net/a-secret",
    ),
    (
        "secretref+azurekeyvault://test-vault/a-secret",
        "test-vault.vault.azure.net/a-secret",
    ),
    (
        "REF+AzureKeyVault://test-vault/a-secret",
        "test-vault.vault.azure.net/a-secret",
    ),
    (
        "ref+azurekeyvault://test-vault.vault.usgovcloudapi.net/a-secret",
        "test-vault.vault.usgovcloudapi.net/a-secret",
    ),
    (
        "ref+azurekeyvault://test-vault/a-secret/1234567f0c4848958aeee4e3e8eabb9e#/a/b+",
        "test-vault.vault.azure.net/a-secret/1234567f0c4848958aeee4e3e8eabb9e#/a/b",
    ),
    (
        "ref+azurekeyvault://kv1/x#a/b",
        "kv1.vault.azure.net/x#/a/b",
    ),
    (
        "ref+azurekeyvault://kv1/x#/a/b",
        "kv1.vault.azure.net/x#/a/b",
    ),
    (
        "ref+azurekeyvault://kv1/x#/m~n",
        "kv1.vault.azure.net/x#/m~0n",
    ),
    (
        "ref+azurekeyvault://kv1/x#/m~1n",
        "kv1.vault.azure.net/x#/m~01n",
    ),
    // secret-init
    (
        "azure:keyvault:secret-init-test",
        "default.vault.azure.net/secret-init-test",
    ),
    (
        "azure:keyvault:secret-init-test/1234567f0c4848958aeee4e3e8eabb9e",
        "default.vault.azure.net/secret-init-test/1234567f0c4848958aeee4e3e8eabb9e",
    ),
];

#[test]
fn two_forms_are_read() {
    for (value, expected) in READ {
        let variables = &[("AZURE_KEY_VAULT_URL", "https://default.vault.azure.net/")];
        assert_eq!(printed(value, variables), format!("akv://{expected}"));
    }
    let form = format!("azure:keyvault:sa/{VERSION}");
    let url = format!("https://kv1.vault.azure.net/secrets/sa/{VERSION}");
    assert_eq!(url_of_option(&["--vault=kv1"], &form), url);
}

/// Values that are an error, in a variable and, if they look like a reference as a whole, in an option; and what the
/// hint names.
const REFUSED: &[(&str, &str)] = &[
    // vals
    ("ref+azurekeyvault://too-short/", ""),
    ("ref+azurekeyvault://too-short", "akv://VAULT/NAME"),
    ("ref+azurekeyvault://to/many/key/components", ""),
    ("ref+azurekeyvault:///secret", "akv:///NAME"),
    ("ref+azurekeyvault://test-vault/ /", ""),
    // No vault has such a version; the test of vals never asks one.
    (
        "ref+azurekeyvault://test-vault/a-secret/v1",
        "current version",
    ),
    ("ref+azurekeyvault://kv1/x?trim", "akv://kv1/x"),
    ("ref+azurekeyvault://kv1/x#/a#b", ""),
    ("a ref+azurekeyvault://kv1/x+ b", "{akv://kv1/x}"),
    (
        "a=secretref+azurekeyvault://kv1/x#/a/b",
        "{akv://kv1/x#/a/b}",
    ),
    (
        "{akv://kv1/x} ref+azurekeyvault://kv1/x",
        "{akv://VAULT/NAME}",
    ),
    // secret-init
    ("azure:keyvault:a/b/c", ""),
    ("azure:keyvault:", ""),
    ("azure:keyvault:x?trim", "akv:///x"),
    ("azure:keyvault:x#/a", "akv:///x"),
    // akv2k8s
    (
        "certificate-inject@azurekeyvault?tls.crt",
        "akv://VAULT/certificate-inject?pem=chain",
    ),
    (
        "key-inject@azurekeyvault?tls.key",
        "akv://VAULT/key-inject?pem=key",
    ),
    ("empty-inject@azurekeyvault?", "akv://VAULT/empty-inject,"),
    ("db@azurekeyvault", "akv://VAULT/db,"),
    ("db@azurekeyvault?raw", "akv://VAULT/db?decode=base64"),
    ("db@azurekeyvault?hunter2", "akv://VAULT/db#/KEY"),
    // Container Apps
    (
        "keyvaultref:https://kv1.vault.azure.net/secrets/x,identityref:system",
        "AKV_INIT_RESOURCE_ID",
    ),
    // secretspec's address of a provider
    (
        "akv://kv1?auth=managed_identity&suffix=vault.azure.cn",
        "akv://VAULT/NAME",
    ),
];

#[test]
fn other_forms_are_an_error() {
    for (value, hint) in REFUSED {
        let failure = dry_run(&["--vault=kv1"])
            .env("S", value)
            .failure(78, "config");
        failure.names("S").omits("hunter2");
        if !hint.is_empty() {
            failure.hint_names(hint);
        }
        let outcome = dry_run(&["--literal=S"]).env("S", value).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    }
}

#[test]
fn variable_of_azure_names_the_last_default_vault() {
    let run = |words: &[&str], url: &str| dry_run(words).env("AZURE_KEY_VAULT_URL", url);
    for (words, variable, url, host) in [
        (
            &[][..],
            "",
            "https://kv1.vault.azure.net/",
            "kv1.vault.azure.net",
        ),
        (&[], "", "\"kv1.vault.azure.net\"", "kv1.vault.azure.net"),
        (
            &[],
            "kv2",
            "https://kv1.vault.azure.net/",
            "kv2.vault.azure.net",
        ),
        (
            &["--vault=kv3"],
            "kv2",
            "https://kv1.vault.azure.net/",
            "kv3.vault.azure.net",
        ),
    ] {
        let run = run(words, url).env("AKV_INIT_VAULT", variable);
        let outcome = run.env("S", "azure:keyvault:x").outcome();
        let expected = format!("S <- https://{host}/secrets/x ");
        assert!(
            outcome.planned("secret")[0].starts_with(&expected),
            "{outcome:?}"
        );
    }
    let malformed = run(&[], "http://kv1.vault.azure.net");
    let failure = malformed.env("S", "akv:///x").failure(78, "config");
    failure.names("AZURE_KEY_VAULT_URL").names("S");
    // It is only looked at when it is needed.
    let unneeded = run(&[], "http://kv1").env("S", "akv://kv1/x").outcome();
    assert_eq!(unneeded.code, Some(0), "{}", unneeded.stderr);
    let failure = dry_run(&[])
        .env("S", "azure:keyvault:x")
        .failure(78, "config");
    failure.hint_names("AZURE_KEY_VAULT_URL");
}

/// Values that are passed on, and whether that is said.
const PASSED_ON: &[(&str, bool)] = &[
    ("https://kv1.vault.azure.net/secrets/x", true),
    ("https://kv1.vault.azure.net//secrets/x", true),
    ("https://kv1.example.com/secrets/x", false),
    ("https://kv1.vault.azure.net/", false),
    ("ref+vault://a/b#/c", true),
    ("ref+awssecrets://a/b", true),
    ("keyvault://kv1/sa", true),
    ("op://vault/item/field", true),
    ("vault:secret/data/account#user", true),
    ("sm://project/secret", true),
    ("Password=$(REFERENCE);", true),
    ("$(OTHER)", false),
    ("vault:8200", false),
    ("x@azurekeyvault.example", false),
    ("secret-no-inject", false),
    ("{azure:keyvault:x}", false),
    ("{https://kv1.vault.azure.net/secrets/x}", false),
];

#[test]
fn value_that_is_passed_on_has_a_line() {
    let azure = Azure::start();
    azure.secret("x", "value");
    let reference = format!("akv://{}/x", azure.vault());
    for (value, noted) in PASSED_ON {
        let words = ["--verbose", "/bin/sh", "-c", "printf %s \"$VALUE\""];
        let run = exec(&azure, words).json().env("REFERENCE", &reference);
        let outcome = run.env("VALUE", value).outcome();
        assert_eq!((outcome.code, &*outcome.stdout), (Some(0), *value));
        let debug = outcome.lines_of("debug");
        let about = |line: &&serde_json::Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("VALUE "))
        };
        assert_eq!(
            debug.iter().filter(about).count(),
            usize::from(*noted),
            "{value}"
        );
        let check = akv_init(["check"])
            .env("REFERENCE", "akv://kv1/x")
            .env("VALUE", value)
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NO_SERVER)
            .env("HTTPS_PROXY", NO_SERVER);
        let report = check.outcome().stdout;
        let count = report.matches("ok      reference   VALUE: ").count();
        assert_eq!(count, usize::from(*noted), "{value}: {report}");
    }
    // Nothing is said about one that is to be passed on.
    let words = ["--verbose", "--literal=VALUE", "/bin/true"];
    let outcome = exec(&azure, words).env("VALUE", "op://a/b").outcome();
    assert!(!outcome.stderr.contains("VALUE"), "{}", outcome.stderr);
}

#[test]
fn quotes_around_another_form_are_an_error_too() {
    let url = url_of_variable(&["--vault=kv1"], " azure:keyvault:x\n");
    assert_eq!(url, "https://kv1.vault.azure.net/secrets/x");
    let run = dry_run(&["--vault=kv1"]).env("S", "\"azure:keyvault:x\"");
    run.failure(78, "config").hint_names("without quotes");
}
