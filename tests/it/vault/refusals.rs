//! Refusals of the vault: exit code, `refusal`, hint and attempts of each, and the values in the message that support needs.

use serde_json::{Value, json};

use crate::azure::{Azure, Endpoint, Identity, Response, TENANT};
use crate::rows;
use crate::support::{NO_OPTIONS, akv_init, exec};
use crate::support_identities::VAULT;
use crate::support_requests::{NAME, VALUE, assert_got_it, counts, one_secret};
use crate::support_tables::check_vault;

fn error(status: u16, code: &str, inner: Option<&str>, text: &str) -> Response {
    Response::vault_error(status, code, inner, text)
}

#[test]
fn refusals_with_403_and_404() {
    let caller = Identity::system();
    let caller = format!("appid={};oid={}", caller.client_id, caller.object_id);
    let inner = |code| error(403, "Forbidden", Some(code), "No.");
    let first_party = "Access denied to first party service.\r\nCaller: {caller}";
    let rbac =
        "Caller is not authorized to perform action on resource.\r\nResource: '/x/secrets/sql-sa'";
    let nsp = "Request was not allowed by NSP rules and the client address is not authorized and caller was ignored \
               because bypass is set to None.\r\nClient address: 203.0.113.5 from unknown subnet";
    let link = "Connection is not an approved private link and caller was ignored because bypass is not set to \
                'AzureServices' and PublicNetworkAccess is set to 'Disabled'.";
    let nested = json!({"code": "Outer", "innererror": {"code": "ForbiddenByFirewall"}});
    let nested = json!({"error": {"code": "Forbidden", "message": "No.", "innererror": nested}});
    let null = json!({"error": {"code": "Forbidden", "message": "No.", "innererror": null}});
    check_vault(rows! {
        "no role": Response::rbac() => 77 once, hint, refusal "ForbiddenByRbac", names caller;
        "no role, no scope": inner("ForbiddenByRbac") => 77 once, hint, refusal "ForbiddenByRbac";
        "no role, by its text": error(403, "Forbidden", None, rbac) => 77 once, hint, refusal "ForbiddenByRbac";
        "no policy": Response::access_policy() => 77 once, hint, refusal "AccessDenied", names caller;
        "first party": error(403, "Forbidden", Some("AccessDenied"), first_party)
            => 77 once, hint, refusal "AccessDenied", names caller;
        "first party, by its text": error(403, "Forbidden", None, first_party)
            => 77 once, hint, refusal "AccessDenied", names caller;
        "deny assignment": error(403, "Forbidden", Some("ForbiddenByRbac"), &format!("{rbac}\r\nDenyAssignmentId: '{TENANT}'"))
            => 77 once, hint, refusal "ForbiddenByRbac";
        "policy": Response::policy() => 77 once, hint, refusal "ForbiddenByPolicy", names caller;
        "policy, by its text": error(403, "Forbidden", None, "The policy requires the caller 'x' to use on-behalf-of (OBO) flow.")
            => 77 once, hint, refusal "ForbiddenByPolicy", names caller;
        "perimeter": error(403, "ForbiddenByNsp", None, "The request was forbidden by NSP policy.")
            => 77 once, hint, refusal "ForbiddenByNsp";
        "perimeter, by its text": error(403, "Forbidden", None, "The request was forbidden by NSP policy.")
            => 77 once, hint, refusal "ForbiddenByNsp";
        "firewall with a perimeter": error(403, "Forbidden", None, nsp)
            => 77 once, hint, refusal "ForbiddenByFirewall", names "203.0.113.5";
        "private link, by its text": error(403, "Forbidden", None, link)
            => 77 once, hint, refusal "ForbiddenByConnection", names "203.0.113.5";
        "firewall": Response::firewall()
            => 77 once, hint, refusal "ForbiddenByFirewall", names caller, names "203.0.113.5";
        "private endpoint": Response::private_endpoint()
            => 77 once, hint, refusal "ForbiddenByConnection", names caller, names "203.0.113.5";
        "disabled": Response::disabled() => 66 once, hint, refusal "SecretDisabled";
        "not found": Response::not_found(NAME) => 66 once, hint, refusal "SecretNotFound";
        "expired": inner("SecretExpired") => 66 once, hint, refusal "SecretExpired";
        "expired, by its text": error(403, "Forbidden", None, "Operation get is not allowed on an expired secret.")
            => 66 once, hint, refusal "SecretExpired";
        "not valid yet": inner("SecretNotYetValid") => 66 once, hint, refusal "SecretNotYetValid";
        "not valid yet, by its text":
            error(403, "Forbidden", None, "Operation get is not allowed on a not yet valid secret.")
            => 66 once, hint, refusal "SecretNotYetValid";
        // The inner code precedes the status.
        "disabled, another status": error(400, "BadRequest", Some("SecretDisabled"), "Disabled.")
            => 66 once, hint, refusal "SecretDisabled";
        "inner code below another": Response::json(403, &nested)
            => 77 once, hint, refusal "ForbiddenByFirewall", names "203.0.113.5";
        // The caller is that of the token.
        "unknown inner code": inner("ForbiddenBySomethingNew")
            => 77 once, hint, refusal "ForbiddenBySomethingNew", names caller, names VAULT;
        "inner code null": Response::json(403, &null) => 77 once, hint, names caller, names VAULT;
        "bad parameter": error(400, "BadParameter", None, "The request URI contains an invalid name: sql_sa")
            => 76 once, refusal "BadParameter", names "sql_sa";
    });
}

