//! `akv-init get`: the secret of a reference on standard output, byte for byte, and nothing else there.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, pipe};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use nix::pty::openpty;
use nix::sys::signal::Signal;

use crate::azure::{Azure, Certificate, Endpoint, Response, Stored};
use crate::support::{Outcome, Run, akv_init};
use crate::support_identities::{Source, assert_token, leak, outcome_without_stdout, with};
use crate::support_inherited as inherited;
use crate::support_listen::Listened;
use crate::support_requests::{NAME, VALUE, connections, counts, stopped};

const VERSION: &str = "0123456789abcdef0123456789abcdef";

/// `akv-init get` with the fake Azure.
fn get(azure: &Azure, words: &[&str]) -> Run {
    akv_init(["get"])
        .args(words)
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
}

/// The reference of a secret.
fn reference(azure: &Azure, name: &str) -> String {
    format!("akv://{}/{name}", azure.vault())
}

/// A fake Azure with one secret.
fn with_secret() -> Azure {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    azure
}

#[test]
fn value_is_printed_byte_for_byte() {
    let azure = Azure::start();
    let values = [
        String::new(),
        "value".to_owned(),
        "line\n".to_owned(),
        "\n\r\n".to_owned(),
        " \t".to_owned(),
        "NUL \0 and \u{1b}[31m".to_owned(),
        "Grüße, 世界 🔑\u{feff}".to_owned(),
        // The largest value of a vault.
        "0123456789abcdef\u{e9}\n".repeat(25 * 1024 / 19),
        "akv://kv1/not-followed".to_owned(),
        "{\"json\": \"\\u00e9\"}".to_owned(),
    ];
    for (index, value) in values.iter().enumerate() {
        let name = format!("secret-{index}");
        azure.secret(&name, value);
        let outcome = get(&azure, &[&reference(&azure, &name)]).outcome();
        assert_eq!(outcome.stdout_alone(), value);
    }
}

#[test]
fn every_form_of_a_reference_is_accepted() {
    let azure = with_secret();
    azure.put(Stored {
        version: VERSION.to_owned(),
        ..Stored::new("versions", "old")
    });
    azure.secret("versions", "new");
    let (vault, proxy) = (azure.vault(), azure.proxy());
    for (words, value) in [
        (&["akv://VAULT/sql-sa"][..], VALUE),
        (&["AKV://VAULT/sql-sa/"], VALUE),
        (&["akv://VAULT/SQL-SA"], VALUE),
        (&[" akv://VAULT/sql-sa\n"], VALUE),
        (&["--", "akv://VAULT/sql-sa"], VALUE),
        (&["akv://VAULT/versions"], "new"),
        (&["akv://VAULT/versions/VERSION"], "old"),
        (&["https://VAULT/secrets/sql-sa"], VALUE),
        (&["https://VAULT/secrets/versions/VERSION"], "old"),
        (
            &["@Microsoft.KeyVault(SecretUri=https://VAULT/secrets/sql-sa)"],
            VALUE,
        ),
        (&["--vault", "VAULT", "sql-sa"], VALUE),
        (&["--vault", "VAULT", "versions/VERSION"], "old"),
        (&["--vault", "VAULT", "akv:///sql-sa"], VALUE),
        (&["--vault", "other", "akv://VAULT/sql-sa"], VALUE),
        // By the short name, through the proxy.
        (&["akv://prod-kv/sql-sa"], VALUE),
        (&["--vault", "prod-kv", "sql-sa"], VALUE),
        (
            &["@Microsoft.KeyVault(VaultName=prod-kv;SecretName=sql-sa)"],
            VALUE,
        ),
        (
            &["@Microsoft.KeyVault(VaultName=prod-kv;SecretName=versions;SecretVersion=VERSION)"],
            "old",
        ),
    ] {
        let words: Vec<String> = words
            .iter()
            .map(|word| {
                word.replace("VAULT/", &format!("{vault}/"))
                    .replace("VERSION", VERSION)
            })
            .map(|word| if word == "VAULT" { vault.clone() } else { word })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let outcome = get(&azure, &words).env("HTTPS_PROXY", &proxy).outcome();
        assert_eq!(outcome.stdout_alone(), value, "{words:?}");
    }
    let run = get(&azure, &["sql-sa"]).env("AKV_INIT_VAULT", &vault);
    assert_eq!(run.outcome().stdout_alone(), VALUE);
}

