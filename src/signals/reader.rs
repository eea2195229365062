//! The one reader of signals, in the main thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigmaskHow, Signal};

use super::child::kill_groups;
use super::wait::{Waiting, current};
use crate::error::{Cause, Error};
use crate::log::{self, Event};
use crate::os;

/// Signals that end a wait, beside the real-time ones. Not those that report an error of the process itself (SEGV, BUS,
/// FPE, ILL, TRAP, SYS, ABRT, PIPE), and not WINCH, which a container engine sends when it resizes a window.
const ENDING: [Signal; 12] = [
    Signal::SIGALRM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGIO,
    Signal::SIGPROF,
    Signal::SIGPWR,
    Signal::SIGQUIT,
    Signal::SIGSTKFLT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGVTALRM,
];
/// Real-time signals, with those that a C library reserves for itself.
const REAL_TIME: std::ops::RangeInclusive<i32> = 32..=64;
/// SIGRTMIN of musl and glibc, from which `SIGRTMIN+3` counts.
const SIGRTMIN: i32 = 34;

/// Bytes of a thread's stack, of which only the pages in use take memory. A TLS handshake needs some 30 KiB, far more in a
/// debug build.
const STACK: usize = match cfg!(debug_assertions) {
    true => 1024 * 1024,
    false => 256 * 1024,
};

static READER: OnceLock<Reader> = OnceLock::new();

struct Reader {
    started: Instant,
    mask: u64,
    signals: OwnedFd,
    /// Written by other threads.
    wake: EventFd,
}

/// Starts the clock and blocks the signals that end a wait, before any thread starts. From now on the main thread must
/// only wait by [`wait`].
pub fn start() -> Result<(), Error> {
    let started = Instant::now();
    let ending = ENDING.map(|signal| signal as i32);
    let ending = ending.into_iter().chain(REAL_TIME);
    // Linux queues a blocked signal even where it is ignored.
    let ending = ending.filter(|signal| !os::is_ignored(*signal));
    let mask = ending.fold(0, |mask, signal| mask | os::signal_bit(signal)) & !os::caller_mask();
    let failed = |errno: Errno| {
        let error = Error::new(Cause::Unavailable, errno.desc()).context("waiting for signals");
        error.hint("raise the limit on open files (ulimit -n)")
    };
    // The first pthread_create of musl and of glibc unblocks the two signals that they reserve, here for a thread whose
    // stack no address space holds.
    let _ = thread::Builder::new().stack_size(1 << 60).spawn(|| {});
    let signals = os::signalfd(mask).map_err(failed)?;
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let wake = EventFd::from_flags(flags).map_err(failed)?;
    os::sigprocmask(SigmaskHow::SIG_BLOCK, mask).map_err(failed)?;
    READER.get_or_init(|| Reader {
        started,
        mask,
        signals,
        wake,
    });
    log::before_stdout(wait_for_room);
    Ok(())
}

/// Starts a thread. It does not receive the signals of [`start`]: musl and glibc unblock one of them in a new thread.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let blocked = READER.get().map_or(0, |reader| reader.mask);
    let work = move || {
        let _ = os::sigprocmask(SigmaskHow::SIG_BLOCK, blocked);
        work();
    };
    let thread = thread::Builder::new().stack_size(STACK);
    thread.spawn(work).map(drop)
}

/// The time since [`start`].
pub fn elapsed() -> Duration {
    let started = READER.get().map(|reader| reader.started.elapsed());
    started.unwrap_or_default()
}

/// Waits in the main thread until [`wake`], or until a deadline. A signal ends the process.
pub fn wait(until: Option<Instant>) {
    let Some(reader) = READER.get() else {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        return thread::sleep(left.unwrap_or(Duration::MAX));
    };
    reader.wait_for(PollFd::new(reader.wake.as_fd(), PollFlags::POLLIN), until);
    let _ = reader.wake.read();
}

/// Waits in the main thread until a descriptor has room. A signal ends the process.
fn wait_for_room(fd: BorrowedFd<'_>) {
    if let Some(reader) = READER.get() {
        reader.wait_for(PollFd::new(fd, PollFlags::POLLOUT), None);
    }
}

impl Reader {
    fn wait_for(&self, event: PollFd<'_>, until: Option<Instant>) {
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        os::poll_until(&mut [signals, event], until);
        if let Some(signal) = os::next_signal(&self.signals) {
            end(signal, current());
        }
    }
}

/// Ends the [`wait`] of the main thread.
pub fn wake() {
    if let Some(reader) = READER.get() {
        let _ = reader.wake.write(1);
    }
}

/// Ends the process if a signal has arrived since the last wait. Work that must not be left half done is put between two
/// calls of this, without a wait.
pub fn end_if_pending() {
    let reader = READER.get();
    if let Some(signal) = reader.and_then(|reader| os::next_signal(&reader.signals)) {
        end(signal, None);
    }
}

fn end(signal: i32, during: Option<Waiting>) -> ! {
    let (name, seconds) = (name(signal), elapsed().as_secs());
    let mut message = format!("stopped by {name} after {seconds} s");
    if let Some(waiting) = during {
        message.push_str(&format!(", while {waiting}"));
    }
    let code = 128 + signal;
    let event = Event::new(message)
        .fact("cause", "signal")
        .fact("code", code);
    log::never_wait();
    log::error(event, None);
    kill_groups();
    os::exit_at_once(code)
}

fn name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) if signal >= SIGRTMIN => match signal - SIGRTMIN {
            0 => "SIGRTMIN".to_owned(),
            offset => format!("SIGRTMIN+{offset}"),
        },
        Err(_) => format!("signal {signal}"),
    }
}
