//! What this process has inherited and its start-up code has changed: standard descriptors, SIGPIPE, the signal mask.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigmaskHow, Signal};

use super::signal::{is_ignored, set_ignored, sigprocmask};

/// Whether SIGPIPE was ignored when the process started, before std ignored it.
static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);
/// Whether SIGSEGV and SIGBUS were ignored when the process started.
static FAULT_SIGNALS_WERE_IGNORED: [(Signal, AtomicBool); 2] = [
    (Signal::SIGSEGV, AtomicBool::new(false)),
    (Signal::SIGBUS, AtomicBool::new(false)),
];
/// Which standard descriptors were closed when the process started, before std opened /dev/null there: bit N is for
/// descriptor N (0 to 2).
static CLOSED_DESCRIPTORS: AtomicU8 = AtomicU8::new(0);
/// The signals that were blocked when the process started, before musl unblocked those that it reserves for itself.
static CALLER_MASK: AtomicU64 = AtomicU64::new(0);

/// The soft and the hard limit on the size of a core, before [`forbid_memory_access`] has lowered the soft one; not set
/// where that fails.
static CORE_LIMIT: OnceLock<(u64, u64)> = OnceLock::new();

/// Runs before std's start-up code, the last moment at which the caller's SIGPIPE and closed descriptors are visible.
/// `#![no_main]` would also be early enough, but then std has no argv on musl.
// SAFETY: the linker collects pointers to functions in `.init_array`; this is one, with C's calling convention, and it
// calls nothing that depends on std's initialisation.
#[used]
#[unsafe(link_section = ".init_array")]
static STARTUP_FUNCTION: extern "C" fn() = remember_inherited_state;

extern "C" fn remember_inherited_state() {
    SIGPIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
    // std gives each thread a second stack, for a handler of these signals, and panics if there is no memory for it; not
    // where they are ignored. The kernel still ends a process that commits a fault.
    for (signal, was_ignored) in &FAULT_SIGNALS_WERE_IGNORED {
        was_ignored.store(set_ignored(*signal, true), Ordering::Relaxed);
    }
    let mask = sigprocmask(SigmaskHow::SIG_BLOCK, 0);
    CALLER_MASK.store(mask.unwrap_or(0), Ordering::Relaxed);
    for fd in 0..3 {
        // SAFETY: F_GETFD takes any number and changes nothing.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            CLOSED_DESCRIPTORS.fetch_or(1 << fd, Ordering::Relaxed);
        }
    }
}

/// Gives SIGSEGV and SIGBUS back what they had before [`remember_inherited_state`]. Called when std has started.
pub fn restore_fault_signals() {
    for (signal, was_ignored) in &FAULT_SIGNALS_WERE_IGNORED {
        set_ignored(*signal, was_ignored.load(Ordering::Relaxed));
    }
}

/// The signals that were blocked when the process started.
pub fn caller_mask() -> u64 {
    CALLER_MASK.load(Ordering::Relaxed)
}

/// Whether a standard descriptor (0 to 2) was closed when the process started. Such a descriptor is now /dev/null,
/// which std has opened.
pub fn was_closed_at_start(fd: u8) -> bool {
    CLOSED_DESCRIPTORS.load(Ordering::Relaxed) & (1 << fd) != 0
}

/// Keeps what is in memory from every other process without CAP_SYS_PTRACE, also of the same user, and from a core.
/// The execve of another program makes the process dumpable again (PR_SET_DUMPABLE(2const)).
pub fn forbid_memory_access() {
    let _ = set_dumpable(false);
    // Where a sandbox refuses the call above, at least no core is written.
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_CORE)
        && set_core_limit(0, hard).is_ok()
    {
        let _ = CORE_LIMIT.set((soft, hard));
    }
}

/// Sets the soft and the hard limit on the size of a core. By prlimit(2), since musl's setrlimit has a fallback for
/// kernels and sandboxes without that call: it interrupts every thread by a signal, and would wait forever for threads
/// that block it.
fn set_core_limit(soft: u64, hard: u64) -> nix::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let old_limit = std::ptr::null_mut();
    // SAFETY: the kernel reads the limit, which lives until the call returns. A null pointer takes no old limit.
    let result = unsafe { libc::prlimit(0, libc::RLIMIT_CORE, &raw const limit, old_limit) };
    Errno::result(result).map(drop)
}

/// Restores, for a program that this process or its child is about to execute, the signal mask and the limit on cores.
pub fn restore_mask_and_core_limit() -> nix::Result<()> {
    if let Some((soft, hard)) = CORE_LIMIT.get() {
        set_core_limit(*soft, *hard)?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, caller_mask()).map(drop)
}

/// Restores, for the next program, SIGPIPE's disposition, the signal mask, the limit on cores, and standard descriptors
/// that were closed.
pub fn restore_for_exec() {
    set_ignored(Signal::SIGPIPE, SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed));
    for fd in (0..3).filter(|fd| was_closed_at_start(*fd)) {
        // The execve closes it: if that fails, the error can still be reported.
        // SAFETY: it sets a flag of a descriptor, and fails for an invalid one.
        unsafe { libc::fcntl(i32::from(fd), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    let _ = restore_mask_and_core_limit();
}
