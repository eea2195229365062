//! Refusals in the words of each managed identity endpoint. What every source of identity has in common is in
//! `faults.rs`.

use serde_json::json;

use crate::azure::{Azure, CORRELATION, Identity, Response};
use crate::rows;
use crate::support::akv_init;
use crate::support_identities::{CLIENT, Source, assert_token, with};
use crate::support_requests::{NAME, VALUE};
use crate::support_tables::{Row, check_sources};

fn check(source: Source, rows: Vec<Row>) {
    check_sources([(source, rows)]);
}

#[test]
fn responses_of_imds_and_nmi() {
    let nmi = |status, text| Response::nmi(status, text);
    let imds = |status, error, text| Response::imds_error(status, error, text);
    check(
        Source::Imds,
        rows! {
            "no Metadata header": imds(400, "invalid_request", "Required metadata header not specified") => 76 once, hint;
            "no identity": Response::imds_not_found() => 77 once, hint;
            "several identities": Response::imds_multiple() => 77 once, hint;
            "no such resource": imds(400, "invalid_resource", "AADSTS50001: No.") => 78 once, hint, names "AADSTS50001";
            "principal not found": imds(400, "invalid_resource", "AADSTS500011: No.") => 78 once, hint, names "AADSTS500011";
            "unknown source": imds(401, "unknown_source", "Unknown Source https://vault.example") => 76 once, hint;
            "invalid scope": imds(400, "invalid_scope", "The scope is not valid.") => 78 once, hint;
            "unauthorized client": imds(401, "unauthorized_client", "not enabled") => 77 once, hint;
            "access denied": imds(401, "access_denied", "not allowed") => 77 once, hint;
            "Guest Proxy Agent": Response::status(403) => 77 once, hint;
            "Guest Proxy Agent, of whom": Response::status(421) => 77 counted 3, hint;
            "Entra's refusal, passed on":
                nmi(403, "failed to refresh token, error: adal: Response body: AADSTS7000112: disabled") => 77 once;
            "Entra's failure, passed on": Response::text(400, "AADSTS90033: A transient error.") => 69 retried;
            "Entra's refusal, with 500": Response::text(500, "AADSTS500011: No.") => 78 once, hint;
            "405": imds(405, "invalid_request", "only GET is allowed") => 76 once, hint;
            "empty JSON": Response::text(400, "{}") => 77 once;
            "text": Response::text(400, "something went wrong") => 76 once, hint;
            "teapot": Response::text(418, "is a teapot") => 76 once, hint;
            "NMI, no resource": nmi(400, "parameter resource cannot be empty") => 76 once, hint;
            "workload identity proxy, no client id":
                Response::text(400, "The client_id parameter or AZURE_CLIENT_ID environment variable must be set\n")
                => 77 once, hint, names "AZURE_CLIENT_ID";
            "workload identity proxy, no resource":
                Response::text(400, "The resource parameter is required.\n") => 76 once, hint;
            "Docker Desktop": Response::docker_desktop() => 69 once, hint;
            "Docker Desktop, once": docker("") => 69 once, hint;
            "Docker Desktop, host": docker("host.") => 69 once, hint;
            "Docker Desktop, foo": docker("foo.") => 69 once, hint;
            "429": imds(429, "too_many_requests", "Too many requests") => 69 retried, hint;
            "408": Response::status(408) => 69 retried;
            "500": Response::imds_failed() => 69 retried;
            "501": Response::status(501) => 69 retried;
            "502": Response::html(502, "<h1>Bad Gateway</h1>") => 69 retried;
            "504": Response::html(504, "") => 69 retried;
            "599": Response::status(599) => 69 retried;
            "NMI 403": Response::nmi_refused() => 77 retried, hint;
            "403, text": nmi(403, "Forbidden") => 77 retried;
            "NMI 404": Response::nmi_unassigned() => 77 retried, hint;
            "NMI 404, client id": nmi(404, "no azure identity found for request clientID 1#5") => 77 retried, hint;
            "NMI 500": nmi(500, "pod list is empty") => 69 retried;
            "NMI 500, no address": nmi(500, "request remote address is empty") => 69 retried;
            "NMI 503": nmi(503, "health check failed") => 69 retried;
        },
    );
}

fn docker(host: &str) -> Response {
    let text = format!(
        "connecting to 169.254.169.254:80: connecting to {host}169.254.169.254:80: dial tcp: A socket operation was \
         attempted to an unreachable network."
    );
    Response::json(403, &serde_json::json!({"error": text})).bare()
}

