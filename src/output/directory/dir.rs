//! One directory by its descriptor: every name is looked up there, and no symbolic link is followed out of it. Every
//! error is 73 with the path, the reason and a hint.
//!
//! The path is for messages only. Calls by path would look the directory up again each time, and another user of the
//! volume could replace it by a symbolic link in between, as in CVE-2021-25741.

use std::ffi::OsString;
use std::fs::{self, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::NixPath;
use nix::dir::Dir as Listing;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat};
use nix::unistd::{fsync, geteuid, linkat, symlinkat, unlinkat};

use super::error::{cannot_remove, cannot_write, failed};
use crate::error::Error;
use crate::request::files::{self_and_parents, split_path};

/// How the names of temporary files, and of the sets of the atomic layout, begin.
pub const TEMPORARY_PREFIX: &str = "..akv-init-";
/// How many levels of directories are removed under a temporary name: each takes stack and a file descriptor, and
/// another user of the volume may have made any number.
const MAX_REMOVED_LEVELS: usize = 256;
/// ramfs, which nix does not name (statfs(2)).
const RAMFS_MAGIC: i64 = 0x8584_58f6;
/// What to do about an entry that is not a file where a file is to be written.
const CHOOSE_ANOTHER: &str = "remove it, or choose another name";

const AS_DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// The type of a directory entry.
#[derive(Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and its target.
    Link(OsString),
    /// A socket, a pipe, a device.
    Other,
}

impl EntryKind {
    fn noun(&self) -> &'static str {
        match self {
            EntryKind::File => "a file",
            EntryKind::Directory => "a directory",
            EntryKind::Link(_) => "a symbolic link",
            EntryKind::Other => "a socket, a pipe or a device",
        }
    }
}

/// A file that is to be in a directory.
pub struct File<'a> {
    /// Its path below the directory.
    pub path: &'a str,
    /// Its bytes.
    pub content: &'a [u8],
    /// Its permissions.
    pub mode: u32,
}

/// Which directory it is, whatever path leads to it: device and inode.
pub type DirId = (u64, u64);

/// An open directory.
pub struct Dir {
    fd: fs::File,
    path: PathBuf,
    /// Whether it is in memory, so that nothing has to be synced to a disk.
    pub in_memory: bool,
}

impl Dir {
    /// Opens DIR, to write to it. Its parents may be symbolic links, as `/var/run` is; it may not be one.
    pub fn open(path: &Path) -> Result<Dir, Error> {
        // Without a slash or a dot at the end, both of which would follow a link in spite of O_NOFOLLOW.
        let path: PathBuf = path.components().collect();
        let fd = open_directory(AT_FDCWD, &path).map_err(|errno| {
            let status = fstatat(AT_FDCWD, &path, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
            let is_link = status.is_some_and(|status| kind_of(&status) == SFlag::S_IFLNK);
            match errno {
                Errno::ENOTDIR | Errno::ELOOP if is_link => cannot_write(
                    &path,
                    "it is a symbolic link, which another user may redirect",
                )
                .hint("give the directory's own path; its parents may be links"),
                Errno::ENOTDIR if status.is_some() => cannot_write(&path, "it is not a directory"),
                Errno::ENOENT => cannot_write(&path, "the directory does not exist")
                    .hint("check the path, or mount a volume there; akv-init does not create DIR"),
                _ => failed(errno, status, &path, &path),
            }
        })?;
        let kind = fstatfs(&fd)
            .map_err(|errno| cannot_write(&path, errno.desc()))?
            .filesystem_type();
        let dir = Dir {
            fd,
            path,
            in_memory: kind == TMPFS_MAGIC || kind.0 as i64 == RAMFS_MAGIC,
        };
        dir.check_writable("")?;
        Ok(dir)
    }

    /// The path of something in it, for messages.
    pub fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        // For an empty name, join would leave a slash at the end.
        self.path.join(name).components().collect()
    }

    /// Something in it cannot be written.
    pub fn cannot_write(&self, name: impl AsRef<Path>, reason: &str) -> Error {
        cannot_write(&self.path_of(name), reason)
    }

    /// A call for something in it failed.
    pub fn failed<'a>(&'a self, name: impl AsRef<Path> + 'a) -> impl FnOnce(Errno) -> Error + 'a {
        move |errno| self.failed_for(&self.path_of(name), errno)
    }

    fn failed_for(&self, subject: &Path, errno: Errno) -> Error {
        failed(errno, fstat(&self.fd).ok(), &self.path, subject)
    }

