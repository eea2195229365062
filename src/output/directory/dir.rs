//! A directory by its descriptor: every name is looked up in it, and no symbolic link leads out of it. Every error has
//! exit code 73, the path, the reason, and often a hint.
//!
//! A directory's path is for messages only. Calls by path would look the directory up again each time, and another user
//! of the volume could replace it by a symbolic link in between, as in CVE-2021-25741.

use std::ffi::OsString;
use std::fs::{self, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Once;

use nix::NixPath;
use nix::dir::Dir as Listing;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::FsFlags;
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat};
use nix::unistd::{fsync, geteuid, linkat, symlinkat, unlinkat};

use super::error::{call_error, remove_error, write_error};
use crate::error::Error;
use crate::log;
use crate::request::files::{self_and_parents, split_path};

/// The prefix of the names of temporary files, and of the sets of the atomic layout.
pub const TEMPORARY_PREFIX: &str = "..akv-init-";
/// How many levels of directories are removed below a temporary name. Each level takes stack and a file descriptor,
/// and another user of the volume may have made any number of levels.
const MAX_REMOVED_LEVELS: usize = 256;
/// The type number of ramfs, for which nix has no constant (statfs(2)).
const RAMFS_MAGIC: i64 = 0x8584_58f6;
/// The hint for an entry that is where a file should be.
const REMOVE_IT_HINT: &str = "remove it, or choose another name";

const OPEN_DIRECTORY_FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// The kind of a directory entry.
#[derive(Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Link(OsString),
    /// A socket, a pipe or a device.
    Other,
}

impl EntryKind {
    /// What an entry of this kind is called in messages, with its article.
    fn noun(&self) -> &'static str {
        match self {
            EntryKind::File => "a file",
            EntryKind::Directory => "a directory",
            EntryKind::Link(_) => "a symbolic link",
            EntryKind::Other => "a socket, a pipe or a device",
        }
    }
}

/// A file to write to DIR.
pub struct OutputFile<'a> {
    /// The path of the file, relative to DIR.
    pub path: &'a str,
    /// The bytes of the file.
    pub content: &'a [u8],
    /// The permission bits of the file.
    pub mode: u32,
}

/// What identifies a directory, whatever path leads to it: its device number and its inode number.
pub type DirId = (u64, u64);

/// An open directory.
pub struct Dir {
    fd: fs::File,
    path: PathBuf,
    /// Whether the directory is on a file system in memory (tmpfs, ramfs), so that nothing has to be synced to a disk.
    pub is_in_memory: bool,
    /// Whether files may get more permissions than were requested.
    allow_loose_mode: bool,
}

