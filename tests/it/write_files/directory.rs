//! DIR: its spellings, and when it is refused.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, getegid, geteuid};

use super::two_secrets;
use crate::azure::Endpoint;
use crate::support::{NO_OPTIONS, Run, write};
use crate::support_files::{Place, change_mode, is_tmpfs};
use crate::support_inherited as inherited;
use crate::support_requests::connections;

const SECRET: [&str; 2] = ["--secret", "sub/a=alpha"];

#[test]
fn dir_is_accepted_in_any_spelling() {
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
fn dir_may_be_any_bytes() {
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

/// The error names the path as it was given.
#[test]
fn dir_that_is_not_a_directory_is_refused_before_any_request() {
    let (azure, place) = two_secrets();
    fs::write(place.beside("file"), "planted").unwrap();
    symlink("volume", place.beside("link")).unwrap();
    symlink("nowhere", place.beside("dangling")).unwrap();
    let before = place.snapshot();
    for (word, shown) in [
        ("missing", "missing"),
        ("missing/", "missing"),
        ("missing/below", "missing/below"),
        ("volume/missing", "volume/missing"),
        ("file", "file"),
        ("file/", "file"),
        ("/dev/null", "/dev/null"),
        ("link", "link"),
        ("link/", "link"),
        ("link//.", "link"),
        ("./link", "./link"),
        ("dangling", "dangling"),
    ] {
        for layout in ["plain", "atomic"] {
            let words = ["--keep-existing", "--layout", layout];
            let run = write(&azure, words).args(SECRET).args([word]);
            let run = run.env("AKV_INIT_VAULT", azure.vault()).with(|command| {
                command.current_dir(place.beside("."));
            });
            let failure = run.failure(73, "cannot create");
            failure.names(&format!("`{shown}`"));
            if !matches!(shown, "file" | "/dev/null") {
                failure.hinted();
            }
        }
    }
    assert_eq!(place.snapshot(), before);
    assert_eq!(connections(&azure), 0);
}

/// Asserts that the run may not write `path`, and that the hint names the owner and mode of `directory` and the user.
#[track_caller]
fn denied(run: Run, path: &Path, directory: &Path) {
    let run = run.with(inherited::obey_permissions);
    let failure = run.failure(73, "cannot create");
    failure.names(&format!("`{}`", path.display()));
    let found = fs::metadata(directory).unwrap();
    failure.hint_names(&format!("`{}`", directory.display()));
    failure.hint_names(&format!("{}:{} ", found.uid(), found.gid()));
    failure.hint_names(&format!("{:04o}", found.mode() & 0o7777));
    failure.hint_names(&format!("{}:{}; ", geteuid(), getegid()));
}

#[test]
fn dir_without_write_permission_is_refused_before_any_request() {
    let (azure, place) = two_secrets();
    let dir = place.dir();
    let run = |layout| place.write(&azure, &[&["--layout", layout], &SECRET[..]].concat());
    for layout in ["plain", "atomic"] {
        // The last one cannot even be opened.
        for mode in [0o555, 0o444, 0o600, 0o300] {
            change_mode(&dir, mode);
            denied(run(layout), &dir, &dir);
        }
    }
    // The directory of another user, if the tests run as root.
    change_mode(&dir, 0o555);
    if geteuid().is_root() {
        chown(&dir, Some(12_345), Some(23_456)).unwrap();
        change_mode(&dir, 0o755);
    }
    for layout in ["plain", "atomic"] {
        denied(run(layout), &dir, &dir);
    }
    assert_eq!(place.tree(), NO_OPTIONS);
    assert_eq!(connections(&azure), 0);
}

#[test]
fn subdirectory_without_write_permission_leaves_all_files_unchanged() {
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
    denied(place.write(&azure, &words), &below.join("c"), &below);
    assert_eq!((place.tree(), place.inode("a")), (tree, file));
}

#[test]
fn disk_is_a_warning_or_with_require_tmpfs_an_error() {
    let (azure, _) = two_secrets();
    let memory = Place::in_memory();
    let disk = Place::below(&disk());
    for layout in ["plain", "atomic"] {
        let words = [&["--layout", layout], &SECRET[..]].concat();
        let strict = [&["--require-tmpfs"], &words[..]].concat();
        let failure = disk.write(&azure, &strict).failure(73, "cannot create");
        failure.names(&format!("`{}`", disk.word())).hinted();
        assert_eq!(disk.tree(), NO_OPTIONS);
        memory.quiet(&memory.write(&azure, &strict).outcome());
        let requests = azure.requests_at(Endpoint::Vault).len();
        // With its warning.
        disk.wrote(&azure, &words);
        assert_eq!(azure.requests_at(Endpoint::Vault).len(), requests + 1);
        assert_eq!(disk.read("sub/a"), memory.read("sub/a"));
        for place in [&disk, &memory] {
            fs::remove_dir_all(place.dir()).unwrap();
            fs::create_dir(place.dir()).unwrap();
        }
    }
}

/// A writable directory that is not in memory.
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
