//! No secret, token, assertion or password of a proxy is printed, with `--verbose`, on any failure.
//!
//! Each has marks that the tests search for: errors contain text of services, and some services return what they
//! received.

mod carriers;
mod files;
mod memory;
mod slips;
mod values;
mod watch;

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::azure::{Azure, Endpoint, Response, TENANT};
use crate::support::{exec, exec_federated};
use crate::support_listen::Listened;
use crate::support_requests::{one_secret, one_secret_federated};
use watch::{Failures, assert_silent};

/// A token like Entra's. Each of its parts is recognizable.
const TOKEN: &str = "eyJ0eXAiOiJKV1QifQ.eyJzZW50aW5lbCI6InRva2VuIn0LEAKofTOKENpayload.LEAKofTOKENsignature-_0123456789";

/// A token that is not a JWT.
const OPAQUE_TOKEN: &str = "LEAKofTOKENopaque~0123456789+abcdef/==";

/// A token file's content that is not a JWT.
const OPAQUE_ASSERTION: &str = "LEAKofASSERTIONopaque~0123456789";

const SECRET: &str = "LEAKofSECRET pa$$w0rd";

/// A token answer of the identity endpoint with this token.
fn granted(token: &str) -> Response {
    Response::json(200, &json!({"access_token": token, "expires_in": "3600"}))
}

const OPTIONS: [&str; 3] = ["--verbose", "--timeout", "0"];

#[test]
fn success_prints_no_secret() {
    let azure = Azure::start();
    azure.secret("leak", SECRET);
    let target = format!("S=akv://{}/leak", azure.vault());
    let words = ["--verbose", "--secret", &target, "--", "true"];
    for run in [exec(&azure, words), exec_federated(&azure, words)] {
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("debug: "), "{}", outcome.stderr);
        assert_silent(&azure, &outcome);
    }
}

#[test]
fn token_in_a_response_of_the_vault_is_not_printed() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    for token in [TOKEN, OPAQUE_TOKEN] {
        for (name, answer) in carriers::echoes(token) {
            azure.next(Endpoint::Imds, granted(token));
            azure.next(Endpoint::Vault, answer);
            let outcome = one_secret(&azure, &OPTIONS).outcome();
            failures.check(&azure, &name, &outcome);
        }
    }
    failures.end();
}

/// A part is a leak too. It is recognized by its form.
#[test]
fn part_of_the_token_in_a_response_of_the_vault_is_not_printed() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    for part in [&TOKEN[..60], &TOKEN["eyJ0eXAiOiJKV1QifQ.".len()..]] {
        for (name, answer) in carriers::echoes(part) {
            azure.next(Endpoint::Imds, granted(TOKEN));
            azure.next(Endpoint::Vault, answer);
            let outcome = one_secret(&azure, &OPTIONS).outcome();
            failures.check(&azure, &name, &outcome);
        }
    }
    failures.end();
}

/// A tenant in a challenge is printed, and this token is formed like a tenant.
#[test]
fn token_in_the_challenge_of_a_vault_is_not_printed() {
    const TENANT_LIKE: &str = "eyJ0eXAiOiJKV1QifQ.eyJzZW50aW5lbCI6InQifQ.LEAKofTOKENsignature";
    let azure = Azure::start();
    let mut failures = Failures::default();
    for token in [TENANT_LIKE, "LEAKofTOKENopaque-0123456789"] {
        let body =
            json!({"error": {"code": "Unauthorized", "message": "AKV10032: Invalid issuer."}});
        let challenge = format!("Bearer authorization=\"https://login/{token}\", resource=\"x\"");
        let answer = Response::json(401, &body).header("WWW-Authenticate", &challenge);
        azure.next(Endpoint::Login, granted(token));
        azure.next(Endpoint::Vault, answer);
        let outcome = one_secret_federated(&azure, &OPTIONS).outcome();
        failures.check(&azure, token, &outcome);
    }
    failures.end();
}

#[test]
fn secret_in_an_invalid_bundle_is_not_printed() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    for (name, answer) in carriers::nearly(SECRET) {
        azure.next(Endpoint::Vault, answer);
        let outcome = one_secret(&azure, &OPTIONS).outcome();
        failures.check(&azure, &name, &outcome);
    }
    failures.end();
}

#[test]
fn token_in_an_invalid_response_of_imds_is_not_printed() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    let mut answers = carriers::echoes(TOKEN);
    answers.extend(carriers::nearly(TOKEN));
    for (name, answer) in answers {
        azure.next(Endpoint::Imds, answer);
        // Some of the responses contain a valid token.
        azure.next(Endpoint::Vault, Response::status(404));
        let outcome = one_secret(&azure, &OPTIONS).outcome();
        azure.clear(Endpoint::Vault);
        failures.check(&azure, &name, &outcome);
    }
    failures.end();
}

