//! Workload identity: the token file and the client id. The request and its refusals are in `entra.rs`.

mod settings;

use std::fs;

use serde_json::json;

use crate::azure::{Azure, Endpoint, Identity, Response};
use crate::support_requests::{assert_got_it, counts, one_secret_federated};

#[test]
fn token_file_is_read_again_for_each_attempt() {
    let azure = Azure::start();
    azure.next(Endpoint::Login, Response::status(503).hold());
    let run = one_secret_federated(&azure, &[]).spawn();
    azure.wait_for(Endpoint::Login, 1);
    azure.assertion(&json!({"jti": "the kubelet replaced it"}));
    azure.release();
    assert_got_it(&run.outcome());
    let used: Vec<String> = azure
        .requests_at(Endpoint::Login)
        .iter()
        .map(|request| request.form("client_assertion").unwrap())
        .collect();
    assert_eq!(used.len(), 2);
    assert_ne!(used[0], used[1]);
    assert_eq!(used[1], fs::read_to_string(azure.token_file()).unwrap());
}

/// A file that was made by hand ends in a line end.
#[test]
fn content_of_the_token_file_is_sent_without_white_space_at_its_ends() {
    let azure = Azure::start();
    for (content, sent) in [
        ("fake assertion", "fake assertion"),
        ("a.b+c/d=&e%20.f", "a.b+c/d=&e%20.f"),
        ("\n a.b.c \r\n", "a.b.c"),
    ] {
        fs::write(azure.token_file(), content).unwrap();
        azure.next(
            Endpoint::Login,
            Response::token(
                json!({"expires_in": 3599, "ext_expires_in": 3599, "token_type": "Bearer"}),
            ),
        );
        assert_got_it(&one_secret_federated(&azure, &[]).outcome());
        let request = azure.requests_at(Endpoint::Login).pop().unwrap();
        assert_eq!(request.form("client_assertion").as_deref(), Some(sent));
    }
}

#[test]
fn every_form_of_a_token_response_is_accepted() {
    let azure = Azure::start();
    for response in [
        Response::token(json!({"expires_in": 3599})).with_status(201),
        Response::token(json!({"expires_in": 86400, "ext_expires_in": 86400, "refresh_in": 43200})),
    ] {
        azure.next(Endpoint::Login, response);
        assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    }
    assert_eq!(counts(&azure), [0, 2, 2]);
}

#[test]
fn client_id_option_precedes_the_variable() {
    let azure = Azure::start();
    let other = Identity::user("11111111-2222-4333-8444-555555555555");
    azure.identities(std::slice::from_ref(&other));
    for run in [
        one_secret_federated(&azure, &["--client-id", &other.client_id]),
        one_secret_federated(&azure, &[]).env("AKV_INIT_CLIENT_ID", &other.client_id),
        one_secret_federated(&azure, &["--client-id", &other.client_id]).without("AZURE_CLIENT_ID"),
    ] {
        assert_got_it(&run.outcome());
        let request = azure.requests_at(Endpoint::Login).pop().unwrap();
        assert_eq!(request.form("client_id"), Some(other.client_id.clone()));
    }
}