#[test]
fn refusals_with_401() {
    let other = "11111111-2222-4333-8444-555555555555";
    let [resource, slash] = ["https://vault.azure.net", "https://vault.azure.net/"];
    let caller = Identity::system().object_id;
    let unauthorized = |text: &str| error(401, "Unauthorized", None, text);
    let challenge = |code: &str| {
        let challenge =
            format!("Bearer realm=\"\", resource=\"{resource}\", error=\"{code}\", PoP realm=\"\"");
        Response::status(401).header("WWW-Authenticate", &challenge)
    };
    check_vault(rows! {
        "no token": Response::akv10000() => 77 once, hint, names "AKV10000", names caller;
        "another resource": Response::akv10022(resource, slash) => 77 once, hint, names "AKV10022";
        "another tenant": Response::akv10032(other) => 77 once, hint, names other, names TENANT;
        "key not resolved": Response::akv10046() => 69 counted 5, hint, names "AKV10046";
        "not yet valid": unauthorized("Token not yet valid, check the clock.") => 69 retried;
        "another audience, old text": unauthorized("IDX10214: Audience validation failed.") => 77 once, hint;
        "another issuer, old text": unauthorized("IDX10205: Issuer validation failed.") => 77 once, hint;
        "not yet valid, old text": unauthorized("IDX10222: Lifetime validation failed.") => 69 retried;
        "unknown": unauthorized("AKV19999: New.") => 77 once, hint, names caller, names VAULT;
        // Once more, with a new token.
        "expired": unauthorized("Error validating token: IDX10223.") => 77 counted 2, hint, names "IDX10223", names caller;
        "expired, S2S": unauthorized("[TokenExpired] Error validating token: 'S2S12086'.") => 77 counted 2, hint;
        "unknown key": unauthorized("IDX10501: Signature validation failed.") => 77 counted 2, hint, names caller;
        "insufficient claims": challenge("insufficient_claims") => 77 counted 2, hint;
        "invalid token": challenge("invalid_token") => 77 counted 2, hint;
    });
}

#[test]
fn rejected_token_is_replaced_once() {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    for text in [
        "[TokenExpired] Error validating token: 'S2S12086'.",
        "IDX10223",
        "IDX10501",
    ] {
        let before = counts(&azure);
        azure.next(Endpoint::Vault, error(401, "Unauthorized", None, text));
        assert_got_it(&one_secret(&azure, &[]).outcome());
        let after = counts(&azure);
        assert_eq!(
            [after[0] - before[0], after[2] - before[2]],
            [2, 2],
            "{text}"
        );
        let requests = azure.requests_at(Endpoint::Vault);
        let tokens: Vec<_> = requests[before[2]..]
            .iter()
            .map(|request| request.bearer())
            .collect();
        assert_ne!(tokens[0], tokens[1]);
    }
}

