//! The only reader of signals: the main thread, while it waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigmaskHow, Signal};

use super::child::kill_child_groups;
use super::wait::{WaitState, current_wait};
use crate::error::{Cause, Error};
use crate::log::{self, Event};
use crate::os;

/// The signals that end the process, besides the real-time ones. Without those that report an error in the process
/// itself (SEGV, BUS, FPE, ILL, TRAP, SYS, ABRT, PIPE), and without WINCH, which a container engine sends when a
/// window is resized.
const TERMINATING_SIGNALS: [Signal; 12] = [
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
/// The numbers of the real-time signals, including those that a C library reserves for itself.
const REAL_TIME_SIGNALS: std::ops::RangeInclusive<i32> = 32..=64;
/// The number of SIGRTMIN in musl and glibc; names such as `SIGRTMIN+3` count from it.
const SIGRTMIN: i32 = 34;

/// The size of a thread's stack in bytes. Only pages that the thread touches take memory. A TLS handshake needs some
/// 30 KiB, and far more in a debug build.
const STACK_SIZE: usize = match cfg!(debug_assertions) {
    true => 1024 * 1024,
    false => 256 * 1024,
};

static SIGNAL_READER: OnceLock<SignalReader> = OnceLock::new();
/// Whether a signal ends the process without a message.
static EXITS_SILENTLY: AtomicBool = AtomicBool::new(false);

/// Lets the main thread wait for signals and for other threads.
struct SignalReader {
    started_at: Instant,
    /// The signals that are blocked in every thread.
    mask: u64,
    signalfd: OwnedFd,
    /// The event that other threads write to in order to end a wait of the main thread.
    wake_event: EventFd,
}

/// Blocks the signals that end the process, and starts the clock of [`elapsed_since_start`]. To be called before any
/// thread starts. Afterwards the main thread may wait only in [`wait_until`], where such a signal takes effect. Fails
/// if no descriptor can be opened.
pub fn start_reading() -> Result<(), Error> {
    let started_at = Instant::now();
    let mask = terminating_signals();
    // The first pthread_create of musl and of glibc unblocks the signals that they reserve. So the first one is here,
    // before they are blocked; it creates no thread, since no address space has room for this stack.
    let _ = thread::Builder::new().stack_size(1 << 60).spawn(|| {});
    let signalfd = os::signalfd(mask).map_err(start_error)?;
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let wake_event = EventFd::from_flags(flags).map_err(start_error)?;
    os::sigprocmask(SigmaskHow::SIG_BLOCK, mask).map_err(start_error)?;
    SIGNAL_READER.get_or_init(|| SignalReader {
        started_at,
        mask,
        signalfd,
        wake_event,
    });
    log::set_stdout_hook(wait_until_writable);
    Ok(())
}

/// The mask of the signals that end the process, without those that the caller has ignored or blocked.
pub fn terminating_signals() -> u64 {
    let signals = TERMINATING_SIGNALS.map(|signal| signal as i32);
    let signals = signals.into_iter().chain(REAL_TIME_SIGNALS);
    // Linux queues a blocked signal even where it is ignored.
    let signals = signals.filter(|signal| !os::is_ignored(*signal));
    signals.fold(0, |mask, signal| mask | os::signal_bit(signal)) & !os::caller_mask()
}

/// The error for a system call that failed while signals were set up.
pub fn start_error(errno: Errno) -> Error {
    let error = Error::new(Cause::Unavailable, errno.desc()).context("waiting for signals");
    error.hint(match errno {
        Errno::EPERM | Errno::ENOSYS => {
            "does a sandbox (seccomp) forbid signalfd, eventfd or rt_sigprocmask?"
        }
        _ => "raise the limit on open files (ulimit -n)",
    })
}

/// Makes a signal end the process without a message.
pub fn exit_silently() {
    EXITS_SILENTLY.store(true, Ordering::Relaxed);
}

/// Starts a thread in which the signals of [`start_reading`] are blocked: musl and glibc unblock one of them in new
/// threads.
pub fn spawn_thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // Boxed, so that the file contains the code of `Builder::spawn` once.
    spawn_boxed(Box::new(work))
}

