//! Files in a directory: all of them or none, each of them whole, whatever ends the process and whoever shares the
//! volume.
//!
//! DIR is locked while it is written. A file is written under a temporary name, with its permissions, brought to the
//! disk, and only then renamed; if anything fails, what was done is taken back. What a run left that was killed, the
//! next one removes: every name that starts with `..akv-init-` and is not in force.

mod atomic;
mod dir;
mod error;
mod inspect;
mod manifest;
mod plain;
mod transaction;
mod tree;

use std::fs::{self, TryLockError};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use crate::date;
use crate::error::{Cause, Error};
use crate::log;
use crate::os;
use crate::request::files::{FileName, Layout, WriteOptions, split_path};
use crate::signals::{self, Wait};

use dir::{Dir, TEMPORARY};
use inspect::EntryKind;
pub use manifest::Manifest;

/// The link that leads to the set of files in force, in the atomic layout.
const DATA: &str = "..data";
/// What becomes that link.
const DATA_TMP: &str = "..data_tmp";
/// So long another process may have the lock, which is held while files are written and at no other time.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// How often the lock is asked for: waiting for it in the kernel has no end.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// How secrets stay off the disk.
const MOUNT_TMPFS: &str = "mount an emptyDir with `medium: Memory`, or another tmpfs, there";
/// What `install` writes, and its permissions.
const PROGRAM: (&str, u32) = ("akv-init", 0o755);

/// A file and its bytes.
pub struct File<'a> {
    /// Where.
    pub name: &'a FileName,
    /// Its bytes.
    pub content: &'a [u8],
}

/// Files, and all that they should be.
pub struct WriteRequest<'a> {
    /// The files.
    pub files: &'a [File<'a>],
    /// Their permissions.
    pub mode: u32,
    /// What a later run may know about them; none is that it may not keep them.
    pub manifest: Option<&'a Manifest>,
}

impl WriteRequest<'_> {
    /// Permissions of the manifest: the next run has to be able to read it.
    fn manifest_mode(&self) -> u32 {
        self.mode | 0o400
    }
}

/// A directory that was looked at. It is not kept open: to write through an old descriptor would fill a volume that has
/// been unmounted meanwhile, and say nothing.
pub struct PreflightedDir {
    identity: (u64, u64),
}

impl PreflightedDir {
    /// Whether it can be written, and which it is.
    fn of(dir: &Dir) -> Result<PreflightedDir, Error> {
        dir.check_writable()?;
        Ok(PreflightedDir {
            identity: dir.identity()?,
        })
    }
}

