//! `akv-init get`: the secret of a reference on standard output, byte for byte, and nothing else there.

use std::fs::{File, OpenOptions};
use std::io::{Read, pipe};
use std::process::Stdio;

use nix::pty::openpty;
use nix::sys::signal::Signal;

use crate::azure::{Answer, Azure, Certificate, Door, Stored};
use crate::become_command::inherited;
use crate::network::listen::Listened;
use crate::network::wire::{NAME, VALUE, connections, counts, stopped, timeless};
use crate::support::{Outcome, Run, akv_init};
use crate::support_identities::{Source, assert_token, leak, outcome_without_stdout, with};

const HELP: &str = "hint: see akv-init --help";
const VERSION: &str = "0123456789abcdef0123456789abcdef";

/// `akv-init get` where the stand-in is Azure.
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

/// A stand-in that holds one secret.
fn with_secret() -> Azure {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    azure
}

#[test]
fn every_byte_of_the_value_is_printed_and_none_besides() {
    let azure = Azure::start();
    let values = [
        String::new(),
        "value".to_owned(),
        "line\n".to_owned(),
        "\n\r\n".to_owned(),
        " \t".to_owned(),
        "NUL \0 and \u{1b}[31m".to_owned(),
        "Grüße, 世界 🔑\u{feff}".to_owned(),
        // As large as a vault takes.
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
fn every_form_of_a_reference_is_taken() {
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
        // A full reference ignores it.
        (&["--vault", "other", "akv://VAULT/sql-sa"], VALUE),
        // By the short name, which the proxy leads here.
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
fn trim_drops_line_ends_and_nothing_else() {
    let azure = Azure::start();
    for (index, (value, trimmed)) in [
        ("line\n", "line"),
        ("line\r\n\n", "line"),
        ("line \n", "line "),
        ("a\nb", "a\nb"),
        ("\n", ""),
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
fn an_access_token_is_a_reference_too_and_no_vault_is_asked() {
    let azure = Azure::start();
    let outcome = get(&azure, &["entra-token:https://database.windows.net/"]).outcome();
    assert_token(&azure, &outcome);
    let asked = azure.requests_at(Door::Imds).remove(0).query("resource");
    assert_eq!(asked.as_deref(), Some("https://database.windows.net/"));
    assert_eq!(counts(&azure), [1, 0, 0]);
    assert_eq!(azure.connections(Door::Vault), 0);
}

#[test]
fn every_source_of_identity_will_do_and_one_token_and_one_request_are_made() {
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
        assert_eq!(azure.requests_at(source.door()).len(), 1);
        assert_eq!(azure.requests_at(Door::Vault).len(), 1);
    }
}

/// What is `exec`'s business in the environment is passed over here.
#[test]
fn references_in_the_environment_are_not_looked_at() {
    let azure = with_secret();
    let run = get(&azure, &[&reference(&azure, NAME)])
        .env("PASSWORD", "akv://prod-kv/sql-sa")
        .env("BROKEN", "see akv://")
        .env("AKV_INIT_OVERRIDE", "!");
    assert_eq!(run.outcome().stdout_alone(), VALUE);
    assert_eq!(counts(&azure), [1, 0, 1]);
}

#[test]
fn what_is_typed_wrongly_is_64_and_no_request() {
    let azure = with_secret();
    let good = reference(&azure, NAME);
    let no_option = |name: &str| format!("{name} is no option of get");
    for (words, said) in [
        (&[][..], "no REF given".to_owned()),
        (&["--"], "no REF given".to_owned()),
        (&["--timeout", "5"], "no REF given".to_owned()),
        (&[&good, "more"], "`more` is one word too many".to_owned()),
        (&[&good, "--verbose"], {
            "`--verbose` stands behind REF: options go before it".to_owned()
        }),
        (&["--bogus", &good], "unknown option `--bogus`".to_owned()),
        (
            &["--vault", "kv1", "--vault", "kv2", &good],
            "--vault is given twice".to_owned(),
        ),
        (&["--secret", "A=b", &good], no_option("--secret")),
        (&["--memfd", "A=b", &good], no_option("--memfd")),
        (&["--from-env", &good], no_option("--from-env")),
        (&["--output", "json:a", &good], no_option("--output")),
        (&["--format", "json", &good], no_option("--format")),
        (&["--dry-run", &good], no_option("--dry-run")),
        (&["--scope", "a", &good], no_option("--scope")),
    ] {
        let outcome = get(&azure, words).outcome();
        outcome.failed(64, &[&format!("error: {said}"), HELP]);
    }
    use std::os::unix::ffi::OsStrExt;
    let run = get(&azure, &[]).args([std::ffi::OsStr::from_bytes(b"\xff")]);
    run.outcome().failed(64, &["error: REF is not UTF-8", HELP]);
    assert_eq!(connections(&azure), 0);
}

/// Of what is no reference nothing is shown that could be a password.
#[test]
fn what_is_no_reference_is_78_and_no_request() {
    let azure = with_secret();
    let malformed = |shown: &str, why: &str| format!("error: malformed reference `{shown}`: {why}");
    for (word, lines) in [
        ("", vec![malformed("", "the secret's name is empty")]),
        (
            "akv://",
            vec![
                malformed("akv://", "the secret's name is missing"),
                "hint: write akv://VAULT/NAME".to_owned(),
            ],
        ),
        (
            "akv://kv1/a_b",
            vec![malformed(
                "akv://kv1/a_b",
                "Key Vault names cannot hold \"_\"; is it \"a-b\"?",
            )],
        ),
        (
            "hunter2=s3cr3t",
            vec![malformed("hunter2…", "Key Vault names cannot hold \"=\"")],
        ),
        (
            "http://kv1/a",
            vec![
                malformed("http://kv1/a", "a vault is only asked over https"),
                "hint: write https://".to_owned(),
            ],
        ),
        (
            "sql-sa",
            vec![
                "error: the reference `akv:///sql-sa` names no vault, and there is no default one"
                    .to_owned(),
                "hint: write akv://VAULT/NAME, or set --vault or AKV_INIT_VAULT".to_owned(),
            ],
        ),
        (
            "entra-token:",
            vec![
                malformed("entra-token:", "the resource is missing"),
                "hint: write entra-token:https://database.windows.net/".to_owned(),
            ],
        ),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        get(&azure, &[word]).outcome().failed(78, &lines);
    }
    assert_eq!(connections(&azure), 0);
}

/// A script must not go on with half of it.
#[test]
fn where_it_fails_nothing_is_printed() {
    let azure = with_secret();
    azure.put(Stored {
        enabled: false,
        ..Stored::new("disabled", VALUE)
    });
    let good = reference(&azure, NAME);
    let (missing, disabled) = (reference(&azure, "missing"), reference(&azure, "disabled"));
    let one_try = |word: &str| get(&azure, &["--timeout", "0", "--verbose", word]);
    let assert_fails = |run: Run, code: i32, said: &str| {
        let outcome = run.outcome();
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(code), ""),
            "{}",
            outcome.stderr
        );
        let error = outcome.error().unwrap_or_default();
        assert!(error.contains(said), "{said}: {}", outcome.stderr);
        assert_eq!(leak(&azure, &outcome, &[VALUE]), None);
    };
    let reading = |name: &str| {
        format!(
            "reading secret `{name}` from {} for standard output: ",
            azure.vault()
        )
    };
    assert_fails(
        one_try(&missing),
        66,
        &format!("{}404 Not Found (SecretNotFound)", reading("missing")),
    );
    assert_fails(
        one_try(&disabled),
        66,
        &format!("{}403 Forbidden (SecretDisabled)", reading("disabled")),
    );
    for (answer, code, said) in [
        (Answer::rbac(), 77, "403 Forbidden (ForbiddenByRbac)"),
        (
            Answer::firewall(),
            77,
            "403 Forbidden (ForbiddenByFirewall)",
        ),
        (Answer::status(503), 69, "503 Service Unavailable"),
        (
            Answer::html(200, "<html>"),
            76,
            "200 OK: the answer is not JSON",
        ),
        (Answer::status(500), 69, "500 Internal Server Error"),
    ] {
        azure.next(Door::Vault, answer);
        assert_fails(one_try(&good), code, said);
    }
    azure.next(Door::Imds, Answer::imds_not_found());
    assert_fails(one_try(&good), 77, "Identity not found");
    let other = Azure::builder()
        .certificate(Door::Vault, Certificate::OtherName)
        .start();
    other.secret(NAME, VALUE);
    let outcome = get(&other, &[&reference(&other, NAME)]).outcome();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(76), ""),
        "{}",
        outcome.stderr
    );
}

