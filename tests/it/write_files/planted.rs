//! Whoever shares the volume may put anything anywhere: what is not a file of ours is refused by its name, before
//! anything is asked, and is not touched.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::two_secrets;
use crate::azure::Azure;
use crate::network::wire::connections;
use crate::support_files::{IN_THE_WAY, MANIFEST, Place, Plant};

const PLAIN: [&str; 2] = ["--layout", "plain"];
const ATOMIC: [&str; 2] = ["--layout", "atomic"];
const SECRETS: [&str; 4] = ["--secret", "a=alpha", "--secret", "sub/deep/b=beta"];

const PLANTS: [(Plant, &str); 4] = [
    (Plant::Directory, "it is a directory"),
    (Plant::File, "it is a file"),
    (Plant::Link, "it is a symbolic link"),
    (Plant::Pipe, "it is neither a file nor a directory"),
];

/// What is said of each where a directory has to be.
const NO_DIRECTORY: [(Plant, &str); 3] = [
    (Plant::File, "it is a file, where a directory has to be"),
    (
        Plant::Link,
        "it is a symbolic link, where a directory has to be",
    ),
    (
        Plant::Pipe,
        "it is neither a file nor a directory, where a directory has to be",
    ),
];

/// A run with these words is refused with these lines, of which the first is about `name` in DIR, and leaves all as it
/// was, here and beside.
#[track_caller]
fn refused(azure: &Azure, place: &Place, words: &[&str], name: &str, said: &[&str]) {
    let before = place.snapshot();
    let outcome = place.write(azure, words).outcome();
    let error = format!(
        "error: cannot write `{}`: {}",
        place.path(name).display(),
        said[0]
    );
    let lines: Vec<&str> = std::iter::once(error.as_str())
        .chain(said[1..].iter().copied())
        .collect();
    place.failed(&outcome, 73, &lines);
    assert_eq!(place.snapshot(), before);
    assert_eq!(connections(azure), 0);
}

/// The same with one thing planted in a fresh directory.
#[track_caller]
fn planted(words: &[&str], name: &str, plant: Plant, said: &[&str]) {
    let (azure, place) = two_secrets();
    place.plant(name, plant);
    refused(&azure, &place, &[words, &SECRETS].concat(), name, said);
}

#[test]
fn in_plain_a_target_that_is_no_file_is_refused() {
    for (plant, said) in PLANTS {
        if plant != Plant::File {
            planted(&PLAIN, "a", plant, &[said, IN_THE_WAY]);
            planted(&PLAIN, "sub/deep/b", plant, &[said, IN_THE_WAY]);
        }
    }
    // A file that is not ours is one that was there before: it is replaced.
    let (azure, place) = two_secrets();
    place.plant("a", Plant::File);
    place.wrote(&azure, &SECRETS);
    assert_eq!(place.read("a"), b"first");
}

#[test]
fn a_directory_on_the_way_that_is_none_is_refused() {
    for (plant, said) in NO_DIRECTORY {
        for name in ["sub", "sub/deep"] {
            planted(&PLAIN, name, plant, &[said, IN_THE_WAY]);
        }
    }
}

/// It would be as good as the directory that it leads to, but who knows where it leads in a moment.
#[test]
fn a_link_to_a_directory_is_refused_too() {
    for target in ["..", ".", "real"] {
        let (azure, place) = two_secrets();
        fs::create_dir(place.path("real")).unwrap();
        symlink(target, place.path("sub")).unwrap();
        let said = [
            "it is a symbolic link, where a directory has to be",
            IN_THE_WAY,
        ];
        refused(&azure, &place, &SECRETS, "sub", &said);
    }
}

#[test]
fn in_plain_a_manifest_that_is_no_file_is_refused() {
    for (plant, said) in PLANTS {
        if plant != Plant::File {
            let words = ["--keep-existing"];
            planted(&words, MANIFEST, plant, &[said, IN_THE_WAY]);
        }
    }
}

/// Nobody believes it, so there is nothing to be written in its place. A file somebody might believe.
#[test]
fn without_keep_existing_what_is_called_like_the_manifest_and_is_no_file_is_left_alone() {
    for (plant, _) in PLANTS {
        let (azure, place) = two_secrets();
        place.plant(MANIFEST, plant);
        let seen = |place: &Place| {
            let names = place.names().into_iter();
            names
                .filter(|line| line.starts_with(MANIFEST))
                .collect::<Vec<_>>()
        };
        let before = seen(&place);
        place.wrote(&azure, &SECRETS);
        match plant {
            Plant::File => {
                let manifest: Value = serde_json::from_slice(&place.read(MANIFEST)).unwrap();
                assert_eq!(manifest, json!({"version": 1, "files": {}}));
            }
            _ => assert_eq!(seen(&place), before),
        }
        assert_eq!(place.read("a"), b"first");
    }
}

