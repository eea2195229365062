//! `optional` and `default`: what a target gets if there is no secret for it.

use std::fs;

use crate::azure::{Azure, Endpoint, Response, Stored};
use crate::support::{Outcome, Run, akv_init, exec};
use crate::support_files::Place;

fn azure() -> Azure {
    let azure = Azure::start();
    azure.secret("db", r#"{"user":"app","none":null}"#);
    azure.secret("text", "not JSON");
    azure.put(Stored {
        enabled: false,
        ..Stored::new("disabled", "x")
    });
    azure
}

fn reference(azure: &Azure, rest: &str) -> String {
    format!("akv://{}/{rest}", azure.vault())
}

/// COMMAND prints the variable, or that there is none.
const PRINT: [&str; 3] = ["/bin/sh", "-c", "printf %s \"${S-unset}\""];

fn printing(azure: &Azure, rest: &str) -> Run {
    exec(azure, PRINT).env("S", reference(azure, rest))
}

/// Asserts that it succeeded with this output and one note about the target, without the text of a default.
#[track_caller]
fn assert_noted(outcome: &Outcome, stdout: &str) {
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), stdout),
        "{}",
        outcome.stderr
    );
    let notes = outcome.lines_of("info");
    assert_eq!(notes.len(), 1, "{}", outcome.stderr);
    let note = notes[0]["message"].as_str().unwrap();
    assert!(
        note.starts_with("S: ") && !note.contains("hunter2"),
        "{note}"
    );
}

#[test]
fn missing_secret_or_field_is_left_out_or_has_a_default() {
    let azure = azure();
    for (rest, value) in [
        ("absent?optional", "unset"),
        ("absent?optional&trim&decode=base64&encode=url#/a", "unset"),
        ("absent/0123456789abcdef0123456789abcdef?optional", "unset"),
        ("db/0123456789abcdef0123456789abcdef?optional", "unset"),
        ("db?optional#/password", "unset"),
        ("db?optional#/none", "unset"),
        ("absent?default=", ""),
        ("absent?default=hunter2%0A%26&encode=url&trim", "hunter2\n&"),
        ("db?default=hunter2#/none", "hunter2"),
        ("db?default=hunter2&decode=base64#/user/name", "hunter2"),
    ] {
        assert_noted(&printing(&azure, rest).json().outcome(), value);
        let secret = format!("--secret=S={}", reference(&azure, rest));
        let run = exec(&azure, [secret.as_str()]).args(PRINT).env("S", "");
        assert_noted(&run.json().outcome(), value);
    }
    for rest in ["db?optional#/user", "db?default=hunter2#/user"] {
        assert_eq!(printing(&azure, rest).outcome().stdout_alone(), "app");
    }
}

#[test]
fn every_other_failure_stays_one() {
    let azure = azure();
    for options in ["?optional", "?default=hunter2"] {
        let fails = |rest: &str, code, cause| {
            let rest = rest.replace('?', options);
            let failure = printing(&azure, &rest).failure(code, cause);
            failure.omits("hunter2");
            failure
        };
        fails("disabled?", 66, "not found");
        fails("text?#/a", 78, "config");
        fails("text?&decode=hex", 78, "config");
        for (response, code, cause) in [
            (Response::html(404, "<html>"), 76, "protocol"),
            (
                Response::vault_error(404, "NotFound", None, "no"),
                76,
                "protocol",
            ),
            (Response::disabled(), 66, "not found"),
        ] {
            azure.next(Endpoint::Vault, response);
            fails("db?", code, cause);
        }
        azure.next(Endpoint::Vault, Response::rbac());
        fails("db?", 77, "denied").hint_names("at the vault");
        // It waits for access, as for any other secret.
        let run = |wait: &str| {
            let run = printing(&azure, &format!("db{options}#/user"));
            run.env("AKV_INIT_TIMEOUT", "0")
                .env("AKV_INIT_WAIT_FOR_ACCESS", wait)
        };
        azure.next(Endpoint::Vault, Response::rbac());
        assert_eq!(run("30").outcome().stdout_alone(), "app");
        azure.always(Endpoint::Vault, Response::rbac());
        run("1").failure(77, "denied").omits("hunter2");
        azure.clear(Endpoint::Vault);
        azure.close(Endpoint::Vault);
        let run = printing(&azure, &format!("db{options}"));
        let run = run.env("AKV_INIT_TIMEOUT", "0");
        run.failure(69, "unavailable").omits("hunter2");
        azure.open(Endpoint::Vault);
    }
    azure.next(Endpoint::Vault, Response::rbac());
    let hint = printing(&azure, "db").failure(77, "denied").line["hint"].clone();
    assert!(!hint.as_str().unwrap().contains("existence"));
}

#[test]
fn one_target_that_needs_the_secret_is_enough() {
    let azure = azure();
    let run = printing(&azure, "absent?optional").env("T", reference(&azure, "absent"));
    run.failure(66, "not found").names("absent");
    let run = printing(&azure, "db?optional#/a").env("T", reference(&azure, "db#/b"));
    run.failure(66, "not found").names("`/b`").names("T");
}

#[test]
fn default_leaves_its_place_in_a_text() {
    let azure = azure();
    let run =
        |rest: &str| exec(&azure, PRINT).env("S", format!("<{{{}}}>", reference(&azure, rest)));
    assert_noted(&run("absent?default=").json().outcome(), "<>");
    assert_noted(&run("absent?default=a%7Db").json().outcome(), "<a}b>");
    run("absent?optional")
        .failure(78, "config")
        .hint_names("default=");
    let whole = format!("{{{}}}", reference(&azure, "absent?optional"));
    assert_noted(
        &exec(&azure, PRINT).env("S", whole).json().outcome(),
        "unset",
    );
}

