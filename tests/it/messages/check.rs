//! The report of `check`.

use std::time::UNIX_EPOCH;

use serde_json::json;

use super::book::Page;
use crate::arc::machine::{MACHINE, Machine};
use crate::azure::{Azure, Certificate, Endpoint, Response, Stored, Versions};
use crate::support::{Run, akv_init};
use crate::support_identities::{Source, with};
use crate::support_requests::NAME;

/// A run that looks at a secret of the vault, through the fake Azure's proxy.
fn check(azure: &Azure, source: Source, words: &[&str]) -> Run {
    let run = akv_init(["check"])
        .args(words)
        .env("DB_PASSWORD", format!("akv://prod-kv/{NAME}"))
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("HTTPS_PROXY", azure.proxy());
    with(run, &source.environment(azure))
}

/// Nothing is broken, with many warnings.
pub fn links(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    azure.secret(NAME, "hunter2");
    page.show(check(&azure, Source::Imds, &["--", "/bin/true"]));
    page.show(akv_init(["check", "--", "/bin/true"]));
    let token = "--secret=PGPASSWORD=entra-token:https://ossrdbms-aad.database.windows.net";
    let others = check(&azure, Source::Workload, &[token])
        .env("MSI_ENDPOINT", "http://localhost")
        .env("AKV_INIT_TIMEOUTS", "5m");
    page.show(others);
    page.show(check(
        &azure,
        Source::Secret,
        &["--identity=service-principal"],
    ));
    page.show(
        check(&azure, Source::Secret, &[]).env("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential"),
    );
    const DAY: u64 = 86_400;
    let now = UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs();
    for (not_before, expires) in [
        (None, Some(now + 10 * DAY + 60)),
        (None, Some(now + DAY + 3_600)),
        (None, Some(now + 3_600)),
        (None, Some(now - DAY)),
        (Some(now + DAY), None),
    ] {
        azure.put(Stored {
            not_before,
            expires,
            content_type: Some("text/plain".to_owned()),
            ..Stored::new(NAME, "hunter2")
        });
        page.show(check(&azure, Source::Imds, &[]));
    }
    let url = format!("postgres://app:{{akv://prod-kv/{NAME}}}@db/app");
    page.show(check(&azure, Source::Imds, &[]).env("DB_URL", url));
    let notes = check(&azure, Source::Imds, &[])
        .env("CONNECTION", "Password=$(PASSWORD)")
        .env("PASSWORD", format!("akv://prod-kv/{NAME}"))
        .env("STORE", "op://vault/item/field")
        .env(
            "URL",
            format!("https://prod-kv.vault.azure.net/secrets/{NAME}"),
        );
    page.show(notes);
    let (absent, field) = ("akv://prod-kv/absent?optional", "?default=x#/a");
    let run = check(&azure, Source::Imds, &[]).env("DB_REPLICA", absent);
    page.show(run);
    azure.secret("db", "{}");
    let field = format!("akv://prod-kv/db{field}");
    page.show(check(&azure, Source::Imds, &[]).env("DB_REGION", field));
    // Every warning about a value, and a token that has expired.
    for value in [
        "\u{feff}hunter2\n",
        r"-----BEGIN KEY-----\nAA==\n-----END KEY-----",
    ] {
        azure.secret(NAME, value);
        page.show(check(&azure, Source::Imds, &[]));
    }
    azure.next(
        Endpoint::Imds,
        Response::token(json!({"expires_on": "1643312761"})),
    );
    page.show(check(&azure, Source::Imds, &[]));
    let machine = Machine {
        agent: true,
        ..MACHINE
    };
    let secret = "--secret=DB_PASSWORD=akv://127.0.0.1:1/sql-sa";
    page.record_both(machine.run(&["check", secret], &[]));
    for builder in [
        Azure::builder().certificate(Endpoint::Vault, Certificate::EndsSoon),
        Azure::builder().versions(Versions::Only12),
    ] {
        let azure = builder.start();
        page.know(&azure);
        azure.secret(NAME, "hunter2");
        page.show(check(&azure, Source::Imds, &[]));
    }
}

/// Clock skew, and certificates that seem expired.
pub fn clocks(page: &mut Page) {
    for (certificate, builder) in [
        (Certificate::Good, Azure::builder().clock(60)),
        (Certificate::Good, Azure::builder().clock(300)),
        (Certificate::Good, Azure::builder().clock(-300)),
        (Certificate::Good, Azure::builder().clock(10_000)),
        (Certificate::Good, Azure::builder().clock(-864_000)),
        (Certificate::Expired, Azure::builder()),
        (Certificate::Expired, Azure::builder().clock(300)),
    ] {
        let azure = builder.certificate(Endpoint::Vault, certificate).start();
        page.know(&azure);
        azure.secret(NAME, "hunter2");
        page.show(check(&azure, Source::Imds, &[]));
    }
    let (here, there) = (Azure::start(), Azure::builder().clock(-300).start());
    page.know(&here);
    page.know(&there);
    // The one has the identity, the other the vault.
    let run = check(&there, Source::Imds, &[]);
    page.show(run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", here.imds()));
}

pub fn broken(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let others = [
        "--secret=A=akv://prod-kv/a",
        "--secret=B=akv://prod-kv/b",
        "/absent",
    ];
    page.show(check(&azure, Source::Imds, &others));
    page.show(check(&azure, Source::Imds, &[]).env("KUBERNETES_SERVICE_HOST", "10.0.0.1"));
    page.show(check(
        &azure,
        Source::Imds,
        &["--identity=service-principal"],
    ));
    page.show(check(&azure, Source::Imds, &["--ca-file=/absent"]));
    let token = "--secret=PGPASSWORD=entra-token:https://ossrdbms-aad.database.windows.net";
    azure.next(Endpoint::Imds, Response::status(503));
    page.show(check(&azure, Source::Imds, &[token]));
    azure.close(Endpoint::Imds);
    page.show(check(&azure, Source::Imds, &[]));
    azure.open(Endpoint::Imds);
    for answer in [
        Response::throttled(),
        Response::status(503),
        Response::usual().hold(),
    ] {
        azure.next(Endpoint::Vault, answer);
        page.show(check(&azure, Source::Imds, &[]));
    }
    azure.mute(Endpoint::Vault);
    page.show(check(&azure, Source::Imds, &["--timeout=2"]));
    azure.close(Endpoint::Proxy);
    page.show(check(&azure, Source::Imds, &[]));
    for certificate in [Certificate::UnknownAuthority, Certificate::OtherName] {
        let azure = Azure::builder()
            .certificate(Endpoint::Vault, certificate)
            .start();
        page.know(&azure);
        page.show(check(&azure, Source::Imds, &[]));
    }
}
