//! Signals by their numbers, and masks with one bit for each.
//!
//! Linux has 64 signals (signal(7)). These are raw system calls: nix has no name for a real-time signal; and musl and
//! glibc reserve the first ones, each another number of them, and neither block these nor report that they are blocked.

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, SigmaskHow, Signal};

/// The mask with every signal. The kernel ignores KILL and STOP in it, which cannot be blocked.
pub const ALL_SIGNALS: u64 = u64::MAX;
/// The size of a signal mask in bytes. The kernel accepts no other size.
const MASK_SIZE: usize = size_of::<u64>();

/// The bit for a signal in a signal mask.
pub const fn signal_bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Changes the signal mask of this thread, and so of threads that it starts later. Returns the old mask.
pub fn sigprocmask(how: SigmaskHow, mask: u64) -> nix::Result<u64> {
    let mut old_mask = 0_u64;
    // SAFETY: the kernel reads one mask and writes the other, 8 bytes each, which live until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how as i32,
            &raw const mask,
            &raw mut old_mask,
            MASK_SIZE,
        )
    };
    Errno::result(result).map(|_| old_mask)
}

/// Opens a descriptor from which blocked signals can be read (signalfd(2)). A read does not wait; execve(2) closes the
/// descriptor.
pub fn signalfd(mask: u64) -> nix::Result<OwnedFd> {
    // SAFETY: the kernel reads the mask, 8 bytes, which lives until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            &raw const mask,
            MASK_SIZE,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )
    };
    let fd = Errno::result(result)? as i32;
    // SAFETY: the kernel has just opened it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads the number of the next pending signal from a signalfd; `None` if no signal is pending.
pub fn next_signal(signalfd: &OwnedFd) -> Option<i32> {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    let length = nix::unistd::read(signalfd, &mut info).ok()?;
    // `ssi_signo` is the first field.
    let number = info[..length].first_chunk()?;
    Some(i32::from_ne_bytes(*number))
}

/// Whether a signal is pending, which only a blocked one can be.
pub fn is_pending(signal: Signal) -> bool {
    let mut pending = 0_u64;
    // SAFETY: the kernel writes the mask, 8 bytes, which lives until it returns.
    let result = unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, MASK_SIZE) };
    result == 0 && pending & signal_bit(signal as i32) != 0
}

/// Whether the disposition of a signal is to ignore it.
pub fn is_ignored(signal: i32) -> bool {
    // The first field of the kernel's struct is the handler. The array is longer than the struct.
    let mut action = [0_usize; 16];
    // SAFETY: without a new action the kernel only writes the old one, which lives until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<u8>(),
            action.as_mut_ptr(),
            MASK_SIZE,
        )
    };
    result == 0 && action[0] == libc::SIG_IGN
}

/// Ignores a signal, or gives it its default action if `ignore` is `false`. Returns whether it was ignored before.
pub fn set_ignored(signal: Signal, ignore: bool) -> bool {
    let handler = match ignore {
        true => SigHandler::SigIgn,
        false => SigHandler::SigDfl,
    };
    // SAFETY: neither of the two handlers runs any code of this program.
    let old_handler = unsafe { nix::sys::signal::signal(signal, handler) };
    matches!(old_handler, Ok(SigHandler::SigIgn))
}

/// Sends a signal as kill(2) does: to the process `target`, or to the process group `-target` if that is negative; 0
/// is this process's group, -1 is every process. Returns whether any process was sent the signal.
pub fn send_signal(target: i32, signal: i32) -> bool {
    // SAFETY: kill takes any two numbers.
    unsafe { libc::kill(target, signal) == 0 }
}
