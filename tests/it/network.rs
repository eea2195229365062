//! Connections: opened early, over TLS and through proxies.

mod proxies;
mod trust;

use std::io::Read;
use std::net::TcpListener;
use std::thread;

use crate::azure::{Azure, Endpoint, Response, Versions};
use crate::support::{akv_init, exec};
use crate::support_identities::{Source, with};
use crate::support_listen::Listened;
use crate::support_requests::{
    NAME, VALUE, assert_got_it, counts, one_secret, one_secret_federated,
};

/// Arguments for this number of secrets of one vault.
fn secrets_of(azure: &Azure, count: usize) -> Vec<String> {
    // A slow machine would make it report its progress.
    let mut words = vec!["--quiet".to_owned()];
    for index in 0..count {
        azure.secret(&format!("secret-{index}"), &format!("value {index}"));
        words.push("--secret".to_owned());
        words.push(format!("S{index}=akv://{}/secret-{index}", azure.vault()));
    }
    words.extend(["--", "printenv", "S0"].map(str::to_owned));
    words
}

#[test]
fn connections_to_the_vault_are_opened_while_the_token_is_requested() {
    for (secrets, connections) in [(1, 1), (3, 3), (20, 20), (40, 25)] {
        let azure = Azure::start();
        azure.next(Endpoint::Imds, Response::usual().hold());
        let run = exec(&azure, secrets_of(&azure, secrets)).spawn();
        azure.wait_for(Endpoint::Imds, 1);
        azure.wait_for_connections(Endpoint::Vault, connections);
        assert_eq!(counts(&azure), [1, 0, 0], "no request without a token");
        azure.release();
        assert_eq!(run.outcome().stdout_alone(), "value 0\n");
        assert_eq!(counts(&azure), [1, 0, secrets]);
        assert_eq!(azure.connections(Endpoint::Vault), connections);
    }
}

#[test]
fn vaults_share_the_connections() {
    let azure = Azure::start();
    azure.next(Endpoint::Imds, Response::usual().hold());
    let port = azure.vault().rsplit_once(':').unwrap().1.to_owned();
    let vaults = [azure.vault(), format!("127.0.0.1:{port}")];
    let mut words = vec!["--quiet".to_owned()];
    for (index, vault) in vaults.iter().cycle().take(80).enumerate() {
        azure.secret(&format!("secret-{index}"), "value");
        let reference = format!("S{index}=akv://{vault}/secret-{index}");
        words.extend(["--secret".to_owned(), reference]);
    }
    words.extend(["--", "printenv", "S79"].map(str::to_owned));
    let run = exec(&azure, words).env("AKV_INIT_ALLOW_VAULT", vaults.join(","));
    let run = run.spawn();
    azure.wait_for_connections(Endpoint::Vault, 32);
    azure.release();
    assert_eq!(run.outcome().stdout_alone(), "value\n");
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 80);
    assert_eq!(azure.connections(Endpoint::Vault), 32);
}

#[test]
fn refused_early_connection_costs_no_attempt() {
    let azure = Azure::builder().closed(Endpoint::Vault).start();
    azure.next(Endpoint::Imds, Response::usual().hold());
    let mut run = Listened::start(one_secret(&azure, &["--verbose", "--timeout", "0"]).json());
    let vault = format!("https://{}", azure.vault());
    run.until_line(|line| {
        line["message"]
            .as_str()
            .is_some_and(|it| it.contains(&vault))
    });
    azure.wait_for(Endpoint::Imds, 1);
    azure.open(Endpoint::Vault);
    azure.release();
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(counts(&azure), [1, 0, 1]);
}

/// The address of a server that ends each connection after the client's first bytes: a firewall that filters by name. A
/// connection whose bytes were not read is reset.
fn ends_handshakes(reset: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It waits until the test's process ends.
    thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let mut bytes = [0; 4_096];
            // The client may have closed the connection.
            let _ = match reset {
                true => stream.peek(&mut bytes),
                false => stream.read(&mut bytes),
            };
        }
    });
    address.to_string()
}

#[test]
fn connection_that_ends_during_the_handshake_is_the_firewalls_or_the_proxys() {
    let azure = Azure::start();
    for reset in [false, true] {
        let address = ends_handshakes(reset);
        let secret = format!("DB_PASSWORD=akv://{address}/sql-sa");
        let vault = exec(&azure, ["--timeout=0", "--secret", &secret, "true"])
            .env("AKV_INIT_ALLOW_VAULT", &address);
        let entra = one_secret_federated(&azure, &["--timeout=0"])
            .env("AZURE_AUTHORITY_HOST", format!("https://{address}"));
        for run in [vault, entra] {
            let failure = run.failure(69, "unavailable");
            failure.hint_names("firewall").hint_names("HTTPS_PROXY");
        }
        let check = with(
            akv_init(["check", "--format=json"]),
            &Source::Imds.environment(&azure),
        )
        .args(["--secret", &secret])
        .env("AKV_INIT_ALLOW_VAULT", &address)
        .outcome();
        let mut lines = check.stdout.lines();
        let connection =
            lines.find(|line| line.contains(r#""link":"connection""#) && line.contains(&address));
        assert!(
            connection.is_some_and(|line| line.contains("firewall")),
            "{}",
            check.stdout
        );
    }
}

#[test]
fn tls_1_2_and_1_3_are_used() {
    for (versions, spoken) in [
        (Versions::Only12, "TLSv1.2"),
        (Versions::Only13, "TLSv1.3"),
        (Versions::Both, "TLSv1.3"),
    ] {
        let azure = Azure::builder().versions(versions).start();
        assert_got_it(&one_secret_federated(&azure, &[]).outcome());
        for request in azure.requests() {
            assert_eq!(
                request.tls.as_deref(),
                Some(spoken),
                "{:?}",
                request.endpoint
            );
        }
    }
}

/// A token with all groups of its owner has 15 KB, which a vault accepts.
#[test]
fn long_token_is_sent_whole() {
    let azure = Azure::start();
    for length in [3_000, 4_096, 8_000, 12_000, 15_000] {
        let token = "t".repeat(length);
        let fields = serde_json::json!({"access_token": token, "expires_in": "3600"});
        azure.next(Endpoint::Imds, Response::json(200, &fields));
        azure.next(
            Endpoint::Vault,
            Response::json(
                200,
                &serde_json::json!({"value": VALUE, "id": format!("https://v/secrets/{NAME}/1")}),
            ),
        );
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(outcome.code, Some(0), "{length}: {}", outcome.stderr);
        let request = azure.requests_at(Endpoint::Vault).pop().unwrap();
        assert_eq!(request.bearer(), Some(token.as_str()));
    }
}