#[test]
fn responses_of_app_service() {
    check(
        Source::AppService,
        rows! {
            "no identity": Response::app_service_no_identity() => 77 once, hint, names CORRELATION;
            "no identity, id in the header":
                Response::status(400).header("X-CORRELATION-ID", "c-1") => 77 once, hint, names "c-1";
            "401": Response::status(401) => 77 once, hint;
            "403": Response::text(403, "no") => 77 once, hint;
            "408": Response::status(408) => 69 retried;
            "502": Response::status(502) => 69 retried;
            "504": Response::html(504, "<h1>Gateway Timeout</h1>") => 69 retried;
            "500": Response::app_service_failed() => 69 retried, hint, names CORRELATION;
            "capitals": Response::json(400, &json!({
                "StatusCode": 400, "Message": "No Managed Identity found.", "CorrelationId": CORRELATION,
            })) => 77 once, hint, names CORRELATION, names "No Managed Identity found";
        },
    );
}

#[test]
fn responses_of_azure_ml_and_cloud_shell() {
    let text = "SSO failure: unable to retrieve a token. Error Token service x. Token not found";
    check(
        Source::MachineLearning,
        rows! {
            "no token of the owner": Response::text(404, text) => 77 counted 3, hint, names "SSO failure";
            "404": Response::status(404) => 76 once, hint;
            "500, text": Response::text(500, "InternalError") => 69 retried, hint, names "InternalError";
        },
    );
    let audience = "Audience x is not a supported MSI token audience.";
    check(
        Source::CloudShell,
        rows! {
            "no such audience":
                Response::cloud_shell_error(400, "AudienceNotSupported", audience) => 78 once, hint, names "not a supported MSI token audience";
            "500": Response::status(500) => 69 retried;
        },
    );
    for source in [Source::CloudShell, Source::MachineLearning] {
        let mut table = rows! {
                "App Service's shape": Response::app_service_no_identity() => 77 once;
                "Cloud Shell's shape":
                    Response::cloud_shell_error(400, "invalid_request", "The resource is not valid.") => 77 once;
                "IMDS's shape": Response::imds_error(400, "invalid_request", "Identity not found") => 77 once;
                "401": Response::status(401) => 77 once;
                "403": Response::text(403, "no") => 77 once;
                "405": Response::status(405) => 76 once, hint;
                "408": Response::status(408) => 69 retried;
        };
        // Their hints differ.
        table.iter_mut().for_each(|row| row.hint = None);
        check(source, table);
    }
}

/// Only a resource that the user named can be the cause of a 500.
#[test]
fn resource_that_the_user_named_has_three_attempts_for_a_500() {
    for source in [Source::AppService, Source::MachineLearning] {
        let azure = Azure::start();
        azure.always(source.endpoint(), Response::app_service_failed());
        let named = "https://vault.example";
        azure.secret(NAME, VALUE);
        let secret = format!("S=akv://{}/{NAME}", azure.vault());
        let options = [
            "--allow-vault",
            &azure.vault(),
            "--vault-resource",
            named,
            "--secret",
            &secret,
            "true",
        ];
        let vault = with(
            akv_init(["exec"]).args(options),
            &source.environment(&azure),
        )
        .env("SSL_CERT_FILE", azure.ca_file());
        for run in [source.token(&azure, &[named]), vault] {
            let before = azure.requests_at(source.endpoint()).len();
            run.failure(69, "unavailable")
                .hint_names("--vault-resource");
            assert_eq!(azure.requests_at(source.endpoint()).len() - before, 3);
        }
        azure.clear(source.endpoint());
        for _ in 0..4 {
            azure.next(source.endpoint(), Response::app_service_failed());
        }
        assert_token(&azure, &source.token(&azure, &[]).outcome());
    }
}

/// For a question to support.
#[test]
fn error_of_imds_names_the_id_of_the_request() {
    let azure = Azure::start();
    azure.always(Source::Imds.endpoint(), Response::imds_not_found());
    let failure = Source::Imds.token(&azure, &[]).failure(77, "denied");
    let request = azure.requests().pop().unwrap();
    failure.names(request.header("x-ms-client-request-id").unwrap());
}

#[test]
fn identity_that_is_not_assigned_is_denied_with_a_hint() {
    for source in [Source::AppService, Source::Imds, Source::MachineLearning] {
        let azure = Azure::start();
        azure.identities(&[Identity::user("66666666-7777-4888-9999-aaaaaaaaaaaa")]);
        let run = source.token(&azure, &["--client-id", CLIENT]);
        let named = run.failure(77, "denied");
        named.hinted();
        if source == Source::Imds {
            named.hint_names("azure.workload.identity/use");
        }
        azure.identities(&[]);
        source.token(&azure, &[]).failure(77, "denied").hinted();
    }
}
