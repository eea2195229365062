//! `--keep-existing=AGE`: how old the files may be, counted from the last run that found them right.

use std::fs;

use serde_json::json;

use super::{Earlier, LAYOUTS, LONG_AGO_SHOWN, ONE, keep, now};
use crate::azure::Door;

#[test]
fn files_that_are_too_old_are_not_kept() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Door::Vault);
        let too_old = format!(
            "and the files in `{}` are of {LONG_AGO_SHOWN}, too old to be kept",
            earlier.place.word()
        );
        let of = |age: &str| {
            let option = format!("--keep-existing={age}");
            earlier.again(&[&option, "--timeout", "0", "--secret", "a=alpha"])
        };
        for age in ["0", "90s", "12h", "24h"] {
            earlier.unavailable(of(age), "a", &too_old);
        }
        // A hundred years.
        earlier.keeps(of("876600h"), "reading secret `alpha`");
    }
}

#[test]
fn the_oldest_of_them_counts() {
    for layout in LAYOUTS {
        let two = ["--secret", "a=alpha", "--secret", "b=alpha"];
        let earlier = Earlier::run(layout, &two);
        earlier.azure.close(Door::Vault);
        let mut manifest = earlier.read_manifest();
        manifest["files"]["a"]["written"] = json!(now());
        earlier.write_manifest(manifest.to_string().as_bytes());
        let words = [&["--keep-existing=12h", "--timeout", "0"], &two[..]].concat();
        let outcome = earlier.again(&words).outcome();
        assert_eq!(outcome.code, Some(69), "{}", outcome.stderr);
        let said = format!("are of {LONG_AGO_SHOWN}, too old to be kept");
        assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
        earlier.keeps(earlier.again(&keep(&two)), "reading secret `alpha`");
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
fn files_that_are_young_enough_are_kept() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        earlier.azure.close(Door::Vault);
        for (age, before) in [("12h", 11 * 3_600), ("2m", 60), ("90", 30), ("60s", 0)] {
            let age = format!("--keep-existing={age}");
            earlier.written_at(now() - before);
            let snapshot = earlier.place.snapshot();
            let outcome = earlier
                .again(&[&age, "--timeout", "0", "--secret", "a=alpha"])
                .outcome();
            assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
            assert!(
                outcome.stderr.contains("; kept the files in `"),
                "{}",
                outcome.stderr
            );
            assert_eq!(earlier.place.snapshot(), snapshot);
        }
    }
}

/// A clock that was wrong then or is wrong now: how old they are is not known.
#[test]
fn files_from_the_future_are_no_younger() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.azure.close(Door::Vault);
    earlier.written_at(now() + 2 * 3_600);
    let words = [
        "--keep-existing=1h",
        "--timeout",
        "0",
        "--secret",
        "a=alpha",
    ];
    let outcome = earlier.again(&words).outcome();
    assert_eq!(outcome.code, Some(69), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("too old to be kept"),
        "{}",
        outcome.stderr
    );
}

/// How old they are is counted from the last run that found them right, not from the one that wrote them.
#[test]
fn a_run_that_finds_them_right_makes_them_young_and_does_not_touch_them() {
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
