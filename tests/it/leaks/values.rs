//! Values and settings that are not printed: a secret that cannot be used, a proxy's credentials, a password in a URL.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::watch::{Failures, assert_silent};
use super::{OPTIONS, SECRET};
use crate::azure::{APPLICATION, Azure, Endpoint, Response};
use crate::support::exec;
use crate::support_requests::{one_secret, one_secret_federated};

#[test]
fn secret_that_cannot_be_used_is_not_printed() {
    let azure = Azure::start();
    let file = azure.dir().join("no-program");
    fs::write(&file, "not a program\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let program = file.to_str().unwrap();
    for (index, (value, command, code)) in [
        (format!("{SECRET}\0{SECRET}"), "true", 78),
        (SECRET.repeat(7_000), "true", 78),
        (SECRET.to_owned(), program, 126),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("value-{index}");
        azure.secret(&name, &value);
        let target = format!("S=akv://{}/{name}", azure.vault());
        let words = ["--verbose", "--secret", &target, "--", command];
        let outcome = exec(&azure, words).outcome();
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
        assert_silent(&azure, &outcome);
    }
    // With a warning.
    azure.secret("line-end", &format!("{SECRET}\n"));
    let target = format!("S=akv://{}/line-end", azure.vault());
    let words = ["--verbose", "--secret", &target, "--", "true"];
    let outcome = exec(&azure, words).outcome();
    assert!(outcome.stderr.contains("warning: "), "{}", outcome.stderr);
    assert_silent(&azure, &outcome);
}

#[test]
fn credentials_in_a_response_of_the_proxy_are_not_printed() {
    let azure = Azure::start();
    let mut failures = Failures::default();
    azure.secret("sql-sa", SECRET);
    let bare = azure.proxy().trim_start_matches("http://").to_owned();
    // Base64 of `user:s3cr3t`.
    let sent = "dXNlcjpzM2NyM3Q=";
    for status in [400, 403, 407, 500, 502] {
        for answer in [
            Response::text(
                status,
                &format!("Proxy-Authorization: Basic {sent} user:s3cr3t"),
            ),
            Response::text(status, "x")
                .header("Proxy-Authenticate", &format!("Basic realm=\"{sent}\"")),
            Response::raw(format!("HTTP/1.1 {status} {sent} s3cr3t\r\n\r\n").as_bytes()),
            Response::raw(format!("{sent} s3cr3t\r\n\r\n").as_bytes()),
        ] {
            azure.next(Endpoint::Proxy, answer.clone());
            azure.next(Endpoint::Proxy, answer);
            let words = ["--secret", "S=akv://prod-kv/sql-sa", "--", "true"];
            let outcome = exec(&azure, OPTIONS)
                .args(words)
                .env("HTTPS_PROXY", format!("http://user:s3cr3t@{bare}"))
                .outcome();
            let name = format!("{status}");
            assert!(!outcome.stderr.contains(sent), "{}", outcome.stderr);
            failures.check(&azure, &name, &outcome);
        }
    }
    failures.end();
}

#[test]
fn password_in_a_setting_is_not_printed() {
    let azure = Azure::start();
    for (name, value) in [
        ("HTTPS_PROXY", "ftp://user:s3cr3t@proxy.example.com"),
        (
            "AZURE_POD_IDENTITY_AUTHORITY_HOST",
            "http://user:s3cr3t@169.254.169.254",
        ),
        (
            "AZURE_AUTHORITY_HOST",
            "https://user:s3cr3t@login.example.com",
        ),
        ("AZURE_CLIENT_SECRET", "s3cr3t"),
        ("AKV_INIT_VAULT", "https://user:s3cr3t@kv1.vault.azure.net"),
        ("AKV_INIT_ALLOW_VAULT", "user:s3cr3t@kv1.vault.azure.net"),
        ("T", "akv://user:s3cr3t@kv1/name"),
        ("T", "Server=akv://kv1/name;Password=s3cr3t"),
    ] {
        let outcome = match name {
            "AZURE_AUTHORITY_HOST" => one_secret_federated(&azure, &["--verbose"]),
            _ => one_secret(&azure, &["--verbose"]),
        };
        let outcome = outcome.env(name, value).outcome();
        assert_eq!(outcome.code, Some(78), "{name}: {}", outcome.stderr);
        assert_silent(&azure, &outcome);
    }
    // Identities are printed.
    azure.assertion(&json!({"sub": "system:serviceaccount:other:app"}));
    let outcome = one_secret_federated(&azure, &OPTIONS).outcome();
    assert!(outcome.stderr.contains("system:serviceaccount:other:app"));
    assert!(outcome.stderr.contains(APPLICATION));
}
