//! The vault: its errors, unexpected responses, and a vault outside the clouds.

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
        Response::policy(),
        Response::disabled(),
        Response::not_found(NAME),
        Response::akv10000(),
        Response::akv10022("https://vault.azure.net", "https://vault.azure.net/"),
        Response::akv10032("11111111-2222-4333-8444-555555555555"),
        Response::akv10046(),
        error(401, "Unauthorized", None, "AKV10022: Invalid audience."),
        error(401, "Unauthorized", None, "Token not yet valid."),
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
    let azure = Azure::start();
    page.know(&azure);
    let challenge = |answer: Response, header: &str| answer.header("WWW-Authenticate", header);
    for answer in [
        Response::status(401).bare(),
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
}
