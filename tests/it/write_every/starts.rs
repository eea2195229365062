//! How it starts: its options, and files that an earlier run has just written.

use std::fs;

use super::{Sidecar, count, every};
use crate::azure::{Azure, Endpoint};
use crate::support::akv_init;
use crate::support_files::{MANIFEST, Place, change_mode};

#[test]
fn interval_is_a_minute_or_more() {
    let place = Place::in_memory();
    let dir = place.word();
    let parsed = |time: &str| {
        let words = [
            "write",
            "--dry-run",
            "--every",
            time,
            "--secret=a=akv://kv1/a",
        ];
        akv_init(words).args([&dir]).env("IDENTITY_ENDPOINT", "")
    };
    for time in ["0", "30s", "59", "1", "x", "-1m", "1d"] {
        parsed(time).failure(64, "usage");
    }
    for (time, seconds) in [
        ("1m", "60 s"),
        ("60", "60 s"),
        ("15m", "900 s"),
        ("24h", "86400 s"),
    ] {
        let run = parsed(time).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
        let planned = run.outcome();
        assert!(
            planned.planned("every")[0].starts_with(seconds),
            "{planned:?}"
        );
    }
}

#[test]
fn kept_files_are_an_option_of_a_single_write() {
    for order in [
        ["--every=1h", "--keep-existing"],
        ["--keep-existing=1h", "--every=1h"],
    ] {
        let words = ["--secret=a=akv://kv1/a", "/tmp"];
        akv_init(["write"])
            .args(order)
            .args(words)
            .failure(64, "usage");
    }
    akv_init(["exec", "--every=1h", "--", "/bin/true"]).failure(64, "usage");
}

#[test]
fn dry_run_says_that_a_version_never_changes() {
    let words = [
        "write",
        "--dry-run",
        "--every=1h",
        "--secret=a=akv://kv1/a",
        "--secret=b=akv://kv1/a/0123456789abcdef0123456789abcdef",
        "/nowhere",
    ];
    let run = akv_init(words).env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
    let outcome = run.outcome();
    let notes = outcome.planned("note");
    assert!(notes.len() == 1 && notes[0].starts_with("b "), "{notes:?}");
    assert_eq!(outcome.planned("write").len(), 2);
}

/// Sets when the files were written.
fn date(place: &Place, written: i64) {
    let path = place.path(&format!("..data/{MANIFEST}"));
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for entry in manifest["files"].as_object_mut().unwrap().values_mut() {
        entry["written"] = written.into();
    }
    change_mode(&path, 0o640);
    fs::write(&path, manifest.to_string()).unwrap();
}

#[test]
fn first_round_is_due_at_the_age_of_files_that_are_there() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    azure.secret("b", "two");
    let write = |words: &[&str]| {
        let words = [&["--layout=atomic", "--keep-existing"], words].concat();
        place.wrote(&azure, &words);
    };
    // Seconds ago; whether a round is due at once.
    for (age, is_due) in [
        (0, false),
        (240, false),
        (600, true),
        (86_400, true),
        (-3_600, true),
    ] {
        write(&["--secret=a"]);
        date(&place, now - age);
        let before = count(&azure, Endpoint::Vault);
        let mut sidecar = Sidecar::start(every(&place, &azure, &["--secret=a"]));
        let (lines, next) = sidecar.round_end();
        assert_eq!(
            count(&azure, Endpoint::Vault) - before,
            usize::from(is_due),
            "{age}"
        );
        assert_eq!(lines.len(), usize::from(is_due), "{lines:?}");
        if !is_due {
            let age = age.unsigned_abs();
            assert!(
                (539 - age - 30..=660 - age).contains(&next),
                "{age}: {next}"
            );
        }
        // The files are complete, no matter which process has written them.
        sidecar.stop();
    }
    // Files of other references, and files that are not all there.
    write(&["--secret=a"]);
    for words in [&["--secret=a", "--secret=b"][..], &["--secret=a=b"]] {
        let before = count(&azure, Endpoint::Vault);
        let (sidecar, _) = Sidecar::ready(every(&place, &azure, words));
        assert!(count(&azure, Endpoint::Vault) > before);
        sidecar.stop();
    }
    write(&["--secret=a"]);
    fs::remove_file(place.path("a")).unwrap();
    let (sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
    assert_eq!(place.read("a"), b"one");
    sidecar.stop();
}

/// The files are there, so what fails then is a later round.
#[test]
fn failure_beside_files_that_are_there_is_a_warning() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    place.wrote(
        &azure,
        &["--layout=atomic", "--keep-existing", "--secret=a"],
    );
    azure.close(Endpoint::Vault);
    let run = every(&place, &azure, &["--secret=a"]).env("AKV_INIT_TIMEOUT", "0");
    let (mut sidecar, _) = Sidecar::ready(run);
    sidecar.round_with("warning");
    sidecar.stop();
}
