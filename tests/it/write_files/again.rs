//! A second run writes only the files that have changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use nix::unistd::geteuid;
use serde_json::json;

use super::two_secrets;
use crate::azure::Azure;
use crate::support_files::{Place, change_mode};

/// Programs that watch the files must not be notified by a restart of the pod.
#[test]
fn unchanged_files_are_not_written() {
    for layout in ["plain", "atomic"] {
        let (azure, place) = two_secrets();
        let words = [
            "--layout",
            layout,
            "--secret",
            "a=alpha",
            "--secret",
            "sub/b=beta",
            "--output",
            "files",
            "--output",
            "json:all.json",
        ];
        place.wrote(&azure, &words);
        let before = place.snapshot();
        place.wrote(&azure, &words);
        assert_eq!(place.snapshot(), before, "{layout}");
    }
}

#[test]
fn changed_files_are_written() {
    let (azure, place) = two_secrets();
    let words = ["--secret", "a=alpha", "--secret", "b=beta"];
    let inodes = || [place.inode("a"), place.inode("b")];
    place.wrote(&azure, &words);
    // The same length, shorter, longer.
    for value in ["SECOND", "2nd", "the second"] {
        let [a, b] = inodes();
        azure.secret("beta", value);
        place.wrote(&azure, &words);
        assert_eq!(inodes()[0], a);
        assert_ne!(inodes()[1], b);
        let b = format!("b 0440 {value:?}");
        assert_eq!(place.tree(), ["a 0440 \"first\"", &b]);
    }
    // Changed by another program: the content, the permissions, the file.
    let [a, _] = inodes();
    fs::remove_file(place.path("b")).unwrap();
    place.wrote(&azure, &words);
    change_mode(&place.path("b"), 0o640);
    let [_, b] = inodes();
    place.wrote(&azure, &words);
    assert_ne!(inodes()[1], b);
    change_mode(&place.path("b"), 0o640);
    fs::write(place.path("b"), "the sEcond").unwrap();
    change_mode(&place.path("b"), 0o440);
    place.wrote(&azure, &words);
    assert_eq!(inodes()[0], a);
    assert_eq!(place.tree(), ["a 0440 \"first\"", "b 0440 \"the second\""]);
    // Another mode changes all of them.
    place.wrote(&azure, &[&["--mode", "0400"], &words[..]].concat());
    assert_ne!(inodes()[0], a);
    assert_eq!(place.tree(), ["a 0400 \"first\"", "b 0400 \"the second\""]);
}

/// Its owner could change it at any time.
#[test]
fn file_of_another_user_is_replaced() {
    for layout in ["plain", "atomic"] {
        let (azure, place) = two_secrets();
        let words = ["--layout", layout, "--secret", "a=alpha"];
        place.wrote(&azure, &words);
        let before = place.inode("a");
        let other = geteuid().as_raw() + 1;
        let given = chown(place.path("a"), Some(other), None);
        // Only root can create such a file.
        assert_eq!(given.is_ok(), geteuid().is_root());
        place.wrote(&azure, &words);
        assert_eq!(place.inode("a") == before, given.is_err(), "{layout}");
        let owner = fs::metadata(place.path("a")).unwrap().uid();
        assert_eq!(owner, geteuid().as_raw());
    }
}

#[test]
fn plain_file_that_is_no_longer_named_stays() {
    let (azure, place) = two_secrets();
    place.wrote(&azure, &["--secret", "a=alpha", "--secret", "sub/b=beta"]);
    place.wrote(&azure, &["--secret", "c=alpha"]);
    let expected = [
        "a 0440 \"first\"",
        "c 0440 \"first\"",
        "sub/ 0750",
        "sub/b 0440 \"second\"",
    ];
    assert_eq!(place.tree(), expected);
}

/// One line says what was written, or that nothing was. With --quiet none does.
#[test]
fn what_was_written_is_said() {
    for (layout, once_more) in [("plain", 1), ("atomic", 2)] {
        let (azure, place) = (Azure::start(), Place::in_memory());
        azure.secret("alpha", "first");
        let layout = format!("--layout={layout}");
        let words = [
            &layout,
            "--mode=0640",
            "--secret=a=alpha",
            "--secret=dir/b=beta",
        ];
        let run = || place.write(&azure, &words).without("AKV_INIT_QUIET").json();
        for (value, written) in [("second", 2), ("second", 0), ("third", once_more)] {
            azure.secret("beta", value);
            let lines = run().outcome().json_lines();
            let owner = fs::metadata(place.path("a")).expect("it was written");
            let expected = json!({"level": "info", "message": lines[0]["message"], "dir": place.word(), "files": 2,
                "written": written, "mode": "0640", "uid": owner.uid(), "gid": owner.gid()});
            assert_eq!(lines, [expected]);
        }
        azure.secret("beta", "fourth");
        place.quiet(&run().env("AKV_INIT_QUIET", "1").outcome());
        let words = [&words[..], &["-q"]].concat();
        let run = place.write(&azure, &words).without("AKV_INIT_QUIET");
        place.quiet(&run.outcome());
    }
}
