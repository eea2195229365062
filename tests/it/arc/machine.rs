//! A machine with the agent of Azure Arc: a mount namespace of our own, in which the agent's directories are ours. It
//! needs no root, only a kernel that lets users have namespaces.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::azure::{ARC_KEY, ARC_KEY_FILE, Answer, Azure, Door, Identity};
use crate::network::wire::{self, query};
use crate::support::{self, Outcome};
use crate::support_identities::{CLIENT, VAULT, assert_token, leak};

/// Makes the key file of `$1` with the content `$2`, the agent's program where `$3` says so, and becomes the rest.
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

/// A machine: the agent's key, and whether its program is there.
pub struct Machine<'a> {
    pub key: &'a str,
    pub agent: bool,
}

impl Machine<'_> {
    /// Runs akv-init there with these words and variables.
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

/// The error line of a run with a selector, without what is said.
fn asking(azure: &Azure, which: &str) -> String {
    format!(
        "error: getting an access token from Azure Arc ({}, {which})",
        azure.platform()
    )
}

/// AR1.
#[test]
fn ar1_the_key_is_read_and_sent_as_it_is() {
    let azure = Azure::start();
    azure.secret(wire::NAME, wire::VALUE);
    let mut variables = environment(&azure);
    variables.push(("AKV_INIT_ALLOW_VAULT".to_owned(), azure.vault()));
    let reference = format!("S=akv://{}/{}", azure.vault(), wire::NAME);
    let words = ["exec", "--secret", &reference, "--", "printenv", "S"];
    wire::assert_got_it(&MACHINE.run(&words, &variables));
    let requests = azure.requests_at(Door::Platform);
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
fn a_quoted_path_and_any_case_of_the_scheme_are_understood() {
    let azure = Azure::start();
    for header in [
        format!("Basic realm=\"{ARC_KEY_FILE}\""),
        format!("basic Realm={ARC_KEY_FILE}"),
    ] {
        azure.next(Door::Platform, Answer::arc_challenge(&header));
        assert_token(&azure, &token(&azure, &[]));
    }
}

/// AR8: 4096 bytes are a key, one more is none, and it is not sent.
#[test]
fn ar8_a_key_file_that_is_too_long_is_not_sent() {
    let azure = Azure::start();
    for (id, length) in [("4097", 4097), ("5000", 5000)] {
        let key = "k".repeat(length);
        let machine = Machine {
            key: &key,
            ..MACHINE
        };
        let line = format!(
            "{}: reading the agent's key `{ARC_KEY_FILE}`: it has more than 4096 bytes",
            asking(&azure, "managed identity")
        );
        let outcome = machine.run(&["token"], &environment(&azure));
        assert_eq!(outcome.error(), Some(&line["error: ".len()..]), "{id}");
        assert_eq!(outcome.code, Some(78), "{id}");
    }
    assert_eq!(azure.requests_at(Door::Platform).len(), 2);
    let key = "k".repeat(4096);
    let machine = Machine {
        key: &key,
        ..MACHINE
    };
    let outcome = machine.run(&["token", "--verbose"], &environment(&azure));
    // It is sent; that it is not the agent's, the agent says.
    assert_eq!(azure.requests_at(Door::Platform).len(), 4);
    assert_eq!(outcome.code, Some(77), "{}", outcome.stderr);
    assert_eq!(leak(&azure, &outcome, &[&key]), None);
}

#[test]
fn a_key_that_cannot_stand_in_a_header_is_refused() {
    let azure = Azure::start();
    let machine = Machine {
        key: "LEAKofKEY\r\nX-Other: 1",
        ..MACHINE
    };
    let outcome = machine.run(&["token", "--verbose"], &environment(&azure));
    assert_eq!(outcome.code, Some(78), "{}", outcome.stderr);
    let end = "it holds what cannot stand in a header";
    assert!(
        outcome.error().is_some_and(|error| error.ends_with(end)),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("LEAK"), "{}", outcome.stderr);
}

/// AR10, AR12: the names that the agent knows, and its echo in either case of its letters.
#[test]
fn ar10_ar12_a_selector_that_is_confirmed_is_followed() {
    let azure = Azure::start();
    let user = Identity::user(CLIENT);
    azure.identities(&[Identity::system(), user.clone()]);
    for (option, sent, value) in [
        ("--client-id", "client_id", &user.client_id),
        ("--object-id", "object_id", &user.object_id),
        ("--resource-id", "msi_res_id", &user.resource_id),
    ] {
        assert_token(&azure, &token(&azure, &[option, value]));
        let request = azure.requests_at(Door::Platform).pop().unwrap();
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
        let mut answer = echo.clone();
        answer["expires_on"] = json!("4102444800");
        azure.next(Door::Platform, Answer::usual());
        azure.next(Door::Platform, Answer::token(answer));
        assert_token(&azure, &token(&azure, &[option, value]));
    }
}

/// AR11: agents that do not know selectors answer for the machine's own identity.
#[test]
fn ar11_a_selector_that_is_not_confirmed_gives_no_token() {
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
        let mut answer = echo.clone();
        answer["expires_on"] = json!("4102444800");
        azure.next(Door::Platform, Answer::usual());
        azure.next(Door::Platform, Answer::token(answer));
        let outcome = token(&azure, &["--verbose", option, value]);
        let said =
            "the agent did not confirm that the token is for the identity that was asked for";
        assert!(
            outcome.error().is_some_and(|error| error.ends_with(said)),
            "{}",
            outcome.stderr
        );
        assert_eq!(
            outcome.hint(),
            Some(
                "update the agent of Azure Arc, or leave the selector out to use the machine's own identity"
            )
        );
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(77), ""),
            "{echo}"
        );
        assert_eq!(leak(&azure, &outcome, &[]), None);
    }
}

