//! What IMDS, NMI and others in its place say instead of a token, and what is made of it: the exit code, the words, the
//! hint, and whether there is another try.

use super::{ONE, TWO, asking, foreign, id};
use crate::azure::{Answer, Azure, Door, Identity};
use crate::network::wire::{assert_got_it, counts, one_secret};

/// One request, one answer, the whole of what is said.
#[track_caller]
fn assert_refused(azure: &Azure, row: &str, answer: Answer, code: i32, said: &str, hint: &str) {
    azure.next(Door::Imds, answer);
    let before = counts(azure);
    let outcome = one_secret(azure, &[]).outcome();
    let mut lines = vec![format!("{}: {said}", asking(azure))];
    // What comes with a 200 is no refusal.
    if !said.starts_with("200 ") {
        lines[0].push_str(&id(azure));
    }
    if !hint.is_empty() {
        lines.push(format!("hint: {hint}"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    outcome.failed(code, &lines);
    let after = counts(azure);
    assert_eq!((after[0] - before[0], after[2]), (1, 0), "{row}");
}

#[test]
fn what_cannot_get_better_is_said_after_one_try() {
    let azure = Azure::start();
    let foreign = foreign(&azure);
    let resource = "`https://vault.azure.net` is not a resource that this tenant knows: look at it, at --vault-resource \
                    and at --cloud";
    let wrong_resource = "AADSTS50001: The application named https://vault.example was not found in the tenant named \
                          72f9a1b0.";
    for (id, answer, code, said, hint) in [
        (
            "no Metadata header",
            Answer::imds_error(400, "invalid_request", "Required metadata header not specified"),
            76,
            "400 Bad Request (invalid_request): Required metadata header not specified".to_owned(),
            "something between here and IMDS takes headers away: a proxy, a service mesh",
        ),
        (
            "I10",
            Answer::imds_not_found(),
            77,
            "400 Bad Request (invalid_request): Identity not found".to_owned(),
            "give this machine a system-assigned identity, or assign a user-assigned one",
        ),
        (
            "several",
            Answer::imds_multiple(),
            77,
            "400 Bad Request (invalid_request): Multiple user assigned identities exist, please specify the clientId \
             / resourceId of the identity in the token request"
                .to_owned(),
            "name the one that is meant: --client-id ID or AKV_INIT_CLIENT_ID",
        ),
        (
            "invalid_resource",
            Answer::imds_error(400, "invalid_resource", wrong_resource),
            78,
            format!("400 Bad Request (invalid_resource): {}", wrong_resource.trim_end_matches('.')),
            resource,
        ),
        (
            "unknown_source",
            Answer::imds_error(401, "unknown_source", "Unknown Source https://vault.example"),
            78,
            "401 Unauthorized (unknown_source): Unknown Source https://vault.example".to_owned(),
            resource,
        ),
        (
            "invalid_scope",
            Answer::imds_error(400, "invalid_scope", "The scope is not valid."),
            77,
            "400 Bad Request (invalid_scope): The scope is not valid".to_owned(),
            "",
        ),
        (
            "unauthorized_client",
            Answer::imds_error(401, "unauthorized_client", "not enabled"),
            77,
            "401 Unauthorized (unauthorized_client): not enabled".to_owned(),
            "",
        ),
        (
            "access_denied",
            Answer::imds_error(401, "access_denied", "not allowed"),
            77,
            "401 Unauthorized (access_denied): not allowed".to_owned(),
            "",
        ),
        (
            "405",
            Answer::imds_error(405, "invalid_request", "only GET is allowed"),
            76,
            "405 Method Not Allowed (invalid_request): only GET is allowed".to_owned(),
            &foreign,
        ),
        ("I9, JSON", Answer::text(400, "{}"), 77, "400 Bad Request".to_owned(), ""),
        (
            "I9, text",
            Answer::text(400, "something went wrong"),
            76,
            "400 Bad Request: something went wrong".to_owned(),
            &foreign,
        ),
        (
            "I19",
            Answer::text(418, "is a teapot"),
            76,
            "418 I'm a teapot: is a teapot".to_owned(),
            &foreign,
        ),
        (
            "NMI, no resource",
            Answer::nmi(400, "parameter resource cannot be empty"),
            76,
            "400 Bad Request: parameter resource cannot be empty".to_owned(),
            &foreign,
        ),
        (
            "N6",
            Answer::text(
                400,
                "The client_id parameter or AZURE_CLIENT_ID environment variable must be set\n",
            ),
            77,
            "400 Bad Request: The client_id parameter or AZURE_CLIENT_ID environment variable must be set".to_owned(),
            "the workload identity proxy answers here and wants --client-id or AZURE_CLIENT_ID",
        ),
        (
            "N7",
            Answer::text(400, "The resource parameter is required.\n"),
            76,
            "400 Bad Request: The resource parameter is required".to_owned(),
            &foreign,
        ),
        (
            "I17",
            Answer::text(200, "not json"),
            76,
            "200 OK: the answer is not JSON".to_owned(),
            &foreign,
        ),
        (
            "a captive portal",
            Answer::html(200, "<html>Please sign in</html>"),
            76,
            "200 OK: the answer is not JSON".to_owned(),
            &foreign,
        ),
    ] {
        assert_refused(&azure, id, answer, code, &said, hint);
    }
}

#[test]
fn i18_docker_desktop_is_not_azure() {
    let azure = Azure::start();
    for host in ["", "host.", "foo."] {
        let text = format!(
            "connecting to 169.254.169.254:80: connecting to {host}169.254.169.254:80: dial tcp: A socket operation \
             was attempted to an unreachable network."
        );
        let answer = Answer::json(403, &serde_json::json!({"error": &text})).bare();
        assert_refused(
            &azure,
            host,
            answer,
            69,
            &format!("403 Forbidden ({})", text.trim_end_matches('.')),
            "Docker Desktop answers in place of IMDS: there is no managed identity on this machine",
        );
    }
    azure.next(Door::Imds, Answer::docker_desktop());
    assert_eq!(one_secret(&azure, &[]).outcome().code, Some(69));
}

#[test]
fn an_identity_that_the_machine_has_not_is_told_apart_from_none_at_all() {
    let azure = Azure::start();
    azure.identities(&[Identity::user(TWO)]);
    let asking = format!(
        "error: getting an access token from IMDS ({}, managed identity with client id {ONE})",
        azure.imds()
    );
    let line = |azure: &Azure| {
        format!(
            "{asking}: 400 Bad Request (invalid_request): Identity not found{}",
            id(azure)
        )
    };
    let assign =
        "hint: assign this user-assigned identity to the machine, or name one that is assigned";
    let outcome = one_secret(&azure, &["--client-id", ONE]).outcome();
    outcome.failed(77, &[&line(&azure), assign]);
    // In a pod the identity that is meant is rarely one of the machine.
    let in_pod = format!(
        "{assign}; a pod's own identity is workload identity: label azure.workload.identity/use: \"true\""
    );
    let outcome = one_secret(&azure, &["--client-id", ONE])
        .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .outcome();
    outcome.failed(77, &[&line(&azure), &in_pod]);
    azure.identities(&[]);
    assert_eq!(
        one_secret(&azure, &[]).outcome().hint(),
        Some("give this machine a system-assigned identity, or assign a user-assigned one")
    );
}

#[test]
fn several_identities_and_none_named_is_a_question_for_the_option() {
    let azure = Azure::start();
    azure.identities(&[Identity::user(ONE), Identity::user(TWO)]);
    assert_eq!(
        one_secret(&azure, &[]).outcome().hint(),
        Some("name the one that is meant: --client-id ID or AKV_INIT_CLIENT_ID")
    );
    assert_got_it(&one_secret(&azure, &["--client-id", TWO]).outcome());
}
