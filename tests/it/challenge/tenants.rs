//! A vault whose tenant is not the one that a service principal is configured for: followed once, and only by those who
//! have a choice.

use super::{HOST, RESOURCE, assert_value, emulator, read_from};
use crate::azure::{APPLICATION, Azure, Door, OTHER_TENANT, TENANT};
use crate::network::wire::counts;
use crate::support_identities::Source;

const KNOWN: &str = "prod-kv.vault.azure.net";

/// The tenants whose token endpoint was asked, in order.
fn tenants(azure: &Azure) -> Vec<String> {
    let requests = azure.requests_at(Door::Login);
    let tenant = |path: &str| path.split('/').nth(1).unwrap().to_owned();
    requests
        .iter()
        .map(|request| tenant(request.path()))
        .collect()
}

/// A known host: the first token is the configured tenant's, AKV10032 names another, and one more token settles it.
#[test]
fn a_tenant_that_a_401_names_is_followed_once() {
    for source in [Source::Secret, Source::Certificate, Source::Workload] {
        let azure = Azure::start();
        azure.trust(OTHER_TENANT);
        assert_value(&read_from(&azure, source, KNOWN, &[]).outcome());
        assert_eq!(tenants(&azure), [TENANT, OTHER_TENANT], "{source:?}");
        assert_eq!(counts(&azure), [0, 2, 2], "{source:?}");
        // The credential goes to our own authority, whoever the challenge names.
        for request in azure.requests_at(Door::Login) {
            assert_eq!(request.host, azure.login().trim_start_matches("https://"));
        }
    }
}

/// An unknown host says it before the first token: no detour.
#[test]
fn a_tenant_that_a_challenge_names_is_asked_at_once() {
    let azure = emulator().start();
    azure.trust(OTHER_TENANT);
    assert_value(&read_from(&azure, Source::Secret, HOST, &[]).outcome());
    assert_eq!(tenants(&azure), [OTHER_TENANT]);
    assert_eq!(counts(&azure), [0, 1, 2]);
    let asked = azure.requests_at(Door::Login).pop().unwrap();
    assert_eq!(asked.form("scope"), Some(format!("{RESOURCE}/.default")));
}

/// K15: the tenant of the challenge, and the one that it is moved to between two requests; in that order, once each.
#[test]
fn k15_a_tenant_that_changes_between_two_answers_is_followed() {
    let azure = emulator().start();
    azure.trust(OTHER_TENANT);
    let first = format!(
        "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"{RESOURCE}\""
    );
    azure.next(
        Door::Vault,
        crate::azure::Answer::akv10000().header("WWW-Authenticate", &first),
    );
    assert_value(&read_from(&azure, Source::Secret, HOST, &[]).outcome());
    assert_eq!(tenants(&azure), [TENANT, OTHER_TENANT]);
    assert_eq!(counts(&azure), [0, 2, 3]);
}

/// Sixteen readers, one detour: the second token serves them all.
#[test]
fn many_secrets_share_the_second_token() {
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

/// Two of a kind in a row: the vault's own word is the error.
#[test]
fn a_second_refusal_is_final() {
    let azure = Azure::start();
    azure.trust("11111111-aaaa-4bbb-8ccc-222222222222");
    azure.challenge(&format!(
        "Bearer authorization=\"https://login.microsoftonline.com/{OTHER_TENANT}\", resource=\"https://vault.azure.net\""
    ));
    let outcome = read_from(&azure, Source::Secret, KNOWN, &[]).outcome();
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
    let request = azure.requests_at(Door::Vault).pop().unwrap();
    let line = format!(
        "reading secret `sql-sa` from {KNOWN} for S: 401 Unauthorized: AKV10032: Invalid issuer. \
         Expected one of https://sts.windows.net/11111111-aaaa-4bbb-8ccc-222222222222/, found \
         https://sts.windows.net/{OTHER_TENANT}/; request id {}; client request id {}",
        request.request_id,
        request.header("x-ms-client-request-id").unwrap()
    );
    assert_eq!(outcome.error(), Some(line.as_str()));
    assert_eq!(
        outcome.hint(),
        Some(
            "the vault trusts another tenant than the token's: was its subscription moved? Look at AZURE_TENANT_ID, or \
             move the vault's tenant id"
        )
    );
    assert_eq!(tenants(&azure), [TENANT, OTHER_TENANT]);
    assert_eq!(counts(&azure), [0, 2, 2]);
}

/// A tenant where the application is not: Entra's word, for that tenant.
#[test]
fn a_tenant_that_does_not_know_us_is_entras_word() {
    let azure = Azure::start();
    azure.trust("33333333-aaaa-4bbb-8ccc-222222222222");
    let outcome = read_from(&azure, Source::Secret, KNOWN, &[]).outcome();
    assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
    let error = outcome.error().unwrap_or_default();
    assert!(
        error.contains("AADSTS90002: Tenant '33333333-aaaa-4bbb-8ccc-222222222222' not found"),
        "{error}"
    );
    assert!(error.contains(APPLICATION), "{error}");
}

/// A managed identity has one tenant: asking again would give the same token.
#[test]
fn a_managed_identity_does_not_follow() {
    for source in [
        Source::Imds,
        Source::AppService,
        Source::MachineLearning,
        Source::CloudShell,
    ] {
        let azure = Azure::start();
        azure.trust(OTHER_TENANT);
        let outcome = read_from(&azure, source, KNOWN, &[]).outcome();
        assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
        assert!(
            outcome
                .error()
                .is_some_and(|error| error.contains("AKV10032")),
            "{}",
            outcome.stderr
        );
        assert_eq!(azure.requests_at(source.door()).len(), 1, "{source:?}");
        assert_eq!(azure.requests_at(Door::Vault).len(), 1, "{source:?}");
    }
}

/// What is no tenant cannot become a part of a URL, and the configured one in another case is the same.
#[test]
fn what_is_no_other_tenant_is_not_followed() {
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
        tenants(&azure).iter().all(|asked| asked == TENANT),
        "{:?}",
        tenants(&azure)
    );
}

/// K21: the first segment of the authority's path, whatever follows it.
#[test]
fn k21_the_tenant_is_the_first_segment() {
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
