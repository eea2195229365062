//! Entra, credentials, and the Azure CLI.

use std::fs;

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use super::book::Page;
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Run, akv_init};
use crate::support_identities::Source;
use crate::support_openssl::openssl;
use crate::support_scratch::Scratch;

/// One code of each row of the table in `entra_codes.rs` that no other response here has.
const ROWS: &[u32] = &[
    50_196, 50_166, 7_000_272, 50_000, 70_025, 7_002_138, 700_222, 700_223, 700_233, 50_013,
    5_002_738, 700_027, 7_000_222, 7_000_232, 7_000_229, 7_000_112, 700_025, 82_001, 501_051,
    65_001, 53_003, 500_021, 5_000_224, 900_021, 90_038, 900_144,
];

pub fn refusals(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let token = |source: Source| source.token(&azure, &["--timeout=0"]);
    for answer in [
        Response::aadsts(700_016, "Application with identifier 'x' was not found."),
        Response::aadsts(90_002, "Tenant 'x' not found."),
        Response::aadsts(500_011, "The resource principal named x was not found."),
        Response::aadsts(50_027, "JWT token is invalid or malformed."),
        Response::aadsts(70_021, "No matching federated identity record found."),
        Response::aadsts(
            700_024,
            "Client assertion is not within its valid time range.",
        ),
        Response::json(
            400,
            &json!({"error_codes": [123, 456], "error_description": "bad news"}),
        ),
        Response::json(401, &json!({"error": "invalid_client"})),
        Response::text(429, "Too Many Requests"),
        Response::html(403, "<html>blocked by policy</html>"),
    ] {
        azure.next(Endpoint::Login, answer);
        page.run(token(Source::Workload));
    }
    for code in ROWS {
        azure.next(Endpoint::Login, Response::aadsts(*code, "Some text."));
        page.run(token(Source::Workload));
    }
    azure.assertion(&json!({"sub": "system:serviceaccount:prod:db", "iss": null}));
    page.run(token(Source::Workload));
    fs::write(azure.token_file(), "no token").expect("it is ours");
    azure.next(
        Endpoint::Login,
        Response::aadsts(70_021, "No matching federated identity record found."),
    );
    page.run(token(Source::Workload));
    page.run(token(Source::Secret).env("AZURE_CLIENT_SECRET", "x"));
}

/// A secret or a certificate in a file.
pub fn credentials(page: &mut Page) {
    let azure = Azure::start();
    page.know(&azure);
    let file = |name: &str, content: &[u8]| {
        let path = azure.dir().join(name);
        fs::write(&path, content).expect("it is ours");
        path
    };
    let secret = |name: &str, content: &[u8]| -> Run {
        let run = Source::Secret
            .token(&azure, &[])
            .without("AZURE_CLIENT_SECRET");
        run.env("AZURE_CLIENT_SECRET_FILE", file(name, content))
    };
    page.run(secret("secret", b"\n"));
    page.run(secret("secret", b"\xff"));
    for path in ["/absent", "absent"] {
        page.run(secret("secret", b"x").env("AZURE_CLIENT_SECRET_FILE", path));
    }
    let certificate = |name: &str, content: &[u8]| -> Run {
        let path = file(name, content);
        Source::Certificate
            .token(&azure, &[])
            .env("AZURE_CLIENT_CERTIFICATE_PATH", path)
    };
    let pem = fs::read_to_string(azure.certificate_file()).expect("it is there");
    let (key, certificates) =
        pem.split_at(pem.find("-----BEGIN CERTIFICATE").expect("behind the key"));
    page.run(certificate("client.pfx", b"\x30\x82"));
    let pem = azure.certificate_file();
    for options in [
        &["-passout", "pass:p"][..],
        &["-passout", "pass:", "-keypbe", "CAMELLIA-256-CBC"],
        &["-passout", "pass:", "-iter", "600001"],
    ] {
        let export = ["pkcs12", "-export", "-in", pem.to_str().expect("UTF-8")];
        let pfx = openssl(azure.dir(), [&export, options].concat());
        page.run(certificate("client.pfx", &pfx));
    }
    page.run(certificate(
        "encrypted.pem",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
    ));
    page.run(certificate("key.pem", key.as_bytes()));
    page.run(certificate("certificate.pem", certificates.as_bytes()));
    let own = KeyPair::generate().expect("keys can be made");
    let of_it = CertificateParams::default()
        .self_signed(&own)
        .expect("it signs itself");
    page.run(certificate(
        "elliptic.pem",
        (own.serialize_pem() + &of_it.pem()).as_bytes(),
    ));
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n";
    page.run(certificate(
        "sec1.pem",
        (sec1.to_owned() + certificates).as_bytes(),
    ));
}

pub fn azure_cli(page: &mut Page) {
    let scratch = Scratch::new();
    page.replace(&scratch.path(""), "/scratch/");
    let token = |path: &str| akv_init(["token", "--identity=cli"]).env("PATH", path);
    page.run(token("/absent"));
    for (name, script) in [
        (
            "signed-out",
            "echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1",
        ),
        ("silent", "exit 3"),
        ("killed", "kill -KILL $$"),
        ("empty", "echo '{}'"),
        ("odd", ""),
    ] {
        let directory = scratch.directory(name);
        let (line, mode) = if script.is_empty() {
            ("", 0o644)
        } else {
            ("#!/bin/sh\n", 0o755)
        };
        scratch.file(
            &format!("{name}/az"),
            format!("{line}{script}\n").as_bytes(),
            mode,
        );
        page.run(token(&directory));
    }
    let directory = scratch.directory("hangs");
    scratch.file("hangs/az", b"#!/bin/sh\n/bin/sleep 60\n", 0o755);
    page.run(token(&directory).args(["--timeout=3"]));
}
