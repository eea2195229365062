//! Another program that shares the volume may create anything in it: a name that is not akv-init's own is refused before
//! any request, and not touched.

use std::fs;
use std::os::unix::fs::symlink;

use super::two_secrets;
use crate::azure::Azure;
use crate::support::Failure;
use crate::support_files::{MANIFEST, Place, Plant};
use crate::support_requests::connections;

const PLAIN: [&str; 2] = ["--layout", "plain"];
const ATOMIC: [&str; 2] = ["--layout", "atomic"];
const SECRETS: [&str; 4] = ["--secret", "a=alpha", "--secret", "sub/deep/b=beta"];

const PLANTS: [Plant; 4] = [Plant::Directory, Plant::File, Plant::Link, Plant::Pipe];
const NOT_FILES: [Plant; 3] = [Plant::Directory, Plant::Link, Plant::Pipe];
const NOT_DIRECTORIES: [Plant; 3] = [Plant::File, Plant::Link, Plant::Pipe];

/// Asserts that a run with these words is refused without a request, that the error names this path in DIR and has a
/// hint, and that nothing in DIR and beside it has changed.
#[track_caller]
fn refused(azure: &Azure, place: &Place, words: &[&str], name: &str) -> Failure {
    let before = place.snapshot();
    let failure = place.write(azure, words).failure(73, "cannot create");
    let path = place.path(name).display().to_string();
    failure.names(&format!("`{path}`")).hinted();
    assert_eq!(place.snapshot(), before);
    assert_eq!(connections(azure), 0);
    failure
}

/// The same with one thing planted in a fresh directory.
#[track_caller]
fn planted(words: &[&str], name: &str, plant: Plant) -> Failure {
    let (azure, place) = two_secrets();
    place.plant(name, plant);
    refused(&azure, &place, &[words, &SECRETS].concat(), name)
}

/// The same with a symbolic link to this target.
#[track_caller]
fn linked(words: &[&str], name: &str, target: &str) {
    let (azure, place) = two_secrets();
    symlink(target, place.path(name)).unwrap();
    refused(&azure, &place, &[words, &SECRETS].concat(), name);
}

#[test]
fn plain_target_that_is_not_a_file_is_refused() {
    for plant in NOT_FILES {
        planted(&PLAIN, "a", plant);
        planted(&PLAIN, "sub/deep/b", plant);
    }
    // A file that was there before is replaced.
    let (azure, place) = two_secrets();
    place.plant("a", Plant::File);
    place.wrote(&azure, &SECRETS);
    assert_eq!(place.read("a"), b"first");
}

#[test]
fn plain_parent_that_is_not_a_directory_is_refused() {
    for plant in NOT_DIRECTORIES {
        for name in ["sub", "sub/deep"] {
            planted(&PLAIN, name, plant);
        }
    }
}

/// Its target can change at any time.
#[test]
fn link_to_a_directory_is_refused() {
    for target in ["..", ".", "real"] {
        let (azure, place) = two_secrets();
        fs::create_dir(place.path("real")).unwrap();
        symlink(target, place.path("sub")).unwrap();
        refused(&azure, &place, &SECRETS, "sub");
    }
}

#[test]
fn plain_manifest_that_is_not_a_file_is_refused() {
    for plant in NOT_FILES {
        planted(&["--keep-existing"], MANIFEST, plant);
    }
}

/// Without the option a manifest file is emptied, so that a later run does not rely on it.
#[test]
fn without_keep_existing_a_manifest_that_is_not_a_file_is_left_alone() {
    for plant in PLANTS {
        let (azure, place) = two_secrets();
        place.plant(MANIFEST, plant);
        let listed = |place: &Place| {
            let names = place.names().into_iter();
            names
                .filter(|line| line.starts_with(MANIFEST))
                .collect::<Vec<_>>()
        };
        let before = listed(&place);
        place.wrote(&azure, &SECRETS);
        match plant {
            Plant::File => assert_eq!(listed(&place), [""; 0]),
            _ => assert_eq!(listed(&place), before),
        }
        assert_eq!(place.read("a"), b"first");
    }
}

