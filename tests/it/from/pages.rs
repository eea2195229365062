//! The pages of the list of a vault's secrets.

use serde_json::{Value, json};

use super::{run, variables};
use crate::azure::{Azure, Endpoint, Response};

/// A page with these names and this link.
fn page(names: &[&str], link: Value) -> Response {
    let items = names.iter().map(|name| {
        json!({"id": format!("https://kv.example/secrets/{name}"), "attributes": {"enabled": true}})
    });
    Response::json(
        200,
        &json!({"value": items.collect::<Vec<_>>(), "nextLink": link}),
    )
}

fn azure() -> Azure {
    let azure = Azure::start();
    for name in ["a", "b", "c"] {
        azure.secret(name, name);
    }
    azure
}

#[test]
fn link_is_followed_to_the_same_server() {
    let azure = azure();
    let vault = azure.vault();
    let upper = vault.to_uppercase();
    for link in [
        format!("https://{vault}/secrets?api-version=7.4&$skiptoken=eyJ%2B%3D&maxresults=25"),
        format!("HTTPS://{upper}/secrets?api-version=7.4&$skiptoken=x"),
        "/secrets?api-version=2025-07-01&skiptoken=page-2".to_owned(),
        "/secrets?$skiptoken=x".to_owned(),
        "/elsewhere?page=2".to_owned(),
    ] {
        azure.next(Endpoint::Vault, page(&["a"], json!(link)));
        azure.next(Endpoint::Vault, page(&["b"], Value::Null));
        let before = azure.requests_at(Endpoint::Vault).len();
        let outcome = run(&azure, "akv://kv/*?prefix=P_").outcome();
        assert_eq!(variables(&outcome), "P_a=a P_b=b", "{link}");
        let second = &azure.requests_at(Endpoint::Vault)[before + 1];
        let target = &link[link.find("/secrets").or(link.find("/elsewhere")).unwrap()..];
        assert!(second.target.starts_with(target), "{}", second.target);
        assert!(second.query("api-version").is_some() && second.bearer().is_some());
    }
}

/// The link of real vaults has the port.
#[test]
fn link_with_the_default_port_is_the_same_server() {
    let azure = Azure::builder().name("kv1.vault.azure.net").start();
    for number in 0..30 {
        azure.secret(&format!("s{number:02}"), "x");
    }
    let from = "akv://kv1/*?prefix=P_";
    let run =
        crate::support::exec(&azure, ["--from", from, "env"]).env("HTTPS_PROXY", azure.proxy());
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stdout.matches("P_s").count(), 30);
    let lists = azure.requests_at(Endpoint::Vault);
    let lists: Vec<_> = lists.iter().filter(|it| it.path() == "/secrets").collect();
    assert_eq!(lists.len(), 2);
}

#[test]
fn last_page_has_no_link() {
    let azure = azure();
    for last in [
        Response::json(200, &json!({"value": []})),
        page(&[], Value::Null),
        page(&[], json!("")),
    ] {
        azure.next(Endpoint::Vault, page(&["a"], json!("/secrets?page=2")));
        azure.next(Endpoint::Vault, page(&[], json!("/secrets?page=3")));
        azure.next(Endpoint::Vault, page(&[], json!("/secrets?page=4")));
        azure.next(Endpoint::Vault, page(&["c"], json!("/secrets?page=5")));
        azure.next(Endpoint::Vault, last);
        let outcome = run(&azure, "akv://kv/*?prefix=P_").outcome();
        assert_eq!(variables(&outcome), "P_a=a P_c=c");
    }
}

/// The token goes nowhere else, and nothing is started.
#[test]
fn other_links_are_refused() {
    let azure = azure();
    let vault = azure.vault();
    let port = vault.rsplit(':').next().unwrap();
    let long = format!("/secrets?x={}", "x".repeat(9_000));
    for link in [
        json!("https://evil.example/secrets?api-version=7.4"),
        json!(format!("https://evil.example:{port}/secrets")),
        json!(format!("https://127.0.0.1/secrets")),
        json!(format!("https://127.0.0.1:1{port}/secrets")),
        json!(format!("http://{vault}/secrets?page=2")),
        json!(format!("https://{vault}@evil.example/secrets")),
        json!(format!("https://evil.example#@{vault}/secrets")),
        json!(format!("https://{vault}.evil.example/secrets")),
        json!(format!("https://{vault}\\.evil.example/secrets")),
        json!(format!("https://user@{vault}/secrets")),
        json!(format!("https://{vault}")),
        json!(format!("https://{vault}?page=2")),
        json!(format!("//{vault}/secrets")),
        json!("//evil.example/secrets"),
        json!("/\\evil.example/secrets"),
        json!("/secrets?page=2 HTTP/1.1\r\nHost: evil.example"),
        json!("/secrets?page=2#fragment"),
        json!("/secrets?page=é"),
        json!("secrets?page=2"),
        json!("?page=2"),
        json!("ftp://evil.example/"),
        json!(" "),
        json!(long),
        json!(5),
        json!({}),
        json!(false),
    ] {
        azure.next(Endpoint::Vault, page(&["a"], link.clone()));
        let before = azure.requests_at(Endpoint::Vault).len();
        let failure = run(&azure, "akv://kv/*?prefix=P_").failure(76, "protocol");
        failure.names("nextLink").omits("evil");
        assert_eq!(
            azure.requests_at(Endpoint::Vault).len() - before,
            1,
            "{link}"
        );
    }
}

