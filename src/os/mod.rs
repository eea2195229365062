//! The few calls that nix lacks or marks unsafe, each behind a safe function. The only room with `unsafe`.

mod child;
mod limits;

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Whether SIGPIPE was ignored when the process started, before std ignored it.
static SIGPIPE_IGNORED: AtomicBool = AtomicBool::new(false);
/// Bit N: descriptor N (0 to 2) was closed when the process started, before std opened /dev/null there.
static CLOSED_STANDARD: AtomicU8 = AtomicU8::new(0);
/// The signals that were blocked when the process started, before musl unblocked those that it wants for itself.
static BLOCKED: AtomicU64 = AtomicU64::new(0);

/// Runs before std's start-up code, the only moment at which the caller's SIGPIPE and closed descriptors can still be
/// seen. `#![no_main]` would also be early enough, but then std has no argv on musl.
// SAFETY: the linker collects pointers to functions in `.init_array`; this is one, with C's calling convention, and it
// calls nothing that depends on std's initialisation.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_STD: extern "C" fn() = remember_what_was_inherited;

extern "C" fn remember_what_was_inherited() {
    // SAFETY: all-zero bytes are a valid `sigaction`, a C struct of integers and an optional pointer.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only writes `old`, which lives until it returns.
    let asked = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut old) };
    SIGPIPE_IGNORED.store(
        asked == 0 && old.sa_sigaction == libc::SIG_IGN,
        Ordering::Relaxed,
    );
    let blocked = child::change_signal_mask(libc::SIG_BLOCK, 0);
    BLOCKED.store(blocked.unwrap_or(0), Ordering::Relaxed);
    for fd in 0..3 {
        // SAFETY: F_GETFD takes any number and changes nothing.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            CLOSED_STANDARD.fetch_or(1 << fd, Ordering::Relaxed);
        }
    }
}