/// AR13: a newer agent says so itself.
#[test]
fn ar13_an_identity_that_the_machine_has_not_is_the_agents_word() {
    let azure = Azure::start();
    let line = format!(
        "{}: 404 Not Found (identity_not_found): the requested identity has not been assigned to this resource",
        asking(&azure, &format!("managed identity with client id {CLIENT}"))
    );
    let hint = "hint: leave the selector out to use the machine's own identity";
    token(&azure, &["--client-id", CLIENT]).failed(77, &[&line, hint]);
    assert_eq!(azure.requests_at(Door::Platform).len(), 2);
}

#[test]
fn a_key_that_the_agent_does_not_know_is_refused_once() {
    let azure = Azure::start();
    let machine = Machine {
        key: "LEAKofKEY",
        ..MACHINE
    };
    let outcome = machine.run(&["token", "--verbose"], &environment(&azure));
    let line = format!(
        "{}: 401 Unauthorized (unauthorized_client): The key in the Authorization header is not valid",
        asking(&azure, "managed identity")
    );
    assert_eq!(outcome.error(), Some(&line["error: ".len()..]));
    assert_eq!(outcome.code, Some(77));
    assert!(!outcome.stderr.contains("LEAK"), "{}", outcome.stderr);
    assert_eq!(azure.requests_at(Door::Platform).len(), 2);
}

/// Trouble with the second answer begins anew with the first request, since the key may have been replaced. A
/// connection that broke under the second one is no answer: that request is made again.
#[test]
fn trouble_with_the_second_answer_begins_anew() {
    let azure = Azure::start();
    for (answer, requests) in [
        (Answer::status(503), 4),
        (Answer::status(429), 4),
        (Answer::reset(), 3),
    ] {
        azure.next(Door::Platform, Answer::usual());
        azure.next(Door::Platform, answer);
        let before = azure.requests_at(Door::Platform).len();
        assert_token(&azure, &token(&azure, &[]));
        assert_eq!(azure.requests_at(Door::Platform).len() - before, requests);
    }
}

/// D7: the agent's program alone selects it, at its usual address. D1 is the machine without.
#[test]
fn d7_the_agents_file_alone_is_enough() {
    let words = [
        "exec",
        "--dry-run",
        "--secret",
        "S=akv://prod-kv/a",
        "--",
        "true",
    ];
    for (agent, identity) in [
        (
            true,
            "identity  Azure Arc (http://127.0.0.1:40342, managed identity)\n",
        ),
        (
            false,
            "identity  IMDS (http://169.254.169.254, managed identity)\n",
        ),
    ] {
        let machine = Machine { agent, ..MACHINE };
        let outcome = machine.run(&words, &[]);
        assert!(
            outcome.stdout_alone().starts_with(identity),
            "{}",
            outcome.stdout
        );
    }
    assert!(
        !Path::new("/opt/azcmagent").exists(),
        "the namespace is gone"
    );
}