#[test]
fn trim_removes_only_line_ends_and_a_byte_order_mark() {
    let azure = Azure::start();
    for (index, (value, trimmed)) in [
        ("line\n", "line"),
        ("line\r\n\n", "line"),
        ("line \n", "line "),
        ("a\nb", "a\nb"),
        ("\n", ""),
        ("\u{feff}line\r\n", "line"),
        ("\u{feff}\u{feff}a\u{feff}", "\u{feff}a\u{feff}"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("secret-{index}");
        azure.secret(&name, value);
        let trim = format!("{}?trim", reference(&azure, &name));
        assert_eq!(get(&azure, &[&trim]).outcome().stdout_alone(), trimmed);
    }
}

#[test]
fn access_token_is_printed_without_a_request_to_a_vault() {
    let azure = Azure::start();
    let outcome = get(&azure, &["entra-token:https://database.windows.net/"]).outcome();
    assert_token(&azure, &outcome);
    let requested = azure
        .requests_at(Endpoint::Imds)
        .remove(0)
        .query("resource");
    assert_eq!(requested.as_deref(), Some("https://database.windows.net/"));
    assert_eq!(counts(&azure), [1, 0, 0]);
    assert_eq!(azure.connections(Endpoint::Vault), 0);
}

#[test]
fn every_source_of_identity_costs_one_token_and_one_request() {
    for source in Source::ALL
        .into_iter()
        .filter(|source| *source != Source::Arc)
    {
        let azure = with_secret();
        let run = akv_init(["get", &reference(&azure, NAME)])
            .env("SSL_CERT_FILE", azure.ca_file())
            .env("AKV_INIT_ALLOW_VAULT", azure.vault());
        let outcome = with(run, &source.environment(&azure)).outcome();
        assert_eq!(outcome.stdout_alone(), VALUE, "{source:?}");
        assert_eq!(azure.requests_at(source.endpoint()).len(), 1);
        assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
    }
}

#[test]
fn references_in_the_environment_are_ignored() {
    let azure = with_secret();
    let run = get(&azure, &[&reference(&azure, NAME)])
        .env("PASSWORD", "akv://prod-kv/sql-sa")
        .env("BROKEN", "see akv://")
        .env("AKV_INIT_OVERRIDE", "!");
    assert_eq!(run.outcome().stdout_alone(), VALUE);
    assert_eq!(counts(&azure), [1, 0, 1]);
}

#[test]
fn usage_error_is_64_before_any_request() {
    let azure = with_secret();
    let good = reference(&azure, NAME);
    for (words, named) in [
        (&[][..], "REF"),
        (&["--"], "REF"),
        (&["--timeout", "5"], "REF"),
        (&[&good, "more"], "`more`"),
        (&[&good, "--verbose"], "`--verbose`"),
        (&["--bogus", &good], "`--bogus`"),
        (&["--vault", "kv1", "--vault", "kv2", &good], "--vault"),
        (&["--secret", "A=b", &good], "--secret"),
        (&["--memfd", "A=b", &good], "--memfd"),
        (&["--from-env", &good], "--from-env"),
        (&["--output", "json:a", &good], "--output"),
        (&["--format", "json", &good], "--format"),
        (&["--dry-run", &good], "--dry-run"),
        (&["--scope", "a", &good], "--scope"),
    ] {
        get(&azure, words)
            .failure(64, "usage")
            .names(named)
            .hinted();
    }
    let run = get(&azure, &[]).args([OsStr::from_bytes(b"\xff")]);
    run.failure(64, "usage").names("REF").hinted();
    assert_eq!(connections(&azure), 0);
}

/// Only the part of a malformed reference that cannot be a password is shown.
#[test]
fn malformed_reference_is_78_before_any_request() {
    let azure = with_secret();
    for (word, shown, hint) in [
        ("", "``", false),
        ("akv://", "`akv://`", true),
        ("akv://kv1/a_b", "`akv://kv1/a_b`", true),
        ("hunter2=LEAK", "`hunter2", false),
        ("http://kv1/a", "`http://kv1/a`", true),
        ("sql-sa", "`akv:///sql-sa`", true),
        ("entra-token:", "`entra-token:`", true),
    ] {
        let failure = get(&azure, &[word]).failure(78, "config");
        failure.names(shown).omits("LEAK");
        assert_eq!(failure.line["hint"].is_string(), hint, "{word}");
    }
    assert_eq!(connections(&azure), 0);
}

/// A script must not go on with half of a value.
#[test]
fn nothing_is_printed_on_failure() {
    let azure = with_secret();
    azure.put(Stored {
        enabled: false,
        ..Stored::new("disabled", VALUE)
    });
    let fails = |name: &str, code: i32, cause: &str| {
        let reference = reference(&azure, name);
        let run = get(&azure, &["--timeout", "0", "--verbose", &reference]);
        let outcome = run.json().outcome();
        let failure = outcome.failure(code, cause);
        assert_eq!(leak(&azure, &outcome, &[VALUE]), None);
        failure
    };
    let failure = fails("missing", 66, "not found");
    failure
        .fact("secret", "missing")
        .fact("vault", azure.vault());
    failure.fact("refusal", "SecretNotFound");
    fails("disabled", 66, "not found").fact("refusal", "SecretDisabled");
    for (response, code, cause) in [
        (Response::rbac(), 77, "denied"),
        (Response::firewall(), 77, "denied"),
        (Response::status(503), 69, "unavailable"),
        (Response::status(500), 69, "unavailable"),
        (Response::html(200, "<html>"), 76, "protocol"),
    ] {
        azure.next(Endpoint::Vault, response);
        fails(NAME, code, cause);
    }
    azure.next(Endpoint::Imds, Response::imds_not_found());
    fails(NAME, 77, "denied");
    let other = Azure::builder()
        .certificate(Endpoint::Vault, Certificate::OtherName)
        .start();
    other.secret(NAME, VALUE);
    get(&other, &[&reference(&other, NAME)]).failure(76, "protocol");
}

#[test]
fn verbose_shows_each_request_and_never_the_value() {
    let azure = with_secret();
    let run = get(&azure, &["--verbose", &reference(&azure, NAME)]);
    let outcome = run.json().outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), VALUE));
    let lines = outcome.json_lines();
    assert!(
        lines.iter().all(|line| line["level"] == "debug"),
        "{lines:?}"
    );
    let url = format!("https://{}/secrets/{NAME}", azure.vault());
    let read = lines.iter().filter(|line| line["url"] == url.as_str());
    let read: Vec<_> = read.map(|line| &line["status"]).collect();
    assert_eq!(read, [200]);
    let tokens = lines.iter().filter(|line| line["expires"].is_string());
    assert_eq!(tokens.count(), 1, "{lines:?}");
    let quiet = Outcome {
        stdout: String::new(),
        ..outcome
    };
    assert_eq!(leak(&azure, &quiet, &[VALUE]), None);
}

