//! Vaults that are behind: an api-version that they do not know is given up for the one that they name, once.

use super::{HOST, assert_value, emulator, read_from};
use crate::azure::{Answer, Azure, Door};
use crate::network::wire::counts;
use crate::support_identities::Source;

const KNOWN: &str = "prod-kv.vault.azure.net";

/// The api-versions that the vault was asked with.
fn versions(azure: &Azure) -> Vec<String> {
    let requests = azure.requests_at(Door::Vault);
    requests
        .iter()
        .map(|request| request.query("api-version").unwrap())
        .collect()
}

/// Q7.
#[test]
fn q7_the_version_that_the_vault_names_is_used() {
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

/// Also where it says so before it says what it wants.
#[test]
fn an_unknown_host_may_be_behind_too() {
    let azure = emulator().start();
    azure.api_versions(&["7.1"]);
    assert_value(&read_from(&azure, Source::Imds, HOST, &[]).outcome());
    let asked = versions(&azure);
    assert_eq!(asked.last().unwrap(), "7.1");
    // The stand-in checks who asks first: it is found out with the token in hand.
    assert_eq!(asked, ["7.4", "7.4", "7.1"]);
    let azure = emulator().start();
    azure.api_versions(&["7.1"]);
    azure.next(Door::Vault, Answer::api_version("7.4", "7.1"));
    assert_value(&read_from(&azure, Source::Imds, HOST, &[]).outcome());
    assert_eq!(versions(&azure), ["7.4", "7.1", "7.1"]);
}

/// What was learnt serves the secrets that come later on the same connection.
#[test]
fn it_is_found_out_once_for_each_reader_at_most() {
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
    let asked = versions(&azure);
    let first = asked.iter().filter(|version| *version == "7.4").count();
    assert!((1..=16).contains(&first), "{first} of {}", asked.len());
    assert_eq!(asked.len() - first, 41);
}

/// One that it names and does not take either: its word, after one more request.
#[test]
fn a_second_refusal_is_final_and_names_both() {
    let azure = Azure::start();
    azure.api_versions(&[]);
    azure.always(Door::Vault, Answer::api_version("7.4", "7.1"));
    let outcome = read_from(&azure, Source::Imds, KNOWN, &[]).outcome();
    assert_eq!(outcome.code, Some(76), "{}", outcome.stderr);
    let said = "400 Bad Request (BadParameter): The specified version (7.4) is not recognized. Consider using the \
                latest supported version (7.1); request id ";
    assert!(
        outcome.error().is_some_and(|error| error.contains(said)),
        "{}",
        outcome.stderr
    );
    assert_eq!(versions(&azure), ["7.4", "7.1"]);
}

/// What stands there becomes a part of the next request, with a token in it.
#[test]
fn what_is_no_version_is_not_asked_with() {
    let azure = Azure::start();
    for named in ["", "7.1&x=1", "7.1#", "7 1", "../../x", "7.4"] {
        azure.always(Door::Vault, Answer::api_version("7.4", named));
        let outcome = read_from(&azure, Source::Imds, KNOWN, &[]).outcome();
        assert_eq!(outcome.code, Some(76), "{named}: {}", outcome.stderr);
    }
    assert_eq!(versions(&azure), ["7.4"; 6]);
}

/// S23: every request carries a version, and it is ours where the vault knows it.
#[test]
fn s23_our_version_is_asked_with_where_it_is_known() {
    let azure = Azure::start();
    azure.api_versions(&["7.3", "7.4", "2026-04-01"]);
    assert_value(&read_from(&azure, Source::Imds, KNOWN, &[]).outcome());
    assert_eq!(versions(&azure), ["7.4"]);
}
