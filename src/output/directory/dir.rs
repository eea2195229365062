//! One directory by its descriptor, and all that is done in it: every name is looked up there and never followed out of
//! it, and every error is 73 with the path, the reason and what to do.
//!
//! The path is for messages only. `Path`-based calls would look the directory up again each time, and whoever shares
//! the volume could put a symbolic link there in between (CVE-2021-25741 was that).

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::fcntl::{openat, openat2, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat};
use nix::unistd::{fsync, linkat, symlinkat, unlinkat};

use super::error::{IN_THE_WAY, refuse, shorten, what_to_do};
use super::inspect::EntryKind;
use crate::error::{Cause, Error};
use crate::request::files::with_parents;

/// How the names of temporary files and of data directories begin.
pub const TEMPORARY: &str = "..akv-init-";
/// ramfs, which nix does not name (statfs(2)).
const RAMFS_MAGIC: i64 = 0x8584_58f6;

pub(super) const AS_DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// An open directory.
pub struct Dir {
    pub(super) fd: OwnedFd,
    path: PathBuf,
    /// Whether it is in memory, so that nothing has to be brought to a disk.
    pub in_memory: bool,
}

impl Dir {
    /// Opens DIR. Its parents may be symbolic links, as `/var/run` is; it may not be one.
    pub fn open(path: &Path) -> Result<Dir, Error> {
        // Without a slash or a dot at its end, both of which would follow a link in spite of O_NOFOLLOW.
        let path: PathBuf = path.components().collect();
        match openat(AT_FDCWD, &path, AS_DIRECTORY, Mode::empty()) {
            Ok(fd) => Dir::of(fd, path),
            Err(errno) => {
                let seen = fstatat(AT_FDCWD, &path, AtFlags::AT_SYMLINK_NOFOLLOW);
                let error = match (errno, seen.as_ref()) {
                    (Errno::ENOTDIR | Errno::ELOOP, Ok(seen)) if kind_of(seen) == SFlag::S_IFLNK => {
                        refuse(&path, "it is a symbolic link, which may lead anywhere")
                            .hint("name the directory itself; its parents may be links")
                    }
                    (Errno::ENOTDIR, Ok(_)) => refuse(&path, "it is not a directory"),
                    (Errno::ENOENT, _) => refuse(&path, "there is no such directory").hint(
                        "mount a volume there: it is not made here, since a slip in its name would leave secrets elsewhere",
                    ),
                    (errno, seen) => {
                        let hint = what_to_do(seen.ok().copied(), &path, &path, errno);
                        refuse(&path, errno.desc()).maybe_hint(hint)
                    }
                };
                Err(error)
            }
        }
    }

    pub(super) fn of(fd: OwnedFd, path: PathBuf) -> Result<Dir, Error> {
        let kind = fstatfs(&fd)
            .map_err(|errno| refuse(&path, errno.desc()))?
            .filesystem_type();
        let in_memory = kind == TMPFS_MAGIC || kind.0 as i64 == RAMFS_MAGIC;
        Ok(Dir {
            fd,
            path,
            in_memory,
        })
    }

