//! Warnings: the secret is used nevertheless.

use super::{NONE, value};
use crate::azure::{Azure, Stored};
use crate::support::{Run, akv_init, exec};
use crate::support_files::Place;

/// Runs to the end, asserts success, this standard output and one warning, and returns the warning's message.
#[track_caller]
fn warning(run: Run, stdout: &str) -> String {
    let outcome = run.json().outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), stdout));
    let lines = outcome.json_lines();
    assert_eq!(lines.len(), 1, "{}", outcome.stderr);
    assert_eq!(lines[0]["level"], "warning", "{}", outcome.stderr);
    lines[0]["message"].as_str().expect("a text").to_owned()
}

#[test]
fn final_line_end_is_kept_with_a_warning() {
    let azure = Azure::start();
    // The warning names the form that can be trimmed.
    let reference = format!(
        "@Microsoft.KeyVault(SecretUri=https://{}/secrets/sa)",
        azure.vault()
    );
    let trimmed = format!("akv://{}/sa?trim", azure.vault());
    for end in ["\n", "\r\n", "\r"] {
        azure.secret("sa", &format!("s3cret{end}"));
        // Only one of the two variables gets the line end.
        let run = exec(&azure, ["/bin/sh", "-c", "printf '[%s]' \"$S\" \"$T\""]);
        let run = run.env("S", &reference).env("T", &trimmed);
        let warning = warning(run, &format!("[s3cret{end}][s3cret]"));
        assert!(warning.starts_with("S: "), "{warning}");
        assert!(warning.contains(&trimmed), "{warning}");
        let report = exec_report(&azure, &["--secret", &format!("S={reference}")]);
        let text = warning.trim_start_matches("S: ");
        assert!(report.contains(text), "{report}");
    }
}

/// Of a file from Windows, and of a PEM text from a variable. `check` has the same warnings.
#[test]
fn byte_order_mark_and_escaped_pem_are_kept_with_a_warning() {
    let azure = Azure::start();
    let reference = format!("akv://{}/sa", azure.vault());
    let trimmed = format!("{reference}?trim");
    for (secret, trimmed_secret, named) in [
        ("\u{feff}s3cret", "s3cret", Some(trimmed.as_str())),
        (
            r"-----BEGIN X-----\nAA==\n-----END X-----\n",
            r"-----BEGIN X-----\nAA==\n-----END X-----\n",
            None,
        ),
    ] {
        azure.secret("sa", secret);
        let words = ["/bin/sh", "-c", "printf '[%s]' \"$S\""];
        let message = warning(
            exec(&azure, words).env("S", &reference),
            &format!("[{secret}]"),
        );
        assert!(message.starts_with("S: "), "{message}");
        assert!(message.contains(named.unwrap_or("PEM")), "{message}");
        let words = [
            "--memfd",
            &format!("S={reference}"),
            "/bin/sh",
            "-c",
            "cat $S",
        ];
        assert_eq!(warning(exec(&azure, words), secret), message);
        let place = Place::in_memory();
        let target = ["--secret", &format!("S={reference}")];
        assert_eq!(warning(place.write(&azure, &target), ""), message);
        let report = exec_report(&azure, &target);
        let text = message.trim_start_matches("S: ");
        assert!(report.contains(text), "{text}: {report}");
        let run = exec(&azure, ["/bin/sh", "-c", "printf %s \"$S\""]).env("S", &trimmed);
        match named {
            Some(_) => assert_eq!(run.outcome().stdout_alone(), trimmed_secret),
            None => {
                let message = warning(run, trimmed_secret);
                assert!(message.ends_with("sa?decode=escapes&trim"), "{message}");
            }
        }
    }
    // A good PEM text, and one in JSON.
    for secret in [
        "-----BEGIN X-----\nAA==\n-----END X-----",
        r#"{"key":"-----BEGIN X-----\nAA=="}"#,
    ] {
        azure.secret("sa", secret);
        assert_eq!(value(exec(&azure, NONE).env("S", &reference), "S"), secret);
    }
}

/// The text of the report's `secret` line.
fn exec_report(azure: &Azure, words: &[&str]) -> String {
    let outcome = akv_init(["check", "--format", "json"])
        .args(words)
        .env("SSL_CERT_FILE", azure.ca_file())
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds())
        .env("AKV_INIT_ALLOW_VAULT", azure.vault())
        .outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let lines = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let mut lines = lines.filter(|line: &serde_json::Value| line["link"] == "secret");
    let line = lines.next().expect("the secret is checked");
    assert_eq!(line["state"], "warning");
    line["message"].as_str().expect("a text").to_owned()
}

#[test]
fn expired_or_not_yet_valid_secret_is_used_with_a_warning() {
    let azure = Azure::start();
    let vault = azure.vault();
    let stored = |name: &str, not_before, expires| Stored {
        not_before,
        expires,
        ..Stored::new(name, "s3cret")
    };
    azure.put(stored("old", None, Some(951_827_696)));
    azure.put(stored("new", Some(4_102_444_799), None));
    azure.put(stored("good", Some(951_827_696), Some(4_102_444_799)));
    for (name, date) in [
        ("old", "2000-02-29 12:34:56 UTC"),
        ("new", "2099-12-31 23:59:59 UTC"),
    ] {
        let run = exec(&azure, ["/bin/sh", "-c", "echo $S"]);
        let run = run.env("S", format!("akv://{vault}/{name}"));
        let warning = warning(run, "s3cret\n");
        assert!(
            warning.contains(name) && warning.contains(date),
            "{warning}"
        );
    }
    let run = exec(&azure, NONE).env("S", format!("akv://{vault}/good"));
    assert_eq!(value(run, "S"), "s3cret");
}

#[test]
fn unknown_setting_is_removed_with_a_warning() {
    let azure = Azure::start();
    let run = exec(&azure, ["/bin/sh", "-c", "echo ${AKV_INIT_TIMEOUTS-none}"]);
    let removed = warning(run.env("AKV_INIT_TIMEOUTS", "akv://half"), "none\n");
    assert!(removed.contains("AKV_INIT_TIMEOUTS"), "{removed}");
    let dry = || exec(&azure, ["--dry-run", "/bin/true"]);
    let plan = dry().outcome().stdout_alone().to_owned();
    let dry = warning(dry().env("AKV_INIT_TIMEOUTS", "1"), &plan);
    assert_eq!(dry, removed);
}
