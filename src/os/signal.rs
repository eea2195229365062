//! Signals by their numbers, and masks with one bit for each.
//!
//! By raw system calls: musl and glibc reserve the first real-time signals, do not agree on how many, and neither block
//! them nor report that they are blocked. nix has no name for a real-time signal. Linux has 64 signals (signal(7)).

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, SigmaskHow, Signal};

/// Every signal. KILL and STOP cannot be blocked, which the kernel knows.
pub const ALL_SIGNALS: u64 = u64::MAX;
/// The size of a mask in bytes. The kernel refuses any other.
const MASK_SIZE: usize = size_of::<u64>();

/// The bit of a signal in a mask.
pub const fn signal_bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Changes the signal mask of this thread and of those that it starts; returns the old mask.
pub fn sigprocmask(how: SigmaskHow, mask: u64) -> nix::Result<u64> {
    let mut before = 0_u64;
    // SAFETY: the kernel reads one mask and writes the other, 8 bytes each, which live until it returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how as i32,
            &raw const mask,
            &raw mut before,
            MASK_SIZE,
        )
    };
    Errno::result(done).map(|_| before)
}

/// A descriptor from which blocked signals are read (signalfd(2)). It does not wait, and execve closes it.
pub fn signalfd(mask: u64) -> nix::Result<OwnedFd> {
    // SAFETY: the kernel reads the mask, 8 bytes, which lives until it returns.
    let new = unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            &raw const mask,
            MASK_SIZE,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )
    };
    let new = Errno::result(new)? as i32;
    // SAFETY: the kernel has just made it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Reads the number of the next signal from a signalfd, if there is one.
pub fn next_signal(signalfd: &OwnedFd) -> Option<i32> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    let length = nix::unistd::read(signalfd, &mut info).ok()?;
    // `ssi_signo` is its first field.
    let number = info[..length].first_chunk()?;
    Some(i32::from_ne_bytes(*number))
}

/// Whether a signal is blocked and pending.
pub fn is_pending(signal: Signal) -> bool {
    let mut pending = 0_u64;
    // SAFETY: the kernel writes the mask, 8 bytes, which lives until it returns.
    let done = unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, MASK_SIZE) };
    done == 0 && pending & signal_bit(signal as i32) != 0
}

/// Whether a signal is ignored.
pub fn is_ignored(signal: i32) -> bool {
    // The kernel's struct has the handler first, and is shorter than this.
    let mut action = [0_usize; 16];
    // SAFETY: without a new action the kernel only writes the old one, which lives until it returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<u8>(),
            action.as_mut_ptr(),
            MASK_SIZE,
        )
    };
    done == 0 && action[0] == libc::SIG_IGN
}

/// Ignores a signal, or gives it its default action; whether it was ignored.
pub fn set_ignored(signal: Signal, is_ignored: bool) -> bool {
    let handler = match is_ignored {
        true => SigHandler::SigIgn,
        false => SigHandler::SigDfl,
    };
    // SAFETY: neither of the two runs any code of this program.
    let before = unsafe { nix::sys::signal::signal(signal, handler) };
    matches!(before, Ok(SigHandler::SigIgn))
}

/// Sends a signal to a process or, negative, to a process group; whether any process received it.
pub fn send_signal(target: i32, signal: i32) -> bool {
    // SAFETY: kill takes any two numbers.
    unsafe { libc::kill(target, signal) == 0 }
}
