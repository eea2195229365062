//! Writes files to a directory: all of them or none, and each of them completely, whatever ends the process and
//! whatever other programs do in the same volume.
//!
//! DIR is locked while it is written. Each file is written under a temporary name, with its permissions, synced to the
//! disk, and only then renamed; if anything fails, the steps so far are rolled back. What a killed run leaves
//! behind, the next run removes: everything whose name starts with `..akv-init-`, except the current set of the atomic
//! layout.

mod atomic;
mod dir;
mod error;
mod keep;
mod lock;
mod manifest;
mod plain;
mod request;
mod transaction;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::error::{Cause, Error};
use crate::log;
use crate::os;
use crate::request::files::{Layout, WriteOptions, distinct, self_and_parents, split_path};
use crate::signals;

pub use dir::OutputFile;
use dir::{Dir, DirId, EntryKind, TEMPORARY_PREFIX};
pub use keep::{keep_existing, oldest_written};
pub use manifest::Manifest;
pub use request::{WriteRequest, Written};
use transaction::Transaction;

/// The hint that says how to keep secrets off the disk.
const MOUNT_TMPFS_HINT: &str = "mount an emptyDir with `medium: Memory`, or another tmpfs, there";

/// Checks all that can be checked before the fetch: DIR exists and is writable, and a file can be created at each
/// path. Returns the identity of DIR for [`write`]. DIR is not kept open: if its volume were unmounted before the
/// write, the open directory would still be that of the old volume, and nothing would fail.
pub fn check_before_fetch(options: &WriteOptions, paths: &[&str]) -> Result<DirId, Error> {
    let dir = Dir::open(&options.dir, options.allow_loose_mode)?;
    if !dir.is_in_memory {
        let path = error::shorten_path(&dir.path_of(""));
        let message =
            format!("`{path}` is not in memory (tmpfs): secrets there are stored on disk");
        if options.require_tmpfs {
            return Err(Error::new(Cause::CannotCreate, message).hint(MOUNT_TMPFS_HINT));
        }
        log::warning(format!("{message}; {MOUNT_TMPFS_HINT}"));
    }
    check_names(&dir, options, paths)?;
    dir.id()
}

/// Writes the files to DIR, and returns what has changed. Fails if DIR is not the directory that
/// [`check_before_fetch`] has checked.
pub fn write(checked_dir_id: &DirId, request: &WriteRequest<'_>) -> Result<Written, Error> {
    // A limit on the size of files must be an error with a path, not the end of the process (RLIMIT_FSIZE).
    os::set_ignored(Signal::SIGXFSZ, true);
    // Until the mode of a new file is set by its descriptor, only the owner may read it.
    os::set_umask(0o077);
    let options = request.options;
    let open = || Dir::open(&options.dir, options.allow_loose_mode);
    let dir = open()?;
    lock::lock(&dir)?;
    // A signal that arrives from here on takes effect when everything is written: that takes milliseconds.
    signals::exit_if_pending();
    // The wait for the lock may have been long, so the path may lead to another directory by now.
    for dir in [&dir, &open()?] {
        if dir.id()? != *checked_dir_id {
            let reason = "it is not the directory that it was before the secrets were fetched";
            return Err(dir
                .write_error("", reason)
                .hint("was the volume unmounted while the secrets were fetched?"));
        }
    }
    // A killed run may have left the volume full. What cannot be removed is reported at the end.
    remove_leftovers(&dir, |_| ())?;
    let paths: Vec<&str> = request.files.iter().map(|file| file.path).collect();
    check_names(&dir, options, &paths)?;
    let mut transaction = Transaction::begin(&dir);
    let result = check_distinct(&dir, &paths).and_then(|()| match options.layout {
        Layout::Atomic => atomic::write(&mut transaction, request),
        Layout::Plain => plain::write(&mut transaction, request),
    });
    let result = result.map_err(|error| transaction.roll_back(error));
    let report = |error| log::warning(format!("{error}; the next run will try again"));
    remove_leftovers(&dir, report).unwrap_or_else(report);
    signals::exit_if_pending();
    result
}

/// Copies the executable of this process into DIR.
pub fn install(dir: &Path) -> Result<(), Error> {
    // The path that this program was started by may lead to another file by now.
    let content = fs::read("/proc/self/exe").map_err(|error| {
        Error::new(Cause::CannotCreate, error.to_string())
            .context("reading `/proc/self/exe`")
            .hint("mount /proc")
    })?;
    let options = WriteOptions {
        dir: dir.to_owned(),
        layout: Layout::Plain,
        mode: 0o755,
        allow_loose_mode: true,
        require_tmpfs: false,
        keep_existing: None,
        every: None,
    };
    let opened = Dir::open(dir, options.allow_loose_mode)?;
    if opened.is_noexec() {
        let reason = "its file system is mounted noexec: no program can be started from there";
        return Err(opened
            .write_error("", reason)
            .hint("choose another volume, such as an emptyDir, or mount it without noexec"));
    }
    let request = WriteRequest {
        options: &options,
        files: &[OutputFile {
            path: "akv-init",
            content: &content,
            mode: options.mode,
        }],
        missing: &[],
        manifest: None,
    };
    write(&opened.id()?, &request).map(drop)
}

/// Fails if an entry in DIR is in the way of a file at one of these paths.
fn check_names(dir: &Dir, options: &WriteOptions, paths: &[&str]) -> Result<(), Error> {
    match options.layout {
        Layout::Atomic => atomic::check_names(dir, paths),
        Layout::Plain => plain::check_names(dir, paths, options.keeps_manifest()),
    }
}

/// Fails if two of the paths, or of the directories in them, are one on a file system that ignores case or the form of
/// Unicode (NFC, NFD). Where names could be, this is tried out in a directory with a temporary name.
fn check_distinct(dir: &Dir, paths: &[&str]) -> Result<(), Error> {
    let names = distinct(paths.iter().flat_map(|path| self_and_parents(path)));
    let mut lowercase: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    lowercase.sort_unstable();
    let differ_without_case = lowercase.windows(2).all(|pair| pair[0] != pair[1]);
    if differ_without_case && names.iter().all(|name| name.is_ascii()) {
        return Ok(());
    }
    let trial = dir.create_directory(&Dir::temporary_name(), 0, &dir.path_of(""))?;
    for path in &names {
        let (parent, name) = split_path(path);
        let parent = trial.open_existing_subdirectory(parent)?;
        parent.create_private_directory(name).map_err(|errno| {
            let similar =
                |name: &&&str| *name != path && name.to_lowercase() == path.to_lowercase();
            let other = names.iter().find(similar);
            let other = other.map_or("another one".to_owned(), |name| format!("`{name}`"));
            let reason = format!("the file system does not distinguish it from {other}");
            match errno {
                Errno::EEXIST => dir
                    .write_error(path, &reason)
                    .hint("choose names that differ in more than case or accents"),
                _ => dir.call_error(path)(errno),
            }
        })?;
    }
    Ok(())
}

/// Removes every entry with a temporary name except for the current set. An entry that cannot be removed does no harm;
/// `report` gets the error.
fn remove_leftovers(dir: &Dir, report: fn(Error)) -> Result<(), Error> {
    let current_set = match dir.entry_kind(atomic::DATA_LINK)? {
        Some(EntryKind::Link(target)) => Some(target),
        _ => None,
    };
    let is_stale = |name: &str| {
        name.starts_with(TEMPORARY_PREFIX) && current_set.as_deref() != Some(OsStr::new(name))
    };
    for name in dir.entry_names(is_stale)? {
        dir.remove_temporary(&name).unwrap_or_else(report);
    }
    Ok(())
}