/// A value that ends in a line end is another value.
#[test]
fn line_end_and_note_are_added_only_on_a_terminal() {
    let azure = Azure::start();
    for (index, (words, value, shown)) in [
        (&[][..], "pa$$w0rd", "pa$$w0rd\r\n"),
        (&[], "", "\r\n"),
        (&[], "line\n", "line\r\n\r\n"),
        (&["--log-format", "json"], "pa$$w0rd", "pa$$w0rd\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("secret-{index}");
        azure.secret(&name, value);
        let terminal = openpty(None, None).unwrap();
        let run = get(&azure, words).args([reference(&azure, &name)]);
        let run = run.with(|command| {
            command.stdout(Stdio::from(terminal.slave));
        });
        let outcome = outcome_without_stdout(run);
        assert_eq!(outcome.code, Some(0));
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        if !words.is_empty() {
            assert_eq!(outcome.lines_of("info").len(), 1);
        }
        let mut output = Vec::new();
        // The end of a terminal whose other side is closed is EIO, after its output.
        let _ = File::from(terminal.master).read_to_end(&mut output);
        // The terminal makes two characters of a line end.
        assert_eq!(String::from_utf8(output).unwrap(), shown);
    }
}

#[test]
fn value_that_cannot_be_written_is_an_error() {
    let azure = with_secret();
    let run = || get(&azure, &[&reference(&azure, NAME)]).json();
    let run_with = |stdout: Stdio| {
        outcome_without_stdout(run().with(|command| {
            command.stdout(stdout);
        }))
    };
    let closed = run().with(|command| inherited::close(command, &[1]));
    closed.outcome().failure(73, "cannot create");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    run_with(full.into()).failure(73, "cannot create");
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    run_with(writer.into()).failure(73, "cannot create");
    let outcome = run_with(Stdio::null());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

/// `exec` has 120 s.
#[test]
fn deadline_is_15_s_unless_a_setting_changes_it() {
    let azure = with_secret();
    let good = reference(&azure, NAME);
    let throttled = |seconds: &str| Response::throttled().header("Retry-After", seconds);
    for (run, seconds) in [
        (get(&azure, &[&good]), "16"),
        (get(&azure, &["--timeout", "10", &good]), "11"),
        (get(&azure, &[&good]).env("AKV_INIT_TIMEOUT", "10s"), "11"),
    ] {
        azure.next(Endpoint::Vault, throttled(seconds));
        run.failure(69, "unavailable").names(seconds);
    }
    azure.next(Endpoint::Vault, throttled("14"));
    let mut run = Listened::start(get(&azure, &["--verbose", &good]).json());
    // Retry-After is a minimum.
    let next = run.until_attempt(1)["next_ms"].as_u64();
    assert!((14_000..15_000).contains(&next.expect("a number")));
    run.signal(Signal::SIGTERM);
    let outcome = run.outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(143), ""));
}

#[test]
fn signal_ends_the_wait_and_nothing_is_printed() {
    let azure = with_secret();
    azure.always(Endpoint::Vault, Response::usual().hold());
    let run = get(&azure, &[&reference(&azure, NAME)]);
    let outcome = stopped(run, || azure.wait_for(Endpoint::Vault, 1));
    for fact in [NAME, &azure.vault()] {
        assert!(outcome.stderr.contains(fact), "{}", outcome.stderr);
    }
}
