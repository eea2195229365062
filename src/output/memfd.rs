//! A secret in a file in memory, whose descriptor COMMAND inherits: for programs that take the path of a file.
//!
//! The file is in no directory, so that only a process with a descriptor of it can open it. It is sealed, so that
//! COMMAND reads what the vault had (<https://man7.org/linux/man-pages/man2/memfd_create.2.html>).

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fchmod};

use crate::error::{Cause, Error};
use crate::os;

/// The lowest descriptor for a file in memory. Scripts use descriptors from 3 on, and `exec 3>` in a script must not
/// close a secret.
const FIRST_DESCRIPTOR: i32 = 100;
/// Where each process finds its own descriptors as files.
const DIRECTORY: &str = "/proc/self/fd";

/// Fails if COMMAND could not open this number of files in memory: without /proc, or because the limit on open files is
/// too low. Called before any request.
pub fn check_before_fetch(count: usize) -> Result<(), Error> {
    if count > 0 && !Path::new(DIRECTORY).exists() {
        let reason = format!("COMMAND gets a path in `{DIRECTORY}`, which does not exist");
        return Err(Error::new(Cause::CannotCreate, reason)
            .context("--memfd")
            .hint("mount /proc, or use `akv-init write` and a volume"));
    }
    // The limit is one more than the highest descriptor (getrlimit(2)).
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let needed = FIRST_DESCRIPTOR as u64 + count as u64;
    if count == 0 || limit >= needed {
        return Ok(());
    }
    Err(Error::new(
        Cause::CannotCreate,
        format!(
            "COMMAND gets file descriptors from {FIRST_DESCRIPTOR} up, but the limit on open files is {limit}"
        ),
    )
    .context("--memfd")
    .hint(format!("raise the limit to {needed} or more (ulimit -n)")))
}

/// Creates an empty file in memory for this process and its children.
pub fn create_private() -> Result<File, Error> {
    let fd = memfd_create("akv-init", MFdFlags::MFD_CLOEXEC).map_err(|errno| {
        let error = Error::new(Cause::Unavailable, errno.desc());
        error
            .context("creating a file in memory")
            .hint("does a sandbox (seccomp) forbid memfd_create?")
    })?;
    Ok(File::from(fd))
}

/// Creates a sealed file in memory with these permission bits for the target with this name. Its descriptor stays open,
/// and COMMAND inherits it.
/// Returns a path by which every process that has the descriptor can open the file, any number of times.
pub fn create(target: &str, content: &[u8], mode: u32) -> Result<String, Error> {
    let to_error = |errno: Errno| {
        let cause = match errno {
            Errno::ENOMEM => Cause::Unavailable,
            _ => Cause::CannotCreate,
        };
        let error = Error::new(cause, errno.desc());
        let error = error.context(format!("{target}: creating a file in memory"));
        error.set_hint(match errno {
            Errno::EINVAL | Errno::EMFILE => Some(format!(
                "raise the limit on open files (ulimit -n): COMMAND gets file descriptors from {FIRST_DESCRIPTOR} up"
            )),
            Errno::ENOSYS | Errno::EPERM => {
                Some("does a sandbox forbid memfd_create? use `akv-init write` and a volume".to_owned())
            }
            _ => None,
        })
    };
    let io_to_error = |error: io::Error| to_error(Errno::try_from(error).unwrap_or(Errno::EIO));
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("akv-init", flags).map_err(to_error)?);
    // A limit on the size of files must be an error, not the end of the process (RLIMIT_FSIZE).
    let was_ignored = os::set_ignored(Signal::SIGXFSZ, true);
    let written = file.write_all(content);
    os::set_ignored(Signal::SIGXFSZ, was_ignored);
    written.map_err(io_to_error)?;
    // For programs that duplicate the descriptor of /dev/fd/N and do not open it again.
    file.rewind().map_err(io_to_error)?;
    fchmod(&file, Mode::from_bits_truncate(mode)).map_err(to_error)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(to_error)?;
    let descriptor = fcntl(&file, FcntlArg::F_DUPFD(FIRST_DESCRIPTOR)).map_err(to_error)?;
    Ok(format!("{DIRECTORY}/{descriptor}"))
}
