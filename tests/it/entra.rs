//! Entra: the request of each source, and refusals with the exit code, hint and attempts of each AADSTS number. What every
//! source of identity has in common is in `faults.rs`.

use std::fs;

use serde_json::json;

use crate::azure::{
    APPLICATION, Azure, BASE_PATH, CORRELATION, Endpoint, Response, TENANT, TOKEN_PROXY_NAME, TRACE,
};
use crate::rows;
use crate::support_identities::{Source, only_request};
use crate::support_requests::{assert_got_it, counts, headers, one_secret_federated, user_agent};
use crate::support_tables::{Row, check_sources};

fn check(rows: Vec<Row>) {
    check_sources([(Source::Workload, rows)]);
}

#[test]
fn request_is_as_documented() {
    let assertion_type = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    for source in [
        Source::Certificate,
        Source::Secret,
        Source::TokenProxy,
        Source::Workload,
    ] {
        let azure = Azure::start();
        assert_got_it(&source.exec(&azure, &[]).outcome());
        let request = only_request(&azure, source.endpoint());
        let proxy = source == Source::TokenProxy;
        let base = if proxy { BASE_PATH } else { "" };
        let target = format!("{base}/{TENANT}/oauth2/v2.0/token");
        assert_eq!(
            (request.method.as_str(), &request.target),
            ("POST", &target)
        );
        assert_eq!(
            request.sni.as_deref(),
            Some(if proxy { TOKEN_PROXY_NAME } else { "localhost" })
        );
        let host = azure.login().replace("https://", "");
        assert!(proxy || request.host == host, "{}", request.host);
        let mut expected = vec![
            "accept: application/json".to_owned(),
            "client-request-id: UUID".to_owned(),
            format!("content-length: {}", request.body.len()),
            "content-type: application/x-www-form-urlencoded".to_owned(),
            format!("host: {}", request.host),
            user_agent(),
        ];
        expected.sort();
        assert_eq!(headers(&request), expected, "{source:?}");
        let body = String::from_utf8(request.body).unwrap();
        let mut fields: Vec<&str> = body.split('&').collect();
        fields.sort_unstable();
        let (client, scope) = (
            format!("client_id={APPLICATION}"),
            "scope=https%3A%2F%2Fvault.azure.net%2F.default",
        );
        let own = fields
            .iter()
            .position(|it| it.starts_with("client_assertion=") || it.starts_with("client_secret="));
        let credential = fields.remove(own.expect("a credential"));
        let mut expected = vec![client.as_str(), "grant_type=client_credentials", scope];
        // The secret contains every character that a form must encode.
        let sent = match source {
            Source::Secret => "Xy8Q~a.b_c-d%2Be%2Ff%3D%26g%25h%20wholly-secret".to_owned(),
            Source::TokenProxy => fs::read_to_string(azure.binding_token_file()).unwrap(),
            Source::Workload => fs::read_to_string(azure.token_file()).unwrap(),
            _ => credential.split_once('=').unwrap().1.to_owned(),
        };
        let assertion = format!("client_assertion_type={assertion_type}");
        if source == Source::Secret {
            assert_eq!(credential, format!("client_secret={sent}"));
        } else {
            expected.insert(0, &assertion);
            assert_eq!(credential, format!("client_assertion={sent}"));
        }
        assert_eq!(fields, expected, "{source:?}");
        // The credential is in this body and nowhere else.
        for other in azure.requests() {
            let head = format!("{}{:?}", other.target, other.headers);
            assert!(!head.contains(&sent), "{head}");
        }
        assert_eq!(azure.requests().len(), 2);
    }
}