    /// The path of something in it, for messages.
    pub fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        // Of nothing, join would leave a slash at its end.
        self.path.join(name).components().collect()
    }

    /// Why something in it cannot be written.
    pub fn refuse(&self, name: impl AsRef<Path>, why: &str) -> Error {
        refuse(&self.path_of(name), why)
    }

    pub(super) fn failed<'a>(
        &'a self,
        name: impl AsRef<Path> + 'a,
    ) -> impl FnOnce(Errno) -> Error + 'a {
        move |errno| self.failed_for(&self.path_of(name), errno)
    }

    fn failed_for(&self, subject: &Path, errno: Errno) -> Error {
        let hint = what_to_do(fstat(&self.fd).ok(), &self.path, subject, errno);
        refuse(subject, errno.desc()).maybe_hint(hint)
    }

    /// Why something cannot be written where this stands.
    pub fn in_the_way(&self, name: &str, kind: &EntryKind) -> Error {
        let why = format!("it is {}", kind.noun());
        self.refuse(name, &why).hint(IN_THE_WAY)
    }

    pub(super) fn refuse_removal(&self, name: &OsStr, errno: Errno) -> Error {
        let path = shorten(&self.path_of(name));
        Error::new(
            Cause::CannotCreate,
            format!("cannot remove `{path}`: {}", errno.desc()),
        )
    }

    /// Whether files can be made here, as far as that can be known without making one.
    pub fn check_writable(&self) -> Result<(), Error> {
        let access = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(&self.fd, ".", access, AtFlags::empty()).map_err(self.failed(""))
    }

    /// An exclusive lock (flock(2)), if nobody else has it; it goes with the file. None where there are no locks.
    pub fn try_lock(&self) -> Result<Option<File>, std::fs::TryLockError> {
        let file = openat(&self.fd, ".", AS_DIRECTORY, Mode::empty()).map(File::from);
        match file {
            Ok(file) => file.try_lock().map(|()| Some(file)),
            Err(errno) => Err(std::fs::TryLockError::Error(errno.into())),
        }
    }

    /// The directory at a path below this one, if there is one; no component may be a symbolic link.
    pub fn below(&self, path: &str) -> Result<Option<Dir>, Error> {
        let how = OpenHow::new()
            .flags(AS_DIRECTORY)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let opened = match openat2(&self.fd, path, how) {
            // Kernels before 5.6 lack it, sandboxes refuse it, and EAGAIN is a rename that came between.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL | Errno::EAGAIN) => self.walk(path),
            opened => opened,
        };
        match opened {
            Ok(fd) => Dir::of(fd, self.path_of(path)).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => Err(self.what_is_in_the_way(path)),
            Err(errno) => {
                // What refuses is that directory, not this one.
                let seen = fstatat(&self.fd, path, AtFlags::AT_SYMLINK_NOFOLLOW);
                let full = self.path_of(path);
                Err(match seen {
                    Ok(seen) => refuse(&full, errno.desc()).maybe_hint(what_to_do(
                        Some(seen),
                        &full,
                        &full,
                        errno,
                    )),
                    Err(_) => self.failed(path)(errno),
                })
            }
        }
    }

    /// The same, component by component.
    fn walk(&self, path: &str) -> nix::Result<OwnedFd> {
        let mut fd = None;
        for component in path.split('/') {
            let parent = fd.as_ref().unwrap_or(&self.fd);
            fd = Some(openat(parent, component, AS_DIRECTORY, Mode::empty())?);
        }
        fd.ok_or(Errno::ENOENT)
    }

    fn what_is_in_the_way(&self, path: &str) -> Error {
        for part in with_parents(path) {
            match self.kind(part) {
                Ok(Some(EntryKind::Directory)) => {}
                Ok(Some(kind)) => {
                    let why = format!("it is {}, where a directory has to be", kind.noun());
                    return self.refuse(part, &why).hint(IN_THE_WAY);
                }
                _ => break,
            }
        }
        self.refuse(path, Errno::ENOTDIR.desc())
    }

    /// A name that nothing has here yet.
    pub fn temporary_name() -> String {
        // Seeded by the system's generator, anew each time.
        format!(
            "{TEMPORARY}{:016x}",
            RandomState::new().build_hasher().finish()
        )
    }

    /// Makes a file that was not there. An error is about `subject`, for whose sake it is made.
    pub fn create(
        &self,
        name: &str,
        content: &[u8],
        mode: u32,
        subject: &Path,
    ) -> Result<(), Error> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let failed = |errno| self.failed_for(subject, errno);
        let fd = openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600)).map_err(failed)?;
        let mut file = File::from(fd);
        file.write_all(content).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            failed(errno)
        })?;
        // By descriptor, since open's mode loses what the umask takes.
        fchmod(&file, Mode::from_bits_truncate(mode)).map_err(failed)?;
        if !self.in_memory {
            fsync(&file).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes a directory that was not there, for files of this mode. An error is about `subject`.
    pub fn create_directory(&self, name: &str, mode: u32, subject: &Path) -> Result<Dir, Error> {
        let failed = |errno| self.failed_for(subject, errno);
        mkdirat(&self.fd, name, Mode::from_bits_truncate(0o700)).map_err(failed)?;
        let fd = openat(&self.fd, name, AS_DIRECTORY, Mode::empty()).map_err(failed)?;
        // Whoever may read the files has to be able to come to them.
        let others = if mode & 0o004 == 0 { 0 } else { 0o005 };
        // It has inherited the setgid bit, with which a volume's files get the group that is to read them (fsGroup), and
        // a mode without the bit would take it away.
        let inherited = fstat(&fd).map_err(failed)?.st_mode & 0o2000;
        let mode = 0o750 | others | inherited;
        fchmod(&fd, Mode::from_bits_truncate(mode)).map_err(failed)?;
        Dir::of(fd, self.path_of(name))
    }

    /// Gives something another name, here or in another directory, in the place of what is there.
    pub fn rename(&self, from: &str, to_dir: &Dir, to: &str) -> Result<(), Error> {
        renameat(&self.fd, from, &to_dir.fd, to).map_err(to_dir.failed(to))
    }

    /// Gives a file a second name, in another directory of the same volume.
    pub fn link(&self, from: &str, to_dir: &Dir, to: &str) -> nix::Result<()> {
        linkat(&self.fd, from, &to_dir.fd, to, AtFlags::empty())
    }

    /// Makes a symbolic link that was not there.
    pub fn symlink(&self, target: &str, name: &str) -> Result<(), Error> {
        symlinkat(target, &self.fd, name).map_err(|errno| {
            let error = self.failed(name)(errno);
            match errno {
                Errno::EPERM | Errno::EOPNOTSUPP => {
                    error.hint("this file system may have no symbolic links: use --layout plain")
                }
                _ => error,
            }
        })
    }

    /// Removes a file or a symbolic link.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| self.refuse_removal(OsStr::new(name), errno))
    }

    /// Removes an empty directory.
    pub fn remove_directory(&self, name: &str) -> Result<(), Error> {
        unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir)
            .map_err(|errno| self.refuse_removal(OsStr::new(name), errno))
    }

    /// Brings the directory itself to the disk.
    pub fn sync(&self) -> Result<(), Error> {
        if self.in_memory {
            return Ok(());
        }
        fsync(self.fd.as_fd()).map_err(self.failed(""))
    }
}

pub(super) fn kind_of(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}
