//! AKS identity bindings: the exchange of workload identity through the cluster's token proxy, by its own name, under
//! its own authority; and what of the four variables is refused.

use std::fs;

use crate::azure::{
    APPLICATION, Answer, Azure, BASE_PATH, Certificate, Door, TENANT, TOKEN_PROXY_NAME,
};
use crate::network::listen::Listened;
use crate::network::wire::{assert_got_it, connections, counts, headers, user_agent};
use crate::support_identities::{Source, assert_token, only_request};

const HERE: Source = Source::TokenProxy;

const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

#[test]
fn it_is_entras_request_at_the_proxy() {
    let azure = Azure::start();
    assert_got_it(&HERE.exec(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [0, 0, 1]);
    let request = only_request(&azure, Door::TokenProxy);
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        (
            "POST",
            format!("{BASE_PATH}/{TENANT}/oauth2/v2.0/token").as_str()
        )
    );
    assert_eq!(request.sni.as_deref(), Some(TOKEN_PROXY_NAME));
    let sent = headers(&request);
    let without_host: Vec<&String> = sent
        .iter()
        .filter(|line| !line.starts_with("host: "))
        .collect();
    assert_eq!(
        without_host,
        [
            "accept: application/json",
            "client-request-id: UUID",
            &format!("content-length: {}", request.body.len()),
            "content-type: application/x-www-form-urlencoded",
            &user_agent(),
        ]
    );
    let field = |name: &str| request.form(name).unwrap();
    assert_eq!(field("client_id"), APPLICATION);
    assert_eq!(field("grant_type"), "client_credentials");
    assert_eq!(field("scope"), "https://vault.azure.net/.default");
    assert_eq!(
        field("client_assertion"),
        fs::read_to_string(azure.binding_token_file()).unwrap()
    );
}

/// X7: exactly one slash between the base path and the rest, whatever stands at its end.
#[test]
fn x7_the_base_path_is_joined_with_one_slash() {
    let azure = Azure::start();
    let base = azure.token_proxy();
    let origin = base.strip_suffix(BASE_PATH).unwrap();
    let rest = format!("/{TENANT}/oauth2/v2.0/token");
    for (url, path) in [
        (base.clone(), format!("{BASE_PATH}{rest}")),
        (format!("{base}/"), format!("{BASE_PATH}{rest}")),
        (origin.to_owned(), rest.clone()),
        (format!("{origin}/"), rest.clone()),
    ] {
        azure.next(
            Door::TokenProxy,
            Answer::token(serde_json::json!({"expires_in": 3599})),
        );
        assert_token(&azure, &HERE.token(&azure, &[]).env(PROXY, &url).outcome());
        let request = azure.requests_at(Door::TokenProxy).pop().unwrap();
        assert_eq!(request.target, path, "{url}");
    }
}

/// X2: the first variable is enough, where the proxy's certificate is one that everybody trusts.
#[test]
fn x2_without_an_authority_of_its_own_it_is_trusted_as_everything_else() {
    let azure = Azure::start();
    let run = HERE
        .token(&azure, &[])
        .without(CA_FILE)
        .env("SSL_CERT_FILE", azure.cluster_ca_file());
    assert_token(&azure, &run.outcome());
    // The other way round, what everything else is trusted by does not count for it.
    let outcome = HERE
        .token(&azure, &[])
        .env(CA_FILE, azure.ca_file())
        .env("SSL_CERT_FILE", azure.cluster_ca_file())
        .outcome();
    assert_eq!(outcome.code, Some(76), "{}", outcome.stderr);
    let said = format!(
        "{}: the certificate is signed by nobody who is trusted here",
        HERE.asking(&azure)
    );
    assert_eq!(outcome.error(), Some(said.as_str()));
}

#[test]
fn its_authority_may_stand_in_a_variable() {
    let azure = Azure::start();
    let pem = fs::read_to_string(azure.cluster_ca_file()).unwrap();
    let run = HERE.token(&azure, &[]).without(CA_FILE).env(CA_DATA, pem);
    assert_token(&azure, &run.outcome());
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let azure = Azure::builder()
        .certificate(Door::TokenProxy, Certificate::OtherName)
        .start();
    let line = format!(
        "error: {}: the certificate is for another name",
        HERE.asking(&azure)
    );
    HERE.token(&azure, &[]).outcome().failed(
        76,
        &[
            &line,
            "hint: something else answers at this address: look at DNS and at proxies on the way",
        ],
    );
    assert_eq!(azure.requests_at(Door::TokenProxy).len(), 0);
}

