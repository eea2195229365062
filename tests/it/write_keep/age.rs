//! `--keep-existing=AGE`: the maximum age of the files, counted from the last run that verified them.

use std::fs;

use serde_json::json;

use super::{Earlier, LAYOUTS, LONG_AGO_SHOWN, ONE, keep, now};
use crate::azure::Endpoint;

#[test]
fn files_over_the_maximum_age_are_not_kept() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Endpoint::Vault);
        let of = |age: &str| {
            let option = format!("--keep-existing={age}");
            earlier.again(&[&option, "--timeout", "0", "--secret", "a=alpha"])
        };
        for age in ["0", "90s", "12h", "24h"] {
            earlier.unavailable(of(age), "a").names(LONG_AGO_SHOWN);
        }
        // A hundred years.
        earlier.keeps(of("876600h"), "alpha");
    }
}

#[test]
fn oldest_file_decides() {
    for layout in LAYOUTS {
        let two = ["--secret", "a=alpha", "--secret", "b=alpha"];
        let earlier = Earlier::run(layout, &two);
        earlier.azure.close(Endpoint::Vault);
        let mut manifest = earlier.read_manifest();
        manifest["files"]["a"]["written"] = json!(now());
        earlier.write_manifest(manifest.to_string().as_bytes());
        let words = [&["--keep-existing=12h", "--timeout", "0"], &two[..]].concat();
        let failure = earlier.again(&words).failure(69, "unavailable");
        failure.names(LONG_AGO_SHOWN);
        earlier.keeps(earlier.again(&keep(&two)), "alpha");
        let young = [
            "--keep-existing=12h",
            "--timeout",
            "0",
            "--secret",
            "a=alpha",
        ];
        assert_eq!(earlier.again(&young).outcome().code, Some(0));
    }
}

#[test]
fn files_under_the_maximum_age_are_kept() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Endpoint::Vault);
        for (age, before) in [("12h", 11 * 3_600), ("2m", 60), ("90", 30), ("60s", 0)] {
            let age = format!("--keep-existing={age}");
            earlier.written_at(now() - before);
            let snapshot = earlier.place.snapshot();
            let outcome = earlier
                .again(&[&age, "--timeout", "0", "--secret", "a=alpha"])
                .outcome();
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
            assert_eq!(earlier.place.snapshot(), snapshot);
        }
    }
}

/// The clock was or is wrong, so the age is unknown.
#[test]
fn files_with_a_time_in_the_future_are_not_kept() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.azure.close(Endpoint::Vault);
    earlier.written_at(now() + 2 * 3_600);
    for age in [
        "--keep-existing=1h",
        "--keep-existing=24h",
        "--keep-existing",
    ] {
        let words = [age, "--timeout", "0", "--secret", "a=alpha"];
        earlier.unavailable(earlier.again(&words), "a");
    }
}

/// The age is counted from the last run that verified the files, not from the run that wrote them.
#[test]
fn verified_files_are_not_rewritten_and_their_age_starts_again() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        let file = fs::metadata(earlier.place.path("a")).unwrap();
        let inode = earlier.place.inode("a");
        earlier.wrote(&ONE);
        let written = earlier.read_manifest()["files"]["a"]["written"]
            .as_u64()
            .unwrap();
        assert!(written.abs_diff(now()) < 60, "{written}");
        let again = fs::metadata(earlier.place.path("a")).unwrap();
        assert_eq!(earlier.place.inode("a"), inode, "{layout}");
        assert_eq!(again.modified().unwrap(), file.modified().unwrap());
    }
}
