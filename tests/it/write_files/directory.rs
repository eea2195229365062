//! DIR: in which spellings it is taken, and when nothing is written to it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, getegid, geteuid};

use super::two_secrets;
use crate::azure::Door;
use crate::become_command::inherited;
use crate::network::wire::connections;
use crate::support::{Run, write};
use crate::support_files::{IS_A_LINK, MISSING, Place, change_mode, is_tmpfs};

const SECRET: [&str; 2] = ["--secret", "sub/a=alpha"];

#[test]
fn it_is_taken_in_any_spelling() {
    let (azure, place) = two_secrets();
    symlink(".", place.beside("parent")).unwrap();
    let whole = place.word();
    let root = place.beside(".");
    let linked = place.beside("parent/volume");
    for (word, from) in [
        (whole.clone(), Path::new("/")),
        (format!("{whole}/"), Path::new("/")),
        (format!("{whole}//."), Path::new("/")),
        (format!("{whole}/../volume"), Path::new("/")),
        (".".to_owned(), &place.dir()),
        ("./".to_owned(), &place.dir()),
        ("volume".to_owned(), &root),
        ("./volume/".to_owned(), &root),
        ("../volume".to_owned(), &place.dir()),
        (linked.to_str().unwrap().to_owned(), Path::new("/")),
        ("parent/volume/".to_owned(), &root),
    ] {
        for layout in ["plain", "atomic"] {
            let words = ["--layout", layout];
            let run = write(&azure, words).args(SECRET).args([&word]);
            let run = run.env("AKV_INIT_VAULT", azure.vault());
            let outcome = run.with(|command| {
                command.current_dir(from);
            });
            let outcome = outcome.outcome();
            assert_eq!(outcome.code, Some(0), "{word}: {}", outcome.stderr);
            assert_eq!(place.read("sub/a"), b"first", "{word}");
            fs::remove_dir_all(place.dir()).unwrap();
            fs::create_dir(place.dir()).unwrap();
        }
    }
}

#[test]
fn it_need_not_be_text() {
    let (azure, place) = two_secrets();
    let dir = place.beside("").join(OsStr::from_bytes(b"\xff\xfe"));
    fs::create_dir(&dir).unwrap();
    for layout in ["plain", "atomic"] {
        let dir = dir.join(layout);
        fs::create_dir(&dir).unwrap();
        let words = ["--keep-existing", "--layout", layout];
        let run = write(&azure, words).args(SECRET).args([&dir]);
        let outcome = run.env("AKV_INIT_VAULT", azure.vault()).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(fs::read(dir.join("sub/a")).unwrap(), b"first");
    }
}

/// 73 with the path as it was given, and nobody was asked for a secret that could not have been written.
#[test]
fn what_is_no_directory_is_refused_before_anything_is_asked() {
    let (azure, place) = two_secrets();
    fs::write(place.beside("file"), "planted").unwrap();
    symlink("volume", place.beside("link")).unwrap();
    symlink("nowhere", place.beside("dangling")).unwrap();
    let before = place.snapshot();
    for (word, shown, said) in [
        ("missing", "missing", &MISSING[..]),
        ("missing/", "missing", &MISSING),
        ("missing/below", "missing/below", &MISSING),
        ("volume/missing", "volume/missing", &MISSING),
        ("file", "file", &["it is not a directory"]),
        ("file/", "file", &["it is not a directory"]),
        ("/dev/null", "/dev/null", &["it is not a directory"]),
        ("link", "link", &IS_A_LINK),
        ("link/", "link", &IS_A_LINK),
        ("link//.", "link", &IS_A_LINK),
        ("./link", "./link", &IS_A_LINK),
        ("dangling", "dangling", &IS_A_LINK),
    ] {
        for layout in ["plain", "atomic"] {
            let words = ["--keep-existing", "--layout", layout];
            let run = write(&azure, words).args(SECRET).args([word]);
            let run = run.env("AKV_INIT_VAULT", azure.vault());
            let outcome = run.with(|command| {
                command.current_dir(place.beside("."));
            });
            let error = format!("error: cannot write `{shown}`: {}", said[0]);
            let lines = [&[error.as_str()], &said[1..]].concat();
            outcome.outcome().failed(73, &lines);
        }
    }
    assert_eq!(place.snapshot(), before);
    assert_eq!(connections(&azure), 0);
}

