//! Signals by their numbers, and masks with one bit for each.
//!
//! By raw system calls: musl and glibc reserve the first real-time signals, do not agree on how many, and neither block
//! them nor report that they are blocked. nix has no name for a real-time signal. Linux has 64 signals (signal(7)).

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Every signal. KILL and STOP cannot be blocked, which the kernel knows.
pub const ALL_SIGNALS: u64 = u64::MAX;

/// The bit of a signal in a mask.
pub const fn signal_bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Sets this thread's signal mask, and returns the old one.
pub fn set_signal_mask(mask: u64) -> nix::Result<u64> {
    change_signal_mask(libc::SIG_SETMASK, mask)
}

/// Blocks signals in this thread and those that it starts; returns the old mask.
pub fn block_signals(signals: u64) -> nix::Result<u64> {
    change_signal_mask(libc::SIG_BLOCK, signals)
}

fn change_signal_mask(how: i32, mask: u64) -> nix::Result<u64> {
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

/// A descriptor from which blocked signals are read (signalfd(2)). It does not wait, and execve closes it.
pub fn signalfd(mask: u64) -> nix::Result<OwnedFd> {
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
    let done =
        unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, size_of::<u64>()) };
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
            size_of::<u64>(),
        )
    };
    done == 0 && action[0] == libc::SIG_IGN
}

/// Ignores a signal.
pub fn ignore(signal: Signal) {
    set_ignored(signal, true);
}

/// Gives a signal its default action; whether it was ignored.
pub fn stop_ignoring(signal: Signal) -> bool {
    set_ignored(signal, false)
}

/// Runs `work` while a signal is ignored. COMMAND inherits ignored signals, so this one is restored.
pub fn ignoring<T>(signal: Signal, work: impl FnOnce() -> T) -> T {
    let was_ignored = set_ignored(signal, true);
    let done = work();
    set_ignored(signal, was_ignored);
    done
}

/// Ignores a signal, or gives it its default action; whether it was ignored.
pub(super) fn set_ignored(signal: Signal, is_ignored: bool) -> bool {
    let handler = match is_ignored {
        true => SigHandler::SigIgn,
        false => SigHandler::SigDfl,
    };
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: neither of the two runs any code of this program.
    let before = unsafe { sigaction(signal, &action) };
    before.is_ok_and(|before| matches!(before.handler(), SigHandler::SigIgn))
}

/// Sends a signal to a process or, negative, to a process group; whether any process received it.
pub fn send_signal(target: i32, signal: i32) -> bool {
    // SAFETY: kill takes any two numbers.
    unsafe { libc::kill(target, signal) == 0 }
}