#[test]
fn at_verbose_it_says_each_step_and_never_the_value() {
    let azure = with_secret();
    let outcome = get(&azure, &["--verbose", &reference(&azure, NAME)]).outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), VALUE));
    let steps = |words: &str| {
        outcome
            .stderr
            .lines()
            .filter(|line| line.contains(words))
            .count()
    };
    assert_eq!(steps("akv-init: debug: "), outcome.stderr.lines().count());
    assert_eq!(steps("got an access token"), 1);
    assert_eq!(
        steps(&format!(
            "GET https://{}/secrets/{NAME}: 200 OK",
            azure.vault()
        )),
        1
    );
    let said = Outcome {
        stdout: String::new(),
        ..outcome.clone()
    };
    assert_eq!(leak(&azure, &said, &[VALUE]), None);
}

/// A value that ends in a line end is another value.
#[test]
fn a_line_end_and_a_note_come_only_on_a_terminal() {
    let azure = Azure::start();
    let note = "this is secret: it is in the terminal's memory now";
    let json = format!("{{\"level\":\"info\",\"message\":\"{note}\"}}\n");
    let text = format!("akv-init: {note}\n");
    for (index, (words, value, shown, said)) in [
        (&[][..], "pa$$w0rd", "pa$$w0rd\r\n", &text),
        (&[], "", "\r\n", &text),
        (&[], "line\n", "line\r\n\r\n", &text),
        (&["--log-format", "json"], "pa$$w0rd", "pa$$w0rd\r\n", &json),
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
        assert_eq!((outcome.code, &outcome.stderr), (Some(0), said));
        let mut seen = Vec::new();
        // Once nobody has the other end any more, the end is an error here (EIO), behind all that was said.
        let _ = File::from(terminal.master).read_to_end(&mut seen);
        // The terminal makes two characters of a line end.
        assert_eq!(String::from_utf8(seen).unwrap(), shown);
    }
}