#[test]
fn assertion_in_a_response_of_entra_is_not_printed() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    let assertion = fs::read_to_string(azure.token_file()).unwrap();
    for content in [assertion.as_str(), OPAQUE_ASSERTION] {
        fs::write(azure.token_file(), content).unwrap();
        let mut answers = carriers::echoes(content);
        answers.extend(carriers::echoes(&format!(
            "client_assertion={content}&{TOKEN}"
        )));
        for (name, answer) in answers {
            azure.next(Endpoint::Login, answer);
            let outcome = one_secret_federated(&azure, &OPTIONS).outcome();
            failures.check(&azure, &name, &outcome);
        }
    }
    failures.end();
}

#[test]
fn token_in_an_invalid_response_of_entra_is_not_printed() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    for (name, answer) in carriers::nearly(TOKEN) {
        azure.next(Endpoint::Login, answer);
        azure.next(Endpoint::Vault, Response::status(404));
        let outcome = one_secret_federated(&azure, &OPTIONS).outcome();
        azure.clear(Endpoint::Vault);
        failures.check(&azure, &name, &outcome);
    }
    failures.end();
}

/// The refusals of the fake Azure, and those of real services.
#[test]
fn refusals_of_the_services_print_no_secret() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    azure.secret("leak", SECRET);
    for (endpoint, answers) in [
        (
            Endpoint::Imds,
            vec![
                Response::imds_not_found(),
                Response::imds_multiple(),
                Response::imds_failed(),
                Response::nmi_unassigned(),
                Response::nmi_refused(),
                Response::docker_desktop(),
                Response::garbage(),
                Response::endless(),
                Response::fin(),
                Response::reset(),
                Response::usual().half(),
            ],
        ),
        (
            Endpoint::Login,
            vec![
                Response::aadsts(700_213, "No."),
                Response::aadsts(700_024, "No."),
                Response::aadsts(700_016, "No."),
                Response::aadsts(90_002, "No."),
                Response::entra_throttled(60),
                Response::garbage(),
                Response::endless(),
                Response::fin(),
                Response::reset(),
                Response::usual().half(),
            ],
        ),
        (
            Endpoint::Vault,
            vec![
                Response::rbac(),
                Response::access_policy(),
                Response::firewall(),
                Response::private_endpoint(),
                Response::policy(),
                Response::disabled(),
                Response::not_found("leak"),
                Response::akv10000(),
                Response::akv10022("a", "b"),
                Response::akv10032(TENANT),
                Response::akv10046(),
                Response::throttled(),
                Response::garbage(),
                Response::endless(),
                Response::usual().half(),
            ],
        ),
    ] {
        for answer in answers {
            let name = format!("{endpoint:?}, {answer:?}");
            azure.always(endpoint, answer);
            let target = format!("S=akv://{}/leak", azure.vault());
            let words = ["--secret", &target, "--", "true"];
            let run = match endpoint {
                Endpoint::Login => exec_federated(&azure, OPTIONS),
                _ => exec(&azure, OPTIONS),
            };
            let outcome = run.args(words).outcome();
            azure.clear(endpoint);
            failures.check(&azure, &name, &outcome);
        }
    }
    failures.end();
}

/// The error at the deadline or after a signal contains the last response.
#[test]
fn last_response_at_the_deadline_or_a_signal_prints_no_secret() {
    for token in [TOKEN, OPAQUE_TOKEN] {
        let azure = Azure::start();
        let sentence = format!("Sorry {token}");
        let script = || {
            azure.next(Endpoint::Imds, granted(token));
            azure.next(
                Endpoint::Vault,
                Response::vault_error(503, &sentence, Some(&sentence), &sentence),
            );
            azure.next(Endpoint::Vault, Response::usual().hold());
        };
        script();
        let outcome = one_secret(&azure, &["--verbose", "--timeout", "1"]).outcome();
        assert_eq!(outcome.code, Some(69));
        assert_silent(&azure, &outcome);
        script();
        let mut run = Listened::start(one_secret(&azure, &["--verbose"]));
        run.until("attempt 1: 503");
        azure.wait_for(Endpoint::Vault, 4);
        run.signal(Signal::SIGTERM);
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(128 + Signal::SIGTERM as i32));
        assert_silent(&azure, &outcome);
    }
}