#[test]
fn in_atomic_a_name_that_is_no_link_of_ours_is_refused() {
    let hint = "hint: was the directory written with --layout plain? use that again, or empty it";
    for name in ["a", "sub"] {
        for (plant, said) in PLANTS {
            let hint = match plant {
                Plant::Directory | Plant::File => hint,
                Plant::Link | Plant::Pipe => IN_THE_WAY,
            };
            planted(&ATOMIC, name, plant, &[said, hint]);
        }
        for target in [
            "..data",
            "..data/other",
            "..data/",
            "../volume/..data/a",
            "/..data/a",
        ] {
            let (azure, place) = two_secrets();
            symlink(target, place.path(name)).unwrap();
            let words = [ATOMIC.as_slice(), &SECRETS].concat();
            let said = ["it is a symbolic link", IN_THE_WAY];
            refused(&azure, &place, &words, name, &said);
        }
    }
}

#[test]
fn in_atomic_a_data_link_that_is_not_ours_is_refused() {
    for (plant, said) in PLANTS {
        if plant != Plant::Link {
            planted(&ATOMIC, "..data", plant, &[said, IN_THE_WAY]);
        }
    }
    let words = [ATOMIC.as_slice(), &SECRETS].concat();
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
        let (azure, place) = two_secrets();
        symlink(target, place.path("..data")).unwrap();
        let said = [
            "it is a symbolic link that akv-init did not make",
            "hint: give akv-init a directory that nothing else fills in this layout",
        ];
        refused(&azure, &place, &words, "..data", &said);
    }
}

#[test]
fn in_atomic_a_set_that_is_no_directory_is_refused() {
    let set = "..akv-init-0123456789abcdef";
    for (plant, said) in NO_DIRECTORY {
        let (azure, place) = two_secrets();
        place.plant(set, plant);
        symlink(set, place.path("..data")).unwrap();
        let words = [ATOMIC.as_slice(), &SECRETS].concat();
        refused(&azure, &place, &words, set, &[said, IN_THE_WAY]);
    }
}

#[test]
fn the_other_layout_is_refused_with_what_to_do() {
    let (azure, place) = two_secrets();
    let atomic = [ATOMIC.as_slice(), &["--secret", "a=alpha"]].concat();
    let plain = [PLAIN.as_slice(), &["--secret", "a=alpha"]].concat();
    // Asked for by an earlier run.
    let asked = |azure: &Azure| azure.requests().len();
    place.wrote(&azure, &atomic);
    let (before, requests) = (place.snapshot(), asked(&azure));
    let path = place.path("a").display().to_string();
    place.failed(
        &place.write(&azure, &plain).outcome(),
        73,
        &[
            &format!("error: cannot write `{path}`: it is a symbolic link"),
            "hint: the directory was written with --layout atomic: use that again, or empty it",
        ],
    );
    assert_eq!((place.snapshot(), asked(&azure)), (before, requests));
    let other = Place::new();
    other.wrote(&azure, &plain);
    let (before, requests) = (other.snapshot(), asked(&azure));
    let path = other.path("a").display().to_string();
    other.failed(
        &other.write(&azure, &atomic).outcome(),
        73,
        &[
            &format!("error: cannot write `{path}`: it is a file"),
            "hint: was the directory written with --layout plain? use that again, or empty it",
        ],
    );
    assert_eq!((other.snapshot(), asked(&azure)), (before, requests));
}

/// What is called like something temporary is a run's that was killed, or was made to look so: it goes, and what links
/// in it lead to stays.
#[test]
fn what_looks_like_something_temporary_is_removed_and_no_link_followed() {
    for layout in [PLAIN, ATOMIC] {
        let (azure, place) = two_secrets();
        fs::create_dir(place.beside("precious")).unwrap();
        fs::write(place.beside("precious/file"), "precious").unwrap();
        place.plant("..akv-init-file", Plant::File);
        place.plant("..akv-init-link", Plant::Link);
        place.plant("..akv-init-directory/below/file", Plant::File);
        place.plant("..akv-init-directory/pipe", Plant::Pipe);
        place.plant("..data_tmp/file", Plant::File);
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
            b"of somebody else"
        );
    }
}