/// Also without a note on a terminal: it has not got there.
#[test]
fn a_value_that_does_not_arrive_is_an_error() {
    let azure = with_secret();
    let run = || get(&azure, &[&reference(&azure, NAME)]);
    let why = |why: &str| format!("error: writing the secret to standard output: {why}");
    let closed = run().with(|command| inherited::close(command, &[1]));
    closed.outcome().failed(73, &[&why("it is closed")]);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let full = run().with(|command| {
        command.stdout(Stdio::from(full));
    });
    outcome_without_stdout(full).failed(73, &[&why("No space left on device (os error 28)")]);
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let unread = run().with(|command| {
        command.stdout(Stdio::from(writer));
    });
    outcome_without_stdout(unread).failed(73, &[&why("Broken pipe (os error 32)")]);
    // Who wants it nowhere gets it there.
    let nowhere = run().with(|command| {
        command.stdout(Stdio::null());
    });
    let outcome = outcome_without_stdout(nowhere);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

/// Somebody waits for it: fifteen seconds, where `exec` has two minutes.
#[test]
fn its_deadline_is_fifteen_seconds() {
    let azure = with_secret();
    let good = reference(&azure, NAME);
    let throttled = |seconds: &str| Answer::throttled().header("Retry-After", seconds);
    azure.next(Door::Vault, throttled("16"));
    let outcome = timeless(get(&azure, &[&good]).outcome());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(69), ""));
    let end = "it asks for 16 s without a request, which is past the deadline";
    let error = outcome.error().unwrap_or_default();
    assert!(error.contains(end), "{}", outcome.stderr);
    // Not at fourteen: it waits, until somebody loses patience.
    azure.next(Door::Vault, throttled("14"));
    let mut run = Listened::start(get(&azure, &["--verbose", &good]));
    run.until("next in 14000 ms");
    run.signal(Signal::SIGTERM);
    let outcome = run.outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(143), ""));
    // An option and its twin say otherwise.
    for run in [
        get(&azure, &["--timeout", "10", &good]),
        get(&azure, &[&good]).env("AKV_INIT_TIMEOUT", "10s"),
    ] {
        azure.next(Door::Vault, throttled("11"));
        assert_eq!(run.outcome().code, Some(69));
    }
}

#[test]
fn a_signal_ends_the_wait_and_nothing_is_printed() {
    let azure = with_secret();
    azure.always(Door::Vault, Answer::usual().hold());
    let run = get(&azure, &[&reference(&azure, NAME)]);
    let outcome = stopped(run, || azure.wait_for(Door::Vault, 1));
    let doing = format!(
        "while reading secret `{NAME}` from {} for standard output (1 try)",
        azure.vault()
    );
    assert!(outcome.stderr.contains(&doing), "{}", outcome.stderr);
}
