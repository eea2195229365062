//! What a run tells the next one: nothing secret, nothing that is not so, and nothing that is believed of others.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::{Earlier, LAYOUTS, LONG_AGO_SHOWN, ONE, keep, now};
use crate::azure::Endpoint;
use crate::support_files::MANIFEST;

const TWO: [&str; 4] = ["--secret", "a=alpha", "--secret", "sub/b=alpha"];

/// The manifest with every time that is about now replaced.
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
fn it_holds_names_references_and_times_and_nothing_else() {
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
fn it_lies_beside_the_files_and_is_as_readable_as_they_are() {
    for mode in ["0440", "0400", "0604", "0000"] {
        let earlier = Earlier::run("plain", &["--mode", mode, "--secret", "a=alpha"]);
        earlier.wrote(&["--mode", mode, "--secret", "a=alpha"]);
        // The next run has to be able to read it.
        let own = match mode {
            "0000" => "0400",
            mode => mode,
        };
        let seen = earlier.place.names();
        assert_eq!(seen[0], format!("{MANIFEST} {own}"));
        assert_eq!(seen.len(), 2, "{seen:?}");
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

/// Otherwise it would say of a file what was so before.
#[test]
fn a_run_without_the_option_leaves_nothing_that_is_not_so() {
    for (layout, words) in [
        ("plain", ["--secret", "a=beta"]),
        ("plain", ["--secret", "a=alpha"]),
        ("atomic", ["--secret", "a=beta"]),
        ("atomic", ["--secret", "a=alpha"]),
    ] {
        let earlier = Earlier::run(layout, &ONE);
        earlier.place.quiet(&earlier.again(&words).outcome());
        match layout {
            "plain" => assert_eq!(earlier.read_manifest(), json!({"version": 1, "files": {}})),
            _ => assert!(!earlier.place.path(&earlier.manifest()).exists()),
        }
        earlier.azure.close(Endpoint::Vault);
        earlier.nothing_to_keep(earlier.again(&keep(&ONE)), "a");
    }
    // In plain, of other files it still says what is so.
    let earlier = Earlier::run("plain", &TWO);
    earlier
        .place
        .quiet(&earlier.again(&["--secret", "a=beta"]).outcome());
    earlier.azure.close(Endpoint::Vault);
    earlier.keeps(earlier.again(&keep(&["--secret", "sub/b=alpha"])), "alpha");
    earlier.nothing_to_keep(earlier.again(&keep(&TWO)), "a, sub/b");
}

#[test]
fn without_the_option_there_is_none() {
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

/// Two init containers, each with its own names, in one volume.
#[test]
fn in_plain_runs_with_other_names_keep_each_others_entries() {
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
fn a_file_of_the_set_that_is_not_there_cannot_be_kept() {
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
fn a_file_of_the_set_that_is_none_any_more_cannot_be_kept() {
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
    // In plain it is in the way, whatever Azure says.
    let earlier = Earlier::run("plain", &TWO);
    earlier.azure.close(Endpoint::Vault);
    let path = earlier.place.path("a");
    fs::rename(&path, earlier.place.beside("copy")).unwrap();
    symlink(earlier.place.beside("copy"), path).unwrap();
    assert_eq!(earlier.again(&keep(&TWO)).outcome().code, Some(73));
}

/// It says nothing, and is replaced by the next run that has something to say.
#[test]
fn one_that_is_not_ours_is_not_believed() {
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
        // Larger than any of ours.
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

/// Whoever shares the volume could let us read for ever, or wait for ever.
#[test]
fn one_that_is_no_file_is_not_read() {
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

/// The set is our own: what somebody else has put into it makes it another one, and not an error for ever.
#[test]
fn in_atomic_one_that_is_no_file_is_replaced() {
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
