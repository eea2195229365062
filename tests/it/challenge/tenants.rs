//! A vault of another tenant than the configured one: its tenant is used once, by sources that have a choice.

use super::{HOST, RESOURCE, assert_value, emulator, read_from};
use crate::azure::{Azure, Endpoint, OTHER_TENANT, TENANT};
use crate::support_identities::Source;
use crate::support_requests::counts;

const KNOWN: &str = "prod-kv.vault.azure.net";

/// The tenants of the token requests, in order.
fn tenants(azure: &Azure) -> Vec<String> {
    let requests = azure.requests_at(Endpoint::Login);
    let tenant = |path: &str| path.split('/').nth(1).unwrap().to_owned();
    requests
        .iter()
        .map(|request| tenant(request.path()))
        .collect()
}

/// The first token is the configured tenant's, and AKV10032 names another.
#[test]
fn tenant_that_a_401_names_is_used_once() {
    for source in [Source::Secret, Source::Certificate, Source::Workload] {
        let azure = Azure::start();
        azure.trust(OTHER_TENANT);
        assert_value(&read_from(&azure, source, KNOWN, &[]).outcome());
        assert_eq!(tenants(&azure), [TENANT, OTHER_TENANT], "{source:?}");
        assert_eq!(counts(&azure), [0, 2, 2], "{source:?}");
        // The credential is sent to the configured authority alone.
        for request in azure.requests_at(Endpoint::Login) {
            assert_eq!(request.host, azure.login().trim_start_matches("https://"));
        }
    }
}

/// An unknown host names it before the first token.
#[test]
fn tenant_of_a_challenge_is_used_for_the_first_token() {
    let azure = emulator().start();
    azure.trust(OTHER_TENANT);
    assert_value(&read_from(&azure, Source::Secret, HOST, &[]).outcome());
    assert_eq!(tenants(&azure), [OTHER_TENANT]);
    assert_eq!(counts(&azure), [0, 1, 2]);
    let request = azure.requests_at(Endpoint::Login).pop().unwrap();
    assert_eq!(request.form("scope"), Some(format!("{RESOURCE}/.default")));
}

#[test]
fn tenant_that_changes_between_two_responses_is_used() {
    let azure = emulator().start();
    azure.trust(OTHER_TENANT);
    let first = format!(
        "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"{RESOURCE}\""
    );
    azure.next(
        Endpoint::Vault,
        crate::azure::Response::akv10000().header("WWW-Authenticate", &first),
    );
    assert_value(&read_from(&azure, Source::Secret, HOST, &[]).outcome());
    assert_eq!(tenants(&azure), [TENANT, OTHER_TENANT]);
    assert_eq!(counts(&azure), [0, 2, 3]);
}

#[test]
fn secrets_of_a_vault_share_the_second_token() {
    let azure = Azure::start();
    azure.trust(OTHER_TENANT);
    let mut words = Vec::new();
    let targets: Vec<String> = (0..16)
        .map(|n| format!("S{n}=akv://{KNOWN}/n{n}"))
        .collect();
    for (n, target) in targets.iter().enumerate() {
        azure.secret(&format!("n{n}"), "x");
        words.extend(["--secret", target]);
    }
    assert_value(&read_from(&azure, Source::Secret, KNOWN, &words).outcome());
    assert_eq!(tenants(&azure), [TENANT, OTHER_TENANT]);
}

#[test]
fn second_refusal_is_final() {
    let azure = Azure::start();
    azure.trust("11111111-aaaa-4bbb-8ccc-222222222222");
    azure.challenge(&format!(
        "Bearer authorization=\"https://login.microsoftonline.com/{OTHER_TENANT}\", resource=\"https://vault.azure.net\""
    ));
    let failure = read_from(&azure, Source::Secret, KNOWN, &[]).failure(77, "denied");
    failure
        .names("AKV10032")
        .names("11111111-aaaa-4bbb-8ccc-222222222222")
        .hinted();
    assert_eq!(tenants(&azure), [TENANT, OTHER_TENANT]);
    assert_eq!(counts(&azure), [0, 2, 2]);
}

#[test]
fn tenant_that_entra_does_not_know_is_rejected() {
    let azure = Azure::start();
    azure.trust("33333333-aaaa-4bbb-8ccc-222222222222");
    let failure = read_from(&azure, Source::Secret, KNOWN, &[]).failure(78, "config");
    failure
        .names("AADSTS90002")
        .names("33333333-aaaa-4bbb-8ccc-222222222222");
}

/// It has one tenant: another request would give the same token.
#[test]
fn managed_identity_does_not_use_another_tenant() {
    for source in [
        Source::Imds,
        Source::AppService,
        Source::MachineLearning,
        Source::CloudShell,
    ] {
        let azure = Azure::start();
        azure.trust(OTHER_TENANT);
        let failure = read_from(&azure, source, KNOWN, &[]).failure(77, "denied");
        failure.names("AKV10032");
        assert_eq!(azure.requests_at(source.endpoint()).len(), 1, "{source:?}");
        assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1, "{source:?}");
    }
}

/// It would become a part of a URL; the configured one in another case is the same tenant.
#[test]
fn malformed_or_same_tenant_is_not_used() {
    let azure = Azure::start();
    azure.trust(OTHER_TENANT);
    for tenant in [
        "../../evil",
        "common?x=1",
        "a%2fb",
        "",
        "adfs",
        &TENANT.to_uppercase(),
    ] {
        azure.challenge(&format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{tenant}\", resource=\"https://vault.azure.net\""
        ));
        let outcome = read_from(&azure, Source::Secret, KNOWN, &[]).outcome();
        assert_eq!(outcome.code, Some(77), "{tenant}: {}", outcome.stderr);
    }
    assert!(
        tenants(&azure).iter().all(|tenant| tenant == TENANT),
        "{:?}",
        tenants(&azure)
    );
}

#[test]
fn tenant_is_the_first_segment_of_the_authoritys_path() {
    for authority in [
        format!("https://login.microsoftonline.com/{OTHER_TENANT}"),
        format!("https://login.microsoftonline.com/{OTHER_TENANT}/"),
        format!("https://login.windows.net/{OTHER_TENANT}/oauth2/authorize"),
    ] {
        let azure = Azure::start();
        azure.trust(OTHER_TENANT);
        for name in ["authorization", "authorization_uri"] {
            azure.challenge(&format!(
                "Bearer {name}=\"{authority}\", resource=\"https://vault.azure.net\""
            ));
            assert_value(&read_from(&azure, Source::Secret, KNOWN, &[]).outcome());
            assert_eq!(
                tenants(&azure).last().map(String::as_str),
                Some(OTHER_TENANT),
                "{authority}"
            );
        }
    }
}
