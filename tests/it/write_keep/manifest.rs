//! The manifest: it holds nothing secret and only what is true, and one that is not valid is ignored.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::{Earlier, LAYOUTS, LONG_AGO_SHOWN, ONE, keep, now};
use crate::azure::Endpoint;
use crate::support_files::MANIFEST;

const TWO: [&str; 4] = ["--secret", "a=alpha", "--secret", "sub/b=alpha"];

/// The manifest without its times, which must be recent.
fn timeless(earlier: &Earlier) -> Value {
    let mut manifest = earlier.read_manifest();
    for (name, entry) in manifest["files"].as_object_mut().unwrap() {
        let written = entry["written"].as_u64().unwrap();
        assert!(written.abs_diff(now()) < 60, "{name}: {written}");
        entry["written"] = json!("now");
    }
    manifest
}

#[test]
fn manifest_holds_names_references_and_times() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        earlier.wrote(&[
            "--secret",
            "a=akv:///alpha?trim",
            "--secret",
            "sub/B=beta",
            "--output",
            "files",
            "--output",
            "json:all.json",
        ]);
        let vault = earlier.azure.vault();
        let (alpha, beta) = (
            format!("akv://{vault}/alpha?trim"),
            format!("akv://{vault}/beta"),
        );
        let expected = json!({
            "version": 1,
            "files": {
                "a": {"format": "file", "references": {"a": alpha}, "written": "now"},
                "sub/B": {"format": "file", "references": {"sub/B": beta}, "written": "now"},
                "all.json": {"format": "json", "references": {"a": alpha, "sub/B": beta}, "written": "now"},
            },
        });
        assert_eq!(timeless(&earlier), expected);
    }
}

#[test]
fn manifest_has_the_permissions_of_the_files() {
    for mode in ["0440", "0400", "0604", "0000"] {
        let earlier = Earlier::run("plain", &["--mode", mode, "--secret", "a=alpha"]);
        earlier.wrote(&["--mode", mode, "--secret", "a=alpha"]);
        // The next run must be able to read it.
        let own = match mode {
            "0000" => "0400",
            mode => mode,
        };
        let found = earlier.place.names();
        assert_eq!(found[0], format!("{MANIFEST} {own}"));
        assert_eq!(found.len(), 2, "{found:?}");
    }
    let earlier = Earlier::run("atomic", &ONE);
    earlier.wrote(&ONE);
    let expected = [
        "..akv-init-*/ 0750",
        "..akv-init-*/..akv-init.json 0440 {…}",
        "..akv-init-*/a 0440 \"first\"",
        "..data -> ..akv-init-*",
        "a -> ..data/a",
    ];
    assert_eq!(earlier.place.tree(), expected);
}

#[test]
fn run_without_the_option_removes_outdated_entries() {
    for (layout, words) in [
        ("plain", ["--secret", "a=beta"]),
        ("plain", ["--secret", "a=alpha"]),
        ("atomic", ["--secret", "a=beta"]),
        ("atomic", ["--secret", "a=alpha"]),
    ] {
        let earlier = Earlier::run(layout, &ONE);
        earlier.place.quiet(&earlier.again(&words).outcome());
        assert!(!earlier.place.path(&earlier.manifest()).exists());
        earlier.azure.close(Endpoint::Vault);
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
    }
    // In plain, the entries of other files stay.
    let earlier = Earlier::run("plain", &TWO);
    earlier
        .place
        .quiet(&earlier.again(&["--secret", "a=beta"]).outcome());
    earlier.azure.close(Endpoint::Vault);
    earlier.keeps(earlier.again(&keep(&["--secret", "sub/b=alpha"])), "alpha");
    earlier.nothing_to_keep(earlier.again(&keep(&TWO)), "a, sub/b");
}

#[test]
fn without_the_option_there_is_no_manifest() {
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &["--secret", "a=beta"]);
        fs::remove_dir_all(earlier.place.dir()).unwrap();
        fs::create_dir(earlier.place.dir()).unwrap();
        earlier.place.quiet(&earlier.again(&ONE).outcome());
        let names = earlier.place.names();
        assert!(
            !names.iter().any(|name| name.contains(MANIFEST)),
            "{names:?}"
        );
    }
}

/// Two init containers with different names in one volume.
#[test]
fn plain_runs_with_other_names_keep_the_entries_of_each_other() {
    let earlier = Earlier::run("plain", &ONE);
    earlier.wrote(&["--secret", "b=alpha"]);
    let manifest = earlier.read_manifest();
    assert_eq!(
        manifest["files"].as_object().unwrap().len(),
        2,
        "{manifest}"
    );
    earlier.written_at(super::LONG_AGO);
    earlier.azure.close(Endpoint::Vault);
    for words in [
        &ONE[..],
        &["--secret", "b=alpha"],
        &["--secret", "a=alpha", "--secret", "b=alpha"],
    ] {
        earlier.keeps(earlier.again(&[&super::KEEP, words].concat()), "alpha");
    }
}

