//! Reads files whose paths come from outside: from settings, from an agent's response, or from the command line.
//!
//! Such a path may lead to anything. A named pipe without a writer would block the process beyond its deadline,
//! /dev/zero never ends, and a directory of certificates may contain a log of any size.

use std::fs::{File, Metadata, OpenOptions, metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::unistd::{getegid, geteuid};

/// The maximum size of a file that a setting names, in bytes. The largest bundles of CAs have a quarter of it.
pub const MAX_SIZE: u64 = 1 << 20;

/// Reads a regular file. Fails if the file is of another type, or larger than `max_size` bytes.
pub fn read(path: &Path, max_size: u64) -> io::Result<Vec<u8>> {
    let content = read_if(path, max_size, |_| true)?;
    Ok(content.unwrap_or_default())
}

/// Reads a regular file if that is wanted for its metadata; `None` if it is not. Fails as [`read`] does.
pub fn read_if(
    path: &Path,
    max_size: u64,
    is_wanted: impl FnOnce(&Metadata) -> bool,
) -> io::Result<Option<Vec<u8>>> {
    let metadata = metadata(path)?;
    if !is_wanted(&metadata) {
        return Ok(None);
    }
    let (file, metadata) = open_as(path, &metadata)?;
    let size = metadata.len();
    // Another process can append to the file, and files in /proc have no size.
    if size <= max_size {
        let mut content = Vec::with_capacity(size as usize + 1);
        (&file).take(max_size + 1).read_to_end(&mut content)?;
        if content.len() as u64 <= max_size {
            return Ok(Some(content));
        }
    }
    let reason = format!("it is larger than {max_size} bytes");
    Err(io::Error::other(reason))
}

/// Opens a regular file; fails for any other type of file, and never waits.
pub fn open(path: &Path) -> io::Result<File> {
    Ok(open_as(path, &metadata(path)?)?.0)
}

/// The same for a path with this metadata. Returns those of the file, too.
fn open_as(path: &Path, metadata: &Metadata) -> io::Result<(File, Metadata)> {
    // Before it is opened, since that alone can have an effect: the writer of a pipe continues, a watchdog starts.
    check_type(metadata)?;
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(O_NONBLOCK | O_NOCTTY)
        .open(path)?;
    // Another process may have replaced it since.
    let metadata = file.metadata()?;
    check_type(&metadata)?;
    Ok((file, metadata))
}

/// The hint for a file that this process may not read.
pub fn unreadable_hint() -> String {
    format!(
        "akv-init runs as {}:{}, which must be able to read the file: give it mode 0444, or run akv-init as its owner",
        geteuid(),
        getegid()
    )
}

/// Fails unless the file is a regular one.
fn check_type(metadata: &Metadata) -> io::Result<()> {
    type_error(metadata).map_or(Ok(()), |reason| Err(io::Error::other(reason)))
}

/// Why this is not a regular file, as in "it is a directory"; `None` if it is one.
pub fn type_error(metadata: &Metadata) -> Option<&'static str> {
    let file_type = metadata.file_type();
    if file_type.is_file() {
        None
    } else if file_type.is_dir() {
        Some("it is a directory")
    } else if file_type.is_fifo() {
        Some("it is a named pipe, not a regular file")
    } else if file_type.is_socket() {
        Some("it is a socket, not a regular file")
    } else {
        Some("it is a device, not a regular file")
    }
}
