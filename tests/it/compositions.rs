//! Texts with references in braces.
//!
//! A row is a case, the text of a variable, and its value, or the exit code of a failure. `KV` is the vault.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::azure::{Azure, Endpoint, Response};
use crate::support::{NO_OPTIONS, Run, akv_init, exec};
use crate::support_files::Place;

type Row = (&'static str, &'static str, Result<&'static str, i32>);

/// Rows, a line each: `CASE: TEXT => RESULT;`.
macro_rules! cases {
    ($($case:literal: $text:expr => $expected:expr;)*) => {
        &[$(($case, $text, $expected)),*]
    };
}

const PASSWORD: &str = "p@ss w/ö\"é";

fn azure() -> Azure {
    let azure = Azure::start();
    for (name, value) in [
        ("x", "X"),
        ("y", "Y"),
        ("pw", "Passw0rd;Encrypt=False"),
        ("unusual", PASSWORD),
        (
            "account",
            r#"{"username":"superusername","password":"secret","a}b":"brace","n":null}"#,
        ),
        ("nested", "{akv://KV/x} akv://KV/x"),
    ] {
        azure.secret(name, value);
    }
    azure
}

fn text(azure: &Azure, text: &str) -> String {
    text.replace("://KV/", &format!("://{}/", azure.vault()))
}

/// A COMMAND that prints the variable.
fn printing(azure: &Azure, value: &str) -> Run {
    exec(azure, ["/bin/sh", "-c", "printf %s \"$S\""]).env("S", text(azure, value))
}

#[track_caller]
fn check(rows: &[Row]) {
    let azure = azure();
    for (case, value, expected) in rows {
        match expected {
            Ok(expected) => {
                assert_eq!(
                    printing(&azure, value).outcome().stdout_alone(),
                    *expected,
                    "{case}"
                );
                let option = format!("--secret=S={}", text(&azure, value));
                let run = exec(
                    &azure,
                    [option.as_str(), "/bin/sh", "-c", "printf %s \"$S\""],
                );
                assert_eq!(run.outcome().stdout_alone(), *expected, "{case}");
            }
            Err(code) => {
                let cause = if *code == 66 { "not found" } else { "config" };
                let outcome = printing(&azure, value).json().outcome();
                assert_eq!(outcome.code, Some(*code), "{case}: {}", outcome.stderr);
                outcome
                    .failure(*code, cause)
                    .names("S")
                    .hinted()
                    .omits("hunter2");
            }
        }
    }
}

#[test]
fn references_in_braces_are_replaced() {
    check(cases! {
        "two": "a{akv://KV/x}{akv://KV/y}b" => Ok("aXYb");
        "ODBC's own braces": "PWD={{akv://KV/x}}" => Ok("PWD={X}");
        "another case": "{AKV://KV/X}" => Ok("X");
        "the whole value": "{akv://KV/x}" => Ok("X");
        "the whole value with white space": " {akv://KV/x}\n" => Ok("X");
        "white space in a text": " {akv://KV/x} {akv://KV/y}\n" => Ok(" X Y\n");
        "a brace in a field": "-{akv://KV/account#/a%7Db}" => Ok("-brace");
        "the same twice": "{akv://KV/x}={akv://KV/x}" => Ok("X=X");
        "what is fetched is not looked at": "<{akv://KV/nested}>" => Ok("<{akv://KV/x} akv://KV/x>");
        "other braces": "{}{a}{ {azure:keyvault:x} {https://h/} {akv://KV/x}" => Ok("{}{a}{ {azure:keyvault:x} {https://h/} X");
        "a dollar elsewhere": "$a{akv://KV/x}$" => Ok("$aX$");
        "vault-env": "scheme://{akv://KV/account#/username}:{akv://KV/account#/password}@127.0.0.1:8080" => Ok("scheme://superusername:secret@127.0.0.1:8080");
        "vault-env, encoded": "scheme://{akv://KV/account?encode=url#/username}:{akv://KV/account?encode=url#/password}@127.0.0.1:8080" => Ok("scheme://superusername:secret@127.0.0.1:8080");
        "aspire": "Server=db;Password={akv://KV/pw?encode=ado};Encrypt=True" => Ok("Server=db;Password=\"Passw0rd;Encrypt=False\";Encrypt=True");
        "url": "{akv://KV/unusual?encode=url}@" => Ok("p%40ss%20w%2F%C3%B6%22%C3%A9@");
        "json": r#"{"p":"{akv://KV/unusual?encode=json}"}"# => Ok(r#"{"p":"p@ss w/ö\"é"}"#);
        "a JSON string": r#""{akv://KV/unusual?encode=json}""# => Ok(r#""p@ss w/ö\"é""#);
        "quotes in a text": r#"a"{akv://KV/x}""# => Ok(r#"a"X""#);
        "no such field": "a{akv://KV/account#/c}" => Err(66);
    });
}

#[test]
fn text_that_is_nearly_composed_is_rejected() {
    check(cases! {
        "a dollar": "P=${akv://KV/x}" => Err(78);
        "a dollar and a token": "${entra-token:https://database.windows.net/}" => Err(78);
        "a blank before": "{ akv://KV/x }" => Err(78);
        "a blank after": "P={akv://KV/x }" => Err(78);
        "not closed": "P={akv://KV/x" => Err(78);
        "closed before": "}P={akv://KV/x" => Err(78);
        "outside as well": "{akv://KV/x};akv://KV/y" => Err(78);
        "outside before": "entra-token:x {akv://KV/x}" => Err(78);
        "quoted": r#"{"a":"akv://KV/x"}"# => Err(78);
        "in quotes": r#""{akv://KV/x}""# => Err(78);
        "in other quotes": " '{akv://KV/x?trim}'\n" => Err(78);
        "a token in quotes": r#""{entra-token:https://database.windows.net/}""# => Err(78);
        "a file": "P={akv://KV/x?file}" => Err(78);
        "of vals": "-{ref+azurekeyvault://KV/x}" => Err(78);
        "of vals, and one that is read": "{akv://KV/x}{ref+azurekeyvault://KV/x}" => Err(78);
        "malformed": "P={akv://KV/x?upper};hunter2" => Err(78);
        "one malformed": "P={akv://KV/x}{akv://KV/a_b}" => Err(78);
        "of App Service": "{@Microsoft.KeyVault(VaultName=kv1;SecretName=a_b)}hunter2" => Err(78);
    });
}

#[test]
fn other_forms_may_be_in_braces() {
    let azure = azure();
    let uri = "@Microsoft.KeyVault(SecretUri=https://KV/secrets/x)";
    let value = format!("{{{uri}}};{{entra-token:https://database.windows.net/}}");
    let outcome = printing(&azure, &value).outcome();
    let token = azure.tokens().pop().unwrap();
    let got = outcome.stdout_alone();
    assert!(
        got.starts_with("X;") && got.len() > token.len() / 2,
        "{got}"
    );
}

/// A file with a token is never kept.
#[test]
fn text_with_a_token_is_not_kept() {
    let azure = azure();
    let place = Place::in_memory();
    let words = [
        "--keep-existing",
        "--timeout=0",
        "--secret=a=<{entra-token:https://database.windows.net/}>",
    ];
    place.wrote(&azure, &words);
    azure.close(Endpoint::Imds);
    place.write(&azure, &words).failure(69, "unavailable");
}

#[test]
fn text_has_the_limit_of_a_variable() {
    let azure = azure();
    let half = (128 * 1024 - "S=".len() - "x".len()) / 2;
    for (length, fits) in [(half, true), (half + 1, false)] {
        azure.secret("half", &"x".repeat(length));
        let run =
            exec(&azure, ["/bin/true"]).env("S", text(&azure, "{akv://KV/half}{akv://KV/half}"));
        match fits {
            true => assert_eq!(run.outcome().stdout_alone(), ""),
            false => drop(run.failure(78, "config").names("S")),
        }
    }
}

#[test]
fn one_secret_of_several_texts_is_one_request() {
    let azure = azure();
    let account = "postgres://{akv://KV/account#/username}:{akv://KV/account#/password}@db";
    let run = printing(&azure, account).env("T", text(&azure, "{akv://KV/account}"));
    assert_eq!(
        run.outcome().stdout_alone(),
        "postgres://superusername:secret@db"
    );
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
}

#[test]
fn all_secrets_of_a_text_or_none() {
    let azure = azure();
    azure.always_for(Endpoint::Vault, "/secrets/y", Response::rbac());
    let run = printing(&azure, "{akv://KV/x}{akv://KV/y}").args(NO_OPTIONS);
    run.failure(77, "denied").names("`y`").names("for S");
}

#[test]
fn literals_are_passed_on_byte_by_byte() {
    let azure = azure();
    let reference = text(&azure, "{akv://KV/x}");
    let value = [b"\xff\xfe".as_slice(), reference.as_bytes(), b"\x80"].concat();
    let run = exec(&azure, ["/bin/sh", "-c", "printf %s \"$S\" | od -An -tx1"]);
    let outcome = run.env("S", OsString::from_vec(value)).outcome();
    assert_eq!(outcome.stdout_alone().trim(), "ff fe 58 80");
    // Inside of a reference they are an error.
    let value = [b"akv://kv1/x#/".as_slice(), b"\xff"].concat();
    for value in [value.clone(), [b"-{", value.as_slice(), b"}"].concat()] {
        let run = exec(&azure, ["/bin/true"]).env("S", std::ffi::OsStr::from_bytes(&value));
        run.failure(78, "config").names("S");
    }
}

#[test]
fn every_command_composes() {
    let azure = azure();
    let value = text(&azure, "<{akv://KV/x}>");
    let place = Place::in_memory();
    place.wrote(&azure, &["--secret", &format!("a={value}")]);
    assert_eq!(place.read("a"), b"<X>");
    let memfd = format!("--memfd=S={value}");
    let run = exec(&azure, [memfd.as_str(), "/bin/sh", "-c", "cat $S"]);
    assert_eq!(run.outcome().stdout_alone(), "<X>");
    let run = akv_init(["get", &value])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault());
    assert_eq!(run.outcome().stdout_alone(), "<X>");
    let run = exec(&azure, ["--dry-run", "/bin/true"]).env("S", &value);
    assert_eq!(run.outcome().planned("compose").len(), 1);
}