#[test]
fn missing_file_is_not_kept() {
    for name in ["a", "sub/b", "sub"] {
        let earlier = Earlier::run("plain", &TWO);
        earlier.azure.close(Endpoint::Vault);
        match name {
            "sub" => fs::remove_dir_all(earlier.place.path(name)).unwrap(),
            _ => fs::remove_file(earlier.place.path(name)).unwrap(),
        }
        earlier.nothing_to_keep(earlier.again(&keep(&TWO)), "a, sub/b");
    }
    for name in ["a", "sub", "..data", "..data/a", "..data/sub/b"] {
        let earlier = Earlier::run("atomic", &TWO);
        earlier.azure.close(Endpoint::Vault);
        fs::remove_file(earlier.place.path(name)).unwrap();
        earlier.nothing_to_keep(earlier.again(&keep(&TWO)), "a, sub/b");
    }
}

#[test]
fn path_that_is_no_longer_a_file_is_not_kept() {
    for name in ["..data/a", "..data/sub/b"] {
        for kind in ["link", "pipe", "directory"] {
            let earlier = Earlier::run("atomic", &TWO);
            earlier.azure.close(Endpoint::Vault);
            let path = earlier.place.path(name);
            fs::rename(&path, earlier.place.beside("copy")).unwrap();
            match kind {
                "link" => symlink(earlier.place.beside("copy"), path).unwrap(),
                "pipe" => mkfifo(&path, Mode::S_IRUSR).unwrap(),
                _ => fs::create_dir(path).unwrap(),
            }
            earlier.nothing_to_keep(earlier.again(&keep(&TWO)), "a, sub/b");
        }
    }
    // In plain it is an error, whatever Azure returns.
    let earlier = Earlier::run("plain", &TWO);
    earlier.azure.close(Endpoint::Vault);
    let path = earlier.place.path("a");
    fs::rename(&path, earlier.place.beside("copy")).unwrap();
    symlink(earlier.place.beside("copy"), path).unwrap();
    assert_eq!(earlier.again(&keep(&TWO)).outcome().code, Some(73));
}

#[test]
fn invalid_manifest_is_ignored_and_replaced() {
    let good = |earlier: &Earlier| earlier.read_manifest();
    type Damage = fn(Value) -> String;
    let damages: [Damage; 12] = [
        |_| String::new(),
        |_| "{".to_owned(),
        |_| "\0\u{feff}".to_owned(),
        |_| "null".to_owned(),
        |_| "[1, 2]".to_owned(),
        |_| "{\"version\": 1}".to_owned(),
        |good| good.to_string().replace("\"version\":1", "\"version\":2"),
        |good| {
            good.to_string()
                .replace("\"written\":", "\"written\":\"\",\"x\":")
        },
        |good| {
            good.to_string()
                .replace("\"format\":\"file\"", "\"format\":[]")
        },
        |good| {
            good.to_string()
                .replace("\"references\":{", "\"references\":{\"more\":1,")
        },
        |good| good.to_string() + "}",
        // Larger than the limit.
        |good| good.to_string() + &" ".repeat(4 * 1024 * 1024),
    ];
    for layout in LAYOUTS {
        let earlier = Earlier::run(layout, &ONE);
        for damage in damages {
            earlier.write_manifest(damage(good(&earlier)).as_bytes());
            earlier.azure.close(Endpoint::Vault);
            earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
            earlier.azure.open(Endpoint::Vault);
            earlier.wrote(&ONE);
            assert_eq!(timeless(&earlier)["files"].as_object().unwrap().len(), 1);
        }
    }
}

/// Reading it could never end.
#[test]
fn manifest_that_is_not_a_regular_file_is_not_read() {
    for kind in ["endless", "link", "pipe"] {
        let earlier = Earlier::run("atomic", &ONE);
        earlier.azure.close(Endpoint::Vault);
        let path = earlier.place.path(&earlier.manifest());
        let copy = earlier.place.beside("copy");
        fs::rename(&path, &copy).unwrap();
        match kind {
            "endless" => File::create(&path).unwrap().set_len(1 << 40).unwrap(),
            "link" => symlink(&copy, &path).unwrap(),
            _ => mkfifo(&path, Mode::S_IRUSR).unwrap(),
        }
        let failure = earlier.again(&keep(&ONE)).failure(69, "unavailable");
        failure.names(&earlier.place.word()).omits(LONG_AGO_SHOWN);
        // A snapshot of the place would read all of it.
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn atomic_manifest_that_is_not_a_file_is_replaced() {
    for kind in ["directory", "link", "pipe"] {
        for words in [&["--keep-existing", "--secret", "a=alpha"][..], &ONE] {
            let earlier = Earlier::run("atomic", &ONE);
            let path = earlier.place.path(&earlier.manifest());
            fs::rename(&path, earlier.place.beside("copy")).unwrap();
            match kind {
                "directory" => fs::create_dir(&path).unwrap(),
                "link" => symlink(earlier.place.beside("copy"), &path).unwrap(),
                _ => mkfifo(&path, Mode::S_IRUSR).unwrap(),
            }
            earlier.place.quiet(&earlier.again(words).outcome());
            let manifest = "..akv-init-*/..akv-init.json 0440";
            let mut expected = vec![
                "..akv-init-*/ 0750",
                "..akv-init-*/a 0440",
                "..data -> ..akv-init-*",
                "a -> ..data/a",
            ];
            if words.len() > ONE.len() {
                expected.insert(1, manifest);
            }
            assert_eq!(earlier.place.names(), expected, "{kind}");
        }
    }
}
