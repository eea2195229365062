//! What is odd and done nevertheless, with a warning.

use super::{NONE, value};
use crate::azure::{Azure, Stored};
use crate::support::exec;

#[test]
fn a_line_end_at_the_end_is_kept_with_a_warning() {
    let azure = Azure::start();
    // Whatever the form, the one that can be trimmed is named.
    let reference = format!(
        "@Microsoft.KeyVault(SecretUri=https://{}/secrets/sa)",
        azure.vault()
    );
    let trimmed = format!("akv://{}/sa?trim", azure.vault());
    for end in ["\n", "\r\n", "\r"] {
        azure.secret("sa", &format!("s3cret{end}"));
        // Of two variables for one secret, only the one that gets the line end is spoken of.
        let run = exec(&azure, ["/bin/sh", "-c", "printf '[%s]' \"$S\" \"$T\""]);
        let outcome = run.env("S", &reference).env("T", &trimmed).outcome();
        assert_eq!(outcome.code, Some(0));
        assert_eq!(outcome.stdout, format!("[s3cret{end}][s3cret]"));
        assert_eq!(
            outcome.stderr,
            format!(
                "akv-init: warning: S: the secret ends in a line end, which becomes part of the value; \
                 to drop it, write {trimmed}\n"
            )
        );
    }
}

#[test]
fn an_expired_or_not_yet_valid_secret_is_used_with_a_warning() {
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
    let cases = [
        (
            "old",
            "secret `old` expired at 2000-02-29 12:34:56 UTC; it is used nevertheless",
        ),
        (
            "new",
            "secret `new` is not valid before 2099-12-31 23:59:59 UTC; it is used nevertheless",
        ),
    ];
    for (name, warning) in cases {
        let run = exec(&azure, ["/bin/sh", "-c", "echo $S"]);
        let outcome = run.env("S", format!("akv://{vault}/{name}")).outcome();
        assert_eq!(outcome.stderr, format!("akv-init: warning: {warning}\n"));
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(0), "s3cret\n")
        );
    }
    let run = exec(&azure, NONE).env("S", format!("akv://{vault}/good"));
    assert_eq!(value(run, "S"), "s3cret");
}

#[test]
fn a_setting_that_is_none_of_ours_is_taken_out_with_a_warning() {
    let azure = Azure::start();
    let run = exec(&azure, ["/bin/sh", "-c", "echo ${AKV_INIT_TIMEOUTS-none}"]);
    let outcome = run.env("AKV_INIT_TIMEOUTS", "akv://half").outcome();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "none\n"));
    assert_eq!(
        outcome.stderr,
        "akv-init: warning: AKV_INIT_TIMEOUTS is not a setting of akv-init\n"
    );
    let run = exec(&azure, ["--dry-run", "/bin/true"]);
    let outcome = run.env("AKV_INIT_TIMEOUTS", "1").outcome();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "become    /bin/true\n")
    );
    assert_eq!(
        outcome.stderr,
        "akv-init: warning: AKV_INIT_TIMEOUTS is not a setting of akv-init\n"
    );
}