#[test]
fn malformed_options_are_rejected() {
    let azure = azure();
    for options in [
        "optional&default=x",
        "default=x&optional",
        "optional=true",
        "default",
        "default=a b",
        "default=a%",
        "default={x}",
        "default=x&default=y",
    ] {
        printing(&azure, &format!("db?{options}")).failure(78, "config");
    }
}

#[test]
fn get_prints_nothing_and_memfd_is_removed() {
    let azure = azure();
    let run = akv_init(["get", &reference(&azure, "absent?optional")])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault());
    let outcome = run.outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""));
    let memfd = format!("--memfd=S={}", reference(&azure, "absent?optional"));
    let run = exec(&azure, [memfd.as_str()]).args(PRINT);
    assert_noted(&run.json().outcome(), "unset");
}

#[test]
fn plan_and_check_say_so() {
    let azure = azure();
    let targets = |run: Run| {
        run.env("S", reference(&azure, "absent?optional"))
            .env("T", reference(&azure, "absent?default=hunter2"))
    };
    let outcome = targets(exec(&azure, ["--dry-run", "/bin/true"])).outcome();
    assert_eq!(outcome.planned("optional").len(), 1);
    assert_eq!(outcome.planned("default").len(), 1);
    assert!(!outcome.stdout.contains("hunter2"));
    let run = akv_init(["check"])
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault());
    let outcome = targets(run).outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("optional"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("hunter2"), "{}", outcome.stdout);
}

/// A secret that was deleted must not live on.
#[test]
fn file_of_a_deleted_secret_is_removed() {
    // Also beside a file with a token, which is never kept itself.
    let token = "db=entra-token:https://database.windows.net/";
    for (layout, other) in [
        ("plain", ""),
        ("atomic", ""),
        ("plain", token),
        ("atomic", token),
    ] {
        let azure = azure();
        azure.secret("replica", "R");
        let place = Place::in_memory();
        let secret = format!(
            "--secret=sub/replica={}",
            reference(&azure, "replica?optional")
        );
        let other = match other {
            "" => format!("--secret=db={}", reference(&azure, "db")),
            token => format!("--secret={token}"),
        };
        let layout = format!("--layout={layout}");
        let write = || place.write(&azure, &[&layout, &secret, &other]).outcome();
        assert_eq!(write().code, Some(0));
        assert_eq!(place.read("sub/replica"), b"R");
        azure.always_for(
            Endpoint::Vault,
            "/secrets/replica",
            Response::not_found("replica"),
        );
        for _ in 0..2 {
            let outcome = write();
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
            assert!(
                !place.path("sub/replica").exists(),
                "{layout}: {}",
                outcome.stderr
            );
            assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
            assert!(place.path("db").exists());
        }
        azure.clear(Endpoint::Vault);
        assert_eq!(write().code, Some(0));
        assert_eq!(place.read("sub/replica"), b"R");
        if other.contains("entra-token") {
            azure.close(Endpoint::Vault);
            let words = [&layout, &secret, &other, "--keep-existing", "--timeout=0"];
            place.write(&azure, &words).failure(69, "unavailable");
        }
    }
}

#[test]
fn file_of_another_program_is_left_with_a_warning() {
    let azure = azure();
    let place = Place::in_memory();
    let secret = format!("--secret=replica={}", reference(&azure, "absent?optional"));
    let write = || place.write(&azure, &[&secret]).outcome();
    fs::write(place.path("replica"), "mine").unwrap();
    let outcome = write();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("warning") && outcome.stderr.contains("replica"));
    assert_eq!(place.read("replica"), b"mine");
    // And one that was changed since.
    fs::remove_file(place.path("replica")).unwrap();
    azure.secret("absent", "A");
    assert_eq!(write().code, Some(0));
    let changed = place.path("replica");
    let status = std::process::Command::new("touch")
        .args(["-d", "next year"])
        .arg(&changed)
        .status();
    assert!(status.unwrap().success());
    azure.always_for(
        Endpoint::Vault,
        "/secrets/absent",
        Response::not_found("absent"),
    );
    assert!(write().stderr.contains("warning"));
    assert_eq!(place.read("replica"), b"A");
}

#[test]
fn combined_file_has_no_key_for_it() {
    let azure = azure();
    for (output, content) in [
        ("dotenv:all", ""),
        ("k8s-env:all", ""),
        ("json:all", "{\n}\n"),
    ] {
        let place = Place::in_memory();
        let output = format!("--output={output}");
        let secret = format!("--secret=S={}", reference(&azure, "absent?optional"));
        let outcome = place.write(&azure, &[&output, &secret]).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(place.read("all"), content.as_bytes());
    }
}

#[test]
fn files_without_a_missing_one_are_kept() {
    for layout in ["--layout=plain", "--layout=atomic"] {
        let azure = azure();
        let place = Place::in_memory();
        let secret = format!("--secret=a={}", reference(&azure, "absent?optional"));
        let other = format!("--secret=b={}", reference(&azure, "db?default=hunter2"));
        let words = [layout, "--keep-existing", "--timeout=0", &secret, &other];
        assert_eq!(place.write(&azure, &words).outcome().code, Some(0));
        azure.close(Endpoint::Vault);
        let outcome = place.write(&azure, &words).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(place.path("b").exists() && !place.path("a").exists());
    }
}