#[test]
fn atomic_name_that_is_not_the_expected_link_is_refused() {
    for name in ["a", "sub"] {
        for plant in PLANTS {
            let failure = planted(&ATOMIC, name, plant);
            if matches!(plant, Plant::Directory | Plant::File) {
                failure.hint_names("--layout plain");
            }
        }
        for target in [
            "..data",
            "..data/other",
            "..data/",
            "../volume/..data/a",
            "/..data/a",
        ] {
            linked(&ATOMIC, name, target);
        }
    }
}

#[test]
fn atomic_data_link_of_another_program_is_refused() {
    for plant in [Plant::Directory, Plant::File, Plant::Pipe] {
        planted(&ATOMIC, "..data", plant);
    }
    for target in [
        // The kubelet's own, of a Secret that is mounted there.
        "..2026_01_20_22_54_42.123456789",
        "elsewhere",
        "..",
        "../target",
        "/etc",
        "..akv-init-0123456789abcdef/below",
        "./..akv-init-0123456789abcdef",
    ] {
        linked(&ATOMIC, "..data", target);
    }
}

#[test]
fn atomic_set_that_is_not_a_directory_is_refused() {
    let set = "..akv-init-0123456789abcdef";
    for plant in NOT_DIRECTORIES {
        let (azure, place) = two_secrets();
        place.plant(set, plant);
        symlink(set, place.path("..data")).unwrap();
        let words = [ATOMIC.as_slice(), &SECRETS].concat();
        refused(&azure, &place, &words, set);
    }
}

#[test]
fn directory_of_the_other_layout_is_refused() {
    let secret = ["--secret", "a=alpha"];
    for (before, after, name) in [(ATOMIC, PLAIN, "atomic"), (PLAIN, ATOMIC, "plain")] {
        let (azure, place) = two_secrets();
        place.wrote(&azure, &[before.as_slice(), &secret].concat());
        let (snapshot, requests) = (place.snapshot(), azure.requests().len());
        let run = place.write(&azure, &[after.as_slice(), &secret].concat());
        let failure = run.failure(73, "cannot create");
        failure.names(&place.path("a").display().to_string());
        failure.hint_names(&format!("--layout {name}"));
        assert_eq!(place.snapshot(), snapshot);
        assert_eq!(azure.requests().len(), requests);
    }
}

/// A temporary name belongs to a run that was killed, or was made up by another program.
#[test]
fn temporary_names_are_removed_and_links_are_not_followed() {
    for layout in [PLAIN, ATOMIC] {
        let (azure, place) = two_secrets();
        fs::create_dir(place.beside("precious")).unwrap();
        fs::write(place.beside("precious/file"), "precious").unwrap();
        place.plant("..akv-init-file", Plant::File);
        place.plant("..akv-init-link", Plant::Link);
        place.plant("..akv-init-directory/below/file", Plant::File);
        place.plant("..akv-init-directory/pipe", Plant::Pipe);
        let links = [
            "..akv-init-to",
            "..akv-init-directory/to",
            "..akv-init-directory/below/to",
        ];
        for link in links {
            symlink(place.beside("precious"), place.path(link)).unwrap();
        }
        place.wrote(&azure, &[&layout[..], &["--secret", "a=alpha"]].concat());
        let expected: &[&str] = match layout {
            PLAIN => &["a 0440 \"first\""],
            _ => &[
                "..akv-init-*/ 0750",
                "..akv-init-*/a 0440 \"first\"",
                "..data -> ..akv-init-*",
                "a -> ..data/a",
            ],
        };
        assert_eq!(place.tree(), expected);
        assert_eq!(
            fs::read(place.beside("precious/file")).unwrap(),
            b"precious"
        );
        assert_eq!(
            fs::read(place.beside("target")).unwrap(),
            b"of another program"
        );
    }
}
