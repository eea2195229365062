//! A secret in a file in memory that COMMAND inherits as a descriptor: for programs that take the path of a file.
//!
//! The file is in no directory, so that only a process with a descriptor of it can open it. It is sealed, so that COMMAND
//! reads what the vault had (<https://man7.org/linux/man-pages/man2/memfd_create.2.html>).

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fchmod};

use crate::error::{Cause, Error};
use crate::os;

/// The lowest descriptor for COMMAND. Scripts use those from 3 on: `exec 3>` must not close a secret.
const LOWEST: i32 = 100;

/// Checks before any request that the limit on open files allows so many.
pub fn preflight(count: usize) -> Result<(), Error> {
    // One more than the highest descriptor.
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let needed = LOWEST as u64 + count as u64;
    if count == 0 || limit >= needed {
        return Ok(());
    }
    Err(Error::new(
        Cause::CannotCreate,
        format!(
            "COMMAND gets file descriptors from {LOWEST} up, but the limit on open files is {limit}"
        ),
    )
    .context("--memfd")
    .hint(format!("raise the limit to {needed} or more (ulimit -n)")))
}

/// A sealed file in memory, which ends with its last descriptor.
pub struct Memfd {
    file: OwnedFd,
    /// The path by which a process with the descriptor can open it, any number of times.
    pub path: String,
}

impl Memfd {
    /// Makes one for a target. COMMAND does not inherit it yet.
    pub fn new(target: &str, content: &[u8]) -> Result<Memfd, Error> {
        let failed = |errno: Errno| {
            let error = Error::new(Cause::CannotCreate, errno.desc());
            let error = error.context(format!("{target}: creating a file in memory"));
            error.maybe_hint(match errno {
                Errno::EINVAL | Errno::EMFILE => Some(format!(
                    "raise the limit on open files (ulimit -n): COMMAND gets file descriptors from {LOWEST} up"
                )),
                Errno::ENOSYS | Errno::EPERM => {
                    Some("does a sandbox forbid memfd_create? use `akv-init write` and a volume".to_owned())
                }
                _ => None,
            })
        };
        let sealable = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = memfd_create("akv-init", sealable)
            .map(File::from)
            .map_err(failed)?;
        let io_failed =
            |error: io::Error| failed(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
        // A limit on the size of files must be an error, not the end of the process (RLIMIT_FSIZE).
        let was_ignored = os::set_ignored(Signal::SIGXFSZ, true);
        let written = (&file).write_all(content);
        os::set_ignored(Signal::SIGXFSZ, was_ignored);
        written.map_err(io_failed)?;
        // For programs that duplicate the descriptor of /dev/fd/N and do not open it again.
        (&file).rewind().map_err(io_failed)?;
        // Readable by every user: entrypoints often change the user before they start the server.
        fchmod(&file, Mode::from_bits_truncate(0o444)).map_err(failed)?;
        let seals = SealFlag::F_SEAL_SEAL
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_WRITE;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(failed)?;
        let file = os::duplicate_from(&file, LOWEST).map_err(failed)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(Memfd { file, path })
    }

    /// Lets COMMAND inherit it.
    pub fn make_inheritable(&self) -> Result<(), Error> {
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::empty()))
            .map(drop)
            .map_err(|errno| {
                let error = Error::new(Cause::CannotCreate, errno.desc());
                error.context(format!("making `{}` inheritable", self.path))
            })
    }
}
