//! Writes files to a directory: all of them or none, each of them complete, whatever ends the process and whatever
//! other programs do in the same volume.
//!
//! DIR is locked while it is written. Each file is written under a temporary name, with its permissions, synced to the
//! disk, and only then renamed; if anything fails, the steps so far are rolled back. What a killed run leaves, the next
//! run removes: every name that starts with `..akv-init-` and is not in force.

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

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use crate::error::{Cause, Error};
use crate::log;
use crate::os;
use crate::request::files::{FileName, Layout, WriteOptions};
use crate::signals;

use dir::{Dir, EntryKind, TEMPORARY};
pub use keep::keep;
pub use manifest::Manifest;
pub use request::{File, WriteRequest};

/// How secrets stay off the disk.
const MOUNT_TMPFS: &str = "mount an emptyDir with `medium: Memory`, or another tmpfs, there";
/// What `install` writes, and its permissions.
const PROGRAM: (&str, u32) = ("akv-init", 0o755);

/// A directory that passed the checks, by device and inode. It is not kept open: an old descriptor would silently write
/// to a volume that was unmounted before the write.
pub struct PreflightedDir(u64, u64);

impl PreflightedDir {
    fn of(dir: &Dir) -> Result<PreflightedDir, Error> {
        dir.check_writable("")?;
        let (device, inode) = dir.identity()?;
        Ok(PreflightedDir(device, inode))
    }
}

/// Checks what can be known before anything is fetched: whether DIR exists, is writable, and has room for these names.
pub fn preflight(options: &WriteOptions, names: &[&FileName]) -> Result<PreflightedDir, Error> {
    let dir = Dir::open(&options.dir)?;
    check_memory(&dir, options)?;
    if !dir.in_memory {
        log::warning(format!("{}; {MOUNT_TMPFS}", not_in_memory(&dir)));
    }
    let preflighted = PreflightedDir::of(&dir)?;
    check_targets(&dir, options, names)?;
    Ok(preflighted)
}

fn not_in_memory(dir: &Dir) -> String {
    let path = error::shorten(&dir.path_of(""));
    format!("`{path}` is not in memory (tmpfs): the secrets will be on the disk")
}

fn check_memory(dir: &Dir, options: &WriteOptions) -> Result<(), Error> {
    match options.require_tmpfs && !dir.in_memory {
        false => Ok(()),
        true => Err(Error::new(Cause::CannotCreate, not_in_memory(dir)).hint(MOUNT_TMPFS)),
    }
}

/// Writes the files to the directory that passed the checks.
pub fn write(
    options: &WriteOptions,
    preflighted: &PreflightedDir,
    request: &WriteRequest<'_>,
) -> Result<(), Error> {
    // A limit on the size of files must be an error with a path, not the end of the process (RLIMIT_FSIZE).
    os::ignore(Signal::SIGXFSZ);
    // Permissions are set by descriptor; until then only the owner may read.
    umask(Mode::from_bits_truncate(0o077));
    let dir = Dir::open(&options.dir)?;
    let _lock = lock::lock(&dir)?;
    // A signal that arrives from here on takes effect when everything is written: that takes milliseconds.
    let _hold = signals::hold();
    // The wait for the lock may have been long, so the path may lead to another directory by now.
    for dir in [&dir, &Dir::open(&options.dir)?] {
        if dir.identity()? != (preflighted.0, preflighted.1) {
            let reason = "it is not the directory that it was before the secrets were fetched";
            return Err(dir
                .refuse("", reason)
                .hint("was the volume unmounted while the secrets were fetched?"));
        }
    }
    check_memory(&dir, options)?;
    sweep(&dir)?;
    let names: Vec<&FileName> = request.files.iter().map(|file| file.name).collect();
    check_targets(&dir, options, &names)?;
    match options.layout {
        Layout::Atomic => atomic::write(&dir, request),
        Layout::Plain => plain::write(&dir, request),
    }
}

/// Copies the running program into DIR.
pub fn install(dir: &Path) -> Result<(), Error> {
    // The path that it was started by may lead to another file by now.
    let own = "/proc/self/exe";
    let content = fs::read(own).map_err(|error| {
        Error::new(Cause::CannotCreate, error.to_string())
            .context(format!("reading `{own}`"))
            .hint("mount /proc")
    })?;
    let name = FileName::parse(PROGRAM.0)?;
    let options = WriteOptions {
        dir: dir.to_owned(),
        layout: Layout::Plain,
        mode: PROGRAM.1,
        require_tmpfs: false,
        keep: None,
    };
    let request = WriteRequest {
        files: &[File {
            name: &name,
            content: &content,
        }],
        mode: PROGRAM.1,
        manifest: None,
    };
    let preflighted = PreflightedDir::of(&Dir::open(dir)?)?;
    write(&options, &preflighted, &request)
}

fn check_targets(dir: &Dir, options: &WriteOptions, names: &[&FileName]) -> Result<(), Error> {
    match options.layout {
        Layout::Atomic => atomic::check(dir, names),
        Layout::Plain => plain::check(dir, names, options.keep.is_some()),
    }
}

/// Removes what a killed run left. What cannot be removed does no harm.
fn sweep(dir: &Dir) -> Result<(), Error> {
    let in_force = match dir.kind(atomic::DATA)? {
        Some(EntryKind::Link(target)) => Some(target),
        _ => None,
    };
    let stale = dir.names(|name| {
        let is_own = name.starts_with(TEMPORARY) || name == atomic::DATA_TMP;
        is_own && in_force.as_deref() != Some(OsStr::new(name))
    })?;
    for name in stale {
        if let Err(error) = dir.remove_temporary(&name) {
            log::warning(format!("{error}; an earlier run left it"));
        }
    }
    Ok(())
}
