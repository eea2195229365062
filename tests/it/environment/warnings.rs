//! Warnings: the secret is used nevertheless.

use super::{NONE, value};
use crate::azure::{Azure, Stored};
use crate::support::{Run, exec};

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
    }
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
