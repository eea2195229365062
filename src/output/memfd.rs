//! A secret in a file in memory that COMMAND inherits as a descriptor: for programs that take the path of a file.
//!
//! The file is in no directory, so that only a process with a descriptor of it can open it. It is sealed, so that COMMAND
//! reads what the vault had (<https://man7.org/linux/man-pages/man2/memfd_create.2.html>).

use std::fs::File;
use std::io::{self, Seek, Write};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
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

/// Makes a sealed file in memory for a target, whose descriptor stays open until this process becomes COMMAND, which
/// inherits it. The result is the path by which a process with the descriptor can open it, any number of times.
pub fn create(target: &str, content: &[u8]) -> Result<String, Error> {
    let failed = |errno: Errno| {
        let error = Error::new(Cause::CannotCreate, errno.desc());
        let error = error.context(format!("{target}: creating a file in memory"));
        error.set_hint(match errno {
            Errno::EINVAL | Errno::EMFILE => Some(format!(
                "raise the limit on open files (ulimit -n): COMMAND gets file descriptors from {LOWEST} up"
            )),
            Errno::ENOSYS | Errno::EPERM => {
                Some("does a sandbox forbid memfd_create? use `akv-init write` and a volume".to_owned())
            }
            _ => None,
        })
    };
    let io_failed = |error: io::Error| failed(Errno::try_from(error).unwrap_or(Errno::EIO));
    let sealable = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("akv-init", sealable).map_err(failed)?);
    // A limit on the size of files must be an error, not the end of the process (RLIMIT_FSIZE).
    let was_ignored = os::set_ignored(Signal::SIGXFSZ, true);
    let written = file.write_all(content);
    os::set_ignored(Signal::SIGXFSZ, was_ignored);
    written.map_err(io_failed)?;
    // For programs that duplicate the descriptor of /dev/fd/N and do not open it again.
    file.rewind().map_err(io_failed)?;
    // Readable by every user: entrypoints often change the user before they start the server.
    fchmod(&file, Mode::from_bits_truncate(0o444)).map_err(failed)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(failed)?;
    let descriptor = fcntl(&file, FcntlArg::F_DUPFD(LOWEST)).map_err(failed)?;
    Ok(format!("/proc/self/fd/{descriptor}"))
}
