//! Child processes: start one, wait for one, and close what only the child needs.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::unistd::ForkResult;

use super::caller::caller_mask;
use super::signal::set_signal_mask;

/// Forks a process that has one thread, so that the child is not restricted to async-signal-safe calls.
pub fn fork() -> nix::Result<ForkResult> {
    debug_assert!(fs::read_dir("/proc/self/task").map_or(1, Iterator::count) == 1);
    // SAFETY: there is no other thread, as asserted above, whose locks the child could find held for ever.
    unsafe { nix::unistd::fork() }
}

/// The result of wait(2), with the child's id.
pub enum WaitStatus {
    /// It exited, with this code.
    Exited(i32, u8),
    /// There is no child.
    NoChildren,
    /// This signal ended it.
    Signaled(i32, u8),
    /// No child has a new status.
    StillAlive,
    /// This signal stopped it.
    Stopped(i32, i32),
}

/// Reaps one child that has ended, or reports one that was stopped, without waiting. nix has no name for a real-time
/// signal, and loses the status of a child that one has ended.
pub fn wait_for_any_child() -> WaitStatus {
    let mut status = 0;
    // SAFETY: writes `status`, which lives until the call returns.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
    match pid {
        0 => WaitStatus::StillAlive,
        ..0 => WaitStatus::NoChildren,
        pid if libc::WIFEXITED(status) => WaitStatus::Exited(pid, libc::WEXITSTATUS(status) as u8),
        pid if libc::WIFSIGNALED(status) => WaitStatus::Signaled(pid, libc::WTERMSIG(status) as u8),
        pid => WaitStatus::Stopped(pid, libc::WSTOPSIG(status)),
    }
}

/// Gives a child the caller's signal mask before its execve; std would give it an empty one.
pub fn with_caller_mask(command: &mut Command) -> &mut Command {
    let mask = caller_mask();
    let restore = move || set_signal_mask(mask).map(drop).map_err(io::Error::from);
    // SAFETY: it runs between fork and execve, and makes one system call.
    unsafe { command.pre_exec(restore) }
}

/// Closes every descriptor but standard error and `kept`, which is above 2; 0 and 1 become /dev/null. For a process that
/// does not use any other one afterwards.
pub fn keep_only_stderr_and(kept: impl AsFd) -> io::Result<()> {
    let kept = kept.as_fd().as_raw_fd();
    let null = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null");
    for fd in [0, 1] {
        match &null {
            // SAFETY: dup2 takes any two numbers; no Rust value owns 0 and 1.
            Ok(file) => unsafe { libc::dup2(file.as_raw_fd(), fd) },
            // SAFETY: close takes any number.
            Err(_) => unsafe { libc::close(fd) },
        };
    }
    drop(null);
    if close_range(3, kept - 1) && close_range(kept + 1, i32::MAX) {
        return Ok(());
    }
    // Kernels before 5.9, and some sandboxes. All numbers are read first: the listing has a descriptor of its own.
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in numbers.into_iter().filter(|fd| *fd > 2 && *fd != kept) {
        // SAFETY: close takes any number; its owner in this process does not use it any more.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Closes the descriptors of a range; whether the kernel knows how.
fn close_range(first: i32, last: i32) -> bool {
    // SAFETY: the call takes numbers; owners of these descriptors do not use them any more.
    first > last || unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0
}
