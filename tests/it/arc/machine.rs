//! A machine with the agent of Azure Arc: a mount namespace in which the agent's directories belong to the test. It needs
//! a kernel that lets users have namespaces, not root.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::azure::{ARC_KEY, ARC_KEY_FILE, Azure, Endpoint, Identity, Response};
use crate::support::{self, Outcome};
use crate::support_identities::{CLIENT, VAULT, assert_token, leak};
use crate::support_requests::{NAME, VALUE, assert_got_it, query};

/// Creates the key file `$1` with the content `$2`, and the agent's program if `$3` is `agent`, and executes the rest.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs tmpfs /var/opt
mkdir -p "${1%/*}"
printf %s "$2" >"$1"
if [ "$3" = agent ]; then
    mount -t tmpfs tmpfs /opt
    mkdir -p /opt/azcmagent/bin
    : >/opt/azcmagent/bin/himds
fi
shift 3
exec "$@"
"#;

/// A machine: the agent's key, and whether its program exists.
pub struct Machine<'a> {
    pub key: &'a str,
    pub agent: bool,
}

impl Machine<'_> {
    /// Runs akv-init there with these arguments and variables.
    pub fn run(&self, words: &[&str], variables: &[(String, String)]) -> Outcome {
        let agent = if self.agent { "agent" } else { "none" };
        let mut command = Command::new("unshare");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(variables.iter().cloned())
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                SCRIPT,
                "sh",
            ])
            .args([ARC_KEY_FILE, self.key, agent])
            .arg(support::binary())
            .args(words);
        Outcome::from(command.output().expect("unshare (util-linux) is here"))
    }
}

pub const MACHINE: Machine = Machine {
    key: ARC_KEY,
    agent: false,
};

pub fn environment(azure: &Azure) -> Vec<(String, String)> {
    let mut environment = azure.arc_environment();
    let ca = azure.ca_file().display().to_string();
    environment.push(("SSL_CERT_FILE".to_owned(), ca));
    environment
}

fn token(azure: &Azure, words: &[&str]) -> Outcome {
    MACHINE.run(&[&["token"], words].concat(), &environment(azure))
}

/// The same with every line of standard error as JSON.
fn failing(azure: &Azure, machine: &Machine, words: &[&str]) -> Outcome {
    let words = [&["token", "--verbose", "--log-format", "json"], words].concat();
    machine.run(&words, &environment(azure))
}

#[test]
fn key_is_read_and_sent_unchanged() {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    let mut variables = environment(&azure);
    variables.push(("AKV_INIT_ALLOW_VAULT".to_owned(), azure.vault()));
    let reference = format!("S=akv://{}/{}", azure.vault(), NAME);
    let words = ["exec", "--secret", &reference, "--", "printenv", "S"];
    assert_got_it(&MACHINE.run(&words, &variables));
    let requests = azure.requests_at(Endpoint::Platform);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].target, requests[1].target);
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(
        requests[1].header("authorization"),
        Some(format!("Basic {ARC_KEY}").as_str())
    );
    assert_eq!(requests[1].header("metadata"), Some("true"));
}

#[test]
fn challenge_may_be_quoted_and_in_any_case() {
    let azure = Azure::start();
    for header in [
        format!("Basic realm=\"{ARC_KEY_FILE}\""),
        format!("basic Realm={ARC_KEY_FILE}"),
    ] {
        azure.next(Endpoint::Platform, Response::arc_challenge(&header));
        assert_token(&azure, &token(&azure, &[]));
    }
}

#[test]
fn key_file_of_more_than_4096_bytes_is_not_sent() {
    let azure = Azure::start();
    for length in [4097, 5000] {
        let key = "k".repeat(length);
        let machine = Machine {
            key: &key,
            ..MACHINE
        };
        let failure = failing(&azure, &machine, &[]).failure(78, "config");
        failure.names(ARC_KEY_FILE).omits(&key);
    }
    assert_eq!(azure.requests_at(Endpoint::Platform).len(), 2);
    let key = "k".repeat(4096);
    let machine = Machine {
        key: &key,
        ..MACHINE
    };
    // It is sent, and the agent does not accept it.
    let outcome = failing(&azure, &machine, &[]);
    outcome.failure(77, "denied");
    assert_eq!(azure.requests_at(Endpoint::Platform).len(), 4);
    assert_eq!(leak(&azure, &outcome, &[&key]), None);
}

#[test]
fn key_that_cannot_be_sent_in_a_header_is_rejected() {
    let azure = Azure::start();
    let key = "LEAKofKEY\r\nX-Other: 1";
    let failure = failing(&azure, &Machine { key, ..MACHINE }, &[]).failure(78, "config");
    failure.names(ARC_KEY_FILE).omits("LEAK");
}