/// Asserts that a run was refused with 73 for want of permission to write `path`, and said whose `directory` is.
#[track_caller]
fn denied(place: &Place, run: Run, path: &Path, directory: &Path) {
    let outcome = run.with(inherited::obey_permissions).outcome();
    let error = format!(
        "akv-init: error: cannot write `{}`: Permission denied",
        path.display()
    );
    let seen = fs::metadata(directory).unwrap();
    let whose = format!(
        "akv-init: hint: `{}` belongs to {}:{} and has mode {:04o}, and akv-init runs as {}:{}: ",
        directory.display(),
        seen.uid(),
        seen.gid(),
        seen.mode() & 0o7777,
        geteuid(),
        getegid()
    );
    // Of what cannot be opened nobody knows whether it is in memory.
    let said = outcome.stderr.as_str();
    let said = said.strip_prefix(&place.warning()).unwrap_or(said);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(lines[0], error);
    assert!(lines[1].starts_with(&whose), "{whose}\n{said}");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(73), ""));
}

#[test]
fn a_directory_without_permission_to_write_is_refused_before_anything_is_asked() {
    let (azure, place) = two_secrets();
    let dir = place.dir();
    let run = |layout| place.write(&azure, &[&["--layout", layout], &SECRET[..]].concat());
    for layout in ["plain", "atomic"] {
        // The last may not even be opened.
        for mode in [0o555, 0o444, 0o600, 0o300] {
            change_mode(&dir, mode);
            denied(&place, run(layout), &dir, &dir);
        }
    }
    // One of somebody else, as far as there can be one.
    change_mode(&dir, 0o555);
    if geteuid().is_root() {
        chown(&dir, Some(12_345), Some(23_456)).unwrap();
        change_mode(&dir, 0o755);
    }
    for layout in ["plain", "atomic"] {
        denied(&place, run(layout), &dir, &dir);
    }
    assert_eq!(place.tree(), [""; 0]);
    assert_eq!(connections(&azure), 0);
}

/// Nothing is left of what had been written already.
#[test]
fn a_directory_below_that_cannot_be_written_leaves_all_as_it_was() {
    let (azure, place) = two_secrets();
    let words = [
        "--secret",
        "a=alpha",
        "--secret",
        "new/b=beta",
        "--secret",
        "sub/c=beta",
    ];
    place.wrote(&azure, &["--secret", "a=beta"]);
    let below = place.path("sub");
    fs::create_dir(&below).unwrap();
    change_mode(&below, 0o555);
    let (tree, file) = (place.tree(), place.inode("a"));
    denied(
        &place,
        place.write(&azure, &words),
        &below.join("c"),
        &below,
    );
    assert_eq!((place.tree(), place.inode("a")), (tree, file));
}

#[test]
fn outside_memory_there_is_a_warning_or_with_require_tmpfs_an_error() {
    let (azure, _) = two_secrets();
    let memory = Place::in_memory();
    let disk = Place::below(&disk());
    for layout in ["plain", "atomic"] {
        let words = [&["--layout", layout], &SECRET[..]].concat();
        let strict = [&["--require-tmpfs"], &words[..]].concat();
        let outcome = disk.write(&azure, &strict).outcome();
        let what = format!(
            "error: `{}` is not in memory (tmpfs): the secrets will be on the disk",
            disk.word()
        );
        let hint = "hint: mount an emptyDir with `medium: Memory`, or another tmpfs, there";
        outcome.failed(73, &[&what, hint]);
        assert_eq!(disk.tree(), [""; 0]);
        memory.quiet(&memory.write(&azure, &strict).outcome());
        let requests = azure.requests_at(Door::Vault).len();
        let outcome = disk.write(&azure, &words).outcome();
        let said = what.replacen("error", "akv-init: warning", 1);
        let warning = format!("{said}; {}\n", &hint["hint: ".len()..]);
        assert_eq!(
            (outcome.code, outcome.stdout, outcome.stderr),
            (Some(0), String::new(), warning)
        );
        assert_eq!(azure.requests_at(Door::Vault).len(), requests + 1);
        assert_eq!(disk.read("sub/a"), memory.read("sub/a"));
        for place in [&disk, &memory] {
            fs::remove_dir_all(place.dir()).unwrap();
            fs::create_dir(place.dir()).unwrap();
        }
    }
}

/// Some directory that is not in memory and can be written by whoever runs the tests.
#[track_caller]
fn disk() -> PathBuf {
    let candidates = [
        std::env::temp_dir(),
        "/var/tmp".into(),
        env!("CARGO_TARGET_TMPDIR").into(),
    ];
    let fits = |path: &PathBuf| !is_tmpfs(path) && access(path, AccessFlags::W_OK).is_ok();
    let found = candidates.into_iter().find(fits);
    found.expect("a directory on a disk")
}
