//! The vault: its requests, how many there are, over how many connections, and the hosts that receive a token.

mod bundles;
mod refusals;

use crate::azure::{Azure, Endpoint, Response, Stored};
use crate::support::{NO_OPTIONS, Run, exec, through_the_proxy};
use crate::support_requests::{
    NAME, VALUE, assert_got_it, connections, counts, headers, one_secret, user_agent,
};

/// A run that prints these secrets of the vault, each `NAME` or `NAME/VERSION`.
fn several(azure: &Azure, names: &[impl AsRef<str>]) -> Run {
    let references = names
        .iter()
        .map(|name| format!("akv://{}/{}", azure.vault(), name.as_ref()));
    exec(azure, NO_OPTIONS).printing(&references.collect::<Vec<_>>())
}

#[test]
fn request_is_as_documented() {
    let azure = Azure::start();
    assert_got_it(&one_secret(&azure, &[]).outcome());
    let requests = azure.requests_at(Endpoint::Vault);
    let [request] = &requests[..] else {
        panic!("{} requests", requests.len());
    };
    assert_eq!(request.method, "GET");
    assert_eq!(request.target, format!("/secrets/{NAME}?api-version=7.4"));
    assert_eq!(
        headers(request),
        [
            "accept: application/json",
            &format!("authorization: Bearer {}", azure.tokens()[0]),
            &format!("host: {}", azure.vault()),
            &user_agent(),
            "x-ms-client-request-id: UUID",
        ]
    );
    assert_eq!(request.body, b"");
    assert_eq!(request.sni.as_deref(), Some("localhost"));
}

#[test]
fn version_is_a_part_of_the_path() {
    let azure = Azure::start();
    let old = Stored::new(NAME, "old");
    let version = old.version.clone();
    azure.put(old);
    azure.put(Stored::new(NAME, "new"));
    let with_version = format!("{NAME}/{version}");
    let run = several(&azure, &[NAME, &with_version]);
    assert_eq!(run.outcome().stdout_alone(), "new\nold\n");
    let mut targets: Vec<String> = azure
        .requests_at(Endpoint::Vault)
        .into_iter()
        .map(|request| request.target)
        .collect();
    targets.sort();
    assert_eq!(
        targets,
        [
            format!("/secrets/{with_version}?api-version=7.4"),
            format!("/secrets/{NAME}?api-version=7.4"),
        ]
    );
}

#[test]
fn each_secret_costs_one_request_and_all_share_a_token() {
    let azure = Azure::start();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        azure.secret(name, &format!("value of {name}"));
    }
    let outcome = several(&azure, &names).outcome();
    let expected: String = names.map(|name| format!("value of {name}\n")).concat();
    assert_eq!(outcome.stdout_alone(), expected);
    assert_eq!(counts(&azure), [1, 0, 5]);
    let mut ids: Vec<String> = azure
        .requests_at(Endpoint::Vault)
        .iter()
        .map(|request| request.header("x-ms-client-request-id").unwrap().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each request can be found by its own id");
}

#[test]
fn second_reference_to_a_secret_costs_no_request() {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    let run = several(&azure, &[NAME, "SQL-SA", NAME]);
    let run = run.env("T", format!("akv://{}/{NAME}?trim", azure.vault()));
    assert_eq!(
        run.outcome().stdout_alone(),
        format!("{VALUE}\n{VALUE}\n{VALUE}\n")
    );
    assert_eq!(counts(&azure), [1, 0, 1]);
}

#[test]
fn vaults_of_one_cloud_share_a_token() {
    let azure = Azure::start();
    for vault in ["kv-one", "kv-two"] {
        azure.put(Stored {
            vault: Some(vault.to_owned()),
            ..Stored::new(NAME, &format!("of {vault}"))
        });
    }
    let references = ["akv://kv-one/sql-sa", "akv://kv-two/sql-sa"];
    let run = through_the_proxy(&azure).printing(&references);
    assert_eq!(run.outcome().stdout_alone(), "of kv-one\nof kv-two\n");
    assert_eq!(counts(&azure), [1, 0, 2]);
}

