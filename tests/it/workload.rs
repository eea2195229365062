//! Workload identity: the request to Entra, the token file, and the cloud's authority. Refusals are in `entra.rs`.

mod settings;

use std::fs;

use serde_json::json;

use crate::azure::{APPLICATION, Azure, Endpoint, Identity, Response, TENANT};
use crate::network::wire::{assert_got_it, counts, headers, one_secret_federated, user_agent};

#[test]
fn request_is_as_documented() {
    let azure = Azure::start();
    assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [0, 1, 1]);
    let request = azure.requests_at(Endpoint::Login).pop().unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, format!("/{TENANT}/oauth2/v2.0/token"));
    let host = format!("host: {}", azure.login().trim_start_matches("https://"));
    assert_eq!(
        headers(&request),
        [
            "accept: application/json",
            "client-request-id: UUID",
            &format!("content-length: {}", request.body.len()),
            "content-type: application/x-www-form-urlencoded",
            &host,
            &user_agent(),
        ]
    );
    let field = |name: &str| request.form(name).unwrap();
    assert_eq!(field("client_id"), APPLICATION);
    assert_eq!(field("grant_type"), "client_credentials");
    assert_eq!(
        field("client_assertion_type"),
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    assert_eq!(field("scope"), "https://vault.azure.net/.default");
    assert_eq!(
        field("client_assertion"),
        fs::read_to_string(azure.token_file()).unwrap()
    );
    assert_eq!(request.body.split(|&byte| byte == b'&').count(), 5);
    // The assertion is in the body of this request and nowhere else.
    let target_and_headers = format!("{}{:?}", request.target, request.headers);
    assert!(!target_and_headers.contains(&field("client_assertion")));
    assert!(
        !azure.requests_at(Endpoint::Vault)[0]
            .headers
            .iter()
            .any(|(_, value)| { value.contains(&field("client_assertion")) })
    );
}

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
    for answer in [
        Response::token(json!({"expires_in": 3599})).with_status(201),
        Response::token(json!({"expires_in": 86400, "ext_expires_in": 86400, "refresh_in": 43200})),
    ] {
        azure.next(Endpoint::Login, answer);
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

/// Without `AZURE_AUTHORITY_HOST`.
#[test]
fn cloud_has_its_authority_and_its_scope() {
    let azure = Azure::start();
    azure.secret("sql-sa", "value");
    for (options, login, suffix) in [
        (&[][..], "login.microsoftonline.com", "vault.azure.net"),
        (
            &["--cloud", "public"],
            "login.microsoftonline.com",
            "vault.azure.net",
        ),
        (
            &["--cloud", "usgov"],
            "login.microsoftonline.us",
            "vault.usgovcloudapi.net",
        ),
        (
            &["--cloud", "china"],
            "login.chinacloudapi.cn",
            "vault.azure.cn",
        ),
    ] {
        let run = crate::support::exec_federated(&azure, options)
            .args(["--secret", "S=akv://prod-kv/sql-sa", "--", "printenv", "S"])
            .without("AZURE_AUTHORITY_HOST")
            .env("HTTPS_PROXY", azure.proxy());
        assert_eq!(run.outcome().stdout_alone(), "value\n");
        let asked = azure.requests_at(Endpoint::Login).pop().unwrap();
        assert_eq!(
            (asked.host.as_str(), asked.form("scope")),
            (login, Some(format!("https://{suffix}/.default")))
        );
        let read = azure.requests_at(Endpoint::Vault).pop().unwrap();
        assert_eq!(read.host, format!("prod-kv.{suffix}"));
    }
}

/// The authority is the one that the webhook set.
#[test]
fn authority_of_a_cloud_completes_short_names_of_vaults() {
    let azure = Azure::start();
    azure.secret("sql-sa", "value");
    let run = crate::support::exec_federated(
        &azure,
        ["--secret", "S=akv://prod-kv/sql-sa", "--", "printenv", "S"],
    );
    let run = run
        .env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/")
        .env("HTTPS_PROXY", azure.proxy());
    assert_eq!(run.outcome().stdout_alone(), "value\n");
    let read = azure.requests_at(Endpoint::Vault).pop().unwrap();
    assert_eq!(read.host, "prod-kv.vault.usgovcloudapi.net");
}