impl Dir {
    /// Opens DIR to write to it. DIR itself must not be a symbolic link; its parents may be, as `/var/run` is.
    /// If files may get more permissions than were requested, because the file system does not let them be set,
    /// `allow_loose_mode` is set.
    pub fn open(path: &Path, allow_loose_mode: bool) -> Result<Dir, Error> {
        // Without a slash or a dot at the end, both of which would follow a link in spite of O_NOFOLLOW.
        let path: PathBuf = path.components().collect();
        let fd = open_directory(AT_FDCWD, &path).map_err(|errno| {
            let status = fstatat(AT_FDCWD, &path, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
            let is_link = status.is_some_and(|status| file_type(&status) == SFlag::S_IFLNK);
            match errno {
                Errno::ENOTDIR | Errno::ELOOP if is_link => write_error(
                    &path,
                    "it is a symbolic link, which another user may redirect",
                )
                .hint("give the path of the directory itself; links in its parent directories are allowed"),
                Errno::ENOTDIR if status.is_some() => write_error(&path, "it is not a directory"),
                Errno::ENOENT => write_error(&path, "the directory does not exist")
                    .hint("check the path, or mount a volume there; akv-init does not create DIR"),
                _ => call_error(errno, status, &path, &path),
            }
        })?;
        let file_system = fstatfs(&fd)
            .map_err(|errno| write_error(&path, errno.desc()))?
            .filesystem_type();
        let dir = Dir {
            fd,
            path,
            is_in_memory: file_system == TMPFS_MAGIC || file_system.0 as i64 == RAMFS_MAGIC,
            allow_loose_mode,
        };
        dir.check_writable("")?;
        Ok(dir)
    }

    /// The path of an entry, for messages; for an empty name, of the directory itself.
    pub fn path_of(&self, name: impl AsRef<Path>) -> PathBuf {
        // For an empty name, join would leave a slash at the end.
        self.path.join(name).components().collect()
    }

    /// The error for an entry that cannot be written, for this reason.
    pub fn write_error(&self, name: impl AsRef<Path>, reason: &str) -> Error {
        write_error(&self.path_of(name), reason)
    }

    /// Makes the error for a system call on an entry that failed with an errno; for an empty name, on the directory
    /// itself.
    pub fn call_error<'a>(
        &'a self,
        name: impl AsRef<Path> + 'a,
    ) -> impl FnOnce(Errno) -> Error + 'a {
        move |errno| self.call_error_for(&self.path_of(name), errno)
    }

    /// The error for a system call that failed with this errno; `subject` is the path that it shows.
    fn call_error_for(&self, subject: &Path, errno: Errno) -> Error {
        call_error(errno, fstat(&self.fd).ok(), &self.path, subject)
    }

    /// The error for an entry of this kind that a file cannot replace. `layout` is the layout that may have made the
    /// entry, if it is another one.
    pub fn replace_error(&self, name: &str, kind: &EntryKind, layout: Option<&str>) -> Error {
        let noun = kind.noun();
        match layout {
            Some(layout) => self
                .write_error(name, &format!("it is {noun}, as --layout {layout} makes it"))
                .hint(format!(
                    "use --layout {layout} again if the directory was written with it, or empty the directory"
                )),
            None => self.write_error(name, &format!("it is {noun}")).hint(REMOVE_IT_HINT),
        }
    }

    /// Fails if this process may not create files in the directory (faccessat(2)). The error is about the entry
    /// `name`.
    pub fn check_writable(&self, name: &str) -> Result<(), Error> {
        let access = AccessFlags::W_OK | AccessFlags::X_OK;
        faccessat(&self.fd, ".", access, AtFlags::empty()).map_err(self.call_error(name))
    }

    /// Takes an exclusive lock on the directory (flock(2)). The lock is released when the `Dir` is dropped.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        self.fd.try_lock()
    }

    /// Whether the file system is mounted noexec.
    pub fn is_noexec(&self) -> bool {
        fstatfs(&self.fd).is_ok_and(|status| status.flags().contains(FsFlags::ST_NOEXEC))
    }

    /// What identifies this directory.
    pub fn id(&self) -> Result<DirId, Error> {
        let status = fstat(&self.fd).map_err(self.call_error(""))?;
        Ok((status.st_dev, status.st_ino))
    }

    /// Opens the directory at a relative path; for an empty path, opens this directory again. `None` if there is none.
    /// No component of the path may be a symbolic link.
    pub fn open_subdirectory(&self, path: &str) -> Result<Option<Dir>, Error> {
        let mut fd = open_directory(&self.fd, ".").map_err(self.call_error(path))?;
        for path in self_and_parents(path) {
            fd = match open_directory(&fd, split_path(path).1) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(self.enter_error(path, errno)),
            };
        }
        Ok(Some(self.subdirectory_from_fd(fd, path)))
    }

    /// The subdirectory at `path`, which was opened as `fd`.
    fn subdirectory_from_fd(&self, fd: fs::File, path: &str) -> Dir {
        Dir {
            fd,
            path: self.path_of(path),
            is_in_memory: self.is_in_memory,
            allow_loose_mode: self.allow_loose_mode,
        }
    }

    /// The error for a subdirectory that could not be opened.
    fn enter_error(&self, path: &str, errno: Errno) -> Error {
        match self.entry_kind(path) {
            Ok(Some(EntryKind::Directory)) | Ok(None) | Err(_) => {
                // The permissions that matter are that directory's, not this one's.
                let status = fstatat(&self.fd, path, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
                let path = self.path_of(path);
                call_error(errno, status, &path, &path)
            }
            Ok(Some(kind)) => {
                let reason = format!("it is {}, not a directory", kind.noun());
                self.write_error(path, &reason).hint(REMOVE_IT_HINT)
            }
        }
    }

    /// Opens a subdirectory as [`Dir::open_subdirectory`] does, but fails if it does not exist.
    pub fn open_existing_subdirectory(&self, path: &str) -> Result<Dir, Error> {
        self.open_subdirectory(path)?
            .ok_or_else(|| self.write_error(path, Errno::ENOENT.desc()))
    }

    /// The kind of the entry with this name; `None` if there is no such entry. A symbolic link is not followed.
    pub fn entry_kind(&self, name: &str) -> Result<Option<EntryKind>, Error> {
        let status = match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.call_error(name)(errno)),
        };
        Ok(Some(match file_type(&status) {
            SFlag::S_IFREG => EntryKind::File,
            SFlag::S_IFDIR => EntryKind::Directory,
            SFlag::S_IFLNK => {
                EntryKind::Link(readlinkat(&self.fd, name).map_err(self.call_error(name))?)
            }
            _ => EntryKind::Other,
        }))
    }

    /// When the file at this path was last changed, in seconds and nanoseconds; `None` if there is no entry. Anything
    /// but a file counts as changed after every file.
    pub fn modified(&self, path: &str) -> Result<Option<(i64, i64)>, Error> {
        let (parent, name) = split_path(path);
        let Some(directory) = self.open_subdirectory(parent)? else {
            return Ok(None);
        };
        match fstatat(&directory.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) if file_type(&status) == SFlag::S_IFREG => {
                Ok(Some((status.st_mtime, status.st_mtime_nsec)))
            }
            Ok(_) => Ok(Some((i64::MAX, 0))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(directory.call_error(name)(errno)),
        }
    }

    /// Whether the entry with this name is trusted to be what an earlier run made: a directory, or for a `mode` a
    /// regular file with that mode. Its owner has to be this user or root.
    pub fn has_trusted(&self, name: &str, mode: Option<u32>) -> bool {
        fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|status| match mode {
            _ if !self.trusts_owner(&status) => false,
            None => file_type(&status) == SFlag::S_IFDIR,
            Some(mode) => file_type(&status) == SFlag::S_IFREG && self.has_mode(&status, mode),
        })
    }

    /// Whether another user cannot have made a file: its owner is this user or root.
    pub fn trusts_owner(&self, status: &FileStat) -> bool {
        status.st_uid == 0 || self.is_own(status)
    }

    /// Whether a file belongs to this user, or to the one to whom the file system gives every file.
    fn is_own(&self, status: &FileStat) -> bool {
        let new_owner = || self.status_of_new_file(0o400).map(|new| new.st_uid);
        status.st_uid == geteuid().as_raw() || new_owner() == Ok(status.st_uid)
    }

    /// Whether a file has this mode, or the one that the file system gives instead, if that is acceptable.
    fn has_mode(&self, status: &FileStat, mode: u32) -> bool {
        let new_mode = || self.status_of_new_file(mode).map(|new| mode_of(&new));
        mode_of(status) == mode
            || new_mode() == Ok(mode_of(status))
                && self.check_mode(status, mode, &self.path).is_ok()
    }

    /// Whether the directory already has this file, with this content and mode, and owned by this user. Anything else
    /// at the path means `false` and is no error: it may be about to be replaced.
    pub fn holds(&self, file: &OutputFile<'_>) -> bool {
        let (parent, name) = split_path(file.path);
        let directory = self.open_subdirectory(parent).ok().flatten();
        let found = directory.and_then(|directory| directory.read(name, file.content.len()));
        found.is_some_and(|(status, bytes)| {
            bytes == file.content && self.is_own(&status) && self.has_mode(&status, file.mode)
        })
    }

    /// The status and the content of a regular file; `None` if it cannot be read, or is larger than `limit` bytes.
    pub fn read(&self, name: &str, limit: usize) -> Option<(FileStat, Vec<u8>)> {
        // Without O_NONBLOCK it would wait for the other end of a pipe that another user has put there.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = fs::File::from(openat(&self.fd, name, flags, Mode::empty()).ok()?);
        let status = fstat(&file).ok()?;
        let size = usize::try_from(status.st_size).ok()?;
        if file_type(&status) != SFlag::S_IFREG || size > limit {
            return None;
        }
        let mut bytes = Vec::with_capacity(size);
        file.take(limit as u64).read_to_end(&mut bytes).ok()?;
        Some((status, bytes))
    }

    /// A random temporary name.
    pub fn temporary_name() -> String {
        // Every `RandomState` has new random keys.
        format!(
            "{TEMPORARY_PREFIX}{:016x}",
            RandomState::new().build_hasher().finish()
        )
    }

    /// Creates a file named `name` with the content and mode of `file`. Errors show `subject`, the path that the file
    /// will have in the end.
    pub fn create_file(
        &self,
        name: &str,
        file: &OutputFile<'_>,
        subject: &Path,
    ) -> Result<(), Error> {
        let to_error = |errno| self.call_error_for(subject, errno);
        let (mut fd, status) = self.create_empty_file(name, file.mode).map_err(to_error)?;
        // Before the first byte is written: no other user may read any of it.
        self.check_mode(&status, file.mode, subject)?;
        fd.write_all(file.content)
            .map_err(|error| to_error(Errno::try_from(error).unwrap_or(Errno::EIO)))?;
        self.sync_fd(&fd).map_err(to_error)
    }

    /// Creates an empty file, and returns it with its status: its mode is another one if the file system does not let
    /// modes be set.
    fn create_empty_file(&self, name: &str, mode: u32) -> nix::Result<(fs::File, FileStat)> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600))?;
        // By descriptor, since the umask changes the mode of open.
        set_mode(&fd, mode)?;
        let status = fstat(&fd)?;
        Ok((fd.into(), status))
    }

    /// The status that a new file gets here: on a share, owner and mode may be those of its mount options. A file is
    /// created for that, and removed. Fails in memory, where that is never so.
    fn status_of_new_file(&self, mode: u32) -> nix::Result<FileStat> {
        if self.is_in_memory {
            return Err(Errno::EOPNOTSUPP);
        }
        let name = Dir::temporary_name();
        let (_, status) = self.create_empty_file(&name, mode)?;
        unlinkat(&self.fd, name.as_str(), UnlinkatFlags::NoRemoveDir)?;
        Ok(status)
    }

    /// Compares the mode of a file with the requested one. More permissions are an error about `subject`, unless they
    /// are allowed, and so is a program that its owner may not execute; any other difference is a warning.
    fn check_mode(&self, status: &FileStat, mode: u32, subject: &Path) -> Result<(), Error> {
        let found = mode_of(status);
        if found == mode {
            return Ok(());
        }
        let reason = format!("the file system gives files mode {found:04o} instead of {mode:04o}");
        if mode & !found & 0o100 != 0 {
            let hint =
                "no program can be started from there; choose another volume, such as an emptyDir";
            return Err(write_error(subject, &reason).hint(hint));
        }
        if found & !mode != 0 && !self.allow_loose_mode {
            return Err(write_error(subject, &reason).hint(format!(
                "mount the volume with `file_mode={mode:04o}` (SMB) or a `umask=` (FUSE, vfat), or accept it with \
                 --allow-loose-mode"
            )));
        }
        // Mostly, it is the same mode for all files.
        static WARNING: Once = Once::new();
        WARNING.call_once(|| log::warning(format!("in DIR, {reason}")));
        Ok(())
    }

    /// Syncs to the disk, where the file system can.
    fn sync_fd(&self, fd: &fs::File) -> nix::Result<()> {
        if self.is_in_memory {
            return Ok(());
        }
        match fsync(fd) {
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }

    /// Creates a file under a temporary name, and returns that name.
    pub fn stage(&self, file: &OutputFile<'_>) -> Result<String, Error> {
        let temporary = Dir::temporary_name();
        self.create_file(&temporary, file, &self.path_of(file.path))?;
        Ok(temporary)
    }

    /// Creates a directory for this user alone.
    pub fn create_private_directory(&self, name: &str) -> nix::Result<()> {
        mkdirat(&self.fd, name, Mode::from_bits_truncate(0o700))
    }

    /// Creates a directory. `mode` is the mode of the files in it: if all users may read those, they may enter the
    /// directory too; otherwise only its owner and group may. Errors show `subject` as the path.
    pub fn create_directory(&self, name: &str, mode: u32, subject: &Path) -> Result<Dir, Error> {
        let to_error = |errno| self.call_error_for(subject, errno);
        self.create_private_directory(name).map_err(to_error)?;
        let fd = open_directory(&self.fd, name).map_err(to_error)?;
        // Users who may read the files have to be able to reach them.
        let others = if mode & 0o004 == 0 { 0 } else { 0o005 };
        // The setgid bit is inherited from a volume with fsGroup and gives files that group; chmod without it would
        // clear it.
        let inherited = fstat(&fd).map_err(to_error)?.st_mode & 0o2000;
        let mode = 0o750 | others | inherited;
        set_mode(&fd, mode).map_err(to_error)?;
        Ok(self.subdirectory_from_fd(fd, name))
    }

    /// Renames an entry of this directory to `to` in `to_dir`, and replaces what is there.
    pub fn rename(&self, from: &str, to_dir: &Dir, to: &str) -> Result<(), Error> {
        renameat(&self.fd, from, &to_dir.fd, to).map_err(to_dir.call_error(to))
    }

    /// Makes a hard link named `to` in `to_dir` to a file of this directory.
    pub fn hard_link(&self, from: &str, to_dir: &Dir, to: &str) -> nix::Result<()> {
        linkat(&self.fd, from, &to_dir.fd, to, AtFlags::empty())
    }

    /// Makes a symbolic link. Errors show `subject`, the name that the link will have in the end.
    pub fn symlink(&self, target: &str, name: &str, subject: &str) -> Result<(), Error> {
        symlinkat(target, &self.fd, name).map_err(|errno| {
            let error = self.call_error(subject)(errno);
            match errno {
                Errno::EPERM | Errno::EOPNOTSUPP | Errno::ENOSYS => {
                    error.hint("if this file system has no symbolic links, use --layout plain")
                }
                _ => error,
            }
        })
    }

    /// Removes a file, a symbolic link or an empty directory.
    pub fn remove(&self, name: &str, flags: UnlinkatFlags) -> Result<(), Error> {
        unlinkat(&self.fd, name, flags).map_err(|errno| remove_error(&self.path_of(name), errno))
    }

    /// Syncs the directory itself to the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.sync_fd(&self.fd).map_err(self.call_error(""))
    }

    /// Removes an entry with a temporary name: a file, or a directory of this user with all its contents. A directory
    /// of another user is left alone: someone who may not remove that directory may have given it a temporary name.
    pub fn remove_temporary(&self, name: &str) -> Result<(), Error> {
        self.remove_tree(name, MAX_REMOVED_LEVELS)
    }

    /// Removes an entry: a file, or a directory of this user with up to `max_levels` levels of contents. Fails if
    /// there are more.
    fn remove_tree(&self, name: &str, max_levels: usize) -> Result<(), Error> {
        let to_error = |errno| remove_error(&self.path_of(name), errno);
        let errno = match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(errno @ (Errno::EISDIR | Errno::EPERM)) => errno,
            Err(errno) => return Err(to_error(errno)),
        };
        // EPERM may also forbid that a file is removed.
        let fd = open_directory(&self.fd, name).map_err(|_| to_error(errno))?;
        // By descriptor: its name may lead to another directory by now.
        if !self.is_own(&fstat(&fd).map_err(to_error)?) {
            return Err(to_error(Errno::EPERM));
        }
        // On the last level nothing is removed from a directory, so the call below fails unless it is empty
        // (ENOTEMPTY).
        if let Some(max_levels) = max_levels.checked_sub(1) {
            let directory = self.subdirectory_from_fd(fd, name);
            for name in directory.entry_names(|_| true)? {
                directory.remove_tree(&name, max_levels)?;
            }
        }
        self.remove(name, UnlinkatFlags::RemoveDir)
    }

    /// The names of the entries that pass the filter. Only those are kept in memory: another user of the volume may
    /// have made a million others. Names that are not UTF-8 are left out.
    pub fn entry_names(&self, filter: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let mut listing = Listing::openat(&self.fd, ".", OPEN_DIRECTORY_FLAGS, Mode::empty())
            .map_err(self.call_error(""))?;
        let mut names = Vec::new();
        for entry in listing.iter() {
            let entry = entry.map_err(self.call_error(""))?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) if filter(name) => names.push(name.to_owned()),
                Ok(_) => {}
            }
        }
        Ok(names)
    }
}

/// Opens the directory at `path`, relative to `parent`.
fn open_directory(parent: impl AsFd, path: &(impl NixPath + ?Sized)) -> nix::Result<fs::File> {
    openat(parent, path, OPEN_DIRECTORY_FLAGS, Mode::empty()).map(fs::File::from)
}

/// Sets the permission bits, where the file system can.
fn set_mode(fd: impl AsFd, mode: u32) -> nix::Result<()> {
    match fchmod(fd, Mode::from_bits_truncate(mode)) {
        Err(Errno::EPERM | Errno::ENOSYS | Errno::EOPNOTSUPP) => Ok(()),
        result => result,
    }
}

/// The permission bits.
fn mode_of(status: &FileStat) -> u32 {
    status.st_mode & 0o7777
}

fn file_type(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}
