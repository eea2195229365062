//! References: every form leads to one URL, what only looks like one is an ordinary value, and Azure's other clouds.
//! `--dry-run` prints what would be asked of whom, so no stand-in is needed here.

mod refusals;
mod silence;

use crate::azure::{Azure, Door};
use crate::support::{Outcome, Run, akv_init, exec};

/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";
const VERSION: &str = "0123456789abcdef0123456789ABCDEF";

/// A dry run with these words.
fn dry_run(words: &[&str]) -> Run {
    let run = akv_init(["exec", "--dry-run"]).args(words);
    run.args(["/bin/true"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", NOBODY)
}

/// The URL, and the resource of the token, that the one reference of a dry run leads to.
#[track_caller]
fn url_and_resource(outcome: &Outcome) -> (String, String) {
    let lines = outcome.stdout_alone().lines();
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with("trim ")).collect();
    let [_, secret, "deadline  120 s", "become    /bin/true"] = lines[..] else {
        panic!("not the plan of one secret: {lines:?}");
    };
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
fn every_form_leads_to_the_same_secret() {
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
fn the_default_vault_completes_what_names_none() {
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
    // Without one, the reference itself is refused.
    let missing = [
        "the reference `akv:///sql-sa` names no vault, and there is no default one",
        "hint: write akv://VAULT/NAME, or set --vault or AKV_INIT_VAULT",
    ];
    let outcome = dry_run(&[]).env("S", "akv:///sql-sa").outcome();
    outcome.failed(78, &[&format!("error: S: {}", missing[0]), missing[1]]);
    let outcome = dry_run(&["--secret", "S=sql-sa"]).outcome();
    outcome.failed(78, &[&format!("error: S: {}", missing[0]), missing[1]]);
}

#[test]
fn names_and_versions_are_asked_for_as_they_are_written() {
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
fn a_known_suffix_decides_the_resource_and_a_cloud_completes_a_short_name() {
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
            assert_eq!(
                std::mem::take(&mut outcome.stderr),
                "akv-init: warning: --vault-resource: it is only for hosts of --allow-vault, and there is none\n"
            );
            assert_eq!(url_and_resource(&outcome), expected);
        }
    }
}

#[test]
fn a_host_that_was_allowed_gets_a_token_for_the_resource_that_was_named() {
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
fn a_second_equals_sign_stays_in_the_value() {
    let form = "S=@Microsoft.KeyVault(VaultName=kv1;SecretName=sa)";
    let url = "https://kv1.vault.azure.net/secrets/sa".to_owned();
    for words in [&["--secret", form][..], &[&format!("--secret={form}")]] {
        assert_eq!(url_and_resource(&dry_run(words).outcome()).0, url);
    }
}

#[test]
fn what_only_looks_like_a_reference_is_an_ordinary_value() {
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
    assert_eq!(azure.connections(Door::Imds), 0);
}

#[test]
fn what_is_nearly_a_reference_is_no_value_either() {
    let hint = "hint: write akv://VAULT/NAME; `--literal NAME` passes the value on as it is";
    let error = "error: S: the value looks like a reference and is none";
    for value in [
        "akv:/kv1/sa",
        "AKV:kv1/sa",
        " akv//kv1/sa",
        "@Microsoft.KeyVault",
        "@Microsoft.KeyVault SecretUri=https://kv1.vault.azure.net/secrets/sa",
    ] {
        let run = dry_run(&[]).env("S", value);
        run.outcome().failed(78, &[error, hint]);
        let run = dry_run(&["--literal", "S"]).env("S", value);
        assert_eq!(run.outcome().code, Some(0), "{value}");
    }
}

/// A URL's `secrets/`, and a variable that Kubernetes did not know.
#[test]
fn what_is_no_reference_as_it_stands_says_what_to_leave_out_or_to_define() {
    let without = "write akv://VAULT/NAME or akv://VAULT/NAME/VERSION, without it";
    for (value, said, hint) in [
        (
            "akv://kv1/secrets/sa",
            "malformed reference `akv://kv1/secrets/sa`: `secrets/` is a part of the URL alone",
            without,
        ),
        (
            "akv://kv1/Secrets/sa/0123456789abcdef0123456789abcdef/",
            "malformed reference `akv://kv1/Secrets/sa/0123456789abcdef0123456789abcdef/`: `secrets/` is a part of the \
             URL alone",
            without,
        ),
        (
            "akv://kv1/secrets/user:hunter2@host",
            "malformed reference `akv://kv1/secrets/user…`: `secrets/` is a part of the URL alone",
            without,
        ),
        (
            "akv://$(VAULT)/sa",
            "malformed reference `akv://…`: a vault's name has 3 to 24 letters, digits and single hyphens, and starts \
             with a letter",
            "`$(NAME)` was not expanded: Kubernetes only knows a NAME that is defined before it",
        ),
    ] {
        let (error, hint) = (format!("error: S: {said}"), format!("hint: {hint}"));
        let run = dry_run(&[]).env("S", value);
        run.outcome().failed(78, &[&error, &hint]);
    }
    // A secret may have that name.
    for path in [
        "secrets",
        "secrets/",
        "secrets/0123456789abcdef0123456789abcdef",
    ] {
        let run = dry_run(&[]).env("S", format!("akv://kv1/{path}"));
        let expected = format!(
            "https://kv1.vault.azure.net/secrets/{}",
            path.trim_end_matches('/')
        );
        assert_eq!(url_and_resource(&run.outcome()).0, expected);
    }
}

#[test]
fn a_value_that_only_contains_a_reference_is_refused() {
    let lines = [
        "error: S: the value contains a reference but is not one as a whole",
        "hint: a reference must be the whole value; Kubernetes expands $(NAME) in later values before the container \
         starts; `--literal NAME` passes the value on as it is",
    ];
    for value in [
        "Server=db;Password=akv://kv1/sa",
        "\"akv://kv1/sa\"",
        "see AKV://kv1/sa",
        "postgres://u:@Microsoft.KeyVault(VaultName=kv1;SecretName=sa)@db/x",
        "xakv://kv1/sa",
    ] {
        dry_run(&[]).env("S", value).outcome().failed(78, &lines);
        let outcome = dry_run(&["--literal", "S"]).env("S", value).outcome();
        assert_eq!(outcome.stdout_alone(), "become    /bin/true\n");
    }
}

#[test]
fn another_tools_form_is_refused_with_ours() {
    for value in ["sql-sa@azurekeyvault", " sql-sa@azurekeyvault?version=1\n"] {
        dry_run(&[]).env("S", value).outcome().failed(
            78,
            &[
                "error: S: `NAME@azurekeyvault` is another tool's form",
                "hint: write akv://VAULT/sql-sa; `--literal NAME` passes the value on as it is",
            ],
        );
        let outcome = dry_run(&["--literal", "S"]).env("S", value).outcome();
        assert_eq!(outcome.stdout_alone(), "become    /bin/true\n");
    }
}
