//! The settings of workload identity: missing ones, wrong ones, and every form of the authority.

use std::fs;

use crate::azure::{Azure, Endpoint, TENANT};
use crate::support::Run;
use crate::support_identities::{CLIENT, RESOURCE};
use crate::support_requests::{
    assert_got_it, connections, counts, one_secret, one_secret_federated,
};

#[test]
fn missing_variables_of_the_webhook_are_named() {
    let azure = Azure::start();
    let [file, tenant, client] = [
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
    ];
    let named = |run: Run, missing: &[&str]| {
        let failure = run.failure(78, "config");
        failure.hinted();
        for name in missing {
            failure.names(name);
        }
    };
    for missing in [&[client][..], &[tenant], &[tenant, client]] {
        for empty in [false, true] {
            let mut run = one_secret_federated(&azure, &[]);
            for name in missing {
                run = match empty {
                    true => run.env(name, ""),
                    false => run.without(name),
                };
            }
            named(run, missing);
        }
    }
    let run = one_secret(&azure, &["--identity", "workload"]);
    named(run, &[file, tenant, client]);
    assert_eq!(connections(&azure), 0);
}

#[test]
fn object_id_and_resource_id_are_rejected() {
    let azure = Azure::start();
    for (option, id) in [("--object-id", CLIENT), ("--resource-id", RESOURCE)] {
        let run = one_secret_federated(&azure, &[option, id]);
        run.failure(78, "config").hinted();
    }
    assert_eq!(connections(&azure), 0);
}

#[test]
fn domain_is_a_tenant() {
    let azure = Azure::start();
    // The fake Entra does not know it.
    let run = one_secret_federated(&azure, &[]).env("AZURE_TENANT_ID", "contoso.example.com");
    run.failure(78, "config");
    assert_eq!(
        azure.requests_at(Endpoint::Login)[0].target,
        "/contoso.example.com/oauth2/v2.0/token"
    );
}

#[test]
fn authority_is_used_with_or_without_a_slash_and_a_scheme() {
    let azure = Azure::start();
    let host = azure.login().trim_start_matches("https://").to_owned();
    for written in [
        format!("https://{host}"),
        format!("https://{host}/"),
        format!("https://{host}//"),
        format!("HTTPS://{}/", host.to_uppercase()),
        host.clone(),
    ] {
        let run = one_secret_federated(&azure, &[]).env("AZURE_AUTHORITY_HOST", &written);
        assert_got_it(&run.outcome());
        let request = azure.requests_at(Endpoint::Login).pop().unwrap();
        assert_eq!(
            (request.host, request.target),
            (host.clone(), format!("/{TENANT}/oauth2/v2.0/token")),
            "{written}"
        );
    }
}

#[test]
fn token_file_that_cannot_be_used_is_named() {
    let azure = Azure::start();
    let missing = azure.dir().join("no-such-file");
    let empty = azure.dir().join("empty");
    fs::write(&empty, " \n").unwrap();
    // Root, too, cannot read a directory as a file.
    for path in [&missing, &empty, azure.dir()] {
        let run = one_secret_federated(&azure, &[]).env("AZURE_FEDERATED_TOKEN_FILE", path);
        let failure = run.failure(78, "config");
        failure.names(path.to_str().unwrap()).hinted();
    }
    assert_eq!(counts(&azure), [0, 0, 0]);
}