#[test]
fn literal_passes_the_text_on() {
    let azure = azure();
    for value in ["${akv://kv1/x}", "<{akv://kv1/x}>"] {
        let words = ["--literal=S", "/bin/sh", "-c", "printf %s \"$S\""];
        let run = exec(&azure, words).env("S", value);
        assert_eq!(run.outcome().stdout_alone(), value);
    }
    assert_eq!(azure.connections(Endpoint::Vault), 0);
}

/// A volume must not get what may be a password.
#[test]
fn kept_files_have_only_the_hash_of_a_text() {
    let azure = azure();
    let place = Place::in_memory();
    let secret = |literal: &str| format!("a={}", text(&azure, &format!("{literal}{{akv://KV/x}}")));
    place.wrote(&azure, &["--keep-existing", "--secret", &secret("hunter2")]);
    let manifest = String::from_utf8(place.read("..akv-init.json")).unwrap();
    assert!(
        manifest.contains("sha256:") && !manifest.contains("hunter2"),
        "{manifest}"
    );
    azure.close(Endpoint::Vault);
    let run = |literal: &str| {
        let secret = secret(literal);
        place.write(
            &azure,
            &["--keep-existing", "--timeout=0", "--secret", &secret],
        )
    };
    assert_eq!(run("hunter2").outcome().code, Some(0));
    run("hunter3").failure(69, "unavailable");
}

#[test]
fn password_in_a_url_has_a_note_in_check() {
    let azure = azure();
    for (value, noted) in [
        ("postgres://app:{akv://KV/x}@db/app", true),
        ("postgres://{akv://KV/x}:{akv://KV/y}@db/app", true),
        ("postgres://app:{akv://KV/x?encode=url}@db/app", false),
        ("https://db/{akv://KV/x}@a", false),
        ("https://db?p={akv://KV/x}", false),
        ("{akv://KV/x}@db", false),
        ("akv://KV/x", false),
    ] {
        let run = akv_init(["check", "--format", "json"])
            .env("S", text(&azure, value))
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
            .env("SSL_CERT_FILE", azure.ca_file())
            .env("AKV_INIT_ALLOW_VAULT", azure.vault());
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
        assert_eq!(outcome.stdout.contains("encode=url`"), noted, "{value}");
    }
}