#[test]
fn refusals_are_final() {
    let aadsts = |code| Response::entra_error("invalid_client", code, "Some text about it.");
    let rows = rows! {
        // The assertion and the certificate.
        "50013": aadsts(50_013) => 77 once, hint, names "AADSTS50013";
        "50012": aadsts(50_012) => 77 once, hint, names "AADSTS50012";
        "700021": aadsts(700_021) => 77 once, hint, names "AADSTS700021";
        "700023": aadsts(700_023) => 77 once, hint, names "AADSTS700023";
        "700026": aadsts(700_026) => 77 once, hint, names "AADSTS700026";
        "700027": aadsts(700_027) => 77 once, hint, names "AADSTS700027";
        "1000502": aadsts(1_000_502) => 77 once, hint, names "AADSTS1000502";
        "7000110": aadsts(7_000_110) => 77 once, hint, names "AADSTS7000110";
        "5002738": aadsts(5_002_738) => 77 once, hint, names "AADSTS5002738";
        // The secret.
        "7000215": aadsts(7_000_215) => 77 once, hint, names "AADSTS7000215";
        "7000222": aadsts(7_000_222) => 77 once, hint, names "AADSTS7000222";
        "70002": aadsts(70_002) => 77 once, hint, names "AADSTS70002";
        "7000232": aadsts(7_000_232) => 78 once, hint, names "AADSTS7000232";
        // The federated credential and the token.
        "700222": aadsts(700_222) => 77 once, hint, names "AADSTS700222";
        "700231": aadsts(700_231) => 77 once, hint, names "AADSTS700231";
        "700236": aadsts(700_236) => 77 once, hint, names "AADSTS700236";
        "700223": aadsts(700_223) => 77 once, hint, names "AADSTS700223";
        "7002381": aadsts(7_002_381) => 77 once, hint, names "AADSTS7002381";
        "700235": aadsts(700_235) => 77 once, hint, names "AADSTS700235";
        "7002138": aadsts(7_002_138) => 77 once, hint, names "AADSTS7002138";
        // The application.
        "7000112": aadsts(7_000_112) => 77 once, hint, names "AADSTS7000112";
        "700025": aadsts(700_025) => 77 once, hint, names "AADSTS700025";
        "53003": aadsts(53_003) => 77 once, hint, names "AADSTS53003";
        "530035": aadsts(530_035) => 77 once, hint, names "AADSTS530035";
        "501051": aadsts(501_051) => 77 once, hint, names "AADSTS501051";
        "65001": aadsts(65_001) => 77 once, hint, names "AADSTS65001";
        "82001": aadsts(82_001) => 77 once, hint, names "AADSTS82001";
        // The tenant, the network and the resource.
        "500021": aadsts(500_021) => 77 once, hint, names "AADSTS500021";
        "5000225": aadsts(5_000_225) => 77 once, hint, names "AADSTS5000225";
        "90002": aadsts(90_002) => 78 once, hint, names "AADSTS90002";
        "900021": aadsts(900_021) => 78 once, hint, names "AADSTS900021";
        "900023": aadsts(900_023) => 78 once, hint, names "AADSTS900023";
        "90013": aadsts(90_013) => 78 once, hint, names "AADSTS90013";
        "9001023": aadsts(9_001_023) => 78 once, hint, names "AADSTS9001023";
        "90038": aadsts(90_038) => 78 once, hint, names "AADSTS90038";
        "900382": aadsts(900_382) => 78 once, hint, names "AADSTS900382";
        "900432": aadsts(900_432) => 78 once, hint, names "AADSTS900432";
        "900439": aadsts(900_439) => 78 once, hint, names "AADSTS900439";
        "50001": aadsts(50_001) => 78 once, hint, names "AADSTS50001";
        "500011": aadsts(500_011) => 78 once, hint, names "AADSTS500011";
        "70011": aadsts(70_011) => 78 once, hint, names "AADSTS70011";
        "1002012": aadsts(1_002_012) => 78 once, hint, names "AADSTS1002012";
        // The request.
        "7000216": aadsts(7_000_216) => 77 once, hint, names "AADSTS7000216";
        "7000218": aadsts(7_000_218) => 77 once, hint, names "AADSTS7000218";
        "900144": aadsts(900_144) => 77 once, hint, names "AADSTS900144";
        "1002016": aadsts(1_002_016) => 77 once, hint, names "AADSTS1002016";
        // A code that has no row.
        "123456": aadsts(123_456) => 77 once, hint, names "AADSTS123456";
    };
    let with_401 = rows.clone().into_iter().map(|mut row| {
        row.response = row.response.with_status(401);
        row
    });
    check(with_401.chain(rows).collect());
}

