//! `akv-init write`: the files, their contents and permissions, and which of them are written again.

mod again;
mod atomic;
mod directory;
mod formats;
mod outputs;
mod planted;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use nix::unistd::geteuid;

use crate::azure::Azure;
use crate::support_files::{Place, change_mode};
use crate::support_inherited as inherited;

/// Two secrets, `alpha` and `beta`, and a directory.
fn two_secrets() -> (Azure, Place) {
    let azure = Azure::start();
    azure.secret("alpha", "first");
    azure.secret("beta", "second");
    (azure, Place::new())
}

#[test]
fn file_holds_exactly_the_bytes_of_its_secret() {
    let azure = Azure::start();
    let large = "0123456789abcdef".repeat(1_600);
    let values = [
        "pa$$w0rd",
        "with a line end\n",
        "\r\n",
        "",
        " ",
        "two\nlines",
        "a NUL \0 in it",
        "pässwörd🔑\u{2028}",
        "akv://kv1/other",
        "$(HOME) `id` \"quotes\" 'and' \\n %s",
        &large,
    ];
    for layout in ["plain", "atomic"] {
        let place = Place::new();
        for value in values {
            azure.secret("alpha", value);
            place.wrote(&azure, &["--layout", layout, "--secret", "a=alpha"]);
            assert_eq!(place.read("a"), value.as_bytes(), "{layout}");
        }
    }
}

#[test]
fn trim_removes_only_final_line_ends() {
    let azure = Azure::start();
    let place = Place::new();
    for (value, trimmed) in [
        ("value\n", "value"),
        ("value\r\n\n\r", "value"),
        ("\nvalue \t\n", "\nvalue \t"),
        ("\n", ""),
        ("value", "value"),
    ] {
        azure.secret("alpha", value);
        let words = ["--secret", "a=akv:///alpha?trim", "--secret", "b=alpha"];
        place.wrote(&azure, &words);
        assert_eq!(place.read("a"), trimmed.as_bytes(), "{value:?}");
        assert_eq!(place.read("b"), value.as_bytes(), "{value:?}");
    }
}

/// New directories can be entered by all who may read their files.
#[test]
fn permissions_are_those_of_mode_whatever_the_umask() {
    let (azure, _) = two_secrets();
    for mask in [0o077, 0o000, 0o777] {
        for (options, mode, directory) in [
            (&[][..], 0o440, 0o750),
            (&["--mode", "0400"], 0o400, 0o750),
            (&["--mode=644"], 0o644, 0o755),
            (&["--mode", "0777"], 0o777, 0o755),
            (&["--mode", "4"], 0o004, 0o755),
            (&["--mode", "0"], 0o000, 0o750),
        ] {
            for layout in ["plain", "atomic"] {
                let place = Place::new();
                let words = [
                    "--layout",
                    layout,
                    "--secret",
                    "a=alpha",
                    "--secret",
                    "sub/b=beta",
                ];
                let run = place.write(&azure, &[options, &words].concat());
                let run = run.with(|command| inherited::mask_files(command, mask));
                place.quiet(&run.outcome());
                let found = |name: &str| fs::metadata(place.path(name)).unwrap().mode() & 0o7777;
                assert_eq!(
                    (found("a"), found("sub"), found("sub/b")),
                    (mode, directory, mode),
                    "{layout}, umask {mask:03o}"
                );
                if layout == "atomic" {
                    assert_eq!(found("..data"), directory, "umask {mask:03o}");
                }
            }
        }
    }
}

#[test]
fn file_name_may_be_a_path() {
    let (azure, place) = two_secrets();
    let words = [
        "--secret",
        "tls/server/key=alpha",
        "--secret",
        "tls/server/cert=beta",
        "--secret",
        "tls/ca=alpha",
        "--secret",
        ".hidden=beta",
        "--secret",
        "a..b=alpha",
        "--secret",
        "ä ö=alpha",
        "--secret",
        "tls/server/a b/.c=beta",
    ];
    place.wrote(&azure, &words);
    let expected = [
        ".hidden 0440 \"second\"",
        "a..b 0440 \"first\"",
        "tls/ 0750",
        "tls/ca 0440 \"first\"",
        "tls/server/ 0750",
        "tls/server/a b/ 0750",
        "tls/server/a b/.c 0440 \"second\"",
        "tls/server/cert 0440 \"second\"",
        "tls/server/key 0440 \"first\"",
        "ä ö 0440 \"first\"",
    ];
    assert_eq!(place.tree(), expected);
}

/// The group of a volume (fsGroup) is inherited through the setgid bit of directories.
#[test]
fn new_directory_inherits_the_group_and_the_setgid_bit() {
    for layout in ["plain", "atomic"] {
        let (azure, place) = two_secrets();
        if geteuid().is_root() {
            chown(place.dir(), None, Some(12_345)).unwrap();
        }
        change_mode(&place.dir(), 0o2775);
        let words = ["--layout", layout, "--secret", "one/two/a=alpha"];
        place.wrote(&azure, &words);
        for (name, mode) in [
            ("one", 0o2750),
            ("one/two", 0o2750),
            ("one/two/a", 0o440),
            (".", 0o2775),
        ] {
            let found = fs::metadata(place.path(name)).unwrap();
            let group = fs::metadata(place.dir()).unwrap().gid();
            assert_eq!(
                (found.mode() & 0o7777, found.gid()),
                (mode, group),
                "{layout}: {name}"
            );
        }
    }
}

#[test]
fn existing_directory_is_unchanged() {
    let (azure, place) = two_secrets();
    fs::create_dir(place.path("sub")).unwrap();
    change_mode(&place.path("sub"), 0o711);
    fs::write(place.path("sub/other"), "of another program").unwrap();
    change_mode(&place.path("sub/other"), 0o600);
    let other = place.inode("sub/other");
    place.wrote(
        &azure,
        &["--secret", "sub/a=alpha", "--secret", "sub/deep/b=beta"],
    );
    let expected = [
        "sub/ 0711",
        "sub/a 0440 \"first\"",
        "sub/deep/ 0750",
        "sub/deep/b 0440 \"second\"",
        "sub/other 0600 \"of another program\"",
    ];
    assert_eq!(place.tree(), expected);
    assert_eq!(place.inode("sub/other"), other);
}