/// Gives the next program what was changed at start: SIGPIPE's disposition, blocked signals, and standard descriptors
/// that were closed. Signal handlers are execve's to reset: taking them off here would make a moment without any.
pub fn undo_std_for_exec() {
    set_ignored(Signal::SIGPIPE, SIGPIPE_IGNORED.load(Ordering::Relaxed));
    let _ = child::change_signal_mask(libc::SIG_BLOCK, BLOCKED.load(Ordering::Relaxed));
    let closed = CLOSED_STANDARD.load(Ordering::Relaxed);
    for fd in (0..3).filter(|fd| closed & (1 << fd) != 0) {
        // Closed by the execve, not before: if that fails there is still something to say, and perhaps somewhere.
        // SAFETY: sets a flag of a descriptor; an invalid one is refused.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Whether a standard descriptor (0 to 2) was closed when the process started. std has opened /dev/null there.
pub fn was_closed(fd: u8) -> bool {
    CLOSED_STANDARD.load(Ordering::Relaxed) & (1 << fd) != 0
}

/// Whether a descriptor is a terminal.
pub fn is_terminal(fd: i32) -> bool {
    // SAFETY: isatty takes any number.
    unsafe { libc::isatty(fd) == 1 }
}

/// Ignores a signal.
pub fn ignore(signal: Signal) {
    set_ignored(signal, true);
}

/// Does something while a signal is ignored, and gives it back what it did before: COMMAND inherits what is ignored.
pub fn ignoring<T>(signal: Signal, work: impl FnOnce() -> T) -> T {
    let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: ignoring runs no code of ours.
    let before = unsafe { sigaction(signal, &action) };
    let done = work();
    if let Ok(before) = before {
        // SAFETY: this is what was there before.
        let _ = unsafe { sigaction(signal, &before) };
    }
    done
}

/// Gives a signal its default action; whether it was ignored.
pub fn stop_ignoring(signal: Signal) -> bool {
    set_ignored(signal, false)
}

/// Ignores a signal, or gives it its default action; whether it was ignored.
fn set_ignored(signal: Signal, is_ignored: bool) -> bool {
    let how = match is_ignored {
        true => SigHandler::SigIgn,
        false => SigHandler::SigDfl,
    };
    let action = SigAction::new(how, SaFlags::empty(), SigSet::empty());
    // SAFETY: neither of the two runs any code of ours.
    let before = unsafe { sigaction(signal, &action) };
    before.is_ok_and(|before| matches!(before.handler(), SigHandler::SigIgn))
}

/// Whether a signal has come that is blocked and not yet taken.
pub fn is_pending(signal: Signal) -> bool {
    let mut pending = *SigSet::empty().as_ref();
    // SAFETY: writes `pending`, which lives until the call returns.
    let asked = unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: looks at a set that is initialised.
    asked == 0 && unsafe { libc::sigismember(&raw const pending, signal as libc::c_int) } == 1
}

/// A second descriptor of the same file: the lowest that is free from `lowest` on. It is closed by an execve.
pub fn duplicate_from(fd: impl AsFd, lowest: i32) -> nix::Result<OwnedFd> {
    duplicate(fd.as_fd().as_raw_fd(), lowest)
}

/// The same of a standard one (0 to 2), which may be closed.
pub fn duplicate_standard(fd: i32) -> nix::Result<OwnedFd> {
    duplicate(fd, 3)
}

fn duplicate(fd: i32, lowest: i32) -> nix::Result<OwnedFd> {
    // SAFETY: fcntl takes any number; with F_DUPFD_CLOEXEC it only makes a new descriptor.
    let new = Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: fcntl has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Runs `handler` on each of `signals` that is not ignored. Masks stay as they are, so a blocked one stays blocked.
///
/// `handler` must be async-signal-safe (signal-safety(7)): no allocation, no lock.
pub fn catch(signals: &[Signal], handler: extern "C" fn(libc::c_int)) -> nix::Result<()> {
    let ours = SigAction::new(
        SigHandler::Handler(handler),
        SaFlags::SA_RESTART,
        SigSet::all(),
    );
    for signal in signals {
        // SAFETY: all-zero bytes are a valid `sigaction`, a C struct of integers and an optional pointer.
        let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
        // Asked first: an ignored signal that was caught for a moment could end us in that moment.
        // SAFETY: without a new action the call only writes `old`, which lives until it returns.
        let asked =
            unsafe { libc::sigaction(*signal as libc::c_int, std::ptr::null(), &raw mut old) };
        if asked == 0 && old.sa_sigaction != libc::SIG_IGN {
            // SAFETY: the handler is async-signal-safe; see above.
            unsafe { sigaction(*signal, &ours) }?;
        }
    }
    Ok(())
}

/// Ends the process, also from a signal handler: no destructors, no atexit, no locks.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: `_exit` is async-signal-safe and does not return.
    unsafe { libc::_exit(code) }
}

/// One `write` to standard error, if there is room for it within `patience` milliseconds; whether there was. A line of
/// at most PIPE_BUF bytes then fits whole and does not block. Not O_NONBLOCK: COMMAND has the same file description.
/// Async-signal-safe.
pub fn write_to_stderr(line: &[u8], patience: i32) -> bool {
    let mut room = libc::pollfd {
        fd: 2,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `poll` is async-signal-safe; one entry, which lives until it returns.
    let ready = unsafe { libc::poll(&raw mut room, 1, patience) };
    if ready == 1 && room.revents & libc::POLLOUT != 0 {
        // SAFETY: `write` is async-signal-safe; pointer and length are those of a live slice.
        unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
    }
    ready == 1
}

/// Sleeps until the process ends, in a handler that has nothing to say.
pub fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: `pause` is async-signal-safe and takes nothing.
        unsafe { libc::pause() };
    }
}

/// A value that a signal handler can read, since that takes no lock: an atomic pointer to something immutable. What
/// was replaced is never freed, for a handler may be reading it.
pub struct Published<T: Send + Sync + 'static>(AtomicPtr<T>);

impl<T: Send + Sync + 'static> Published<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Published(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Puts a value where there is none; whether that was so.
    pub fn take_if_empty(&self, value: T) -> bool {
        let empty = std::ptr::null_mut();
        if !self.0.load(Ordering::Relaxed).is_null() {
            return false;
        }
        let new = Box::leak(Box::new(value));
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        self.0
            .compare_exchange(empty, new, order.0, order.1)
            .is_ok()
    }

    /// Replaces the value.
    pub fn set(&self, value: T) {
        self.0.store(Box::leak(Box::new(value)), Ordering::Release);
    }

    /// Takes the value away.
    pub fn clear(&self) {
        self.0.store(std::ptr::null_mut(), Ordering::Release);
    }

    /// The value, if there is one.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: null, or from `Box::leak` above, and never freed or changed since.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }
}

