//! For each cloud its authority, its resource and its vaults; a custom one by its three settings. Which source is asked
//! at all is a file of its own.

use crate::azure::{Azure, Door, Identity};
use crate::network::wire::{connections, counts};
use crate::support::{exec, exec_federated};
use crate::support_identities::{Source, assert_token, with};

/// T3, for the sources that ask Entra; and the resource, for those that do not.
#[test]
fn each_cloud_has_its_authority_and_its_resource() {
    let azure = Azure::start();
    azure.secret("sql-sa", "value");
    for (cloud, login, suffix) in [
        ("public", "login.microsoftonline.com", "vault.azure.net"),
        (
            "usgov",
            "login.microsoftonline.us",
            "vault.usgovcloudapi.net",
        ),
        ("china", "login.chinacloudapi.cn", "vault.azure.cn"),
    ] {
        for source in [
            Source::Secret,
            Source::Certificate,
            Source::AppService,
            Source::CloudShell,
        ] {
            let words = [
                "--cloud",
                cloud,
                "--secret",
                "S=akv://prod-kv/sql-sa",
                "--",
                "printenv",
                "S",
            ];
            let run = with(exec(&azure, words), &source.environment(&azure))
                .without("AZURE_AUTHORITY_HOST")
                .env("HTTPS_PROXY", azure.proxy());
            assert_eq!(
                run.outcome().stdout_alone(),
                "value\n",
                "{cloud} {source:?}"
            );
            let read = azure.requests_at(Door::Vault).pop().unwrap();
            assert_eq!(read.host, format!("prod-kv.{suffix}"));
            let asked = azure.requests_at(source.door()).pop().unwrap();
            let resource = format!("https://{suffix}");
            match source.door() {
                Door::Login => {
                    assert_eq!(asked.host, login);
                    assert_eq!(asked.form("scope"), Some(format!("{resource}/.default")));
                }
                _ => assert_eq!(
                    asked.query("resource").or_else(|| asked.form("resource")),
                    Some(resource)
                ),
            }
        }
    }
}

/// Any of an authority's names is its cloud's, so that short names of vaults are completed as that cloud has them.
#[test]
fn an_authoritys_other_names_are_its_clouds_too() {
    for (authority, suffix) in [
        ("https://login.windows.net", "vault.azure.net"),
        ("https://login.microsoft.com/", "vault.azure.net"),
        ("https://sts.windows.net/", "vault.azure.net"),
        (
            "https://login.microsoftonline.us/",
            "vault.usgovcloudapi.net",
        ),
        ("https://login.usgovcloudapi.net", "vault.usgovcloudapi.net"),
        ("https://login.chinacloudapi.cn/", "vault.azure.cn"),
        (
            "https://login.partner.microsoftonline.cn/",
            "vault.azure.cn",
        ),
        ("https://login.contoso.local/", "vault.azure.net"),
    ] {
        let azure = Azure::builder()
            .authority(authority["https://".len()..].trim_end_matches('/'))
            .start();
        azure.secret("sql-sa", "value");
        let words = ["--secret", "S=akv://prod-kv/sql-sa", "--", "printenv", "S"];
        let run = exec_federated(&azure, words)
            .env("AZURE_AUTHORITY_HOST", authority)
            .env("HTTPS_PROXY", azure.proxy());
        assert_eq!(run.outcome().stdout_alone(), "value\n", "{authority}");
        let asked = azure.requests_at(Door::Login).pop().unwrap();
        assert_eq!(
            format!("https://{}", asked.host),
            authority.trim_end_matches('/')
        );
        let read = azure.requests_at(Door::Vault).pop().unwrap();
        assert_eq!(read.host, format!("prod-kv.{suffix}"));
    }
}

/// A custom cloud: an authority, a host, and the resource that its vaults take.
#[test]
fn a_custom_cloud_is_an_authority_a_host_and_a_resource() {
    let resource = "https://vault.local.azurestack.example.com";
    let azure = Azure::builder()
        .authority("login.azurestack.example.com")
        .name("kv1.vault.local.azurestack.example.com")
        .vault_resource(resource)
        .start();
    azure.secret("sql-sa", "value");
    let host = "kv1.vault.local.azurestack.example.com";
    let words = [
        "--allow-vault",
        host,
        "--vault-resource",
        resource,
        "--secret",
        "S=akv://kv1.vault.local.azurestack.example.com/sql-sa",
        "--",
        "printenv",
        "S",
    ];
    for source in [Source::Secret, Source::AppService] {
        let run = with(
            exec(&azure, words).without("AKV_INIT_ALLOW_VAULT"),
            &source.environment(&azure),
        )
        .env("HTTPS_PROXY", azure.proxy())
        .env(
            "AZURE_AUTHORITY_HOST",
            "https://login.azurestack.example.com/",
        );
        assert_eq!(run.outcome().stdout_alone(), "value\n");
    }
    // No 401 came before: an option explained the host.
    assert_eq!(counts(&azure), [0, 1, 2]);
}

/// A vault's suffix decides, whatever `--cloud` says: a token for another cloud is none there.
#[test]
fn a_hosts_own_cloud_goes_before_the_option() {
    let azure = Azure::start();
    azure.secret("sql-sa", "value");
    azure.identities(&[Identity::system()]);
    let words = [
        "--cloud",
        "usgov",
        "--secret",
        "S=akv://kv1.vault.azure.cn/sql-sa",
        "--",
        "printenv",
        "S",
    ];
    let run = with(exec(&azure, words), &azure.app_service_environment())
        .env("HTTPS_PROXY", azure.proxy());
    assert_eq!(run.outcome().stdout_alone(), "value\n");
    let asked = azure.requests_at(Door::Platform).pop().unwrap();
    assert_eq!(
        asked.query("resource").as_deref(),
        Some("https://vault.azure.cn")
    );
    // The other way round: what a managed identity is asked for follows the authority's cloud, too.
    let run = Source::AppService
        .token(&azure, &[])
        .env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/");
    assert_token(&azure, &run.outcome());
    let asked = azure.requests_at(Door::Platform).pop().unwrap();
    assert_eq!(
        asked.query("resource").as_deref(),
        Some("https://vault.usgovcloudapi.net")
    );
    assert!(connections(&azure) > 0);
}