fn spawn_boxed(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    let mask = SIGNAL_READER.get().map_or(0, |reader| reader.mask);
    let work = move || {
        let _ = os::sigprocmask(SigmaskHow::SIG_BLOCK, mask);
        work();
    };
    let builder = thread::Builder::new().stack_size(STACK_SIZE);
    builder.spawn(work).map(drop)
}

/// The time since [`start_reading`]; zero if that has not been called.
pub fn elapsed_since_start() -> Duration {
    let elapsed = SIGNAL_READER
        .get()
        .map(|reader| reader.started_at.elapsed());
    elapsed.unwrap_or_default()
}

/// Waits in the main thread until the deadline, `None` for none, or until [`wake_main_thread`] is called. A signal
/// ends the process.
pub fn wait_until(deadline: Option<Instant>) {
    let Some(reader) = SIGNAL_READER.get() else {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        return thread::sleep(left.unwrap_or(Duration::MAX));
    };
    let wake_event = PollFd::new(reader.wake_event.as_fd(), PollFlags::POLLIN);
    reader.wait_for_event(wake_event, deadline);
    let _ = reader.wake_event.read();
}

/// Waits in the main thread until a descriptor is writable. A signal ends the process.
fn wait_until_writable(fd: BorrowedFd<'_>) {
    if let Some(reader) = SIGNAL_READER.get() {
        reader.wait_for_event(PollFd::new(fd, PollFlags::POLLOUT), None);
    }
}

impl SignalReader {
    /// Waits for `event` or the deadline, `None` for none. A signal ends the process.
    fn wait_for_event(&self, event: PollFd<'_>, deadline: Option<Instant>) {
        let signals = PollFd::new(self.signalfd.as_fd(), PollFlags::POLLIN);
        os::poll_until(&mut [signals, event], deadline);
        if let Some(signal) = os::next_signal(&self.signalfd) {
            exit_by_signal(signal, current_wait());
        }
    }
}

/// Ends the main thread's current [`wait_until`], or its next one if it is not in one.
pub fn wake_main_thread() {
    if let Some(reader) = SIGNAL_READER.get() {
        let _ = reader.wake_event.write(1);
    }
}

/// Ends the process if a signal has arrived since the last wait. Called before and after work that must not be
/// interrupted, which itself must not wait.
pub fn exit_if_pending() {
    let reader = SIGNAL_READER.get();
    if let Some(signal) = reader.and_then(|reader| os::next_signal(&reader.signalfd)) {
        exit_by_signal(signal, None);
    }
}

/// Reports the signal and what the process was waiting for. Exits with 128 plus the signal's number.
fn exit_by_signal(signal: i32, wait: Option<WaitState>) -> ! {
    let (name, seconds) = (signal_name(signal), elapsed_since_start().as_secs());
    let mut message = format!("stopped by {name} after {seconds} s");
    if let Some(wait) = wait {
        message.push_str(&format!(", while {wait}"));
    }
    let code = 128 + signal;
    let event = Event::new(message)
        .fact("cause", "signal")
        .fact("code", code);
    if !EXITS_SILENTLY.load(Ordering::Relaxed) {
        log::drop_when_full();
        log::error(event, None);
    }
    kill_child_groups();
    os::exit_at_once(code)
}

/// The name of a signal, such as `SIGTERM` or `SIGRTMIN+3`.
fn signal_name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) if signal >= SIGRTMIN => match signal - SIGRTMIN {
            0 => "SIGRTMIN".to_owned(),
            offset => format!("SIGRTMIN+{offset}"),
        },
        Err(_) => format!("signal {signal}"),
    }
}