    /// Something in it cannot be replaced. `layout` is the layout in which it may have been written.
    pub fn cannot_replace(&self, name: &str, kind: &EntryKind, layout: Option<&str>) -> Error {
        let error = self.cannot_write(name, &format!("it is {}", kind.noun()));
        error.hint(match layout {
            Some(layout) => format!(
                "use --layout {layout} again if the directory was written with it, or empty the directory"
            ),
            None => CHOOSE_ANOTHER.to_owned(),
        })
    }

    /// Whether files can be made here, as far as that can be known without making one. An error is about `name`.
    pub fn check_writable(&self, name: &str) -> Result<(), Error> {
        let access = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(&self.fd, ".", access, AtFlags::empty()).map_err(self.failed(name))
    }

    /// Takes an exclusive lock (flock(2)), which is released when this is dropped.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.fd.try_lock()
    }

    /// Which directory this is.
    pub fn id(&self) -> Result<DirId, Error> {
        let status = fstat(&self.fd).map_err(self.failed(""))?;
        Ok((status.st_dev, status.st_ino))
    }

    /// The directory at a path below this one, if it exists, or for an empty path this one. No component may be a
    /// symbolic link.
    pub fn subdirectory(&self, path: &str) -> Result<Option<Dir>, Error> {
        let mut fd = open_directory(&self.fd, ".").map_err(self.failed(path))?;
        for path in self_and_parents(path) {
            fd = match open_directory(&fd, split_path(path).1) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(self.cannot_enter(path, errno)),
            };
        }
        Ok(Some(self.child(fd, path)))
    }

    fn child(&self, fd: fs::File, path: &str) -> Dir {
        Dir {
            fd,
            path: self.path_of(path),
            in_memory: self.in_memory,
        }
    }

    fn cannot_enter(&self, path: &str, errno: Errno) -> Error {
        match self.kind(path) {
            Ok(Some(EntryKind::Directory)) | Ok(None) | Err(_) => {
                // The permissions that matter are that directory's, not this one's.
                let status = fstatat(&self.fd, path, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
                let path = self.path_of(path);
                failed(errno, status, &path, &path)
            }
            Ok(Some(kind)) => {
                let reason = format!("it is {}, not a directory", kind.noun());
                self.cannot_write(path, &reason).hint(CHOOSE_ANOTHER)
            }
        }
    }

    /// The same for a directory that must exist.
    pub fn existing_subdirectory(&self, path: &str) -> Result<Dir, Error> {
        self.subdirectory(path)?
            .ok_or_else(|| self.cannot_write(path, Errno::ENOENT.desc()))
    }

    /// The type of the entry with this name, if there is one.
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

    /// Whether it holds this file already, owned by this user. Anything else at its path is not an error here: it may be
    /// about to be replaced.
    pub fn holds(&self, file: &File<'_>) -> bool {
        let (parent, name) = split_path(file.path);
        let directory = self.subdirectory(parent).ok().flatten();
        let found = directory.and_then(|directory| directory.read(name, file.content.len()));
        found.is_some_and(|(status, bytes)| {
            status.st_uid == geteuid().as_raw()
                && status.st_mode & 0o7777 == file.mode
                && bytes == file.content
        })
    }

    /// The status and the bytes of a regular file, if it can be read and has at most `limit` of them.
    pub fn read(&self, name: &str, limit: usize) -> Option<(FileStat, Vec<u8>)> {
        // Without O_NONBLOCK it would wait for the other end of a pipe that another user has put there.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = fs::File::from(openat(&self.fd, name, flags, Mode::empty()).ok()?);
        let status = fstat(&file).ok()?;
        let size = usize::try_from(status.st_size).ok()?;
        if kind_of(&status) != SFlag::S_IFREG || size > limit {
            return None;
        }
        let mut bytes = Vec::with_capacity(size);
        file.take(limit as u64).read_to_end(&mut bytes).ok()?;
        Some((status, bytes))
    }

    /// A new temporary name.
    pub fn temporary_name() -> String {
        // Seeded by the system's generator, anew each time.
        format!(
            "{TEMPORARY_PREFIX}{:016x}",
            RandomState::new().build_hasher().finish()
        )
    }

    /// Makes a file with this name. An error is about `subject`, the path that it is made for.
    pub fn create(&self, name: &str, file: &File<'_>, subject: &Path) -> Result<(), Error> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let failed = |errno| self.failed_for(subject, errno);
        let fd = openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600)).map_err(failed)?;
        let mut fd = fs::File::from(fd);
        fd.write_all(file.content)
            .map_err(|error| failed(Errno::try_from(error).unwrap_or(Errno::EIO)))?;
        // By descriptor, since the umask changes the mode of open.
        fchmod(&fd, Mode::from_bits_truncate(file.mode)).map_err(failed)?;
        if !self.in_memory {
            fsync(&fd).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes a file under a temporary name, which is the result.
    pub fn stage(&self, file: &File<'_>) -> Result<String, Error> {
        let temporary = Dir::temporary_name();
        self.create(&temporary, file, &self.path_of(file.path))?;
        Ok(temporary)
    }

    /// Makes a directory for files of this mode. An error is about `subject`.
    pub fn create_directory(&self, name: &str, mode: u32, subject: &Path) -> Result<Dir, Error> {
        let failed = |errno| self.failed_for(subject, errno);
        mkdirat(&self.fd, name, Mode::from_bits_truncate(0o700)).map_err(failed)?;
        let fd = open_directory(&self.fd, name).map_err(failed)?;
        // Users who may read the files have to be able to reach them.
        let others = if mode & 0o004 == 0 { 0 } else { 0o005 };
        // The setgid bit is inherited from a volume with fsGroup and gives files that group; chmod without it would
        // clear it.
        let inherited = fstat(&fd).map_err(failed)?.st_mode & 0o2000;
        let mode = 0o750 | others | inherited;
        fchmod(&fd, Mode::from_bits_truncate(mode)).map_err(failed)?;
        Ok(self.child(fd, name))
    }

    /// Renames something, also into another directory, over what has that name there.
    pub fn rename(&self, from: &str, to_dir: &Dir, to: &str) -> Result<(), Error> {
        renameat(&self.fd, from, &to_dir.fd, to).map_err(to_dir.failed(to))
    }

    /// Gives a file a second name, also in another directory.
    pub fn link(&self, from: &str, to_dir: &Dir, to: &str) -> nix::Result<()> {
        linkat(&self.fd, from, &to_dir.fd, to, AtFlags::empty())
    }

    /// Makes a symbolic link. An error is about `subject`, the name that it is made for.
    pub fn symlink(&self, target: &str, name: &str, subject: &str) -> Result<(), Error> {
        symlinkat(target, &self.fd, name).map_err(|errno| {
            let error = self.failed(subject)(errno);
            match errno {
                Errno::EPERM | Errno::EOPNOTSUPP => {
                    error.hint("if this file system has no symbolic links, use --layout plain")
                }
                _ => error,
            }
        })
    }

    /// Removes a file, a symbolic link or an empty directory.
    pub fn remove(&self, name: &str, kind: UnlinkatFlags) -> Result<(), Error> {
        unlinkat(&self.fd, name, kind).map_err(|errno| cannot_remove(&self.path_of(name), errno))
    }

    /// Syncs the directory itself to the disk.
    pub fn sync(&self) -> Result<(), Error> {
        if self.in_memory {
            return Ok(());
        }
        fsync(&self.fd).map_err(self.failed(""))
    }

    /// Removes something with a temporary name: a file, or a directory of this user with all below it. Not a directory of
    /// another user, who could make this user remove one that it may not enter, by renaming it so.
    pub fn remove_temporary(&self, name: &str) -> Result<(), Error> {
        self.remove_tree(name, MAX_REMOVED_LEVELS)
    }

    fn remove_tree(&self, name: &str, max_levels: usize) -> Result<(), Error> {
        let failed = |errno| cannot_remove(&self.path_of(name), errno);
        let errno = match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(errno @ (Errno::EISDIR | Errno::EPERM)) => errno,
            Err(errno) => return Err(failed(errno)),
        };
        // EPERM may also forbid that a file is removed.
        let fd = open_directory(&self.fd, name).map_err(|_| failed(errno))?;
        // By descriptor: its name may lead to another directory by now.
        if fstat(&fd).map_err(failed)?.st_uid != geteuid().as_raw() {
            return Err(failed(Errno::EPERM));
        }
        // Without this, an empty directory is removed below, and for any other the error is ENOTEMPTY.
        if let Some(max_levels) = max_levels.checked_sub(1) {
            let directory = self.child(fd, name);
            for name in directory.names(|_| true)? {
                directory.remove_tree(&name, max_levels)?;
            }
        }
        self.remove(name, UnlinkatFlags::RemoveDir)
    }

    /// The names in it that pass the filter: another user of the volume may have made a million others. Not those that are
    /// not UTF-8.
    pub fn names(&self, filter: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let mut listing =
            Listing::openat(&self.fd, ".", AS_DIRECTORY, Mode::empty()).map_err(self.failed(""))?;
        let mut names = Vec::new();
        for entry in listing.iter() {
            let entry = entry.map_err(self.failed(""))?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) if filter(name) => names.push(name.to_owned()),
                Ok(_) => {}
            }
        }
        Ok(names)
    }
}

fn open_directory(parent: impl AsFd, path: &(impl NixPath + ?Sized)) -> nix::Result<fs::File> {
    openat(parent, path, AS_DIRECTORY, Mode::empty()).map(fs::File::from)
}

fn kind_of(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}
