//! `--log-format json`: each line of standard error is one object, whatever it reports, with the content of the text.

pub mod settled;
mod signals;

use std::fs;

use serde_json::{Value, json};

use crate::azure::{Azure, Certificate, Endpoint, Response, Stored};
use crate::support::{Outcome, Run, akv_init};
use crate::support_identities::{Source, leak};
use crate::support_requests::{NAME, VALUE, one_secret};
use crate::support_tables::cause_of;
use settled::{objects, raw_objects, settled, texts};

/// The maximum length of a line with its end: PIPE_BUF, so that lines of several writers do not mix.
const LONGEST: usize = 4_096;

/// Any command with the settings that lead to the fake Azure.
fn run(azure: &Azure, words: &[&str]) -> Run {
    akv_init(words)
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .env("PATH", "/bin:/usr/bin")
}

/// A fake Azure that holds one secret, and its reference.
fn with_secret() -> (Azure, String) {
    let azure = Azure::start();
    azure.secret(NAME, VALUE);
    let reference = format!("akv://{}/{NAME}", azure.vault());
    (azure, reference)
}

/// The objects without their message and hint, whose wording is not compared here; ordered, since threads are not.
#[track_caller]
fn facts(outcome: &Outcome) -> Vec<Value> {
    let mut objects = objects(outcome);
    for object in &mut objects {
        let object = object.as_object_mut().expect("an object");
        object.remove("message");
        object.remove("hint");
        // Another one in each run.
        for id in ["client_request_id", "request_id"] {
            if object.contains_key(id) {
                object.insert(id.to_owned(), "ID".into());
            }
        }
    }
    objects.sort_by_key(Value::to_string);
    objects
}

#[test]
fn debug_line_has_its_facts() {
    let (azure, reference) = with_secret();
    let outcome = run(&azure, &["get", "-v", "--log-format", "json", &reference]).outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), VALUE));
    let (imds, vault) = (azure.imds(), azure.vault());
    let source = format!("IMDS ({imds}, managed identity)");
    let imds = format!("{imds}/metadata/identity/oauth2/token");
    let secret = format!("https://{vault}/secrets/{NAME}");
    let mut expected = [
        json!({"level": "debug", "method": "GET", "ms": 0, "status": 200, "url": imds}),
        json!({"level": "debug", "method": "GET", "ms": 0, "status": 200, "url": secret}),
        json!({"level": "debug", "ms": 0, "url": format!("https://{vault}")}),
        json!({
            "expires": "DATE TIME UTC", "identity": source, "level": "debug",
            "resource": "https://vault.azure.net",
        }),
    ];
    expected.sort_by_key(Value::to_string);
    assert_eq!(facts(&outcome), expected);
}

#[test]
fn failed_attempt_has_its_number_and_the_delay() {
    let (azure, reference) = with_secret();
    azure.next(
        Endpoint::Vault,
        Response::throttled().header("Retry-After", "0"),
    );
    let words = [
        "get",
        "-v",
        "--log-format",
        "json",
        "--timeout",
        "9",
        &reference,
    ];
    let outcome = run(&azure, &words).outcome();
    assert_eq!(outcome.stdout, VALUE, "{}", outcome.stderr);
    let mut attempts = facts(&outcome);
    attempts.retain(|object| !object["try"].is_null());
    assert_eq!(
        attempts,
        [json!({"level": "debug", "next_ms": 0, "try": 1})]
    );
}

