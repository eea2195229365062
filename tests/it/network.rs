//! The way to the services: connections that are opened early, and what TLS and proxies have to do with it. Also what
//! the tests of requests and answers share.

pub mod full_queue;
pub mod listen;
mod proxies;
mod trust;
pub mod wire;

use crate::azure::{Answer, Azure, Door, Versions};
use crate::support::exec;
use wire::{NAME, VALUE, assert_got_it, counts, one_secret};

/// Words that want so many different secrets of one vault.
fn wanting(azure: &Azure, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    for index in 0..count {
        azure.secret(&format!("secret-{index}"), &format!("value {index}"));
        words.push("--secret".to_owned());
        words.push(format!("S{index}=akv://{}/secret-{index}", azure.vault()));
    }
    words.extend(["--", "printenv", "S0"].map(str::to_owned));
    words
}

#[test]
fn connections_to_the_vault_are_opened_while_the_token_is_on_its_way() {
    for (secrets, connections) in [(1, 1), (3, 3), (20, 16)] {
        let azure = Azure::start();
        azure.next(Door::Imds, Answer::usual().hold());
        let run = exec(&azure, wanting(&azure, secrets)).spawn();
        azure.wait_for(Door::Imds, 1);
        azure.wait_for_connections(Door::Vault, connections);
        assert_eq!(
            counts(&azure),
            [1, 0, 0],
            "nothing is asked without a token"
        );
        azure.release();
        assert_eq!(run.outcome().stdout_alone(), "value 0\n");
        assert_eq!(counts(&azure), [1, 0, secrets]);
        assert_eq!(azure.connections(Door::Vault), connections);
    }
}

#[test]
fn a_vault_that_is_not_there_early_is_no_trouble_when_it_comes_in_time() {
    let azure = Azure::builder().closed(Door::Vault).start();
    azure.next(Door::Imds, Answer::usual().hold());
    let mut run = listen::Listened::start(one_secret(&azure, &["--verbose", "--timeout", "0"]));
    run.until(&format!(
        "connecting to https://{}: connection refused",
        azure.vault()
    ));
    azure.wait_for(Door::Imds, 1);
    azure.open(Door::Vault);
    azure.release();
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(counts(&azure), [1, 0, 1]);
}

#[test]
fn both_versions_of_tls_are_spoken() {
    for (versions, spoken) in [
        (Versions::Only12, "TLSv1.2"),
        (Versions::Only13, "TLSv1.3"),
        (Versions::Both, "TLSv1.3"),
    ] {
        let azure = Azure::builder().versions(versions).start();
        assert_got_it(&wire::one_secret_federated(&azure, &[]).outcome());
        for request in azure.requests() {
            assert_eq!(request.tls.as_deref(), Some(spoken), "{:?}", request.door);
        }
    }
}

/// A token with all groups of its owner has 15 KB, and the front of a vault takes heads of so much.
#[test]
fn a_long_token_arrives_whole() {
    let azure = Azure::start();
    for length in [3_000, 4_096, 8_000, 12_000, 15_000] {
        let token = "t".repeat(length);
        let fields = serde_json::json!({"access_token": token, "expires_in": "3600"});
        azure.next(Door::Imds, Answer::json(200, &fields));
        azure.next(
            Door::Vault,
            Answer::json(
                200,
                &serde_json::json!({"value": VALUE, "id": format!("https://v/secrets/{NAME}/1")}),
            ),
        );
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(outcome.code, Some(0), "{length}: {}", outcome.stderr);
        let request = azure.requests_at(Door::Vault).pop().unwrap();
        assert_eq!(request.bearer(), Some(token.as_str()));
    }
}