#[test]
fn temporary_failures_are_retried() {
    let aadsts = |code| Response::aadsts(code, "A temporary failure.");
    check(rows! {
        "90024": aadsts(90_024) => 69 retried;
        "90033": aadsts(90_033) => 69 retried;
        "90006": aadsts(90_006) => 69 retried;
        "90090": aadsts(90_090) => 69 retried;
        "90012": aadsts(90_012) => 69 retried;
        "90055": aadsts(90_055) => 69 retried, hint;
        "90025": aadsts(90_025) => 69 retried;
        "90091": aadsts(90_091) => 69 retried;
        "50033": aadsts(50_033) => 69 retried;
        "50196": aadsts(50_196) => 69 retried, hint;
        // The issuer or its keys cannot be read yet.
        "90061": aadsts(90_061) => 69 retried, hint;
        "50166": aadsts(50_166) => 69 retried, hint;
        "501661": aadsts(501_661) => 69 retried, hint;
        "7000272": aadsts(7_000_272) => 69 retried, hint;
        "501661, 401": aadsts(501_661).with_status(401) => 69 retried, hint;
        "temporarily_unavailable": Response::json(400, &json!({"error": "temporarily_unavailable"})) => 69 retried;
        "server_error": Response::json(400, &json!({"error": "server_error"})) => 69 retried;
        "page": Response::html(500, "<html>") => 69 retried;
        "502": Response::status(502) => 69 retried;
        "503, text": Response::text(503, "Service Unavailable") => 69 retried;
        "504": Response::status(504) => 69 retried;
        "599": Response::status(599) => 69 retried;
        "408": Response::status(408) => 69 retried;
        "429, text": Response::text(429, "Too Many Requests") => 69 retried, hint;
        "throttled, Retry-After": Response::entra_throttled(1) => 69 retried, hint;
        "throttled for too long": Response::entra_throttled(60) => 69 once, hint, names 60;
    });
}

/// An application that was just created, a token file that is being written, and failures that Entra calls permanent.
#[test]
fn doubtful_refusals_are_final_after_three_attempts() {
    let aadsts = |code| Response::aadsts(code, "Some text about it.");
    check(rows! {
        "700016": aadsts(700_016) => 77 counted 3, hint, names "AADSTS700016";
        "7000229": aadsts(7_000_229) => 77 counted 3, hint, names "AADSTS7000229";
        "50027": aadsts(50_027) => 77 counted 3, hint, names "AADSTS50027";
        "50000": aadsts(50_000) => 69 counted 3, hint, names "AADSTS50000";
        "90036": aadsts(90_036) => 69 counted 3, hint, names "AADSTS90036";
    });
}

/// The first known code decides.
#[test]
fn hint_is_that_of_the_code() {
    let azure = Azure::start();
    for (source, code, named) in [
        (Source::Secret, 7_000_215, "credential list"),
        (Source::Secret, 7_000_222, "credential reset"),
        (Source::Secret, 7_000_112, "accountEnabled"),
        (Source::Secret, 53_003, "Conditional Access"),
        (Source::Secret, 700_016, TENANT),
        (Source::Secret, 900_021, "AZURE_TENANT_ID"),
        (Source::Secret, 7_000_232, "--identity managed"),
        (Source::Secret, 1_002_012, "--vault-resource"),
        (Source::Secret, 123_456, "error?code=123456"),
        (Source::Certificate, 700_027, "--cert"),
        (
            Source::Workload,
            7_002_138,
            "system:serviceaccount:default:app",
        ),
        (
            Source::Workload,
            501_661,
            "https://oidc.example.com/standin/",
        ),
    ] {
        azure.next(Endpoint::Login, Response::aadsts(code, "Some text."));
        let outcome = source.token(&azure, &["--timeout", "0"]).json().outcome();
        let lines = outcome.lines_of("error");
        let hint = lines[0]["hint"].as_str().unwrap_or_default();
        assert!(hint.contains(named), "{code}: {hint}");
    }
}

