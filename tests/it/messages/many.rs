//! `--from`: many names at once.

use serde_json::{Value, json};

use super::book::Page;
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Run, akv_init, exec, write};

pub fn typed(page: &mut Page) {
    for reference in [
        "billing",
        "akv://prod-kv/billing",
        "akv://prod-kv/billing?prefix=1",
        "akv://prod-kv/billing?prefix=B_&trim",
        "akv://prod-kv/billing?prefix=B_&upper",
        "akv://prod-kv/*?prefix=B_&optional",
        "akv://prod-kv*?prefix=B_",
        "akv://prod-kv/*?prefix=B_&tag=",
        "akv:///*?prefix=B_",
    ] {
        page.run(akv_init(["exec", "--from", reference, "/bin/true"]));
    }
    for reference in ["akv://prod-kv/billing-*", "akv://prod-kv/billing?prefix=B_"] {
        page.run(akv_init(["exec", "/bin/true"]).env("BILLING", reference));
    }
    let keep = [
        "write",
        "--keep-existing",
        "--from",
        "akv://prod-kv/billing",
        "/secrets",
    ];
    page.run(akv_init(keep));
    let from = [
        "exec",
        "--dry-run",
        "--from=akv://prod-kv/billing?prefix=BILLING_&optional#/live",
        "--from=akv://prod-kv/*?prefix=A_",
        "--from=akv://prod-kv/app-*?prefix=B_&tag=team",
        "--from=akv://prod-kv/*?prefix=C_&tag=team=web",
        "/bin/true",
    ];
    page.show(akv_init(from));
}

pub fn fetched(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let from = |rest: &str| format!("--from=akv://{}/{rest}", azure.vault());
    let run = |rest: &str| exec(&azure, [&from(rest), "--timeout=0", "/bin/true"]);
    for (secret, rest) in [
        ("[]", "billing?prefix=B_"),
        ("\u{feff}{}", "billing?prefix=B_"),
        (r#"{"a":1}"#, "billing?prefix=B_#/a"),
        (r#"{"a":1}"#, "billing?prefix=B_#/b"),
        (r#"{"a":1}"#, "billing?prefix=B_&optional#/b"),
        (r#"{"a":[]}"#, "billing?prefix=B_"),
        (r#"{"a-b":""}"#, "billing?prefix=B_"),
        (r#"{"a":"\u0000"}"#, "billing?prefix=B_"),
        (r#"{"PATH":""}"#, "billing?prefix="),
    ] {
        azure.secret("billing", secret);
        page.record_all(&run(rest).outcome());
    }
    // One name of each row of the table.
    for name in [
        "GCONV_PATH",
        "PS4",
        "NODE_OPTIONS",
        "JAVA_TOOL_OPTIONS",
        "PYTHONPATH",
        "PERL5OPT",
        "PHPRC",
        "DOTNET_STARTUP_HOOKS",
        "OPENSSL_CONF",
        "HTTPS_PROXY",
        "PAGER",
        "HOME",
    ] {
        azure.secret("billing", &json!({name: ""}).to_string());
        page.run(run("billing?prefix="));
    }
    azure.secret("app-key", "4");
    let fields = "billing?prefix=B_";
    azure.secret("billing", r#"{"KEY":"1"}"#);
    page.run(run(fields).env("B_KEY", "set"));
    page.run(run(fields).env("AKV_INIT_UNSET", "B_KEY"));
    page.run(run(fields).env("B_KEY", format!("akv://{}/billing", azure.vault())));
    page.run(exec(
        &azure,
        [from(fields), from(fields), "/bin/true".to_owned()],
    ));
    let listed = [from("app-*?prefix=B_&upper"), from(fields)];
    page.run(exec(&azure, listed).args(["/bin/true"]));
    azure.secret("1password", "5");
    page.run(run("*?prefix="));
    let write = |words: &[&str]| write(&azure, words).args(["/dev/shm"]);
    azure.secret("billing", r#"{"../a":"1"}"#);
    page.run(write(&[&from("billing")]));
    azure.secret("billing", r#"{"a":"1","a/b":"2"}"#);
    page.run(write(&[&from("billing")]));
    for response in [
        Response::rbac_list(),
        Response::access_policy_list(),
        Response::json(200, &json!({})),
        list(&json!([{"id": "x"}]), &Value::Null),
        list(&json!([]), &json!("https://vault.example.org/secrets")),
        list(&json!([]), &json!("secrets")),
        list(&json!([]), &json!(1)),
        list(&json!([]), &json!("/secrets?maxresults=25")),
    ] {
        azure.next(Endpoint::Vault, response);
        page.run(run("*?prefix=P_"));
    }
    for page in 0..11 {
        let ids = vec![json!({"id": "https://h/secrets/a"}); 1_000];
        let link = json!(format!("/secrets?page={page}"));
        azure.next(Endpoint::Vault, list(&ids.into(), &link));
    }
    page.run(run("none*?prefix=P_"));
    azure.always(Endpoint::Vault, Response::rbac_list());
    let vaults = ["prod-kv", "other-kv"].map(|vault| format!("--from=akv://{vault}/*?prefix=P_"));
    let run = exec(&azure, vaults).args(["--timeout=0", "/bin/true"]);
    page.run(run.env("HTTPS_PROXY", azure.proxy()));
}

/// What `check` reports.
pub fn checked(page: &mut Page) {
    let many = Azure::start();
    page.know(&many);
    for number in 0..30 {
        many.secret(&format!("s{number:02}"), "x");
    }
    many.always_for(Endpoint::Vault, "/secrets/", Response::rbac());
    let from = format!("--from=akv://{}/*?prefix=P_", many.vault());
    let check = |azure: &Azure, from: &str| -> Run {
        akv_init(["check", from])
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .env("SSL_CERT_FILE", azure.ca_file())
            .env("AKV_INIT_ALLOW_VAULT", azure.vault())
    };
    page.show(check(&many, &from));
    many.clear(Endpoint::Vault);
    page.show(check(&many, &from));
    many.always_for(Endpoint::Vault, "/secrets?", Response::rbac_list());
    page.show(check(&many, &from));
}

fn list(value: &Value, link: &Value) -> Response {
    Response::json(200, &json!({"value": value, "nextLink": link}))
}