/// By this machine's clock; the vault decides.
#[test]
fn token_that_is_expired_when_it_arrives_is_used_with_a_warning() {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    let expired = Response::token(json!({"expires_on": "1643312761"}));
    azure.next(Endpoint::Imds, expired.clone());
    let outcome = one_secret(&azure, &[]).json().outcome();
    let warnings = outcome.lines_of("warning");
    assert_eq!(
        (outcome.code, warnings.len()),
        (Some(0), 1),
        "{}",
        outcome.stderr
    );
    let message = warnings[0]["message"].as_str().unwrap();
    assert!(message.contains("2022-01-27 19:46:01 UTC"), "{message}");
    azure.next(Endpoint::Imds, expired);
    let check = akv_init(["check", "--format", "json"])
        .env("S", format!("akv://{}/{NAME}", azure.vault()))
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault());
    let outcome = check.outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let lines = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let states: Vec<Value> = lines
        .filter(|line: &Value| ["token", "secret"].iter().any(|link| line["link"] == *link))
        .map(|line| line["state"].clone())
        .collect();
    assert_eq!(states, ["warning", "ok"]);
}

#[test]
fn responses_of_another_server_are_rejected() {
    let secret = json!({"value": VALUE, "id": "https://v/secrets/sql-sa/1"});
    check_vault(rows! {
        "404": Response::status(404) => 76 once, hint;
        "418": Response::status(418) => 76 once, hint;
        "403, JSON": Response::json(403, &json!({"message": "denied"})) => 76 once, hint;
        "401, list": Response::json(401, &json!([1])) => 76 once, hint;
        "201": Response::json(201, &secret) => 76 once, hint;
        "204": Response::status(204) => 76 once, hint;
        "redirect": Response::redirect("/elsewhere") => 76 once, hint;
        "not HTTP": Response::garbage() => 76 once, hint;
        "another protocol": Response::raw(b"HTTP/3 200 OK\r\n\r\n") => 76 once, hint;
        "long head": Response::status(200).header("X-Long", &"x".repeat(20 * 1024)) => 76 once, hint;
        "endless body": Response::endless() => 76 once, hint;
        "large body": Response::json(200, &json!({"value": "x".repeat(300 * 1024)})) => 76 once, hint;
    });
}