#[test]
fn every_form_of_a_refusal_is_read() {
    let refusal = |status, body| Response::json(status, &body);
    check(rows! {
        "no ids": refusal(400, json!({
            "error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret.",
            "error_codes": [7_000_215],
        })) => 77 once, hint, names "AADSTS7000215";
        "codes alone": refusal(400, json!({"error_codes": [123, 456], "error_description": "bad news"}))
            => 77 once, hint, names "bad news", names 456;
        "code in the text alone": refusal(400, json!({
            "error": "invalid_request", "error_description": "AADSTS90002: Tenant 'x' not found.",
        })) => 78 once, hint, names "AADSTS90002";
        "no error": refusal(400, json!({
            "error_description": "AADSTS50013: Invalid assertion.", "error_codes": [50_013],
        })) => 77 once, hint, names "AADSTS50013";
        "no code": refusal(403, json!({"error": "invalid_request", "error_description": "invalid assertion"}))
            => 77 once, names "invalid assertion";
        "newer texts": refusal(401, json!({
            "error": "invalid_client", "error_codes": [50_013],
            "error_description": "AADSTS50013: Invalid. Trace ID: 1 Correlation ID: 2 Timestamp: 3",
        })) => 77 once, hint, names "AADSTS50013";
        "error alone": refusal(401, json!({"error": "invalid_client"})) => 77 once, names "invalid_client";
    });
}

#[test]
fn response_of_another_server_is_rejected() {
    check(rows! {
        "page": Response::html(403, "<html>blocked by policy, LEAK</html>") => 76 once, hint;
        "other JSON": Response::json(401, &json!({"message": "no"})) => 76 once, hint;
        "list": Response::json(400, &json!([])) => 76 once, hint;
        "418": Response::status(418) => 76 once, hint;
    });
}

/// Entra has been observed to give these for a moment with settings that were good for months.
#[test]
fn federation_mismatch_is_final_after_five_attempts() {
    let mismatch = |code| Response::aadsts(code, "No matching record.").with_status(401);
    check(rows! {
        "70021": mismatch(70_021) => 77 counted 5, hint, names "AADSTS70021";
        "700211": mismatch(700_211) => 77 counted 5, hint, names "AADSTS700211";
        "700212": mismatch(700_212) => 77 counted 5, hint, names "AADSTS700212";
        "700213": mismatch(700_213) => 77 counted 5, hint, names "AADSTS700213";
        "700214": mismatch(700_214) => 77 counted 5, hint, names "AADSTS700214";
        "7002131": mismatch(7_002_131) => 77 counted 5, hint, names "AADSTS7002131";
        "7002137": mismatch(7_002_137) => 77 counted 5, hint, names "AADSTS7002137";
        "7002121": mismatch(7_002_121) => 77 counted 5, hint, names "AADSTS7002121";
        "70025": mismatch(70_025) => 77 counted 5, hint, names "AADSTS70025";
        "7000226": mismatch(7_000_226) => 77 counted 5, hint, names "AADSTS7000226";
        "stale": Response::aadsts(700_024, "Not within its time.") => 77 counted 2, hint, names "AADSTS700024";
    });
    let azure = Azure::start();
    for _ in 0..2 {
        azure.next(Endpoint::Login, mismatch(70_021));
    }
    assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [0, 3, 1]);
}