/// The agent confirms the selector in its response, in any case of the letters.
#[test]
fn selector_that_the_agent_confirms_is_used() {
    let azure = Azure::start();
    let user = Identity::user(CLIENT);
    azure.identities(&[Identity::system(), user.clone()]);
    for (option, sent, value) in [
        ("--client-id", "client_id", &user.client_id),
        ("--object-id", "object_id", &user.object_id),
        ("--resource-id", "msi_res_id", &user.resource_id),
    ] {
        assert_token(&azure, &token(&azure, &[option, value]));
        let request = azure.requests_at(Endpoint::Platform).pop().unwrap();
        let mut expected = vec![
            "api-version=2020-06-01".to_owned(),
            format!("resource={VAULT}"),
            format!("{sent}={value}"),
        ];
        expected.sort();
        assert_eq!(query(&request), expected);
    }
    for (option, value, echo) in [
        (
            "--client-id",
            &user.client_id,
            json!({"client_id": CLIENT.to_uppercase()}),
        ),
        (
            "--resource-id",
            &user.resource_id,
            json!({"mi_res_id": user.resource_id}),
        ),
        (
            "--resource-id",
            &user.resource_id,
            json!({"msi_res_id": user.resource_id.to_uppercase()}),
        ),
    ] {
        let mut response = echo.clone();
        response["expires_on"] = json!("4102444800");
        azure.next(Endpoint::Platform, Response::usual());
        azure.next(Endpoint::Platform, Response::token(response));
        assert_token(&azure, &token(&azure, &[option, value]));
    }
}

/// Agents that do not know selectors respond with a token of the machine's own identity.
#[test]
fn token_for_an_unconfirmed_selector_is_rejected() {
    let azure = Azure::start();
    let user = Identity::user(CLIENT);
    for (option, value, echo) in [
        ("--client-id", &user.client_id, json!({})),
        (
            "--client-id",
            &user.client_id,
            json!({"client_id": Identity::system().client_id}),
        ),
        (
            "--client-id",
            &user.client_id,
            json!({"object_id": user.client_id}),
        ),
        (
            "--object-id",
            &user.object_id,
            json!({"client_id": user.object_id}),
        ),
        ("--resource-id", &user.resource_id, json!({"msi_res_id": 5})),
    ] {
        let mut response = echo.clone();
        response["expires_on"] = json!("4102444800");
        azure.next(Endpoint::Platform, Response::usual());
        azure.next(Endpoint::Platform, Response::token(response));
        let outcome = failing(&azure, &MACHINE, &[option, value]);
        outcome.failure(77, "denied").hinted();
        assert_eq!(leak(&azure, &outcome, &[]), None);
    }
}

/// Newer agents check the selector.
#[test]
fn selector_that_the_agent_rejects_is_denied() {
    let azure = Azure::start();
    let outcome = failing(&azure, &MACHINE, &["--client-id", CLIENT]);
    outcome.failure(77, "denied").hinted();
    assert_eq!(azure.requests_at(Endpoint::Platform).len(), 2);
}

#[test]
fn key_that_the_agent_does_not_know_is_sent_once() {
    let azure = Azure::start();
    let machine = Machine {
        key: "LEAKofKEY",
        ..MACHINE
    };
    failing(&azure, &machine, &[])
        .failure(77, "denied")
        .hint_names("azcmagent check")
        .omits("LEAK");
    assert_eq!(azure.requests_at(Endpoint::Platform).len(), 2);
}

/// After a failed second response the exchange starts again, since the key may have been replaced. After a connection
/// that broke, the second request is made again.
#[test]
fn failed_second_response_starts_the_exchange_again() {
    let azure = Azure::start();
    for (response, requests) in [
        (Response::status(503), 4),
        (Response::status(429), 4),
        (Response::reset(), 3),
    ] {
        azure.next(Endpoint::Platform, Response::usual());
        azure.next(Endpoint::Platform, response);
        let before = azure.requests_at(Endpoint::Platform).len();
        assert_token(&azure, &token(&azure, &[]));
        assert_eq!(
            azure.requests_at(Endpoint::Platform).len() - before,
            requests
        );
    }
}

#[test]
fn program_of_the_agent_selects_arc_at_its_usual_address() {
    let words = [
        "exec",
        "--dry-run",
        "--secret",
        "S=akv://prod-kv/a",
        "--",
        "true",
    ];
    for (agent, host) in [(true, "127.0.0.1:40342"), (false, "169.254.169.254")] {
        let outcome = Machine { agent, ..MACHINE }.run(&words, &[]);
        let identity = outcome.stdout_alone().lines().next().unwrap();
        assert!(identity.contains(host), "{identity}");
    }
    assert!(!Path::new("/opt/azcmagent").exists());
}