#[test]
fn pages_that_lead_back_are_refused() {
    let azure = azure();
    for links in [
        vec!["/secrets?page=2", "/secrets?page=2"],
        vec!["/secrets?page=2", "/secrets?page=3", "/secrets?page=2"],
        vec!["/secrets?maxresults=25"],
    ] {
        for link in &links {
            azure.next(Endpoint::Vault, page(&[], json!(link)));
        }
        run(&azure, "akv://kv/*?prefix=P_").failure(76, "protocol");
    }
}

#[test]
fn ten_thousand_secrets_are_the_limit() {
    let azure = azure();
    let names: Vec<String> = (0..10_001).map(|number| format!("s{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let queue = |names: &[&str]| {
        // More on a page than a real vault sends.
        let pages: Vec<_> = names.chunks(2_000).collect();
        for (index, names) in pages.iter().enumerate() {
            let link = match index + 1 < pages.len() {
                true => json!(format!("/secrets?page={index}")),
                false => Value::Null,
            };
            azure.next(Endpoint::Vault, page(names, link));
        }
    };
    queue(&names);
    let failure = run(&azure, "akv://kv/none*?prefix=P_").failure(78, "config");
    failure.hinted();
    azure.clear(Endpoint::Vault);
    queue(&names[1..]);
    assert_eq!(
        variables(&run(&azure, "akv://kv/none*?prefix=P_").outcome()),
        ""
    );
}

#[test]
fn answers_that_are_no_list_are_refused() {
    let azure = azure();
    let item = |id: Value| json!({"value": [{"id": id}], "nextLink": null});
    for body in [
        json!({}),
        json!({"value": null}),
        json!({"value": {}}),
        json!([]),
        json!("x"),
        json!({"value": ["a"]}),
        json!({"value": [{}]}),
        item(json!(5)),
        item(json!("a")),
        item(json!("https://h/keys/a")),
        item(json!("https://h/secrets/")),
        item(json!("https://h/secrets/..")),
        item(json!("https://h/secrets/a_b")),
        item(json!("https://h/secrets/a%2Fb")),
        item(json!(format!("https://h/secrets/{}", "a".repeat(128)))),
    ] {
        azure.next(Endpoint::Vault, Response::json(200, &body));
        run(&azure, "akv://kv/*?prefix=P_").failure(76, "protocol");
    }
    for response in [
        Response::html(200, "<html>"),
        Response::status(204),
        Response::html(404, "x"),
    ] {
        azure.next(Endpoint::Vault, response);
        run(&azure, "akv://kv/*?prefix=P_").failure(76, "protocol");
    }
}

/// A name twice, as a hostile or broken server could send it.
#[test]
fn name_twice_is_refused() {
    let azure = azure();
    azure.next(Endpoint::Vault, page(&["a", "A"], Value::Null));
    let failure = run(&azure, "akv://kv/*?prefix=P_&upper").failure(78, "config");
    failure.names("`a`").names("`A`");
}

/// Throttling, a restart of the vault, and a token that has just expired, in the middle of the list.
#[test]
fn pages_are_retried() {
    let azure = azure();
    let expired = Response::vault_error(401, "Unauthorized", None, "TokenExpired");
    for response in [
        Response::status(503),
        Response::throttled().header("Retry-After", "0"),
        expired.header("WWW-Authenticate", "Bearer error=\"invalid_token\""),
    ] {
        azure.next(Endpoint::Vault, page(&["a"], json!("/secrets?page=2")));
        azure.next(Endpoint::Vault, response);
        azure.next(Endpoint::Vault, page(&["b"], Value::Null));
        let outcome = run(&azure, "akv://kv/*?prefix=P_").outcome();
        assert_eq!(variables(&outcome), "P_a=a P_b=b");
    }
}

#[test]
fn older_api_version_is_used() {
    let azure = azure();
    azure.api_versions(&["7.0", "7.1"]);
    let outcome = run(&azure, "akv://kv/a*?prefix=P").outcome();
    assert_eq!(variables(&outcome), "P=a");
}
