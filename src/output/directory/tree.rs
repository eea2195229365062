//! Whole trees of a directory: what is in them, and how they are removed. No symbolic link is followed, and however deep
//! a tree is, two descriptors are enough.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir as Listing;
use nix::errno::Errno;
use nix::fcntl::{openat, renameat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::dir::{AS_DIRECTORY, Dir};
use super::inspect::EntryKind;
use crate::error::Error;

/// Directories of one tree that are removed in one run: whoever shares the volume may go on making more.
const MOST_DIRECTORIES: usize = 10_000;

impl Dir {
    /// Removes what has a name of ours. Of directories only our own: a file anybody here could remove, but whoever cannot
    /// enter another's directory could have it removed by giving it such a name.
    pub fn remove_made(&self, name: &OsStr) -> Result<(), Error> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) => self.remove_all(name),
            Err(errno) => Err(self.refuse_removal(name, errno)),
        }
    }

    /// Removes what stands there, with all below it, if it is ours.
    fn remove_all(&self, name: &OsStr) -> Result<(), Error> {
        match self.is_own(name) {
            Ok(true) => {}
            Ok(false) => {
                let error = self.refuse_removal(name, Errno::EPERM);
                return Err(error.note("it belongs to somebody else"));
            }
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(self.refuse_removal(name, errno)),
        }
        let mut left: Vec<OsString> = vec![name.to_owned()];
        for _ in 0..MOST_DIRECTORIES {
            let Some(name) = left.pop() else {
                return Ok(());
            };
            let mut inner = Vec::new();
            self.remove_or_bring_up(&name, &mut inner)
                .map_err(|errno| self.refuse_removal(&name, errno))?;
            if !inner.is_empty() {
                // It is empty once what was in it has come up.
                left.push(name);
                left.append(&mut inner);
            }
        }
        Err(self.refuse_removal(name, Errno::ENOTEMPTY))
    }

    /// Removes something that has no directory in it. Of one that has, these are brought up here first, under temporary
    /// names, which are added to `inner`.
    fn remove_or_bring_up(&self, name: &OsStr, inner: &mut Vec<OsString>) -> nix::Result<()> {
        let errno = match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(errno @ (Errno::EISDIR | Errno::EPERM)) => errno,
            Err(errno) => return Err(errno),
        };
        // EPERM may be about a directory, or forbid that a file is removed.
        let directory = openat(&self.fd, name, AS_DIRECTORY, Mode::empty()).map_err(|_| errno)?;
        // Asked of what is emptied, and not of its name, which may lead elsewhere by now. In a tree of ours all is ours.
        if fstat(&directory)?.st_uid != geteuid().as_raw() {
            return Err(Errno::EPERM);
        }
        let mut listing = Listing::openat(&directory, ".", AS_DIRECTORY, Mode::empty())?;
        for entry in listing.iter() {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            match unlinkat(&directory, entry.file_name(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EISDIR | Errno::EPERM) => {
                    let temporary = Dir::temporary_name();
                    renameat(&directory, entry.file_name(), &self.fd, temporary.as_str())?;
                    inner.push(temporary.into());
                }
                Err(errno) => return Err(errno),
            }
        }
        match inner.is_empty() {
            true => unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir),
            false => Ok(()),
        }
    }

    /// The names in it that are asked for: whoever shares the volume may have made a million others.
    pub fn names(&self, mut wanted: impl FnMut(&OsStr) -> bool) -> Result<Vec<OsString>, Error> {
        let mut listing =
            Listing::openat(&self.fd, ".", AS_DIRECTORY, Mode::empty()).map_err(self.failed(""))?;
        let mut names = Vec::new();
        for entry in listing.iter() {
            let entry = entry.map_err(self.failed(""))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." && wanted(name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Whether everything below it is known, by its path: each file and each directory.
    pub fn has_only(
        &self,
        is_file: impl Fn(&str) -> bool,
        is_directory: impl Fn(&str) -> bool,
    ) -> Result<bool, Error> {
        let mut left: Vec<Option<String>> = vec![None];
        while let Some(path) = left.pop() {
            let Some(directory) = self.parent(path.as_deref())? else {
                continue;
            };
            for name in directory.names(|_| true)? {
                let Some(name) = name.to_str() else {
                    return Ok(false);
                };
                let full = match &path {
                    None => name.to_owned(),
                    Some(path) => format!("{path}/{name}"),
                };
                match directory.kind(name)? {
                    Some(EntryKind::Directory) if is_directory(&full) => left.push(Some(full)),
                    Some(EntryKind::File) if is_file(&full) => {}
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}
