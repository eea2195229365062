//! Children: to make one, to signal it, to learn what became of it, and to keep nothing that is its.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// For [`set_signal_mask`]; two of them cannot be blocked, which the kernel knows.
pub const ALL_SIGNALS: u64 = u64::MAX;

/// Sets the signal mask of a process with one thread, and gives the one that was.
pub fn set_signal_mask(mask: u64) -> nix::Result<u64> {
    change_signal_mask(libc::SIG_SETMASK, mask)
}

/// By a call of our own: C libraries keep the first real-time signals for themselves, neither block them nor tell that
/// they are blocked, and do not agree on how many they are. glibc's SIGRTMIN is a signal as any other to its programs,
/// and musl's own. Linux has 64 signals, 8 bytes of them, but on MIPS.
pub(super) fn change_signal_mask(how: i32, mask: u64) -> nix::Result<u64> {
    let mut before = 0_u64;
    // SAFETY: the kernel reads one mask and writes the other, 8 bytes each, which live until it returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const mask,
            &raw mut before,
            size_of::<u64>(),
        )
    };
    Errno::result(done).map(|_| before)
}

/// A descriptor that gives every signal that is blocked (signalfd(2)), without waiting. It is closed by an execve.
pub fn signals() -> nix::Result<OwnedFd> {
    let mask = ALL_SIGNALS;
    // SAFETY: the kernel reads the mask, 8 bytes, which lives until it returns.
    let new = unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            &raw const mask,
            size_of::<u64>(),
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )
    };
    let new = Errno::result(new)? as i32;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// The number of the next signal that such a descriptor has, if there is one.
pub fn next_signal(signals: &OwnedFd) -> Option<i32> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    let length = nix::unistd::read(signals, &mut info).ok()?;
    // `ssi_signo` is its first field.
    let number = info[..length].first_chunk()?;
    Some(i32::from_ne_bytes(*number))
}

/// Which of the two processes is asking.
pub enum Fork {
    /// The new one.
    Child,
    /// The one that was there, and the id of the new one.
    Parent(i32),
}

/// A second process like this one. For a process with one thread: the child may then do whatever it likes.
pub fn fork() -> nix::Result<Fork> {
    debug_assert!(fs::read_dir("/proc/self/task").map_or(1, Iterator::count) == 1);
    // SAFETY: there is no other thread, as asked above, whose locks the child could find held for ever.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(Fork::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Fork::Parent(child.as_raw())),
    }
}

/// What wait(2) has to say, with the child's id.
pub enum WaitStatus {
    /// It ended by itself, with this code.
    Exited(i32, u8),
    /// There is no child.
    NoChildren,
    /// It was ended by this signal.
    Signaled(i32, u8),
    /// Nothing new of any child.
    StillAlive,
    /// It was stopped by this signal.
    Stopped(i32, i32),
}

/// Takes the status of one child that has ended or was stopped, without waiting. nix has no name for a real-time
/// signal, and loses the child that one has ended.
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

/// Sends a signal, by its number, to a process or, negative, to a process group; whether somebody got it. nix has no
/// name for a real-time signal.
pub fn send_signal(target: i32, signal: i32) -> bool {
    // SAFETY: kill takes any two numbers.
    unsafe { libc::kill(target, signal) == 0 }
}

/// Closes every descriptor but standard error and `kept`, which is none of the first three; 0 and 1 lead nowhere. For
/// a process in which nobody has any other and will use it.
pub fn keep_only_stderr_and(kept: impl AsFd) -> io::Result<()> {
    let kept = kept.as_fd().as_raw_fd();
    let nowhere = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null");
    for fd in [0, 1] {
        match &nowhere {
            // SAFETY: dup2 takes any two numbers; nobody owns 0 and 1 but the process.
            Ok(file) => unsafe { libc::dup2(file.as_raw_fd(), fd) },
            // SAFETY: close takes any number.
            Err(_) => unsafe { libc::close(fd) },
        };
    }
    drop(nowhere);
    if close_range(3, kept - 1) && close_range(kept + 1, i32::MAX) {
        return Ok(());
    }
    // Kernels before 5.9, and some sandboxes. Numbers first: the listing has a descriptor too, which is its own to close.
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in numbers.into_iter().filter(|fd| *fd > 2 && *fd != kept) {
        // SAFETY: close takes any number; nobody owns it in this process any more.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Closes the descriptors of a range; whether the kernel knows how.
fn close_range(first: i32, last: i32) -> bool {
    // SAFETY: the call takes numbers; what it closes nobody owns in this process any more.
    first > last || unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0
}