/// The entries of `environ`, as they are.
pub fn environ() -> Vec<OsString> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: read once, before any thread exists and while nobody changes the environment; nothing here ever does.
    let mut next = unsafe { environ };
    if next.is_null() {
        return entries;
    }
    loop {
        // SAFETY: `environ` is an array of pointers that a null pointer ends; we have not passed that yet.
        let entry = unsafe { *next };
        if entry.is_null() {
            return entries;
        }
        // SAFETY: each pointer before the null one leads to a NUL-terminated string that lives as long as the process.
        let entry = unsafe { CStr::from_ptr(entry) };
        entries.push(OsStr::from_bytes(entry.to_bytes()).to_owned());
        // SAFETY: at most one past the last string, where the null pointer stands.
        next = unsafe { next.add(1) };
    }
}

pub use child::{
    ALL_SIGNALS, Fork, WaitStatus, fork, keep_only_stderr_and, next_signal, send_signal,
    set_signal_mask, signals, wait_for_any_child,
};
pub use libc::{EMFILE, ENFILE};
pub use limits::{file_capabilities, is_in_bounding_set, open_files_limit, stack_limit};

/// An address family.
#[derive(Clone, Copy)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// The name does not exist, or has no address of this family: not every C library says which.
    NoAddress,
    /// The name servers did not answer.
    NoAnswer,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LookupError::NoAddress => "DNS has no address for the name",
            LookupError::NoAnswer => "the name servers do not answer",
        })
    }
}

impl std::error::Error for LookupError {}

/// The addresses of a name in one family. std asks for both at once, and then musl and glibc let a error of either
/// spoil the other.
pub fn addresses(name: &str, family: Family) -> Result<Vec<IpAddr>, LookupError> {
    let Ok(name) = CString::new(name) else {
        return Err(LookupError::NoAddress);
    };
    // SAFETY: all-zero bytes are valid hints: any protocol, no flags, null pointers.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_family = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    let mut list: *mut libc::addrinfo = std::ptr::null_mut();
    // SAFETY: name and hints live until the call returns; `list` is written only on success.
    let status = unsafe {
        libc::getaddrinfo(
            name.as_ptr(),
            std::ptr::null(),
            &raw const hints,
            &raw mut list,
        )
    };
    match status {
        0 => {}
        // No record of this family: EAI_NODATA, which only some C libraries have, and only under this number.
        libc::EAI_NONAME | -5 => return Err(LookupError::NoAddress),
        _ => return Err(LookupError::NoAnswer),
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: getaddrinfo made a list of valid entries that a null pointer ends.
        let entry = unsafe { &*next };
        match entry.ai_family {
            libc::AF_INET => {
                // SAFETY: an AF_INET entry's address is a `sockaddr_in`.
                let address = unsafe { &*entry.ai_addr.cast::<libc::sockaddr_in>() };
                found.push(IpAddr::V4(Ipv4Addr::from(u32::from_be(
                    address.sin_addr.s_addr,
                ))));
            }
            libc::AF_INET6 => {
                // SAFETY: an AF_INET6 entry's address is a `sockaddr_in6`.
                let address = unsafe { &*entry.ai_addr.cast::<libc::sockaddr_in6>() };
                found.push(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)));
            }
            _ => {}
        }
        next = entry.ai_next;
    }
    // SAFETY: the list is getaddrinfo's, and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}
