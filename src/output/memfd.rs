//! A secret in a file in memory that COMMAND inherits as a descriptor: for programs that take the path of a file.
//!
//! The file has no name and lies in no directory: who has no descriptor of it, cannot open it. It is sealed, so that
//! what COMMAND reads is what the vault had (<https://man7.org/linux/man-pages/man2/memfd_create.2.html>).

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fchmod};

use crate::error::{Cause, Error};
use crate::os;

/// The lowest descriptor that COMMAND may find one under. Scripts count from 3: `exec 3>` must not hit a secret.
const LOWEST: i32 = 100;

/// Refuses what cannot be, before anything is asked: so many of them under a limit of open files.
pub fn check(count: usize) -> Result<(), Error> {
    let limit = os::open_files_limit();
    let wanted = LOWEST as u64 + count as u64;
    if count == 0 || limit >= wanted {
        return Ok(());
    }
    Err(Error::new(
        Cause::CannotCreate,
        format!("--memfd: COMMAND gets descriptors from {LOWEST} on, and the limit of open files is {limit}"),
    )
    .hint(format!("raise it to {wanted} or more (ulimit -n)")))
}

/// A sealed file in memory. Dropped, it is gone.
pub struct Memfd(OwnedFd);

impl Memfd {
    /// Makes one for a target. COMMAND does not get it yet.
    pub fn new(target: &str, content: &[u8]) -> Result<Memfd, Error> {
        let failed = |errno: Errno| {
            let error = Error::new(
                Cause::CannotCreate,
                format!("{target}: making a file in memory: {}", errno.desc()),
            );
            error.maybe_hint(match errno {
                Errno::EINVAL | Errno::EMFILE => Some(format!(
                    "COMMAND gets it as descriptor {LOWEST} or above: raise the limit of open files (ulimit -n)"
                )),
                Errno::ENOSYS | Errno::EPERM => {
                    Some("this sandbox has no memfd_create: use `akv-init write` and a volume".to_owned())
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
        // A limit on the size of files is to be an error, not the end (setrlimit(2), RLIMIT_FSIZE).
        os::ignoring(Signal::SIGXFSZ, || (&file).write_all(content)).map_err(io_failed)?;
        // Some programs duplicate the descriptor for /dev/fd/N in place of opening the file anew.
        (&file).rewind().map_err(io_failed)?;
        // For everybody who has the descriptor: entrypoints often change the user before they start the server.
        fchmod(&file, Mode::from_bits_truncate(0o444)).map_err(failed)?;
        let seals = SealFlag::F_SEAL_SEAL
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_WRITE;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(failed)?;
        os::duplicate_from(&file, LOWEST).map(Memfd).map_err(failed)
    }

    /// The path under which whoever has the descriptor can open it, as often as it likes.
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }

    /// Lets it outlive an execve.
    pub fn hand_over(&self) -> Result<(), Error> {
        fcntl(&self.0, FcntlArg::F_SETFD(FdFlag::empty()))
            .map(drop)
            .map_err(|errno| {
                Error::new(
                    Cause::CannotCreate,
                    format!("handing over `{}`: {}", self.path(), errno.desc()),
                )
            })
    }
}
