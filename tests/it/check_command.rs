//! `akv-init check` as a process: every link in a line, the exit code that `exec` would have, one token and one request
//! for each secret, and nothing secret. What it finds in other networks than this machine's is in tests/check.sh.

mod page;
mod report;
mod terminal;
mod threads;

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::azure::{Azure, Certificate, Endpoint, Response, Stored};
use crate::support::{Outcome, Run, akv_init};
use crate::support_identities::{Source, leak, outcome_without_stdout, with};
use crate::support_inherited as inherited;
use crate::support_requests::{NAME, VALUE, connections, counts, stopped_while_printing};
use report::{links, unfolded, verdict};

/// A command where the stand-in is Azure.
fn run(azure: &Azure, command: &str, words: &[&str]) -> Run {
    akv_init([command])
        .args(words)
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .env("PATH", "/bin:/usr/bin")
}

fn check(azure: &Azure, words: &[&str]) -> Run {
    run(azure, "check", words)
}

fn with_secret() -> (Azure, String) {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    let target = format!("S=akv://{}/{NAME}", azure.vault());
    (azure, target)
}

/// The whole of standard output, and nothing said besides.
#[track_caller]
fn report_of(outcome: &Outcome, code: i32) -> &str {
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (Some(code), ""),
        "{}",
        outcome.stdout
    );
    &outcome.stdout
}

