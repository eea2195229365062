//! Workload identity: what Entra is asked, when the token file is read, and where each cloud has its Entra. Settings and
//! refusals are in files of their own.

mod federation;
mod refusals;
mod settings;

use std::fs;

use serde_json::json;

use crate::azure::{APPLICATION, Answer, Azure, Door, Identity, Request, TENANT};
use crate::network::wire::{assert_got_it, counts, headers, one_secret_federated, user_agent};

/// What follows Entra's texts that name them.
const IDS: &str = "; trace id 7d4b9c1e-3f52-4a86-9e0d-6c8a2b5f0100; correlation id \
                   e1f20a3b-5c6d-4e7f-8a9b-0c1d2e3f4a5b; at 2026-01-20 22:54:42Z";

/// How every message about the exchange begins.
fn asking(azure: &Azure) -> String {
    format!(
        "error: getting an access token from Entra ({}, workload identity with client id {APPLICATION}, tenant \
         {TENANT})",
        azure.login()
    )
}

/// The names of a form's fields, in order, as they were sent.
fn field_names(request: &Request) -> Vec<String> {
    let body = String::from_utf8(request.body.clone()).unwrap();
    let names = body
        .split('&')
        .map(|pair| pair.split_once('=').unwrap().0.to_owned());
    names.collect()
}

#[test]
fn the_request_is_this_and_nothing_else() {
    let azure = Azure::start();
    assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [0, 1, 1]);
    let request = azure.requests_at(Door::Login).pop().unwrap();
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
    let mut names = field_names(&request);
    names.sort();
    assert_eq!(
        names,
        [
            "client_assertion",
            "client_assertion_type",
            "client_id",
            "grant_type",
            "scope"
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
    // The assertion goes into the body of this request and nowhere else.
    let target_and_headers = format!("{}{:?}", request.target, request.headers);
    assert!(!target_and_headers.contains(&field("client_assertion")));
    assert!(
        !azure.requests_at(Door::Vault)[0]
            .headers
            .iter()
            .any(|(_, value)| { value.contains(&field("client_assertion")) })
    );
}

#[test]
fn the_token_file_is_read_again_for_each_try() {
    let azure = Azure::start();
    azure.next(Door::Login, Answer::status(503).hold());
    let run = one_secret_federated(&azure, &[]).spawn();
    azure.wait_for(Door::Login, 1);
    azure.assertion(&json!({"jti": "the kubelet replaced it"}));
    azure.release();
    assert_got_it(&run.outcome());
    let used: Vec<String> = azure
        .requests_at(Door::Login)
        .iter()
        .map(|request| request.form("client_assertion").unwrap())
        .collect();
    assert_eq!(used.len(), 2);
    assert_ne!(used[0], used[1]);
    assert_eq!(used[1], fs::read_to_string(azure.token_file()).unwrap());
}

/// T11; and white space at the ends of a file that was made by hand.
#[test]
fn the_files_content_is_sent_unchanged_but_for_white_space_at_its_ends() {
    let azure = Azure::start();
    for (content, sent) in [
        ("fake assertion", "fake assertion"),
        ("a.b+c/d=&e%20.f", "a.b+c/d=&e%20.f"),
        ("\n a.b.c \r\n", "a.b.c"),
    ] {
        fs::write(azure.token_file(), content).unwrap();
        azure.next(
            Door::Login,
            Answer::token(
                json!({"expires_in": 3599, "ext_expires_in": 3599, "token_type": "Bearer"}),
            ),
        );
        assert_got_it(&one_secret_federated(&azure, &[]).outcome());
        let request = azure.requests_at(Door::Login).pop().unwrap();
        assert_eq!(request.form("client_assertion").as_deref(), Some(sent));
    }
}

#[test]
fn created_is_success_and_so_is_t16() {
    let azure = Azure::start();
    for answer in [
        Answer::token(json!({"expires_in": 3599})).with_status(201),
        Answer::token(json!({"expires_in": 86400, "ext_expires_in": 86400, "refresh_in": 43200})),
    ] {
        azure.next(Door::Login, answer);
        assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    }
    assert_eq!(counts(&azure), [0, 2, 2]);
}

#[test]
fn a_client_id_by_option_beats_the_webhooks() {
    let azure = Azure::start();
    let other = Identity::user("11111111-2222-4333-8444-555555555555");
    azure.identities(std::slice::from_ref(&other));
    for run in [
        one_secret_federated(&azure, &["--client-id", &other.client_id]),
        one_secret_federated(&azure, &[]).env("AKV_INIT_CLIENT_ID", &other.client_id),
        one_secret_federated(&azure, &["--client-id", &other.client_id]).without("AZURE_CLIENT_ID"),
    ] {
        assert_got_it(&run.outcome());
        let request = azure.requests_at(Door::Login).pop().unwrap();
        assert_eq!(request.form("client_id"), Some(other.client_id.clone()));
    }
}

/// T3: without `AZURE_AUTHORITY_HOST` the cloud has its own, and its own resource.
#[test]
fn each_cloud_has_its_authority_and_its_scope() {
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
        let asked = azure.requests_at(Door::Login).pop().unwrap();
        assert_eq!(
            (asked.host.as_str(), asked.form("scope")),
            (login, Some(format!("https://{suffix}/.default")))
        );
        let read = azure.requests_at(Door::Vault).pop().unwrap();
        assert_eq!(read.host, format!("prod-kv.{suffix}"));
    }
}

/// The cloud of short names follows the authority that the webhook named.
#[test]
fn an_authority_of_another_cloud_is_that_clouds_choice() {
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
    let read = azure.requests_at(Door::Vault).pop().unwrap();
    assert_eq!(read.host, "prod-kv.vault.usgovcloudapi.net");
}
