//! Child processes: start one, wait for one, and close what only the child needs.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::SigmaskHow;
use nix::unistd::{ForkResult, close, dup2_stdin, dup2_stdout};

use super::caller::caller_mask;
use super::signal::sigprocmask;

/// Forks a process that has one thread, so that the child is not restricted to async-signal-safe calls.
pub fn fork() -> nix::Result<ForkResult> {
    debug_assert!(fs::read_dir("/proc/self/task").map_or(1, Iterator::count) == 1);
    // SAFETY: there is no other thread, as asserted above, whose locks the child could find held for ever.
    unsafe { nix::unistd::fork() }
}

/// Reaps one child that has ended, or reports one that was stopped, without waiting: none if no child has a new status,
/// and ECHILD if there is no child. nix has no name for a real-time signal, and loses the status of a child that one has
/// ended.
pub fn wait_for_any_child() -> nix::Result<Option<(i32, ExitStatus)>> {
    let mut status = 0;
    // SAFETY: writes `status`, which lives until the call returns.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    let pid = Errno::result(pid)?;
    Ok((pid != 0).then(|| (pid, ExitStatus::from_raw(status))))
}

/// Gives a child the caller's signal mask before its execve; std would give it an empty one.
pub fn with_caller_mask(command: &mut Command) -> &mut Command {
    let restore = || {
        sigprocmask(SigmaskHow::SIG_SETMASK, caller_mask())?;
        Ok(())
    };
    // SAFETY: it runs between fork and execve, and makes one system call.
    unsafe { command.pre_exec(restore) }
}

/// Closes every descriptor but standard error and `kept`, which is above 2; 0 and 1 become /dev/null. For a process that
/// does not use any other one afterwards.
pub fn keep_only_stderr_and(kept: impl AsFd) -> io::Result<()> {
    let kept = kept.as_fd().as_raw_fd();
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(null)?;
    if close_range(3, kept - 1) && close_range(kept + 1, i32::MAX) {
        return Ok(());
    }
    // Kernels before 5.9, and some sandboxes. All numbers are read first: the listing has a descriptor of its own.
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in numbers.into_iter().filter(|fd| *fd > 2 && *fd != kept) {
        let _ = close(fd);
    }
    Ok(())
}

/// Closes the descriptors of a range; whether the kernel has this call.
fn close_range(first: i32, last: i32) -> bool {
    // SAFETY: the call takes numbers; owners of these descriptors do not use them any more.
    first > last || unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0
}