#[test]
fn healthy_setup_reports_one_line_per_link() {
    let (azure, target) = with_secret();
    let version = Stored::new(NAME, VALUE).version;
    let outcome = check(&azure, &["--secret", &target, "--", "printenv", "S"]).outcome();
    let expected = format!(
        "\
ok      reference   S: akv://VAULT/sql-sa, from an option
ok      command     printenv: PRINTENV
ok      identity    IMDS (http://IMDS, managed identity), since no variable selects another identity
ok      name        127.0.0.1: an IP address (this machine) (N ms)
ok      connection  IMDS: open (N ms)
ok      token       https://vault.azure.net: valid until DATE TIME UTC, tenant 72f9a1b0-86f1-41af-91ab-2d7cd011db47, \
         client id 0b7d6c5a-1e2f-4d3c-9b8a-f0e1d2c3b4a5, object id 5ff5ff44-0000-4000-8000-ff4456698002 (N ms)
ok      name        localhost: 127.0.0.1 (this machine), from /etc/hosts (N ms)
ok      connection  VAULT: TLS 1.3, certificate of localhost issued by akv-init fake Azure (a private CA), N days left (N ms)
ok      secret      S: `sql-sa`, version {version}, enabled (N ms)
ok      clock       agrees with IMDS and VAULT
ok      verdict     all checks passed
"
    );
    let report = unfolded(&azure, report_of(&outcome, 0));
    let report = report
        .replace("/usr/bin/printenv", "PRINTENV")
        .replace("/bin/printenv", "PRINTENV");
    assert_eq!(report, expected);
    for line in outcome.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn json_report_has_one_object_per_link() {
    let (azure, target) = with_secret();
    let version = Stored::new(NAME, VALUE).version;
    let words = ["--format", "json", "--secret", &target, "--", "/bin/sh"];
    let outcome = check(&azure, &words).outcome();
    let (imds, vault) = (azure.imds(), azure.vault());
    let host = imds.trim_start_matches("http://");
    let source = format!("IMDS ({imds}, managed identity)");
    let claims = [
        ("aud", "https://vault.azure.net"),
        ("tid", "72f9a1b0-86f1-41af-91ab-2d7cd011db47"),
        ("appid", "0b7d6c5a-1e2f-4d3c-9b8a-f0e1d2c3b4a5"),
        ("oid", "5ff5ff44-0000-4000-8000-ff4456698002"),
        (
            "iss",
            "https://sts.windows.net/72f9a1b0-86f1-41af-91ab-2d7cd011db47/",
        ),
    ];
    let mut token = json!({
        "link": "token", "state": "ok", "subject": "https://vault.azure.net", "ms": 0, "until": "DATE TIME UTC",
        "message": format!(
            "valid until DATE TIME UTC, tenant {}, client id {}, object id {}",
            claims[1].1, claims[2].1, claims[3].1
        ),
    });
    for (name, value) in claims {
        token[name] = value.into();
    }
    let expected = [
        json!({
            "link": "reference", "state": "ok", "subject": "S",
            "message": format!("akv://{vault}/sql-sa, from an option"), "place": "an option", "reference": format!("akv://{vault}/sql-sa"),
        }),
        json!({"link": "command", "state": "ok", "subject": "/bin/sh", "message": "", "path": "/bin/sh"}),
        json!({
            "link": "identity", "state": "ok", "message": format!("{source}, since no variable selects another identity"),
            "source": source, "because": "no variable selects another identity",
        }),
        json!({
            "link": "name", "state": "ok", "subject": "127.0.0.1", "message": "an IP address (this machine)", "ms": 0,
            "addresses": "127.0.0.1 (this machine)",
        }),
        json!({"link": "connection", "state": "ok", "subject": host, "message": "open", "ms": 0}),
        token,
        json!({
            "link": "name", "state": "ok", "subject": "localhost", "ms": 0, "addresses": "127.0.0.1 (this machine)",
            "message": "127.0.0.1 (this machine), from /etc/hosts", "found": "/etc/hosts",
        }),
        json!({
            "link": "connection", "state": "ok", "subject": vault, "ms": 0, "tls": "TLS 1.3",
            "message": "TLS 1.3, certificate of localhost issued by akv-init fake Azure (a private CA), N days left",
            "issuer": "akv-init fake Azure", "names": "*.vault.azure.cn, *.vault.azure.net and 6 more names",
            "until": "DATE TIME UTC",
        }),
        json!({
            "link": "secret", "state": "ok", "subject": "S", "ms": 0, "secret": NAME, "version": version,
            "message": format!("`sql-sa`, version {version}, enabled"),
        }),
        json!({
            "link": "clock", "state": "ok", "message": format!("agrees with {host} and {vault}"), "skew": 0,
        }),
        json!({"link": "verdict", "state": "ok", "message": "all checks passed", "code": 0}),
    ];
    let mut found = links(report_of(&outcome, 0));
    // A second may have begun between the answer and our look at it.
    found[9]["skew"] = 0.into();
    assert_eq!(found, expected);
}

#[test]
fn secret_has_its_days_left() {
    const HOUR: i64 = 3_600;
    let azure = Azure::start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for (left, words, fact, state) in [
        (None, "enabled", Value::Null, "ok"),
        (Some(HOUR), "ends in less than a day", 0.into(), "warning"),
        (Some(25 * HOUR), "ends in 1 day", 1.into(), "warning"),
        (
            Some(12 * 24 * HOUR + HOUR),
            "ends in N days",
            12.into(),
            "warning",
        ),
        (
            Some(30 * 24 * HOUR + HOUR),
            "ends in N days",
            30.into(),
            "ok",
        ),
        (
            Some(400 * 24 * HOUR + HOUR),
            "ends in N days",
            400.into(),
            "ok",
        ),
        (Some(-HOUR), "expired", Value::Null, "warning"),
    ] {
        azure.put(Stored {
            expires: left.map(|left| now.as_secs().saturating_add_signed(left)),
            ..Stored::new("dated", VALUE)
        });
        let target = format!("S=akv://{}/dated", azure.vault());
        let text = check(&azure, &["--secret", &target]).outcome();
        assert!(
            unfolded(&azure, report_of(&text, 0)).contains(words),
            "{words}"
        );
        let json = check(&azure, &["--format", "json", "--secret", &target]).outcome();
        let links = links(report_of(&json, 0));
        let secret = links.iter().find(|link| link["link"] == "secret").unwrap();
        assert_eq!(
            (&secret["days_left"], &secret["state"]),
            (&fact, &state.into()),
            "{secret}"
        );
    }
}

/// The objects are the lines.
#[test]
fn text_and_json_report_the_same_links() {
    let (azure, target) = with_secret();
    let missing = format!("T=akv://{}/missing", azure.vault());
    for words in [
        &["--secret", &target, "--", "true"][..],
        &["--secret", &target, "--secret", &missing, "--", "absent"],
        &["--secret", "S=akv://kv1/a_b"],
        &[],
    ] {
        let text = check(&azure, words).outcome();
        let json = check(&azure, &[&["--format", "json"], words].concat()).outcome();
        assert_eq!(text.code, json.code);
        let lines = unfolded(&azure, &text.stdout);
        let lines = lines.lines().filter(|line| !line.starts_with(' '));
        let of_text: Vec<String> = lines
            .map(|line| {
                line.split_whitespace()
                    .take(2)
                    .collect::<Vec<_>>()
                    .join(" ")
                    .to_lowercase()
            })
            .collect();
        let of_json: Vec<String> = links(&json.stdout)
            .iter()
            .map(|link| {
                format!(
                    "{} {}",
                    link["state"].as_str().unwrap(),
                    link["link"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(of_text, of_json, "{words:?}");
    }
}

/// Or what is wrong with the second would be told at the next start only.
#[test]
fn malformed_reference_is_reported_and_the_others_are_checked() {
    let (azure, target) = with_secret();
    let run = check(&azure, &["--secret", &target, "--", "true"])
        .env("A", "akv://kv1/a_b")
        .env("B", "akv:/kv1/b")
        .env("C", format!("akv://{}/missing", azure.vault()));
    let outcome = run.outcome();
    let report = unfolded(&azure, report_of(&outcome, 78));
    for line in [
        "FAILED  reference   A: malformed reference `akv://kv1/a_b`: ",
        "FAILED  reference   B: ",
        "ok      reference   C: akv://VAULT/missing, from the environment\n",
        "ok      secret      S: `sql-sa`, version ",
        "FAILED  secret      C: `missing` in VAULT: 404 ",
        "FAILED  verdict     exec would fail with exit code 78; failed check: reference A; 2 more checks failed\n",
    ] {
        assert!(report.contains(line), "{line}{report}");
    }
    assert!(report.contains("; 2 more checks failed\n"), "{report}");
    // A name that is not UTF-8, one that decides which COMMAND is found, and one that an option names, too.
    let run = check(&azure, &["--secret", &target, "--", "/bin/true"])
        .env(OsStr::from_bytes(b"A\xff"), "akv://kv1/a_b")
        .env("BASH_ENV", "akv://kv1/a")
        .env("S", "akv://kv1/a_b");
    let outcome = run.outcome();
    let report = report_of(&outcome, 78);
    for start in [
        "A\u{fffd}: malformed",
        "BASH_ENV: ",
        "S: malformed",
        "S: the variable already has a value",
    ] {
        let line = format!("FAILED  reference   {start}");
        assert_eq!(report.matches(&line).count(), 1, "{line}{report}");
    }
    assert!(report.contains("; 3 more checks failed\n"), "{report}");
}

#[test]
fn overridden_reference_is_reported_from_the_option() {
    let (azure, target) = with_secret();
    let words = ["--override", "--secret", &target, "--", "true"];
    let outcome = check(&azure, &words).env("S", "akv://kv1/other").outcome();
    let report = unfolded(&azure, report_of(&outcome, 0));
    let line = "ok      reference   S: akv://VAULT/sql-sa, from an option\n";
    assert!(report.contains(line), "{report}");
}

/// What takes its connection says nothing: there is not even a handshake.
#[test]
fn signal_while_connecting_is_reported() {
    let azure = Azure::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let vault = format!("localhost:{}", silent.local_addr().unwrap().port());
    let run = check(&azure, &["--", "true"])
        .env("S", format!("akv://{vault}/a"))
        .env("AKV_INIT_ALLOW_VAULT", &vault);
    let outcome = stopped_while_printing(run, || silent.accept().unwrap());
    let error = outcome.error().unwrap();
    assert!(error.starts_with("stopped by SIGTERM after "), "{error}");
    assert!(error.contains(", while "), "{error}");
}

/// Somebody who has waited long enough.
#[test]
fn signal_while_reading_is_reported() {
    let (azure, target) = with_secret();
    azure.always(
        Endpoint::Vault,
        Response::usual().delay(Duration::from_secs(20)),
    );
    let run = check(&azure, &["--secret", &target, "--", "true"]);
    let outcome = stopped_while_printing(run, || azure.wait_for(Endpoint::Vault, 1));
    let error = outcome.error().unwrap();
    assert!(error.starts_with("stopped by SIGTERM after "), "{error}");
    assert!(
        error.contains(", while reading secret `sql-sa` from "),
        "{error}"
    );
}

/// What is wrong, and what `exec` makes of it.
#[test]
fn exit_code_is_that_of_exec() {
    let (azure, target) = with_secret();
    azure.put(Stored {
        enabled: false,
        ..Stored::new("disabled", VALUE)
    });
    let program = |name: &str, content: &str| {
        let file = azure.dir().join(name);
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (file, empty) = (program("no-program", "no program\n"), program("empty", ""));
    let (file, empty) = (file.as_str(), empty.as_str());
    let vault = azure.vault();
    let secret = |name: &str| format!("S=akv://{vault}/{name}");
    let (missing, disabled) = (secret("missing"), secret("disabled"));
    let old = secret(&format!("{NAME}/0123456789abcdef0123456789abcdef"));
    let good = ["--secret", target.as_str(), "--", "true"];
    let no_answer: &[(Endpoint, Response)] = &[];
    let none: &[(&str, &str)] = &[];
    let half = ("AZURE_FEDERATED_TOKEN_FILE", "/nowhere");
    let pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    let throttled = [(Endpoint::Vault, Response::throttled())];
    let login = [(Endpoint::Imds, Response::html(200, "<html>sign in</html>"))];
    for (words, variables, answers, code, broken) in [
        (&good[..], none, no_answer, 0, ""),
        (&["true"], none, no_answer, 0, ""),
        (
            &["true"],
            &[("S", "akv://kv1/a_b")],
            no_answer,
            78,
            "reference S",
        ),
        (
            &["true"],
            &[("S", "see akv://kv1/a")],
            no_answer,
            78,
            "reference S",
        ),
        (&good, &[("S", "a value")], no_answer, 78, "reference S"),
        (
            &good,
            &[("AKV_INIT_CLOUD", "moon")],
            no_answer,
            78,
            "references",
        ),
        (
            &["--secret", "S=akv:///a", "--", "true"],
            none,
            no_answer,
            78,
            "reference S",
        ),
        (&["absent"], none, no_answer, 127, "command absent"),
        (
            &["--secret", &target, "--", "/no/such/program"],
            none,
            no_answer,
            127,
            "command /no/such/program",
        ),
        (
            &["--secret", &target, "--", "/"],
            none,
            no_answer,
            126,
            "command /",
        ),
        (
            &["--secret", &target, "--", empty],
            none,
            no_answer,
            126,
            "command ",
        ),
        (
            &["--secret", &target, "--", file],
            none,
            no_answer,
            126,
            "command",
        ),
        (&good, &[half], no_answer, 78, "identity"),
        (
            &good,
            &[("AZURE_CLIENT_SECRET", "s3cr3t")],
            no_answer,
            78,
            "identity",
        ),
        (&good, &[pod], no_answer, 78, "identity"),
        (
            &good,
            &[("SSL_CERT_FILE", "/nowhere")],
            no_answer,
            78,
            "trust",
        ),
        (&good, &[("SSL_CERT_FILE", "")], no_answer, 76, "connection"),
        (
            &good,
            none,
            &[(Endpoint::Imds, Response::imds_not_found())],
            77,
            "token",
        ),
        (&good, none, &login, 76, "token"),
        (
            &good,
            none,
            &[(Endpoint::Vault, Response::rbac())],
            77,
            "secret S",
        ),
        (
            &good,
            none,
            &[(Endpoint::Vault, Response::access_policy())],
            77,
            "secret S",
        ),
        (
            &good,
            none,
            &[(Endpoint::Vault, Response::firewall())],
            77,
            "secret S",
        ),
        (&good, none, &throttled, 69, "secret S"),
        (
            &good,
            none,
            &[(Endpoint::Vault, Response::status(503))],
            69,
            "secret S",
        ),
        (
            &["--secret", &missing, "--", "true"],
            none,
            no_answer,
            66,
            "secret S",
        ),
        (
            &["--secret", &disabled, "--", "true"],
            none,
            no_answer,
            66,
            "secret S",
        ),
        (
            &["--secret", &old, "--", "true"],
            none,
            no_answer,
            66,
            "secret S",
        ),
        // Of several the one at which `exec` ends.
        (
            &["--secret", &missing, "--", "absent"],
            none,
            no_answer,
            127,
            "command absent",
        ),
        (
            &["--secret", &missing, "--", file],
            none,
            no_answer,
            66,
            "secret S",
        ),
        (
            &[
                "--allow-vault",
                &vault,
                "--allow-vault",
                "127.0.0.1:1",
                "--secret",
                "R=akv://127.0.0.1:1/a",
                "--secret",
                &missing,
                "--",
                "true",
            ],
            none,
            no_answer,
            66,
            "secret S; 1 more check failed",
        ),
        (
            &good,
            &[("SSL_CERT_FILE", "")],
            &[(Endpoint::Imds, Response::status(503))],
            69,
            "token https://vault.azure.net; 1 more check failed",
        ),
    ] {
        let outcomes = ["exec", "check"].map(|command| {
            for (endpoint, answer) in answers {
                azure.always(*endpoint, answer.clone());
            }
            // One try each, as `check` has.
            let run = run(&azure, command, words).env("AKV_INIT_TIMEOUT", "0");
            let run = with(run, variables);
            let outcome = run.outcome();
            [Endpoint::Imds, Endpoint::Vault]
                .into_iter()
                .for_each(|endpoint| azure.clear(endpoint));
            outcome
        });
        let [exec, check] = outcomes;
        assert_eq!(
            (exec.code, check.code),
            (Some(code), Some(code)),
            "{words:?}: {}{}",
            exec.stderr,
            check.stdout
        );
        assert_eq!(check.stderr, "");
        let verdict = verdict(&check.stdout);
        let expected = match code {
            0 => "ok      verdict     all checks passed".to_owned(),
            _ => format!(
                "FAILED  verdict     exec would fail with exit code {code}; failed check: {broken}"
            ),
        };
        assert!(
            verdict.starts_with(&expected),
            "{words:?} {variables:?}: {verdict}"
        );
        // Both know what to do, or neither.
        let hint = |text: &str| text.contains("hint: ");
        assert!(
            hint(&check.stdout) || !hint(&exec.stderr),
            "{}{}",
            exec.stderr,
            check.stdout
        );
    }
    // Who is not there at all.
    let other = Azure::builder()
        .certificate(Endpoint::Vault, Certificate::OtherName)
        .start();
    let target = format!("S=akv://{}/a", other.vault());
    let words = ["--secret", &target, "--", "true"];
    assert_eq!(run(&other, "exec", &words).outcome().code, Some(76));
    assert_eq!(check_code(&other, &words), 76);
    for endpoint in [Endpoint::Vault, Endpoint::Imds] {
        other.close(endpoint);
        let exec = run(&other, "exec", &[&["--timeout", "0"], &words[..]].concat()).outcome();
        assert_eq!(
            check_code(&other, &words),
            exec.code.unwrap(),
            "{endpoint:?}: {}",
            exec.stderr
        );
    }
}

fn check_code(azure: &Azure, words: &[&str]) -> i32 {
    check(azure, words).outcome().code.unwrap()
}

#[test]
fn failed_link_does_not_stop_independent_checks() {
    let (azure, target) = with_secret();
    azure.always_for(Endpoint::Vault, "/secrets/denied", Response::rbac());
    let secret = |name: &str| format!("{}=akv://{}/{name}", name.to_uppercase(), azure.vault());
    let (denied, missing) = (secret("denied"), secret("missing"));
    let words = [
        "--secret",
        &denied,
        "--secret",
        &missing,
        "--secret",
        &target,
        "--secret",
        "T=entra-token:https://a.example",
        "--",
        "absent",
    ];
    let outcome = check(&azure, &words).outcome();
    let report = unfolded(&azure, report_of(&outcome, 127));
    let states: Vec<String> = report
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| {
            line.split([':', '`'])
                .next()
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    let expected = [
        "ok reference DENIED",
        "ok reference MISSING",
        "ok reference S",
        "ok reference T",
        "FAILED command absent",
        "ok identity IMDS (http",
        "ok name 127.0.0.1",
        "ok connection IMDS",
        "ok token https",
        "ok token https",
        "ok name localhost",
        "ok connection VAULT",
        "FAILED secret DENIED",
        "FAILED secret MISSING",
        "ok secret S",
        "ok clock agrees with IMDS and VAULT",
        "FAILED verdict exec would fail with exit code 127; failed check",
    ];
    assert_eq!(states, expected, "{report}");
    assert!(
        verdict(&outcome.stdout).contains("; 2 more checks failed\n"),
        "{report}"
    );
}

#[test]
fn links_that_depend_on_a_failed_one_are_skipped() {
    let (azure, target) = with_secret();
    azure.always(Endpoint::Imds, Response::imds_not_found());
    let report = check(&azure, &["--secret", &target]).outcome().stdout;
    assert!(
        report.contains("skipped secret      S: there is no access token\n"),
        "{report}"
    );
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 0);
    azure.clear(Endpoint::Imds);
    azure.close(Endpoint::Vault);
    let report = check(&azure, &["--secret", &target]).outcome().stdout;
    assert!(
        report.contains("skipped secret      S: there is no connection to its vault\n"),
        "{report}"
    );
}

#[test]
fn check_costs_one_token_and_one_request_per_secret() {
    let (azure, target) = with_secret();
    azure.secret("other", VALUE);
    let vault = azure.vault();
    let again = format!("AGAIN=akv://{vault}/{}?trim", NAME.to_uppercase());
    let other = format!("OTHER=akv://{vault}/other");
    for (words, imds, secrets) in [
        (&["true"][..], 0, 0),
        (&[], 0, 0),
        (&["--secret", &target], 1, 1),
        (
            &[
                "--secret", &target, "--secret", &again, "--secret", &other, "--", "true",
            ],
            1,
            2,
        ),
        // By the token that the vault's own secrets need.
        (
            &[
                "--secret",
                &target,
                "--secret",
                "T=entra-token:https://vault.azure.net",
            ],
            1,
            1,
        ),
        (
            &[
                "--secret",
                "T=entra-token:https://a.example",
                "--secret",
                "U=entra-token:https://b.example",
            ],
            2,
            0,
        ),
        // A mistake in the manifest costs nothing.
        (&["--secret", &target, "--secret", "S2=akv://kv1/a_b"], 0, 0),
    ] {
        let before = counts(&azure);
        check(&azure, words).outcome();
        let after = counts(&azure);
        assert_eq!(
            [after[0] - before[0], after[2] - before[2]],
            [imds, secrets],
            "{words:?}"
        );
    }
    // Every source of identity, and where nobody answers: still one try.
    for source in Source::ALL
        .into_iter()
        .filter(|source| *source != Source::Arc)
    {
        let (azure, target) = with_secret();
        azure.always(source.endpoint(), Response::status(503));
        let run =
            check(&azure, &["--secret", &target]).without("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let outcome = with(run, &source.environment(&azure)).outcome();
        assert_eq!(
            azure.requests_at(source.endpoint()).len(),
            1,
            "{source:?}: {}",
            outcome.stdout
        );
        assert_eq!(
            (outcome.code, azure.requests_at(Endpoint::Vault).len()),
            (Some(69), 0)
        );
    }
}

#[test]
fn command_is_not_started() {
    let (azure, target) = with_secret();
    let marker = azure.dir().join("was-run");
    let words = ["--secret", &target, "--", "touch", marker.to_str().unwrap()];
    report_of(&check(&azure, &words).outcome(), 0);
    assert!(!marker.exists());
}

#[test]
fn options_of_exec_are_accepted() {
    let (azure, _) = with_secret();
    let (vault, reference) = (azure.vault(), format!("akv://{}/{NAME}", azure.vault()));
    let memfd = format!("M={reference}");
    let words = [
        "--vault",
        &vault,
        "--memfd",
        &memfd,
        "--secret",
        "S=sql-sa",
        "--override",
        "--literal",
        "L",
        "--unset",
        "U",
        "--wait-for-access",
        "10m",
        "--throttle-timeout",
        "10m",
        "--timeout",
        "9",
        "--client-id",
        "0b7d6c5a-1e2f-4d3c-9b8a-f0e1d2c3b4a5",
        "--",
        "printenv",
    ];
    let run = check(&azure, &words)
        .env("E", &reference)
        .env("L", "akv://kv1/passed-on")
        .env("S", "a value")
        .env("AKV_INIT_TIMEOUT", "5m");
    let outcome = run.outcome();
    let report = unfolded(&azure, report_of(&outcome, 0));
    for line in [
        "ok      reference   E: akv://VAULT/sql-sa, from the environment\n",
        "ok      reference   S: akv://VAULT/sql-sa, from an option\n",
        "ok      reference   M: akv://VAULT/sql-sa, from an option\n",
        "ok      secret      E, S, M: `sql-sa`, version ",
    ] {
        assert!(report.contains(line), "{line}{report}");
    }
    assert!(!report.contains("passed-on"), "{report}");
}

#[test]
fn missing_references_are_a_warning() {
    let azure = Azure::start();
    let none = "no references: exec starts COMMAND without secrets";
    let verdict = "ok      verdict     all checks passed; warnings: references\n";
    for (words, command) in [
        (&[][..], ""),
        (
            &["--", "/bin/sh", "-c", "exit 3"],
            "ok      command     /bin/sh\n",
        ),
    ] {
        let outcome = check(&azure, words).outcome();
        let expected = format!("warning references  {none}\n{command}{verdict}");
        assert_eq!(report_of(&outcome, 0), expected);
    }
    // As `exec` is put there and its COMMAND forgotten.
    check(&azure, &["--"]).outcome().failed(
        64,
        &[
            "error: no COMMAND given",
            "hint: write akv-init check [OPTIONS] -- COMMAND; a new ENTRYPOINT or `command:` drops the image's CMD: \
             repeat it",
        ],
    );
    let outcome = check(&azure, &["--format", "json"]).outcome();
    let expected = [
        json!({"link": "references", "state": "warning", "message": none}),
        json!({
            "link": "verdict", "state": "ok", "code": 0,
            "message": "all checks passed; warnings: references",
        }),
    ];
    assert_eq!(links(report_of(&outcome, 0)), expected);
    assert_eq!(connections(&azure), 0);
}

#[test]
fn options_of_other_commands_are_rejected_without_a_request() {
    let (azure, target) = with_secret();
    for words in [
        &["--dry-run"][..],
        &["--from-env"],
        &["--output", "json:a"],
        &["--mode", "0400"],
        &["--layout", "plain"],
        &["--keep-existing"],
        &["--require-tmpfs"],
        &["--scope", "https://vault.azure.net/.default"],
    ] {
        let words = [words, &["--secret", &target, "--", "true"]].concat();
        let failure = check(&azure, &words).failure(64, "usage");
        failure.names(words[0]).hinted();
    }
    let failure = check(&azure, &["--format", "xml"]).failure(64, "usage");
    failure.names("--format").hinted();
    assert_eq!(connections(&azure), 0);
}

/// The exit code is an answer, too: `check >&-` in a script, `check | grep -q` by hand.
#[test]
fn closed_output_still_gives_the_exit_code() {
    let (azure, target) = with_secret();
    let missing = format!("S=akv://{}/missing", azure.vault());
    for (target, code) in [(&target, 0), (&missing, 66)] {
        let run = || check(&azure, &["--secret", target, "--", "true"]);
        let closed = run()
            .with(|command| inherited::close(command, &[1]))
            .outcome();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let unread = outcome_without_stdout(run().with(|command| {
            command.stdout(Stdio::from(writer));
        }));
        for outcome in [closed, unread] {
            assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(code), ""));
        }
    }
}

/// What is lost there would look like an empty report of checks that all passed.
#[test]
fn report_that_cannot_be_written_is_an_error() {
    let (azure, target) = with_secret();
    let missing = format!("S=akv://{}/missing", azure.vault());
    for (target, format) in [(&target, "text"), (&missing, "json")] {
        let run = check(&azure, &["--format", format, "--secret", target]).json();
        let failure = to_full_device(run).failure(73, "cannot create");
        failure.names("standard output");
    }
}

/// No output with exit code 0 would look like success.
#[test]
fn text_that_cannot_be_written_is_an_error() {
    for words in [
        &["--version"][..],
        &["--help"],
        &["check", "--help"],
        &["exec", "--dry-run", "--", "true"],
        &["write", "--dry-run", "--secret=a=akv://kv1/a", "/secrets"],
    ] {
        let failure = to_full_device(akv_init(words).json()).failure(73, "cannot create");
        failure.names("standard output");
    }
}

fn to_full_device(run: Run) -> Outcome {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    outcome_without_stdout(run.with(|command| {
        command.stdout(Stdio::from(full));
    }))
}

/// All the time that there is, whatever the manifest gives `exec`.
#[test]
fn timeout_is_not_that_of_exec() {
    let (azure, target) = with_secret();
    azure.always(Endpoint::Vault, Response::usual().hold());
    let run = check(&azure, &["--timeout", "1", "--secret", &target]).env("AKV_INIT_TIMEOUT", "1h");
    let report = run.outcome();
    let expected =
        "FAILED  verdict     timed out after 1 s; not finished: secret S; all others passed\n";
    assert!(report.stdout.contains(expected), "{}", report.stdout);
    assert_eq!(report.code, Some(69));
    azure.clear(Endpoint::Vault);
    // What failed in time is more certain than what did not end. Three seconds, so that a busy machine gets that far.
    azure.always_for(
        Endpoint::Vault,
        &format!("/secrets/{NAME}"),
        Response::usual().hold(),
    );
    let missing = format!("M=akv://{}/missing", azure.vault());
    let run = check(&azure, &["--timeout", "3", "--secret", &target]).args(["--secret", &missing]);
    let report = run.outcome();
    let expected =
        "exec would fail with exit code 66; failed check: secret M; 1 more check failed\n";
    assert!(report.stdout.contains(expected), "{}", report.stdout);
    azure.clear(Endpoint::Vault);
    // One try each is what is made anyway.
    let run = check(&azure, &["--timeout", "0", "--secret", &target]).env("AKV_INIT_TIMEOUT", "1s");
    assert_eq!(run.outcome().code, Some(0));
}

#[test]
fn no_secret_is_in_the_report_or_verbose_output() {
    for source in Source::ALL
        .into_iter()
        .filter(|source| *source != Source::Arc)
    {
        let azure = Azure::start();
        azure.put(Stored {
            content_type: Some("text/plain".to_owned()),
            ..Stored::new(NAME, VALUE)
        });
        let target = format!("S=akv://{}/{NAME}", azure.vault());
        let token = "T=entra-token:https://a.example";
        let words = ["--verbose", "--secret", &target, "--secret", token];
        let run = |format: &str, log: &str| {
            let run = check(&azure, &["--format", format, "--log-format", log]).args(words);
            let run = run.without("AZURE_POD_IDENTITY_AUTHORITY_HOST");
            with(run, &source.environment(&azure)).outcome()
        };
        for (format, log) in [("text", "json"), ("json", "text")] {
            let outcome = run(format, log);
            assert_eq!(outcome.code, Some(0), "{source:?}: {}", outcome.stdout);
            assert_ne!(outcome.stderr, "");
            assert_eq!(leak(&azure, &outcome, &[VALUE]), None, "{source:?}");
            // A vault that says what it was sent.
            let answer = Response::vault_error(
                403,
                "{credential}",
                Some("{credential}"),
                "you sent {credential}, {form}",
            );
            azure.always(Endpoint::Vault, answer);
            let outcome = run(format, log);
            azure.clear(Endpoint::Vault);
            assert_eq!(outcome.code, Some(77), "{source:?}: {}", outcome.stdout);
            assert_eq!(leak(&azure, &outcome, &[VALUE]), None, "{source:?}");
        }
    }
}

/// Its lines are the report's; what `--verbose` says has the form of every other command's.
#[test]
fn verbose_writes_each_request_to_standard_error() {
    let (azure, target) = with_secret();
    let words = ["--secret", &target];
    for run in [
        check(&azure, &["--verbose", "--log-format", "json"]).args(words),
        check(&azure, &["-v", "--log-format=json"])
            .args(words)
            .env("AKV_INIT_VERBOSE", "false"),
        check(&azure, &words)
            .env("AKV_INIT_VERBOSE", "true")
            .env("AKV_INIT_LOG_FORMAT", "json"),
    ] {
        let outcome = run.outcome();
        let said: Vec<Value> = outcome
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let urls: Vec<&str> = said
            .iter()
            .filter_map(|object| object["url"].as_str())
            .collect();
        let expected = [
            format!("{}/metadata/identity/oauth2/token", azure.imds()),
            format!("https://{}/secrets/{NAME}", azure.vault()),
        ];
        assert_eq!(urls, expected, "{}", outcome.stderr);
        assert!(
            said.iter().all(|object| object["level"] == "debug"),
            "{}",
            outcome.stderr
        );
        assert!(
            outcome
                .stdout
                .ends_with("ok      verdict     all checks passed\n"),
            "{}",
            outcome.stdout
        );
    }
}