/// The issuer, the subject and the audience, as the federated credential must have them.
#[test]
fn hint_of_a_federation_mismatch_shows_the_claims_of_the_token() {
    let azure = Azure::start();
    let issuer = "https://oidc.example.com/standin/";
    let subject = "system:serviceaccount:default:app";
    let audience = "api://AzureADTokenExchange";
    for source in [Source::Workload, Source::TokenProxy] {
        for (claims, shown) in [
            (json!({}), [issuer, subject, audience]),
            (
                json!({"sub": "system:serviceaccount:prod:db"}),
                [issuer, "system:serviceaccount:prod:db", audience],
            ),
            (
                json!({"aud": ["api://one", "api://two"]}),
                [issuer, subject, "api://one api://two"],
            ),
            (json!({"aud": "api://one"}), [issuer, subject, "api://one"]),
            (
                json!({"iss": "https://oidc.example.com"}),
                ["https://oidc.example.com,", subject, audience],
            ),
            (
                json!({"iss": null, "sub": null, "aud": null}),
                ["(missing)", "(missing)", "(missing)"],
            ),
        ] {
            azure.assertion(&claims);
            let mismatch = Response::aadsts(70_021, "No matching record.");
            azure.next(source.endpoint(), mismatch);
            let run = source.token(&azure, &["--timeout", "0"]);
            // For the token proxy, a token for Entra itself.
            let run = run.env("AZURE_FEDERATED_TOKEN_FILE", azure.token_file());
            let failure = run.failure(77, "denied");
            failure.hint_names(APPLICATION);
            for value in shown {
                failure.hint_names(value);
            }
        }
    }
    fs::write(azure.token_file(), "LEAK").unwrap();
    azure.next(
        Endpoint::Login,
        Response::aadsts(70_021, "No matching record."),
    );
    let failure = Source::Workload
        .token(&azure, &["--timeout", "0"])
        .failure(77, "denied");
    failure.hint_names("JWT").omits("LEAK");
}

/// The ids of the response's text, or of its headers and of the request, for a question to support.
#[test]
fn error_names_the_ids_of_the_request() {
    let azure = Azure::start();
    let last = || azure.requests_at(Endpoint::Login).pop().unwrap();
    let fail = |response| {
        azure.next(Endpoint::Login, response);
        Source::Workload.token(&azure, &[]).outcome().stderr
    };
    let text = fail(Response::aadsts(50_013, "No."));
    for id in [TRACE, CORRELATION] {
        assert!(text.contains(id), "{text}");
    }
    let text = fail(Response::json(401, &json!({"error": "invalid_client"})));
    let request = last();
    assert!(text.contains(&request.request_id), "{text}");
    assert!(
        text.contains(request.header("client-request-id").unwrap()),
        "{text}"
    );
    // A server in between has no id.
    let text = fail(Response::html(403, "<html>"));
    let request = last();
    assert!(!text.contains(&request.request_id), "{text}");
    assert!(
        text.contains(request.header("client-request-id").unwrap()),
        "{text}"
    );
}

/// The kubelet replaces the token file, perhaps late.
#[test]
fn stale_token_file_is_read_once_more() {
    let azure = Azure::start();
    azure.assertion(&json!({"exp": 1}));
    one_secret_federated(&azure, &[])
        .failure(77, "denied")
        .hinted();
    assert_eq!(counts(&azure), [0, 2, 0]);
    azure.assertion(&json!({}));
    azure.next(
        Endpoint::Login,
        Response::aadsts(700_024, "Not within its time."),
    );
    assert_got_it(&one_secret_federated(&azure, &[]).outcome());
    assert_eq!(counts(&azure), [0, 4, 1]);
}

#[test]
fn refused_connection_is_unavailable() {
    let azure = Azure::start();
    azure.close(Endpoint::Login);
    let run = one_secret_federated(&azure, &["--timeout", "0"]);
    let host = azure.login();
    let failure = run.failure(69, "unavailable");
    failure.names(&host).hint_names(&host);
}
