//! Vaults that do not know the api-version: the one that they name is used instead, once.

use super::{HOST, assert_value, emulator, read_from};
use crate::azure::{Azure, Endpoint, Response};
use crate::support_identities::Source;
use crate::support_requests::counts;

const KNOWN: &str = "prod-kv.vault.azure.net";

/// The api-versions of the requests.
fn versions(azure: &Azure) -> Vec<String> {
    let requests = azure.requests_at(Endpoint::Vault);
    requests
        .iter()
        .map(|request| request.query("api-version").unwrap())
        .collect()
}

#[test]
fn version_that_the_vault_names_is_used() {
    let azure = Azure::start();
    azure.api_versions(&["2016-10-01", "7.0", "7.1"]);
    assert_value(&read_from(&azure, Source::Imds, KNOWN, &[]).outcome());
    assert_eq!(versions(&azure), ["7.4", "7.1"]);
    assert_eq!(counts(&azure), [1, 0, 2]);
    // US Government once knew only the first one.
    azure.api_versions(&["2016-10-01"]);
    assert_value(&read_from(&azure, Source::Imds, KNOWN, &[]).outcome());
    assert_eq!(versions(&azure).last().unwrap(), "2016-10-01");
}

/// Before or after its challenge.
#[test]
fn version_that_an_unknown_host_names_is_used() {
    let azure = emulator().start();
    azure.api_versions(&["7.1"]);
    assert_value(&read_from(&azure, Source::Imds, HOST, &[]).outcome());
    let used = versions(&azure);
    assert_eq!(used.last().unwrap(), "7.1");
    // The fake Azure checks the token first.
    assert_eq!(used, ["7.4", "7.4", "7.1"]);
    let azure = emulator().start();
    azure.api_versions(&["7.1"]);
    azure.next(Endpoint::Vault, Response::api_version("7.4", "7.1"));
    assert_value(&read_from(&azure, Source::Imds, HOST, &[]).outcome());
    assert_eq!(versions(&azure), ["7.4", "7.1", "7.1"]);
}

#[test]
fn each_reader_learns_the_version_at_most_once() {
    let azure = Azure::start();
    azure.api_versions(&["7.1"]);
    let targets: Vec<String> = (0..40)
        .map(|n| format!("S{n}=akv://{KNOWN}/n{n}"))
        .collect();
    let mut words = Vec::new();
    for (n, target) in targets.iter().enumerate() {
        azure.secret(&format!("n{n}"), "x");
        words.extend(["--secret", target]);
    }
    assert_value(&read_from(&azure, Source::Imds, KNOWN, &words).outcome());
    let used = versions(&azure);
    let first = used.iter().filter(|version| *version == "7.4").count();
    // As many as there can be connections to one vault.
    assert!((1..=25).contains(&first), "{first} of {}", used.len());
    assert_eq!(used.len() - first, 41);
}

/// The vault names a version that it does not accept either.
#[test]
fn second_refusal_is_final() {
    let azure = Azure::start();
    azure.api_versions(&[]);
    azure.always(Endpoint::Vault, Response::api_version("7.4", "7.1"));
    let failure = read_from(&azure, Source::Imds, KNOWN, &[]).failure(76, "protocol");
    failure
        .fact("refusal", "BadParameter")
        .names("7.4")
        .names("7.1");
    assert_eq!(versions(&azure), ["7.4", "7.1"]);
}

/// It would become a part of a request with a token.
#[test]
fn malformed_version_is_not_used() {
    let azure = Azure::start();
    for named in ["", "7.1&x=1", "7.1#", "7 1", "../../x", "7.4"] {
        azure.always(Endpoint::Vault, Response::api_version("7.4", named));
        read_from(&azure, Source::Imds, KNOWN, &[]).failure(76, "protocol");
    }
    assert_eq!(versions(&azure), ["7.4"; 6]);
}

#[test]
fn own_version_is_used_where_the_vault_knows_it() {
    let azure = Azure::start();
    azure.api_versions(&["7.3", "7.4", "2026-04-01"]);
    assert_value(&read_from(&azure, Source::Imds, KNOWN, &[]).outcome());
    assert_eq!(versions(&azure), ["7.4"]);
}