#[test]
fn warning_is_an_object() {
    let (azure, _) = with_secret();
    azure.put(Stored {
        expires: Some(1_700_000_000),
        ..Stored::new("expired", VALUE)
    });
    let target = format!("S=akv://{}/expired", azure.vault());
    let words = [
        "exec",
        "--log-format",
        "json",
        "--secret",
        &target,
        "--",
        "printenv",
        "S",
    ];
    let outcome = run(&azure, &words).env("AKV_INIT_TIMEOOT", "5").outcome();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), format!("{VALUE}\n").as_str())
    );
    let warning = json!({"level": "warning"});
    assert_eq!(facts(&outcome), [warning.clone(), warning]);
    for part in ["AKV_INIT_TIMEOOT", "2023-11-14 22:13:20 UTC"] {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn error_has_code_cause_hint_and_facts() {
    let azure = Azure::start();
    let vault = azure.vault();
    let target = format!("S=akv://{vault}/missing");
    let run_exec =
        |words: &[&str]| run(&azure, &[&["exec", "--log-format", "json"], words].concat());
    let failure = run_exec(&["--secret", &target, "--", "true"]).failure(66, "not found");
    failure.hinted().names("404 Not Found");
    let outcome = run_exec(&["--secret", &target, "--", "true"]).outcome();
    let expected = json!({
        "cause": "not found", "client_request_id": "ID", "code": 66, "for": "S", "level": "error",
        "refusal": "SecretNotFound", "request_id": "ID", "secret": "missing", "vault": vault,
    });
    assert_eq!(facts(&outcome), [expected]);
    // Without a hint there is no such field.
    run_exec(&["/"]).failure(126, "not executable").unhinted();
    assert_eq!(facts(&run_exec(&["/"]).outcome()), [not_executable()]);
}

/// The facts of `exec /`.
fn not_executable() -> Value {
    json!({"cause": "not executable", "code": 126, "command": "/", "level": "error"})
}

/// A run, with what the fake Azure answers.
struct Case {
    name: &'static str,
    words: Vec<String>,
    code: i32,
    /// What the fake Azure answers in place of its usual answers.
    answers: Vec<(Endpoint, Response)>,
    variables: Vec<(&'static str, String)>,
}

fn case(name: &'static str, code: i32, words: &[&str]) -> Case {
    Case {
        name,
        words: words.iter().map(|&word| word.to_owned()).collect(),
        code,
        answers: Vec::new(),
        variables: Vec::new(),
    }
}

impl Case {
    fn answering(mut self, endpoint: Endpoint, answer: Response) -> Case {
        self.answers.push((endpoint, answer));
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Case {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Runs it in this format, with the fake Azure's address and a directory that holds one file filled in.
    fn run(&self, azure: &Azure, format: &str) -> Outcome {
        let dir = azure.dir().join("dir");
        // The one of the run before.
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "").unwrap();
        let dir = dir.to_str().unwrap();
        for (endpoint, answer) in &self.answers {
            azure.always(*endpoint, answer.clone());
        }
        let words = self
            .words
            .iter()
            .map(|word| word.replace("VAULT", &azure.vault()).replace("DIR", dir));
        let words: Vec<String> = words.collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (command, others) = words.split_first().unwrap();
        let run = run(azure, &[command, "--verbose"]).args(others);
        let run = run
            .env("AKV_INIT_LOG_FORMAT", format)
            .env("AKV_INIT_TIMEOUT", "0");
        let variables = self.variables.iter();
        let run = variables.fold(run, |run, (name, value)| run.env(name, value));
        let outcome = run.outcome();
        [Endpoint::Imds, Endpoint::Vault]
            .into_iter()
            .for_each(|endpoint| azure.clear(endpoint));
        outcome
    }
}

/// Every command, as it succeeds and as it fails.
fn cases() -> Vec<Case> {
    const SECRET: &str = "S=akv://VAULT/sql-sa";
    const REF: &str = "akv://VAULT/sql-sa";
    let exec = |name, code, words: &[&str]| case(name, code, &[&["exec"], words].concat());
    let good = ["exec", "--secret", SECRET, "--", "true"];
    vec![
        case("exec", 0, &good),
        case("write", 0, &["write", "--secret", SECRET, "DIR"]),
        case("token", 0, &["token"]),
        case("get", 0, &["get", REF]),
        case("install", 0, &["install", "DIR"]),
        case("check", 0, &["check", "--secret", SECRET, "--", "true"]),
        exec("nothing to fetch", 0, &["true"]),
        exec(
            "dry run",
            0,
            &["--dry-run", "--secret", SECRET, "--", "true"],
        ),
        exec("unknown setting", 0, &["true"]).with("AKV_INIT_QUIET", "1"),
        exec(
            "missing",
            66,
            &["--secret", "S=akv://VAULT/missing", "--", "true"],
        ),
        exec(
            "disabled",
            66,
            &["--secret", "S=akv://VAULT/disabled", "--", "true"],
        ),
        exec(
            "two missing",
            66,
            &[
                "--secret",
                "S=akv://VAULT/missing",
                "--secret",
                "T=akv://VAULT/sql-sa/0123456789abcdef0123456789abcdef",
                "--",
                "true",
            ],
        ),
        exec("nothing given", 64, &[]),
        exec("unknown option", 64, &["--bogus", "true"]),
        exec(
            "malformed",
            78,
            &["--secret", "S=akv://kv1/a_b", "--", "true"],
        ),
        exec("two sources", 78, &["--secret", SECRET, "--", "true"]).with("S", "value"),
        exec("half a reference", 78, &["true"]).with("S", "see akv://kv1/a"),
        exec("half a credential", 78, &["--secret", SECRET, "--", "true"])
            .with("AZURE_CLIENT_SECRET", "s3cr3t"),
        exec("bad setting", 78, &["true"]).with("AKV_INIT_CLOUD", "moon"),
        exec("no trust", 78, &["--secret", SECRET, "--", "true"]).with("SSL_CERT_FILE", "/nowhere"),
        exec("untrusted", 76, &["--secret", SECRET, "--", "true"]).with("SSL_CERT_FILE", ""),
        exec("absent command", 127, &["absent"]),
        exec("not a program", 126, &["/"]),
        exec(
            "no such name",
            69,
            &["--secret", "S=akv://vault.invalid/a", "--", "true"],
        )
        .with("AKV_INIT_ALLOW_VAULT", "vault.invalid"),
        case("no role", 77, &good).answering(Endpoint::Vault, Response::rbac()),
        case("firewall", 77, &good).answering(Endpoint::Vault, Response::firewall()),
        case("throttled", 69, &good).answering(Endpoint::Vault, Response::throttled()),
        case("broken", 69, &good).answering(Endpoint::Vault, Response::status(503)),
        case("a page", 76, &good).answering(
            Endpoint::Vault,
            Response::html(200, "<html>\"sign\\in\"</html>"),
        ),
        case("a redirect", 76, &good).answering(
            Endpoint::Vault,
            Response::redirect("https://sign-in.example.com/"),
        ),
        case("garbage", 76, &good).answering(Endpoint::Imds, Response::garbage()),
        case("no identity", 77, &good).answering(Endpoint::Imds, Response::imds_not_found()),
        case(
            "a file for a directory",
            73,
            &["write", "--secret", SECRET, "DIR/file"],
        ),
        case(
            "no directory",
            73,
            &["write", "--secret", SECRET, "DIR/none"],
        ),
        case("nothing to write", 64, &["write", "DIR"]),
        case("no references", 78, &["write", "--from-env", "DIR"]),
        case(
            "a bad file name",
            78,
            &["write", "--secret", "../a=akv://VAULT/sql-sa", "DIR"],
        ),
        case(
            "nothing to keep",
            69,
            &[
                "write",
                "--keep-existing",
                "--secret",
                "\"q\\\u{e9}=akv://VAULT/sql-sa",
                "DIR",
            ],
        )
        .answering(Endpoint::Vault, Response::status(503)),
        case(
            "not in that format",
            78,
            &[
                "write",
                "--output",
                "k8s-env:a",
                "--secret",
                "A=akv://VAULT/quote",
                "DIR",
            ],
        ),
        case("install nowhere", 73, &["install", "DIR/none"]),
        case("install two", 64, &["install", "DIR", "more"]),
        case(
            "a scope",
            64,
            &["token", "--scope", "https://vault.azure.net"],
        ),
        case("token denied", 77, &["token"]).answering(Endpoint::Imds, Response::imds_not_found()),
        case("no resource", 64, &["token", "https://a b"]),
        case("no REF", 64, &["get"]),
        case("no vault", 78, &["get", "sql-sa"]),
        case("get missing", 66, &["get", "akv://VAULT/missing"]),
        case("get denied", 77, &["get", REF]).answering(Endpoint::Vault, Response::access_policy()),
        case(
            "check missing",
            66,
            &["check", "--secret", "S=akv://VAULT/missing"],
        ),
        case("check typed wrongly", 64, &["check", "--dry-run"]),
        case("unknown command", 64, &["frobnicate"]),
    ]
}

/// The kind and the text of each line.
fn lines_of_text(outcome: &Outcome) -> Vec<(String, String)> {
    let lines = outcome
        .stderr
        .lines()
        .map(|line| line.strip_prefix("akv-init: ").expect("our name"));
    let kinds = ["error", "hint", "warning", "debug"];
    lines
        .map(|line| {
            let kind = kinds
                .into_iter()
                .find(|kind| line.starts_with(&format!("{kind}: ")));
            let text = kind.map_or(line, |kind| &line[kind.len() + 2..]);
            (kind.unwrap_or("info").to_owned(), settled(text))
        })
        .collect()
}

fn lines_of_objects(objects: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut lines = Vec::new();
    for object in objects {
        lines.push((text(&object["level"]), text(&object["message"])));
        if !object["hint"].is_null() {
            lines.push(("hint".to_owned(), text(&object["hint"])));
        }
    }
    lines
}

#[test]
fn text_and_json_have_the_same_content() {
    let (azure, _) = with_secret();
    azure.put(Stored {
        enabled: false,
        ..Stored::new("disabled", VALUE)
    });
    azure.secret("quote", "it's");
    let mut levels = Vec::new();
    for case in cases() {
        let name = case.name;
        let text = case.run(&azure, "text");
        let json = case.run(&azure, "json");
        assert_eq!(
            (text.code, json.code),
            (Some(case.code), Some(case.code)),
            "{name}: {}",
            json.stderr
        );
        let objects = objects(&json);
        // Threads have no order, and the early connection may not have got there before the end.
        let sorted = |mut lines: Vec<(String, String)>| {
            lines.retain(|(_, text)| !text.starts_with("connected to "));
            lines.sort();
            lines
        };
        assert_eq!(
            sorted(lines_of_objects(&objects)),
            sorted(lines_of_text(&text)),
            "{name}"
        );
        let errors: Vec<&Value> = objects
            .iter()
            .filter(|object| object["level"] == "error")
            .collect();
        // `check` reports failures on standard output.
        let expected = usize::from(case.code != 0 && name != "check missing");
        assert_eq!(errors.len(), expected, "{name}: {}", json.stderr);
        for error in errors {
            assert_eq!(
                (&error["code"], &error["cause"]),
                (&json!(case.code), &json!(cause_of(case.code))),
                "{name}"
            );
        }
        levels.extend(objects.into_iter().map(|object| object["level"].clone()));
        for text in raw_objects(&json).iter().flat_map(texts) {
            let text = Outcome {
                stdout: String::new(),
                stderr: text,
                ..json.clone()
            };
            assert_eq!(leak(&azure, &text, &[VALUE, "s3cr3t"]), None, "{name}");
        }
    }
    for level in ["debug", "error", "warning"] {
        assert!(
            levels.iter().any(|found| found == level),
            "no case for {level}"
        );
    }
}

/// The options cannot be read, so the environment decides.
#[test]
fn usage_error_has_the_format_of_the_environment() {
    for words in [
        &["exec", "--bogus"][..],
        &["exec", "--log-format", "json", "--bogus"],
        &["exec", "--log-format", "xml", "true"],
        &[
            "exec",
            "--log-format",
            "json",
            "--log-format",
            "json",
            "true",
        ],
        &["exec", "--log-format"],
        &[],
    ] {
        let failure = akv_init(words).failure(64, "usage");
        failure.hinted();
        let text = akv_init(words).outcome();
        assert_eq!(text.error(), Some(failure.message()));
        for format in ["", "text", "xml"] {
            let outcome = akv_init(words).env("AKV_INIT_LOG_FORMAT", format).outcome();
            assert_eq!(outcome, text, "{format}");
        }
    }
}

#[test]
fn option_takes_precedence_over_the_variable() {
    let failing = |words: &[&str], variable: &str| {
        let run = akv_init(["exec"]).args(words).args(["/"]);
        run.env("AKV_INIT_LOG_FORMAT", variable).outcome()
    };
    let text = failing(&[], "");
    assert_eq!(text.code, Some(126));
    assert!(text.error().is_some(), "{}", text.stderr);
    for (words, variable) in [
        (&[][..], "text"),
        (&["--log-format", "text"], "json"),
        (&["--log-format=text"], "xml"),
    ] {
        assert_eq!(failing(words, variable), text);
    }
    for (words, variable) in [
        (&[][..], "json"),
        (&["--log-format", "json"], "text"),
        (&["--log-format=json"], "xml"),
    ] {
        let outcome = failing(words, variable);
        assert_eq!(facts(&outcome), [not_executable()], "{words:?} {variable}");
    }
    // The error of an invalid format is text.
    for variable in ["xml", "JSON", "jso n", "true"] {
        let outcome = failing(&[], variable);
        assert_eq!(outcome.code, Some(78));
        let error = outcome.error().unwrap_or_default();
        assert!(error.contains("AKV_INIT_LOG_FORMAT"), "{error}");
        assert!(error.contains(&format!("`{variable}`")), "{error}");
    }
    for words in [["--help"], ["--version"]] {
        let run = akv_init(words).env("AKV_INIT_LOG_FORMAT", "xml");
        assert_ne!(run.outcome().stdout_alone(), "");
    }
}

#[test]
fn text_of_a_server_cannot_break_a_line() {
    let azure = Azure::start();
    let text = "quote \" backslash \\ brace } bell \u{7} escape \u{1b}[31m right to left \u{202e} line\nnext \
                \u{7f} \u{85} 世界";
    let answer = Response::vault_error(400, "Bad\"Parameter\\", Some("In\nner"), text);
    azure.always(Endpoint::Vault, answer);
    let text = one_secret(&azure, &["--timeout", "0"]).outcome();
    let json = one_secret(&azure, &["--timeout", "0", "--log-format", "json"]).outcome();
    let objects = objects(&json);
    assert_eq!(lines_of_objects(&objects), lines_of_text(&text));
    assert_eq!(objects.len(), 1);
    let message = objects[0]["message"].as_str().unwrap();
    assert!(
        message.contains("quote \" backslash \\ brace } bell"),
        "{message}"
    );
    assert!(
        !message.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{message:?}"
    );
}

#[test]
fn object_with_a_long_message_is_complete() {
    let name = "\"\\\u{1}世";
    let path = format!("/{}", name.repeat(900));
    for length in [path.len(), 4_000, 3_950, 3_900, 2_000] {
        let path: String = path
            .chars()
            .scan(0, |sum, c| {
                *sum += c.len_utf8();
                (*sum <= length).then_some(c)
            })
            .collect();
        let text = akv_init(["exec", &path]).outcome();
        let json = akv_init(["exec", "--log-format", "json", &path]).outcome();
        assert!(json.stderr.len() <= LONGEST, "{}", json.stderr.len());
        let objects = objects(&json);
        assert_eq!(objects.len(), 1);
        let (code, cause) = (&objects[0]["code"], &objects[0]["cause"]);
        assert_eq!(
            (code, cause, text.code),
            (
                &json!(json.code),
                &json!(self::cause_of(json.code.unwrap())),
                json.code
            )
        );
        let message = objects[0]["message"].as_str().unwrap();
        // Escapes are longer than the characters, so the text may contain more of the message.
        assert!(text.error().unwrap().starts_with(message), "{message}");
        assert!(message.len() > 1_900, "{}", message.len());
    }
}

#[test]
fn long_facts_are_cut_before_the_message() {
    let azure = Azure::start();
    // The message and the fact `for` contain all of them.
    let names: Vec<String> = (0..150)
        .map(|index| format!("A_VARIABLE_{index:03}"))
        .collect();
    let reference = format!("akv://{}/missing", azure.vault());
    let run = names.iter().fold(
        run(&azure, &["exec", "--log-format", "json", "true"]),
        |run, name| run.env(name, &reference),
    );
    let outcome = run.outcome();
    assert!(outcome.stderr.len() <= LONGEST);
    let objects = objects(&outcome);
    let list = names.join(", ");
    let message = objects[0]["message"].as_str().unwrap();
    assert!(message.contains(&list), "{message}");
    let cut = objects[0]["for"].as_str().unwrap();
    assert!(cut.len() < list.len() && list.starts_with(cut), "{cut}");
    assert_eq!(objects[0]["secret"], "missing");
    // A hint that alone would fill the line.
    let path = "/very/long/path:".repeat(400);
    let run = akv_init(["exec", "--log-format", "json", "absent"]).env("PATH", &path);
    let outcome = run.outcome();
    assert!(outcome.stderr.len() <= LONGEST);
    let object = &raw_objects(&outcome)[0];
    assert!(object["message"].as_str().unwrap().contains("`absent`"));
    let hint = object["hint"].as_str().unwrap();
    assert!(hint.len() > 3_900, "{hint}");
    assert!(hint.contains(&path[..3_000]), "{hint}");
}

/// The vault returns the request's credential in its errors.
#[test]
fn no_field_holds_a_secret() {
    for source in [
        Source::Imds,
        Source::Workload,
        Source::Secret,
        Source::AppService,
    ] {
        let azure = Azure::start();
        for text in ["you sent {credential}", "{form} {credential} {caller}"] {
            for status in [400, 401, 403, 503] {
                let answer =
                    Response::vault_error(status, "{credential}", Some("{credential}"), text);
                azure.always(Endpoint::Vault, answer);
                let options = ["--verbose", "--timeout", "0", "--log-format", "json"];
                let outcome = source.exec(&azure, &options).outcome();
                assert_ne!(outcome.code, Some(0));
                let texts: String = raw_objects(&outcome).iter().flat_map(texts).collect();
                let text = Outcome {
                    stderr: texts,
                    ..outcome.clone()
                };
                assert_eq!(leak(&azure, &outcome, &[VALUE]), None, "{source:?}");
                assert_eq!(leak(&azure, &text, &[VALUE]), None, "{source:?}");
            }
        }
        azure.clear(Endpoint::Vault);
        let outcome = source
            .exec(&azure, &["--verbose", "--log-format", "json"])
            .outcome();
        assert_eq!(outcome.stdout, format!("{VALUE}\n"));
        assert_eq!(leak(&azure, &outcome, &[]), None, "{source:?}");
        assert!(!outcome.stderr.contains(VALUE));
    }
}

#[test]
fn rejected_certificate_is_an_object() {
    let azure = Azure::builder()
        .certificate(Endpoint::Vault, Certificate::OtherName)
        .start();
    let text = one_secret(&azure, &[]).outcome();
    let json = one_secret(&azure, &["--log-format", "json"]).outcome();
    assert_eq!((text.code, json.code), (Some(76), Some(76)));
    assert_eq!(lines_of_objects(&objects(&json)), lines_of_text(&text));
}
