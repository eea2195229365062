//! The vault: its errors, unexpected responses, and a vault outside the clouds.

use serde_json::json;

use super::book::Page;
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Run, exec};
use crate::support_requests::NAME;

/// A vault by its real name, through the fake Azure's proxy.
pub fn prod_kv(azure: &Azure, options: &[&str]) -> Run {
    let secret = format!("DB_PASSWORD=akv://prod-kv/{NAME}");
    exec(azure, options)
        .args(["--secret", &secret, "--", "/bin/true"])
        .env("HTTPS_PROXY", azure.proxy())
}

fn response(page: &mut Page, azure: &Azure, answer: Response) {
    azure.next(Endpoint::Vault, answer);
    page.run(prod_kv(azure, &["--timeout=0"]));
}

pub fn refusals(page: &mut Page) {
    // A role that is never granted.
    let waits = [Response::rbac(), Response::access_policy()].map(|answer| {
        let azure = Azure::start();
        azure.always(Endpoint::Vault, answer);
        let run = prod_kv(&azure, &["--timeout=0", "--wait-for-access=5"]);
        (run.spawn(), azure)
    });
    let azure = Azure::start();
    page.know(&azure);
    let error = Response::vault_error;
    for answer in [
        Response::rbac(),
        error(
            403,
            "Forbidden",
            Some("ForbiddenByRbac"),
            "Caller is not authorized.",
        ),
        Response::access_policy(),
        Response::firewall(),
        Response::private_endpoint(),
        error(
            403,
            "Forbidden",
            Some("ForbiddenByRbac"),
            "Caller is not authorized.\r\nDenyAssignmentId: '7c9e6679-7425-40de-944b-e07fc1f90ae7'",
        ),
        error(403, "Forbidden", None, "Access denied to first party service."),
        error(
            403,
            "Forbidden",
            None,
            "Client address is not authorized.\r\nClient address: 10.20.0.7 from unknown subnet",
        ),
        Response::private_endpoint().header("x-ms-keyvault-network-info", "addr=10.20.0.7"),
        error(
            403,
            "Forbidden",
            None,
            "Connection is not an approved private link and caller was ignored because bypass is not set to \
             'AzureServices'.",
        )
        .header("x-ms-keyvault-network-info", ""),
        error(
            403,
            "Forbidden",
            None,
            "The policy requires the caller to use on-behalf-of (OBO) flow.",
        ),
        error(403, "Forbidden", None, "The request was forbidden by NSP policy."),
        Response::disabled(),
        error(
            403,
            "Forbidden",
            None,
            "Operation get is not allowed on an expired secret.",
        ),
        error(
            403,
            "Forbidden",
            None,
            "Operation get is not allowed on a not yet valid secret.",
        ),
        Response::not_found(NAME),
        Response::akv10000(),
        Response::akv10022("https://vault.azure.net", "https://vault.azure.net/"),
        Response::akv10032("11111111-2222-4333-8444-555555555555"),
        Response::akv10046(),
        error(401, "Unauthorized", None, "AKV10022: Invalid audience."),
        error(401, "Unauthorized", None, "Token not yet valid."),
        error(401, "Unauthorized", None, "AKV19999: Something new."),
        error(
            400,
            "BadParameter",
            None,
            "The request URI contains an invalid name.",
        ),
        error(403, "Forbidden", Some("ForbiddenBySomethingNew"), ""),
        error(403, "Forbidden", None, "No."),
        Response::throttled(),
        Response::status(503),
    ] {
        response(page, &azure, answer);
    }
    for answer in [
        error(
            401,
            "Unauthorized",
            None,
            "[TokenExpired] Error validating token: 'S2S12086'.",
        ),
        error(
            401,
            "Unauthorized",
            None,
            "IDX10501: Signature validation failed.",
        ),
        Response::status(401).header(
            "WWW-Authenticate",
            "Bearer realm=\"\", error=\"insufficient_claims\", claims=\"e30=\"",
        ),
    ] {
        azure.always(Endpoint::Vault, answer);
        page.run(prod_kv(&azure, &["--timeout=0"]));
        azure.clear(Endpoint::Vault);
    }
    for (running, azure) in waits {
        page.know(&azure);
        page.record(&running.outcome());
    }
}

/// Unexpected responses.
pub fn others(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    for answer in [
        Response::html(200, "<html>Please sign in</html>"),
        Response::json(
            200,
            &json!({"id": "https://v/secrets/other/1", "value": "hunter2"}),
        ),
        Response::status(404),
        Response::redirect("https://sign-in.example.com"),
        Response::endless(),
        Response::garbage(),
        Response::status(200).header("X-Long", &"x".repeat(20 * 1024)),
    ] {
        response(page, &azure, answer);
    }
}

/// A vault that names its resource.
pub fn unknown(page: &mut Page) {
    let host = "prod.vault.emulator.test";
    let azure = Azure::builder().name(host).start();
    page.know(&azure);
    let other_port = "Bearer resource=\"https://vault.emulator.test:8443\"";
    azure.challenge(other_port);
    let secret = format!("DB_PASSWORD=akv://{host}/{NAME}");
    let run = exec(
        &azure,
        ["--timeout=0", "--secret", &secret, "--", "/bin/true"],
    );
    let run = run.without("AKV_INIT_ALLOW_VAULT");
    page.run(run.env("HTTPS_PROXY", azure.proxy()));
    let azure = Azure::start();
    page.know(&azure);
    let challenge = |answer: Response, header: &str| answer.header("WWW-Authenticate", header);
    for answer in [
        Response::status(401).bare(),
        challenge(Response::status(401), "Basic realm=\"gateway\""),
        challenge(Response::status(401), "Bearer realm=\"\""),
        challenge(
            Response::status(401),
            "Bearer resource=\"https://vault.azure.net?x=1\"",
        ),
        challenge(
            Response::status(401),
            "Bearer resource=\"https://vault.azure.net\"",
        ),
        Response::status(404),
    ] {
        azure.next(Endpoint::Vault, answer);
        let secret = format!("DB_PASSWORD=akv://{}/{NAME}", azure.vault());
        let words = ["--timeout=0", "--secret", &secret, "--", "/bin/true"];
        page.run(exec(&azure, words).without("AKV_INIT_ALLOW_VAULT"));
    }
    let secret = format!("DB_PASSWORD=akv://{}/{NAME}", azure.vault());
    let words = ["--timeout=0", "--secret", &secret, "--", "/bin/true"];
    page.run(
        exec(&azure, words)
            .env("AKV_INIT_ALLOW_VAULT", "localhost")
            .env("AKV_INIT_VAULT_RESOURCE", "https://vault.azure.net"),
    );
}
