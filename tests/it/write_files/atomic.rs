//! The atomic layout: a link selects the current set of files.

use std::fs;
use std::os::unix::fs::symlink;

use super::two_secrets;
use crate::support_files::{Place, change_mode};

const ATOMIC: [&str; 2] = ["--layout", "atomic"];

/// A run in this layout that gives these files these secrets.
#[track_caller]
fn wrote(azure: &crate::azure::Azure, place: &Place, secrets: &[&str]) {
    let secrets = secrets.iter().flat_map(|secret| ["--secret", secret]);
    let words: Vec<&str> = ATOMIC.into_iter().chain(secrets).collect();
    place.wrote(azure, &words);
}

#[test]
fn layout_is_the_kubelets() {
    let (azure, place) = two_secrets();
    wrote(
        &azure,
        &place,
        &["a=alpha", "tls/b=beta", "tls/deep/c=alpha"],
    );
    let expected = [
        "..akv-init-*/ 0750",
        "..akv-init-*/a 0440 \"first\"",
        "..akv-init-*/tls/ 0750",
        "..akv-init-*/tls/b 0440 \"second\"",
        "..akv-init-*/tls/deep/ 0750",
        "..akv-init-*/tls/deep/c 0440 \"first\"",
        "..data -> ..akv-init-*",
        "a -> ..data/a",
        "tls -> ..data/tls",
    ];
    assert_eq!(place.tree(), expected);
    for (name, value) in [("a", "first"), ("tls/b", "second"), ("tls/deep/c", "first")] {
        assert_eq!(place.read(name), value.as_bytes());
    }
}

#[test]
fn names_are_added_and_removed() {
    let (azure, place) = two_secrets();
    wrote(&azure, &place, &["a=alpha", "sub/b=beta"]);
    wrote(
        &azure,
        &place,
        &["a=alpha", "sub/b=beta", "sub/c=beta", "d=alpha"],
    );
    let expected = [
        "..akv-init-*/ 0750",
        "..akv-init-*/a 0440 \"first\"",
        "..akv-init-*/d 0440 \"first\"",
        "..akv-init-*/sub/ 0750",
        "..akv-init-*/sub/b 0440 \"second\"",
        "..akv-init-*/sub/c 0440 \"second\"",
        "..data -> ..akv-init-*",
        "a -> ..data/a",
        "d -> ..data/d",
        "sub -> ..data/sub",
    ];
    assert_eq!(place.tree(), expected);
    // Without one file of a directory, and without a directory.
    for names in [&["sub/c=beta", "d=alpha"][..], &["d=alpha"]] {
        wrote(&azure, &place, names);
    }
    let expected = [
        "..akv-init-*/ 0750",
        "..akv-init-*/d 0440 \"first\"",
        "..data -> ..akv-init-*",
        "d -> ..data/d",
    ];
    assert_eq!(place.tree(), expected);
}

#[test]
fn file_may_become_a_directory_and_vice_versa() {
    let (azure, place) = two_secrets();
    wrote(&azure, &place, &["d=alpha"]);
    wrote(&azure, &place, &["d/e=beta"]);
    let expected = [
        "..akv-init-*/ 0750",
        "..akv-init-*/d/ 0750",
        "..akv-init-*/d/e 0440 \"second\"",
        "..data -> ..akv-init-*",
        "d -> ..data/d",
    ];
    assert_eq!(place.tree(), expected);
    wrote(&azure, &place, &["d=alpha"]);
    let expected = [
        "..akv-init-*/ 0750",
        "..akv-init-*/d 0440 \"first\"",
        "..data -> ..akv-init-*",
        "d -> ..data/d",
    ];
    assert_eq!(place.tree(), expected);
}

/// A reader that has opened the directory of the old set reads the old set.
#[test]
fn change_creates_a_new_set() {
    let (azure, place) = two_secrets();
    wrote(&azure, &place, &["a=alpha", "b=beta"]);
    let old = fs::read_link(place.path("..data")).unwrap();
    azure.secret("beta", "2nd");
    wrote(&azure, &place, &["a=alpha", "b=beta"]);
    assert_ne!(fs::read_link(place.path("..data")).unwrap(), old);
    let expected = [
        "..akv-init-*/ 0750",
        "..akv-init-*/a 0440 \"first\"",
        "..akv-init-*/b 0440 \"2nd\"",
        "..data -> ..akv-init-*",
        "a -> ..data/a",
        "b -> ..data/b",
    ];
    assert_eq!(place.tree(), expected);
}

#[test]
fn change_of_the_set_by_another_program_is_reverted() {
    type Change = fn(&Place);
    let changes: [Change; 8] = [
        |place| fs::remove_file(place.path("a")).unwrap(),
        |place| fs::remove_file(place.path("..data")).unwrap(),
        |place| fs::remove_file(place.path("..data/a")).unwrap(),
        |place| fs::remove_dir_all(place.path("..data/sub")).unwrap(),
        |place| change_mode(&place.path("..data/a"), 0o444),
        |place| fs::write(place.path("..data/more"), "more").unwrap(),
        |place| {
            fs::remove_file(place.path("..data/a")).unwrap();
            symlink("sub/b", place.path("..data/a")).unwrap();
        },
        |place| {
            let set = fs::read_link(place.path("..data")).unwrap();
            fs::remove_dir_all(place.dir().join(set)).unwrap();
        },
    ];
    let (azure, place) = two_secrets();
    let secrets = ["a=alpha", "sub/b=beta"];
    wrote(&azure, &place, &secrets);
    let expected = place.tree();
    for (index, change) in changes.into_iter().enumerate() {
        change(&place);
        assert_ne!(place.tree(), expected, "change {index}");
        wrote(&azure, &place, &secrets);
        assert_eq!(place.tree(), expected, "change {index}");
    }
}

/// akv-init's own links are recognized by their target.
#[test]
fn files_of_other_programs_stay() {
    let (azure, place) = two_secrets();
    wrote(&azure, &place, &["a=alpha"]);
    fs::write(place.path("notes"), "of another program").unwrap();
    change_mode(&place.path("notes"), 0o600);
    symlink("..data/a", place.path("alias")).unwrap();
    symlink("..data/old", place.path("old")).unwrap();
    wrote(&azure, &place, &["b=beta"]);
    let expected = [
        "..akv-init-*/ 0750",
        "..akv-init-*/b 0440 \"second\"",
        "..data -> ..akv-init-*",
        "alias -> ..data/a",
        "b -> ..data/b",
        "notes 0600 \"of another program\"",
    ];
    assert_eq!(place.tree(), expected);
}
