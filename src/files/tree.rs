//! Whole trees of a directory: what is in them, and how they are removed. No symbolic link is followed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir as Listing;
use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::dir::{AS_DIRECTORY, Dir, Kind};
use crate::failure::Failure;

impl Dir {
    /// Removes whatever stands there, with all below it.
    pub fn remove_all(&self, name: impl AsRef<OsStr>) -> Result<(), Failure> {
        let name = name.as_ref();
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(errno) => return Err(self.failed(name)(errno)),
        }
        let fd = openat(&self.fd, name, AS_DIRECTORY, Mode::empty()).map_err(self.failed(name))?;
        let inner = Dir::of(fd, self.path_of(name))?;
        for entry in inner.names()? {
            inner.remove_all(entry)?;
        }
        unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir).map_err(self.failed(name))
    }

    /// The names in it.
    pub fn names(&self) -> Result<Vec<OsString>, Failure> {
        let mut listing =
            Listing::openat(&self.fd, ".", AS_DIRECTORY, Mode::empty()).map_err(self.failed(""))?;
        let mut names = Vec::new();
        for entry in listing.iter() {
            let entry = entry.map_err(self.failed(""))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// The paths of all files below it, in no order.
    pub fn files_below(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        for name in self.names()? {
            let Some(text) = name.to_str() else {
                files.push(name.into());
                continue;
            };
            match self.kind(text)? {
                Some(Kind::Directory) => {
                    if let Some(inner) = self.below(text)? {
                        let below = inner.files_below()?.into_iter();
                        files.extend(below.map(|path| Path::new(&name).join(path)));
                    }
                }
                _ => files.push(name.into()),
            }
        }
        Ok(files)
    }
}