/// X3, and what else is no base of a URL.
#[test]
fn x3_a_url_with_more_than_a_path_is_refused() {
    let azure = Azure::start();
    for url in [
        "http://example.com",
        "https://user:word@example.com",
        "https://example.com?foo=bar",
        "https://example.com/a?foo=bar",
        "https://example.com/#frag",
        "https://example.com#frag",
        "https://example.com/%zz",
        "https://",
        "example.com",
    ] {
        HERE.token(&azure, &[]).env(PROXY, url).outcome().failed(
            78,
            &["error: AZURE_KUBERNETES_TOKEN_PROXY: this is not https://HOST[:PORT][/PATH]"],
        );
    }
    assert_eq!(connections(&azure), 0);
}

/// X4: half of the settings is a mistake in a manifest, not a reason to go another way.
#[test]
fn x4_the_other_variables_mean_nothing_without_the_first() {
    let azure = Azure::start();
    for name in [NAME, CA_FILE, CA_DATA] {
        for empty in [false, true] {
            let mut run = HERE.token(&azure, &[]);
            for other in [PROXY, NAME, CA_FILE, CA_DATA] {
                run = match empty {
                    false => run.without(other),
                    true => run.env(other, ""),
                };
            }
            let line = format!("error: {name}: it is set, and AZURE_KUBERNETES_TOKEN_PROXY is not");
            run.env(name, "x").outcome().failed(78, &[&line]);
        }
    }
    assert_eq!(connections(&azure), 0);
}

/// X6, and both at once.
#[test]
fn x6_an_authority_that_cannot_be_used_is_named() {
    let azure = Azure::start();
    let asking = HERE.asking(&azure);
    let missing = azure.dir().join("no-such-file");
    let line = format!(
        "error: {asking}: AZURE_KUBERNETES_CA_FILE: `{}`: No such file or directory (os error 2)",
        missing.display()
    );
    HERE.token(&azure, &[])
        .env(CA_FILE, &missing)
        .outcome()
        .failed(78, &[&line]);
    let pem = "hint: it must be PEM: -----BEGIN CERTIFICATE-----";
    let file = azure.token_file();
    let line = format!(
        "error: {asking}: {CA_FILE}: `{}`: no certificate in it",
        file.display()
    );
    HERE.token(&azure, &[])
        .env(CA_FILE, file)
        .outcome()
        .failed(78, &[&line, pem]);
    let line = format!("error: {asking}: {CA_DATA}: no certificate in it");
    HERE.token(&azure, &[])
        .without(CA_FILE)
        .env(CA_DATA, "not PEM")
        .outcome()
        .failed(78, &[&line, pem]);
    for name in ["no host", "a8k3v0qj2m5t7p1d.ests.aks:443"] {
        HERE.token(&azure, &[]).env(NAME, name).outcome().failed(
            78,
            &["error: AZURE_KUBERNETES_SNI_NAME: this is not a host name"],
        );
    }
    HERE.token(&azure, &[]).env(CA_DATA, "x").outcome().failed(
        78,
        &["error: AZURE_KUBERNETES_CA_FILE: it is set, and so is AZURE_KUBERNETES_CA_DATA: only one of them can be"],
    );
    assert_eq!(azure.connections(Door::TokenProxy), 0);
}

/// While the cluster's authority is renewed its file is empty for a moment.
#[test]
fn an_empty_file_of_the_authority_is_waited_for() {
    let azure = Azure::start();
    let file = azure.dir().join("rotating.crt");
    fs::write(&file, "").unwrap();
    let mut run = Listened::start(HERE.token(&azure, &["--verbose"]).env(CA_FILE, &file));
    run.until("is empty; next in");
    fs::copy(azure.cluster_ca_file(), &file).unwrap();
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    only_request(&azure, Door::TokenProxy);
}

/// It is inside the cluster: a proxy for the internet would not find it.
#[test]
fn it_is_never_asked_through_a_proxy() {
    let azure = Azure::start();
    let run = HERE.exec(&azure, &[]).env("HTTPS_PROXY", azure.proxy());
    let run = run.env("NO_PROXY", "localhost");
    assert_got_it(&run.outcome());
    assert_eq!(azure.connections(Door::Proxy), 0);
}

/// The refusals are Entra's, and so are the sentences: the token for Entra itself is none for the proxy.
#[test]
fn a_token_for_entra_itself_is_refused_with_what_was_presented() {
    let azure = Azure::start();
    let outcome = HERE
        .token(&azure, &["--timeout", "0"])
        .env("AZURE_FEDERATED_TOKEN_FILE", azure.token_file())
        .outcome();
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
    let error = outcome.error().unwrap_or_default();
    let begin = format!(
        "{}: 400 Bad Request (invalid_client): AADSTS700212: ",
        HERE.asking(&azure)
    );
    assert!(error.starts_with(&begin), "{error}");
    let presented = format!(
        "the federated credential of client id {APPLICATION} must have exactly what was presented: issuer \
         https://oidc.example.com/standin/, subject system:serviceaccount:default:app, audience \
         api://AzureADTokenExchange"
    );
    assert_eq!(outcome.hint(), Some(presented.as_str()));
}
