//! What is in a directory, before anything in it is changed: nothing is followed, and nothing that is read may be endless.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::geteuid;

use super::dir::{Dir, kind_of};
use crate::error::Error;

/// What stands under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Link(OsString),
    /// A socket, a pipe, a device.
    Other,
}

impl EntryKind {
    /// As a message says it.
    pub fn noun(&self) -> &'static str {
        match self {
            EntryKind::File => "a file",
            EntryKind::Directory => "a directory",
            EntryKind::Link(_) => "a symbolic link",
            EntryKind::Other => "neither a file nor a directory",
        }
    }
}

impl Dir {
    /// Which directory this is: device and inode.
    pub fn identity(&self) -> Result<(u64, u64), Error> {
        let status = fstat(&self.fd).map_err(self.failed(""))?;
        Ok((status.st_dev, status.st_ino))
    }

    /// What stands under a name.
    pub fn kind(&self, name: &str) -> Result<Option<EntryKind>, Error> {
        let status = match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.failed(name)(errno)),
        };
        Ok(Some(match kind_of(&status) {
            SFlag::S_IFREG => EntryKind::File,
            SFlag::S_IFDIR => EntryKind::Directory,
            SFlag::S_IFLNK => {
                EntryKind::Link(readlinkat(&self.fd, name).map_err(self.failed(name))?)
            }
            _ => EntryKind::Other,
        }))
    }

    /// Whether there is a regular file with these permissions.
    pub fn has_file(&self, name: &str, mode: u32) -> bool {
        fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|status| {
            kind_of(&status) == SFlag::S_IFREG && status.st_mode & 0o7777 == mode
        })
    }

    /// Whether what stands there is ours. A name proves nothing: whoever shares the volume can rename what is another's.
    pub fn is_own(&self, name: &OsStr) -> nix::Result<bool> {
        let status = fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(status.st_uid == geteuid().as_raw())
    }

    /// The permissions and the bytes of a regular file, if it can be read and is no larger than `most` bytes: whoever
    /// shares the volume may have put anything there.
    pub fn read(&self, name: &str, most: usize) -> Option<(u32, Vec<u8>)> {
        let (status, file) = self.open_file(name)?;
        let size = usize::try_from(status.st_size).ok()?;
        if size > most {
            return None;
        }
        let mut bytes = Vec::with_capacity(size);
        file.take(most as u64).read_to_end(&mut bytes).ok()?;
        Some((status.st_mode & 0o7777, bytes))
    }

    /// Whether a regular file of ours has exactly these bytes and this mode. One that cannot be read has not.
    pub fn is_file(&self, name: &str, content: &[u8], mode: u32) -> bool {
        let Some((status, file)) = self.open_file(name) else {
            return false;
        };
        let ours = status.st_uid == geteuid().as_raw()
            && status.st_mode & 0o7777 == mode
            && usize::try_from(status.st_size) == Ok(content.len());
        // Somebody else may be writing to it: one byte more shows that there is more.
        let mut bytes = Vec::new();
        ours && file
            .take(content.len() as u64 + 1)
            .read_to_end(&mut bytes)
            .is_ok_and(|_| bytes == content)
    }

    fn open_file(&self, name: &str) -> Option<(FileStat, File)> {
        // Not to wait for the other end where somebody has put a pipe.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::empty()).ok()?;
        let status = fstat(&fd).ok()?;
        (kind_of(&status) == SFlag::S_IFREG).then(|| (status, File::from(fd)))
    }
}
