//! Rounds of work, each in a child process, with a wait between them that a signal ends.
//!
//! The memory, the threads and the connections of a round end with its process, whatever the round has failed at. What
//! remains between rounds is a process with one thread that has never fetched anything.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigmaskHow, Signal};
use nix::unistd::ForkResult;

use super::reader::{start_error, terminating_signals};
use crate::error::{Cause, Error, PROCESS_LIMITS_HINT};
use crate::os;

/// The signal that asks for a round at once. In a round it has no effect.
const ROUND_SIGNAL: Signal = Signal::SIGHUP;

/// Starts rounds, and waits between them.
pub struct Rounds {
    /// Reads the signals that end the process, HUP and CHLD, all of which are blocked.
    signalfd: OwnedFd,
}

/// Why a wait between rounds has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Woken {
    /// A round is due, or HUP asks for one.
    Round,
    /// A signal ends the process.
    Stopped,
}

/// The process that [`Rounds::start`] has returned in.
pub enum RoundProcess {
    /// The child, which is to do the round and to exit.
    Child,
    /// The parent, after the end of the child.
    Parent(RoundEnd),
}

/// How a round has ended.
pub struct RoundEnd {
    /// The exit code of the child; 128 plus the number of the signal that has ended it.
    pub exit_code: u8,
    /// Whether HUP arrived during the round, which requests another one at once.
    pub is_round_requested: bool,
    /// The number of the signal that ends the process; `None` if there was none.
    pub stopped_by: Option<i32>,
}

impl Rounds {
    /// Blocks the signals that end the process, and HUP. The process must have one thread.
    pub fn begin() -> Result<Rounds, Error> {
        // If SIGCHLD is ignored, the kernel discards the exit status of a child.
        os::set_ignored(Signal::SIGCHLD, false);
        let mask = terminating_signals() | os::signal_bit(Signal::SIGCHLD as i32);
        let signalfd = os::signalfd(mask).map_err(start_error)?;
        os::sigprocmask(SigmaskHow::SIG_BLOCK, mask).map_err(start_error)?;
        // A sandbox that forbids it would be noticed at the end of a round, which would never be seen.
        match os::wait_for_any_child() {
            Ok(_) | Err(Errno::ECHILD) => Ok(Rounds { signalfd }),
            Err(errno) => Err(child_error("waiting for child processes", errno)),
        }
    }

    /// Waits until a round is due.
    pub fn wait_until(&self, due: Instant) -> Woken {
        loop {
            while let Some(signal) = os::next_signal(&self.signalfd) {
                match Signal::try_from(signal) {
                    Ok(ROUND_SIGNAL) => return Woken::Round,
                    // The first process of a container gets the orphans of others.
                    Ok(Signal::SIGCHLD) => drop(reap(None)),
                    _ => return Woken::Stopped,
                }
            }
            if due <= Instant::now() {
                return Woken::Round;
            }
            self.wait(Some(due));
        }
    }

    /// Forks. Returns in the child at once, and in the parent when the child has ended. A signal that ends the process
    /// is forwarded to the child.
    pub fn start(&self) -> Result<RoundProcess, Error> {
        let child = match os::fork().map_err(|errno| child_error("starting a process", errno))? {
            ForkResult::Child => {
                os::set_ignored(ROUND_SIGNAL, true);
                let _ = set_pdeathsig(Signal::SIGTERM);
                return Ok(RoundProcess::Child);
            }
            ForkResult::Parent { child } => child.as_raw(),
        };
        let (mut is_round_requested, mut stopped_by) = (false, None);
        loop {
            while let Some(signal) = os::next_signal(&self.signalfd) {
                match Signal::try_from(signal) {
                    Ok(ROUND_SIGNAL) => is_round_requested = true,
                    Ok(Signal::SIGCHLD) => {}
                    _ => {
                        stopped_by = Some(signal);
                        os::send_signal(child, signal);
                    }
                }
            }
            if let Some(exit_code) = reap(Some(child)) {
                return Ok(RoundProcess::Parent(RoundEnd {
                    exit_code,
                    is_round_requested,
                    stopped_by,
                }));
            }
            self.wait(None);
        }
    }

    fn wait(&self, deadline: Option<Instant>) {
        let signals = PollFd::new(self.signalfd.as_fd(), PollFlags::POLLIN);
        os::poll_until(&mut [signals], deadline);
    }
}

/// Reaps every child that has ended. Returns the exit code of `child`; `None` if that has not ended.
fn reap(child: Option<i32>) -> Option<u8> {
    let mut exit_code = None;
    while let Ok(Some((pid, status))) = os::wait_for_any_child() {
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        if Some(pid) == child
            && let Some(code) = code
        {
            exit_code = Some(code as u8);
        }
    }
    exit_code
}

fn child_error(activity: &str, errno: Errno) -> Error {
    let error = Error::new(Cause::Unavailable, errno.desc()).context(activity);
    error.hint(match errno {
        Errno::EPERM | Errno::ENOSYS => "does a sandbox (seccomp) forbid fork or wait4?",
        _ => PROCESS_LIMITS_HINT,
    })
}
