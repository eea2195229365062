//! No secret, no token, no assertion and no proxy's password is ever said, at `--verbose`, on any path that fails.
//!
//! Each has a form of its own that is looked for, whole and in parts: the text of a failure is made of what services
//! said, and some services say what they were sent.

mod carriers;
mod files;
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

/// A token as Entra makes them. Each of its parts can be told from any other text.
const TOKEN: &str = "eyJ0eXAiOiJKV1QifQ.eyJzZW50aW5lbCI6InRva2VuIn0LEAKofTOKENpayload.LEAKofTOKENsignature-_0123456789";

/// A token of another make, as it may be one day.
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
fn nothing_is_said_when_all_goes_well() {
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
fn a_vault_that_echoes_the_token() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    for token in [TOKEN, OPAQUE_TOKEN] {
        for (name, answer) in carriers::echoes(token) {
            azure.next(Endpoint::Imds, granted(token));
            azure.next(Endpoint::Vault, answer);
            let outcome = one_secret(&azure, &OPTIONS).outcome();
            failures.look_at(&azure, &name, &outcome);
        }
    }
    failures.end();
}

/// Half of it is enough to be a leak; that it is one is seen by its shape.
#[test]
fn a_vault_that_echoes_a_part_of_the_token() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    for part in [&TOKEN[..60], &TOKEN["eyJ0eXAiOiJKV1QifQ.".len()..]] {
        for (name, answer) in carriers::echoes(part) {
            azure.next(Endpoint::Imds, granted(TOKEN));
            azure.next(Endpoint::Vault, answer);
            let outcome = one_secret(&azure, &OPTIONS).outcome();
            failures.look_at(&azure, &name, &outcome);
        }
    }
    failures.end();
}

#[test]
fn a_bundle_that_is_none() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    for (name, answer) in carriers::nearly(SECRET) {
        azure.next(Endpoint::Vault, answer);
        let outcome = one_secret(&azure, &OPTIONS).outcome();
        failures.look_at(&azure, &name, &outcome);
    }
    failures.end();
}

#[test]
fn an_identity_endpoint_that_says_a_token_where_it_should_not() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    let mut answers = carriers::echoes(TOKEN);
    answers.extend(carriers::nearly(TOKEN));
    for (name, answer) in answers {
        azure.next(Endpoint::Imds, answer);
        // What is nearly a refusal may be a token all the same; then there is no vault.
        azure.next(Endpoint::Vault, Response::status(404));
        let outcome = one_secret(&azure, &OPTIONS).outcome();
        azure.clear(Endpoint::Vault);
        failures.look_at(&azure, &name, &outcome);
    }
    failures.end();
}

#[test]
fn entra_that_echoes_the_assertion() {
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
            failures.look_at(&azure, &name, &outcome);
        }
    }
    failures.end();
}

#[test]
fn entra_that_says_a_token_where_it_should_not() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    for (name, answer) in carriers::nearly(TOKEN) {
        azure.next(Endpoint::Login, answer);
        azure.next(Endpoint::Vault, Response::status(404));
        let outcome = one_secret_federated(&azure, &OPTIONS).outcome();
        azure.clear(Endpoint::Vault);
        failures.look_at(&azure, &name, &outcome);
    }
    failures.end();
}

/// The refusals that the stand-in has by itself, and those of real services.
#[test]
fn every_refusal_of_the_real_services() {
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
            failures.look_at(&azure, &name, &outcome);
        }
    }
    failures.end();
}

/// The last answer is a part of what is said when time is up, or when a signal ends the wait.
#[test]
fn the_deadline_and_a_signal_tell_the_last_answer_without_what_it_echoed() {
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
        run.until("try 1: 503");
        azure.wait_for(Endpoint::Vault, 4);
        run.signal(Signal::SIGTERM);
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(128 + Signal::SIGTERM as i32));
        assert_silent(&azure, &outcome);
    }
}
