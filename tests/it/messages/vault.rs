//! The vault: what its refusals mean, what is not a vault's answer, and a vault that no cloud knows.

use serde_json::json;

use super::book::Page;
use crate::azure::{Answer, Azure, Door};
use crate::network::wire::NAME;
use crate::support::{Run, exec};

/// A vault by its real name, through the stand-in's proxy.
pub fn prod_kv(azure: &Azure, options: &[&str]) -> Run {
    let secret = format!("DB_PASSWORD=akv://prod-kv/{NAME}");
    exec(azure, options)
        .args(["--secret", &secret, "--", "/bin/true"])
        .env("HTTPS_PROXY", azure.proxy())
}

fn said(page: &mut Page, azure: &Azure, answer: Answer) {
    azure.next(Door::Vault, answer);
    page.run(prod_kv(azure, &["--timeout=0"]));
}

pub fn refusals(page: &mut Page) {
    // A role that does not come, however long one waits.
    let waits = [Answer::rbac(), Answer::access_policy()].map(|answer| {
        let azure = Azure::start();
        azure.always(Door::Vault, answer);
        let run = prod_kv(&azure, &["--timeout=0", "--wait-for-access=5"]);
        (run.spawn(), azure)
    });
    let azure = Azure::start();
    page.know(&azure);
    let error = Answer::vault_error;
    for answer in [
        Answer::rbac(),
        error(
            403,
            "Forbidden",
            Some("ForbiddenByRbac"),
            "Caller is not authorized.",
        ),
        Answer::access_policy(),
        Answer::firewall(),
        Answer::private_endpoint(),
        Answer::policy(),
        Answer::disabled(),
        Answer::not_found(NAME),
        Answer::akv10000(),
        Answer::akv10022("https://vault.azure.net", "https://vault.azure.net/"),
        Answer::akv10032("11111111-2222-4333-8444-555555555555"),
        Answer::akv10046(),
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
        Answer::throttled(),
        Answer::status(503),
    ] {
        said(page, &azure, answer);
    }
    for (running, azure) in waits {
        page.know(&azure);
        page.heard(&running.outcome());
    }
}

/// Whatever comes with a 200, or from something else.
pub fn others(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let id = "https://prod-kv.vault.azure.net/secrets/sql-sa/1";
    for answer in [
        Answer::html(200, "<html>Please sign in</html>"),
        Answer::json(200, &json!({"value": "x"})),
        Answer::json(200, &json!({"id": id})),
        Answer::status(404),
        Answer::redirect("https://sign-in.example.com"),
        Answer::endless(),
        Answer::garbage(),
        Answer::status(200).header("X-Long", &"x".repeat(20 * 1024)),
    ] {
        said(page, &azure, answer);
    }
}

/// One that has to say what it wants a token for.
pub fn unknown(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let challenge = |answer: Answer, header: &str| answer.header("WWW-Authenticate", header);
    for answer in [
        Answer::status(401).bare(),
        challenge(Answer::status(401), "Basic realm=\"x\""),
        challenge(
            Answer::status(401),
            "Bearer resource=\"https://vault.azure.net\"",
        ),
        challenge(Answer::status(401), "Bearer realm=\"x\""),
        Answer::status(404),
    ] {
        azure.next(Door::Vault, answer);
        let secret = format!("DB_PASSWORD=akv://{}/{NAME}", azure.vault());
        let words = ["--timeout=0", "--secret", &secret, "--", "/bin/true"];
        page.run(exec(&azure, words).without("AKV_INIT_ALLOW_VAULT"));
    }
}