#[test]
fn bodies_that_are_not_a_secret_are_rejected() {
    let id = "https://v/secrets/sql-sa/0123456789abcdef0123456789abcdef";
    let body = |body: Value| Response::json(200, &body);
    let whole = format!(r#"{{"id":"{id}","value":"LEAK"}}"#);
    check_vault(rows! {
        "no value": body(json!({"id": id})) => 76 once, hint;
        "null": body(json!({"id": id, "value": null})) => 76 once, hint;
        "number": body(json!({"id": id, "value": 7})) => 76 once, hint;
        "object": body(json!({"id": id, "value": {"value": "LEAK"}})) => 76 once, hint;
        "no id": body(json!({"value": "LEAK"})) => 76 once, hint;
        "number for an id": body(json!({"value": "LEAK", "id": 7})) => 76 once, hint;
        "list": body(json!([{"value": "LEAK", "id": id}])) => 76 once, hint;
        "an error": body(json!({"error": {"code": "x"}})) => 76 once, hint;
        "page": Response::html(200, "<html>Please sign in</html>") => 76 once, hint;
        "empty": Response::status(200) => 76 once, hint;
        "cut": Response::text(200, &whole[..whole.len() - 2]) => 76 once, hint;
        "more behind it": Response::text(200, &format!("{whole} x")) => 76 once, hint;
    });
}

/// As of a gateway that mixes responses up.
#[test]
fn secret_that_was_not_requested_is_rejected() {
    let body = |id: &str| Response::json(200, &json!({"id": id, "value": "LEAK"}));
    check_vault(rows! {
        "another secret": body("https://v/secrets/sql-sa2/0123") => 76 once, hint;
        "another object": body("https://v/keys/sql-sa/0123") => 76 once, hint;
        "no name": body("https://v/secrets") => 76 once, hint;
        "not a URL": body("sql-sa") => 76 once, hint;
    });
    let azure = Azure::start();
    let versions = [
        "0123456789abcdef0123456789abcdef",
        "0123456789ABCDEF0123456789ABCDEF",
    ];
    let id = |version: &str| format!("https://v/secrets/{NAME}/{version}");
    let reference = format!("akv://{}/{NAME}/{}", azure.vault(), versions[0]);
    for (id, code) in [
        (id(versions[0]), 0),
        (id(versions[1]), 76),
        (id(""), 76),
        (format!("https://v/secrets/{NAME}"), 76),
    ] {
        azure.next(
            Endpoint::Vault,
            Response::json(200, &json!({"id": id, "value": VALUE})),
        );
        let run = exec(&azure, NO_OPTIONS).printing(&[&reference]);
        assert_eq!(run.outcome().code, Some(code), "{id}");
    }
    // The host may be another, and the name in another case.
    let id = format!(
        "https://custom.example:8443/secrets/{}/1",
        NAME.to_uppercase()
    );
    azure.next(
        Endpoint::Vault,
        Response::json(200, &json!({"id": id, "value": VALUE})),
    );
    assert_got_it(&one_secret(&azure, &[]).outcome());
}

#[test]
fn temporary_failures_are_retried() {
    let wait = |status, seconds| Response::status(status).header("Retry-After", seconds);
    check_vault(rows! {
        "throttled": Response::throttled() => 69 retried, hint, refusal "Throttled";
        "throttled for too long": wait(429, "60") => 69 once, hint;
        "408": Response::status(408) => 69 retried;
        "500": Response::status(500) => 69 retried;
        "502, page": Response::html(502, "<html><h1>502 Bad Gateway</h1></html>") => 69 retried;
        "503": Response::status(503) => 69 retried;
        "503 for too long": wait(503, "60") => 69 once;
        "599": Response::status(599) => 69 retried;
    });
}

/// The early connection was idle until the first request, so that its loss costs no attempt.
#[test]
fn lost_connection_is_retried() {
    for response in [Response::fin(), Response::reset(), Response::usual().half()] {
        let azure = Azure::start();
        azure.next(Endpoint::Vault, response.clone());
        assert_got_it(&one_secret(&azure, &[]).outcome());
        assert_eq!(counts(&azure), [1, 0, 2]);
        azure.always(Endpoint::Vault, response);
        one_secret(&azure, &["--timeout", "0"]).failure(69, "unavailable");
    }
}

/// The scope of the role, the commands and addresses that the user needs.
#[test]
fn hint_names_what_has_to_change() {
    let azure = Azure::start();
    let host = azure.vault();
    let scope = "/resourcegroups/app/providers/microsoft.keyvault/vaults/localhost/secrets/sql-sa";
    let object = Identity::system().object_id;
    let from_address = |response: Response, address: &str| {
        let info = format!("conn_type=Ipv4;addr={address};act_addr_fam=InterNetworkV6;");
        response.header("x-ms-keyvault-network-info", &info)
    };
    let firewall = |address: &str| {
        let text = format!(
            "Client address is not authorized and caller is not a trusted service.\r\nClient address: {address}\r\n"
        );
        error(403, "Forbidden", Some("ForbiddenByFirewall"), &text)
    };
    for (response, named) in [
        (
            Response::rbac(),
            &[scope, "Key Vault Secrets User", "--wait-for-access"][..],
        ),
        (
            error(
                403,
                "Forbidden",
                Some("ForbiddenByRbac"),
                "Caller is not authorized.",
            ),
            &[&host, "Key Vault Secrets User"],
        ),
        (
            Response::access_policy(),
            &[
                "az keyvault set-policy",
                "localhost",
                &object,
                "--wait-for-access",
            ],
        ),
        (
            Response::private_endpoint(),
            &["privatelink.vaultcore.azure.net", &host, "203.0.113.5"],
        ),
        (
            from_address(Response::private_endpoint(), "10.20.0.7"),
            &["10.20.0.7", "approved"],
        ),
        (
            from_address(Response::private_endpoint(), ""),
            &["privatelink.vaultcore.azure.net", "approved"],
        ),
        (firewall("10.20.0.7"), &["subnet", "--name localhost"]),
        (firewall("fd00::7"), &["--subnet"]),
        (firewall("203.0.113.5 from unknown subnet"), &["--subnet"]),
        (
            Response::policy(),
            &["az keyvault set-policy", "localhost", &object],
        ),
        (
            Response::akv10022("https://vault.azure.net", "https://vault.azure.net/"),
            &["--vault-resource", "--cloud"],
        ),
        (Response::akv10032(TENANT), &["AZURE_TENANT_ID"]),
    ] {
        azure.next(Endpoint::Vault, response);
        let failure = one_secret(&azure, &["--timeout", "0"]).failure(77, "denied");
        for value in named {
            failure.hint_names(value);
        }
    }
}

/// The ids of a request and of its response, for a question to support.
#[test]
fn error_names_the_ids_of_the_request() {
    let azure = Azure::start();
    let page = Response::html(502, "<html>");
    for (response, code, cause) in [
        (Response::disabled(), 66, "not found"),
        (page, 69, "unavailable"),
    ] {
        azure.next(Endpoint::Vault, response);
        let failure = one_secret(&azure, &["--timeout", "0"]).failure(code, cause);
        failure
            .fact("secret", NAME)
            .fact("vault", azure.vault())
            .fact("for", "S");
        let request = azure.requests_at(Endpoint::Vault).pop().unwrap();
        failure.names(request.header("x-ms-client-request-id").unwrap());
        match code {
            66 => failure.names(&request.request_id),
            // A gateway before the vault has no id.
            _ => failure.omits(&request.request_id),
        };
    }
}

#[test]
fn token_for_another_resource_is_denied_with_the_option_to_change_it() {
    let azure = Azure::builder()
        .vault_resource("https://vault.stack.example.com")
        .start();
    let failure = one_secret(&azure, &[]).failure(77, "denied");
    failure
        .names("https://vault.stack.example.com")
        .hint_names("--vault-resource");
    assert_eq!(counts(&azure), [1, 0, 1]);
}

#[test]
fn text_of_a_response_is_cut_and_has_no_control_characters() {
    let azure = Azure::start();
    let long = format!(
        "{}\u{1b}[31mred\u{7}\nakv-init: forged line",
        "a".repeat(400)
    );
    for response in [
        error(403, "Forbidden", Some("ForbiddenByPolicy"), &long),
        error(
            403,
            "Forbid\u{1b}[0mden",
            Some("Code\r\nakv-init: x"),
            "a\u{1b}[31mred",
        ),
    ] {
        azure.next(Endpoint::Vault, response);
        let outcome = one_secret(&azure, &[]).outcome();
        assert_eq!(outcome.code, Some(77));
        assert_eq!(outcome.stderr.lines().count(), 2, "{}", outcome.stderr);
        assert!(
            !outcome.stderr.contains(['\u{1b}', '\u{7}']),
            "{}",
            outcome.stderr
        );
        assert!(
            !outcome.stderr.contains(&"a".repeat(301)),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn attempts_of_one_secret_share_their_client_request_id() {
    let azure = Azure::start();
    azure.next(Endpoint::Vault, Response::status(503));
    assert_got_it(&one_secret(&azure, &[]).outcome());
    let requests = azure.requests_at(Endpoint::Vault);
    let id = |index: usize| requests[index].header("x-ms-client-request-id");
    assert_eq!((requests.len(), id(0)), (2, id(1)));
}
