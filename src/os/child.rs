//! Child processes: start one, wait for one, and close what only the child needs.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{ForkResult, close, dup2_stdin, dup2_stdout};

use super::caller::restore_mask_and_core_limit;

/// Forks. The process must have only one thread, so that the child is not restricted to async-signal-safe calls.
pub fn fork() -> nix::Result<ForkResult> {
    debug_assert!(fs::read_dir("/proc/self/task").map_or(1, Iterator::count) == 1);
    // SAFETY: as asserted above, there is no other thread that could hold a lock, which would stay locked in the child.
    unsafe { nix::unistd::fork() }
}

/// Reaps one child that has ended, or reports one that was stopped; does not wait. Returns the child's process id and
/// status; `None` if no child has a new status; the error ECHILD if there are no children. nix's waitpid is not used:
/// it has no name for a real-time signal, so it loses the status of a child that such a signal has ended.
pub fn wait_for_any_child() -> nix::Result<Option<(i32, ExitStatus)>> {
    let mut status = 0;
    // SAFETY: writes `status`, which lives until the call returns.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    let pid = Errno::result(pid)?;
    Ok((pid != 0).then(|| (pid, ExitStatus::from_raw(status))))
}

/// Gives a child the signal mask and the limit on cores that this process's caller had. std would give it an empty
/// mask.
pub fn with_caller_state(command: &mut Command) -> &mut Command {
    let restore = || Ok(restore_mask_and_core_limit()?);
    // SAFETY: it runs between fork and execve, and makes system calls only.
    unsafe { command.pre_exec(restore) }
}

/// Closes every descriptor but standard error and `kept`, which is above 2; 0 and 1 become /dev/null. The caller must
/// not use any other descriptor afterwards.
pub fn keep_only_stderr_and(kept: impl AsFd) -> io::Result<()> {
    let kept_fd = kept.as_fd().as_raw_fd();
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(null)?;
    if close_range(3, kept_fd - 1) && close_range(kept_fd + 1, i32::MAX) {
        return Ok(());
    }
    // Kernels before 5.9, and some sandboxes. All numbers are read first, since the directory listing needs a
    // descriptor.
    let fds: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in fds.into_iter().filter(|fd| *fd > 2 && *fd != kept_fd) {
        let _ = close(fd);
    }
    Ok(())
}

/// Closes all descriptors from `first` to `last`. Returns whether the kernel supports this call.
fn close_range(first: i32, last: i32) -> bool {
    // SAFETY: the call takes numbers; the owners of these descriptors do not use them any more.
    first > last || unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0
}