/// What can be known before anything is fetched: whether DIR is there, can be written, and has nothing in the way.
pub fn check(options: &WriteOptions, names: &[&FileName]) -> Result<PreflightedDir, Error> {
    let dir = Dir::open(&options.dir)?;
    check_memory(&dir, options)?;
    if !dir.in_memory {
        log::warning(format!("{}; {MOUNT_TMPFS}", not_in_memory(&dir)));
    }
    let checked = PreflightedDir::of(&dir)?;
    let files: Vec<File<'_>> = names
        .iter()
        .map(|name| File { name, content: b"" })
        .collect();
    let manifest = Manifest::default();
    let request = WriteRequest {
        files: &files,
        mode: options.mode,
        manifest: options.keep.is_some().then_some(&manifest),
    };
    check_targets(&dir, options.layout, &request)?;
    Ok(checked)
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

/// Writes the files to the directory that was looked at.
pub fn write(
    options: &WriteOptions,
    checked: &PreflightedDir,
    request: &WriteRequest<'_>,
) -> Result<(), Error> {
    // A limit on the size of files is to be an error with a name, not the end (setrlimit(2), RLIMIT_FSIZE).
    os::ignore(Signal::SIGXFSZ);
    // Permissions are set by descriptor; until then nobody else is to read, and we are.
    umask(Mode::from_bits_truncate(0o077));
    let dir = Dir::open(&options.dir)?;
    let _lock = lock(&dir)?;
    // From here on a signal is obeyed when all is done: it takes milliseconds.
    let _hold = signals::hold();
    // What was opened before the lock, and what is there now: the wait for it may have been long.
    let now = Dir::open(&options.dir)?;
    if dir.identity()? != checked.identity || now.identity()? != checked.identity {
        let why = "it is not the directory that it was before the secrets were fetched";
        return Err(dir
            .refuse("", why)
            .hint("was the volume unmounted meanwhile?"));
    }
    check_memory(&dir, options)?;
    sweep(&dir)?;
    check_targets(&dir, options.layout, request)?;
    match options.layout {
        Layout::Atomic => atomic::write(&dir, request),
        Layout::Plain => plain::write(&dir, request),
    }
}

/// While Azure cannot be reached, what an earlier run wrote may do.
pub fn keep(options: &WriteOptions, wanted: Option<&Manifest>, error: Error) -> Result<(), Error> {
    let (Some(max_age), Cause::Unavailable) = (options.keep, error.cause) else {
        return Err(error);
    };
    let dir = options.dir.display();
    let Some(wanted) = wanted else {
        return Err(error.note("an access token is never kept"));
    };
    let Some(since) = written_since(options, wanted)? else {
        let nothing = format!(
            "and there is nothing to keep: no complete run has written all of these files from these references to `{dir}`"
        );
        return Err(error.note(&nothing));
    };
    let time = date::format(since);
    let age = date::now().abs_diff(since);
    if max_age.is_some_and(|max_age| age > max_age.as_secs()) {
        let old = format!("and the files in `{dir}` are of {time}, too old to be kept");
        return Err(error.note(&old));
    }
    log::warning(format!(
        "{error}; kept the files in `{dir}`, which are of {time}"
    ));
    Ok(())
}

/// Since when, in Unix seconds, DIR has held the files that `wanted` describes; none where one is missing, or was
/// written from something else.
fn written_since(options: &WriteOptions, wanted: &Manifest) -> Result<Option<i64>, Error> {
    let dir = Dir::open(&options.dir)?;
    let current = match options.layout {
        Layout::Atomic => match atomic::current(&dir)? {
            None => return Ok(None),
            current => current,
        },
        Layout::Plain => None,
    };
    let home = current.as_ref().map_or(&dir, |current| &current.data);
    for path in wanted.names() {
        let (parent, name) = split_path(path);
        let Ok(Some(directory)) = home.parent(parent) else {
            return Ok(None);
        };
        let first = path.split('/').next().unwrap_or_default();
        let seen = options.layout == Layout::Plain || dir.kind(first)?.is_some();
        if !seen || !directory.has_file(name, options.mode) {
            return Ok(None);
        }
    }
    Ok(Manifest::read(home).known().since(wanted))
}

/// Copies our own file into DIR.
pub fn install(dir: &Path) -> Result<(), Error> {
    // Not the path that we were started by, which may be another file by now, or be out of reach.
    let own = "/proc/self/exe";
    let content = fs::read(own).map_err(|error| {
        Error::new(Cause::CannotCreate, format!("cannot read `{own}`: {error}"))
            .hint("/proc has to be mounted")
    })?;
    let name = FileName::parse(PROGRAM.0)?;
    let files = [File {
        name: &name,
        content: &content,
    }];
    let options = WriteOptions {
        dir: dir.to_owned(),
        layout: Layout::Plain,
        mode: PROGRAM.1,
        require_tmpfs: false,
        keep: None,
    };
    let request = WriteRequest {
        files: &files,
        mode: PROGRAM.1,
        manifest: None,
    };
    let checked = PreflightedDir::of(&Dir::open(dir)?)?;
    write(&options, &checked, &request)
}

fn check_targets(dir: &Dir, layout: Layout, request: &WriteRequest<'_>) -> Result<(), Error> {
    match layout {
        Layout::Atomic => atomic::check(dir, request),
        Layout::Plain => plain::check(dir, request),
    }
}

/// Waits until nobody else writes there.
fn lock(dir: &Dir) -> Result<Option<fs::File>, Error> {
    let mut waiting = None;
    let began = Instant::now();
    loop {
        match dir.try_lock() {
            Ok(lock) => return Ok(lock),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {
                waiting.get_or_insert_with(|| {
                    let path = dir.path_of("");
                    let path = error::shorten(&path);
                    Wait::begin(&format!("waiting for the lock of `{path}`"), None)
                });
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(dir
                    .refuse("", "another process has had its lock (flock) for 30 s")
                    .hint("is another akv-init stopped in the middle of writing there?"));
            }
            // File systems without locks; two runs at once then have only their renames.
            Err(TryLockError::Error(error)) => {
                log::warning(format!(
                    "`{}` cannot be locked: {error}",
                    dir.path_of("").display()
                ));
                return Ok(None);
            }
        }
    }
}

/// Removes what a run left that was killed. What cannot be removed is in nobody's way.
fn sweep(dir: &Dir) -> Result<(), Error> {
    let in_force = match dir.kind(DATA)? {
        Some(EntryKind::Link(target)) => Some(target),
        _ => None,
    };
    let left = dir.names(|name| {
        let ours = name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) || name == DATA_TMP;
        ours && in_force.as_deref() != Some(name)
    })?;
    for name in left {
        if let Err(error) = dir.remove_made(&name) {
            log::warning(format!("{error}; an earlier run has left it"));
        }
    }
    Ok(())
}
