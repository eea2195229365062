//! Clouds: the authority, the resource and the vaults of each, and a custom one by its three settings.

use crate::azure::{Azure, Endpoint, Identity};
use crate::support::{NO_OPTIONS, akv_init, exec_federated, through_the_proxy};
use crate::support_identities::{Source, assert_token, with};
use crate::support_requests::counts;

#[test]
fn cloud_has_its_authority_and_its_resource() {
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
            Source::Workload,
            Source::AppService,
            Source::CloudShell,
        ] {
            let run = with(through_the_proxy(&azure), &source.environment(&azure))
                .without("AZURE_AUTHORITY_HOST")
                .args(["--cloud", cloud])
                .printing(&["akv://prod-kv/sql-sa"]);
            assert_eq!(
                run.outcome().stdout_alone(),
                "value\n",
                "{cloud} {source:?}"
            );
            let read = azure.requests_at(Endpoint::Vault).pop().unwrap();
            assert_eq!(read.host, format!("prod-kv.{suffix}"));
            let request = azure.requests_at(source.endpoint()).pop().unwrap();
            let resource = format!("https://{suffix}");
            match source.endpoint() {
                Endpoint::Login => {
                    assert_eq!(request.host, login);
                    assert_eq!(request.form("scope"), Some(format!("{resource}/.default")));
                }
                _ => assert_eq!(
                    request
                        .query("resource")
                        .or_else(|| request.form("resource")),
                    Some(resource)
                ),
            }
        }
    }
}

/// The webhook of workload identity sets the public cloud's authority in every cluster.
#[test]
fn selected_cloud_beats_the_authority_of_another_one() {
    let azure = Azure::start();
    azure.secret("sql-sa", "value");
    let (public, usgov) = ("login.microsoftonline.com", "login.microsoftonline.us");
    for source in [Source::Secret, Source::Certificate, Source::Workload] {
        let run = || {
            with(through_the_proxy(&azure), &source.environment(&azure))
                .env("AZURE_AUTHORITY_HOST", format!("https://{public}/"))
        };
        for run in [
            run().args(["--cloud", "usgov"]),
            run().env("AKV_INIT_CLOUD", "usgov"),
        ] {
            let outcome = run.printing(&["akv://prod-kv/sql-sa"]).outcome();
            assert_eq!(outcome.stdout, "value\n", "{source:?}");
            let request = azure.requests_at(Endpoint::Login).pop().unwrap();
            assert_eq!(request.host, usgov);
            assert!(outcome.stderr.contains(public), "{}", outcome.stderr);
        }
        // Another name of the same cloud, and a host of no cloud.
        for host in ["login.windows.net", "login.example.com"] {
            let words = ["--cloud", "public", "--timeout", "0"];
            let run = run().args(words).printing(&["akv://prod-kv/sql-sa"]);
            let run = run.env("AZURE_AUTHORITY_HOST", host);
            let outcome = run.outcome();
            assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
        }
    }
    let run = akv_init([
        "check",
        "--cloud",
        "usgov",
        "--secret",
        "S=akv://prod-kv/sql-sa",
    ]);
    let run = run.args(["--timeout", "1", "--format", "json"]);
    let run = with(run, &Source::Secret.environment(&azure));
    let run = run
        .env("AZURE_AUTHORITY_HOST", public)
        .env("HTTPS_PROXY", azure.proxy());
    let outcome = run.outcome();
    let mut lines = outcome.stdout.lines();
    let is_named = |line: &str| {
        line.contains("AZURE_AUTHORITY_HOST") && line.contains(public) && line.contains(usgov)
    };
    assert!(lines.any(is_named), "{}", outcome.stdout);
}

/// Short names of vaults are completed with the suffix of the authority's cloud.
#[test]
fn every_name_of_an_authority_belongs_to_its_cloud() {
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
        let run = exec_federated(&azure, NO_OPTIONS)
            .printing(&["akv://prod-kv/sql-sa"])
            .env("AZURE_AUTHORITY_HOST", authority)
            .env("HTTPS_PROXY", azure.proxy());
        assert_eq!(run.outcome().stdout_alone(), "value\n", "{authority}");
        let request = azure.requests_at(Endpoint::Login).pop().unwrap();
        assert_eq!(
            format!("https://{}", request.host),
            authority.trim_end_matches('/')
        );
        let read = azure.requests_at(Endpoint::Vault).pop().unwrap();
        assert_eq!(read.host, format!("prod-kv.{suffix}"));
    }
}

#[test]
fn custom_cloud_is_an_authority_a_host_and_a_resource() {
    let resource = "https://vault.local.azurestack.example.com";
    let azure = Azure::builder()
        .authority("login.azurestack.example.com")
        .name("kv1.vault.local.azurestack.example.com")
        .vault_resource(resource)
        .start();
    azure.secret("sql-sa", "value");
    let host = "kv1.vault.local.azurestack.example.com";
    let options = ["--allow-vault", host, "--vault-resource", resource];
    for source in [Source::Secret, Source::AppService] {
        let run = with(
            through_the_proxy(&azure)
                .without("AKV_INIT_ALLOW_VAULT")
                .args(options),
            &source.environment(&azure),
        )
        .env(
            "AZURE_AUTHORITY_HOST",
            "https://login.azurestack.example.com/",
        )
        .printing(&[format!("akv://{host}/sql-sa")]);
        assert_eq!(run.outcome().stdout_alone(), "value\n");
    }
    // No challenge was needed.
    assert_eq!(counts(&azure), [0, 1, 2]);
}

/// A vault accepts only a token for its own cloud.
#[test]
fn cloud_of_the_host_precedes_the_option() {
    let azure = Azure::start();
    azure.secret("sql-sa", "value");
    azure.identities(&[Identity::system()]);
    let run = with(through_the_proxy(&azure), &azure.app_service_environment())
        .args(["--cloud", "usgov"])
        .printing(&["akv://kv1.vault.azure.cn/sql-sa"]);
    assert_eq!(run.outcome().stdout_alone(), "value\n");
    let request = azure.requests_at(Endpoint::Platform).pop().unwrap();
    assert_eq!(
        request.query("resource").as_deref(),
        Some("https://vault.azure.cn")
    );
    // The resource of a managed identity follows the authority's cloud.
    let run = Source::AppService
        .token(&azure, &[])
        .env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/");
    assert_token(&azure, &run.outcome());
    let request = azure.requests_at(Endpoint::Platform).pop().unwrap();
    assert_eq!(
        request.query("resource").as_deref(),
        Some("https://vault.usgovcloudapi.net")
    );
}