/// A vault accepts only a token for its own cloud.
#[test]
fn vaults_of_two_clouds_get_a_token_each() {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    let hosts = ["kv-one.vault.azure.net", "kv-one.vault.azure.cn"];
    let references = hosts.map(|host| format!("akv://{host}/sql-sa"));
    let run = through_the_proxy(&azure).printing(&references);
    assert_eq!(run.outcome().stdout_alone(), format!("{VALUE}\n{VALUE}\n"));
    assert_eq!(counts(&azure), [2, 0, 2]);
    let mut resources: Vec<_> = azure
        .requests_at(Endpoint::Imds)
        .iter()
        .map(|request| request.query("resource").unwrap())
        .collect();
    resources.sort();
    assert_eq!(
        resources,
        ["https://vault.azure.cn", "https://vault.azure.net"]
    );
}

#[test]
fn vault_resource_option_decides_for_hosts_of_no_cloud() {
    let azure = Azure::builder()
        .vault_resource("https://vault.stack.example.com")
        .start();
    let resource = "https://vault.stack.example.com";
    for run in [
        one_secret(&azure, &["--vault-resource", resource]),
        one_secret(&azure, &[]).env("AKV_INIT_VAULT_RESOURCE", resource),
    ] {
        assert_got_it(&run.outcome());
        let request = azure.requests_at(Endpoint::Imds).pop().unwrap();
        assert_eq!(request.query("resource").as_deref(), Some(resource));
    }
}

#[test]
fn many_secrets_of_a_slow_vault_are_read_over_25_connections() {
    let azure = Azure::start();
    let names: Vec<String> = (0..40).map(|index| format!("secret-{index}")).collect();
    for name in &names {
        azure.secret(name, name);
    }
    azure.always(Endpoint::Vault, Response::usual().hold());
    let run = several(&azure, &names).spawn();
    let together = azure.wait_for(Endpoint::Vault, 25);
    let mut used: Vec<u64> = together.iter().map(|request| request.connection).collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), 25, "all at the same time");
    azure.clear(Endpoint::Vault);
    azure.release();
    let expected: String = names.iter().map(|name| format!("{name}\n")).collect();
    assert_eq!(run.outcome().stdout_alone(), expected);
    assert_eq!(counts(&azure), [1, 0, 40]);
    assert_eq!(azure.connections(Endpoint::Vault), 25);
}

#[test]
fn host_that_is_not_a_vault_gets_no_token() {
    let azure = Azure::start();
    let port = azure.vault().trim_start_matches("localhost:").to_owned();
    let another = format!("127.0.0.1:{port}");
    // The last one is allowed by another name only, and its challenge names Azure's resource.
    for host in ["evilvault.azure.net", "vault.evil.com", another.as_str()] {
        let run = through_the_proxy(&azure).printing(&[format!("akv://{host}/{NAME}")]);
        let outcome = run.outcome();
        assert!(
            matches!(outcome.code, Some(76 | 78)),
            "{host}: {}",
            outcome.stderr
        );
    }
    for request in azure.requests_at(Endpoint::Vault) {
        assert_eq!(request.header("authorization"), None);
    }
    assert_eq!(azure.requests_at(Endpoint::Imds).len(), 0);
    // A root dot makes another name of it for everything that compares.
    let before = connections(&azure);
    let run = through_the_proxy(&azure).printing(&["akv://kv1.vault.azure.net./sql-sa"]);
    run.failure(78, "config");
    assert_eq!(connections(&azure), before);
}

#[test]
fn redirect_is_rejected_and_the_token_is_not_sent_there() {
    let azure = Azure::start();
    let another = Azure::start();
    for location in [
        format!("https://{}/secrets/{NAME}", another.vault()),
        format!("http://{}/secrets/{NAME}", another.vault()),
        another.imds(),
        format!("/secrets/{NAME}?api-version=7.4"),
    ] {
        azure.next(Endpoint::Vault, Response::redirect(&location));
        one_secret(&azure, &[]).failure(76, "protocol").hinted();
    }
    assert_eq!(counts(&azure), [4, 0, 4]);
    assert_eq!(connections(&another), 0);
}

#[test]
fn token_is_sent_to_the_vault_alone() {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    let run = through_the_proxy(&azure).printing(&["akv://kv-one/sql-sa"]);
    assert_got_it(&run.outcome());
    let token = azure.tokens().pop().unwrap();
    for request in azure.requests() {
        let text = format!(
            "{} {:?} {}",
            request.target,
            request.headers,
            String::from_utf8_lossy(&request.body)
        );
        assert_eq!(
            text.contains(&token),
            request.endpoint == Endpoint::Vault,
            "{:?}",
            request.endpoint
        );
    }
    assert_eq!(azure.requests_at(Endpoint::Proxy).len(), 1);
}
