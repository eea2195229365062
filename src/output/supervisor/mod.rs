//! The opt-in supervisor: COMMAND runs in a child, and this process does what a container's first process should do. It
//! reaps orphans, forwards every signal, and when COMMAND has ended gives the remaining processes time to stop: other
//! inits end at once, and the kernel then kills a database in the middle of its checkpoint.
//!
//! The fork comes before any thread, connection or token, so this process never holds a secret. All signals are blocked
//! and read from a signalfd: one that a handler took just before a blocking wait would be noticed with the next one only.

mod event_loop;
mod processes;
mod terminal;

use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl::{get_dumpable, set_child_subreaper, set_dumpable};
use nix::sys::signal::{SigmaskHow, Signal};
use nix::unistd::{ForkResult, Pid, chdir, getpid, setpgid, tcsetpgrp};

use crate::error::{Cause, Error};
use crate::os;
use crate::request::supervision::Supervision;
use event_loop::Supervisor;

/// Which of the two processes this is.
pub enum Role {
    /// The one that becomes COMMAND, and its parent's id.
    Child { parent: i32 },
    /// The supervisor, after the last process has ended, and its exit code.
    Parent(u8),
}

/// Forks. In the parent it returns when the child and the processes that it left have ended.
pub fn supervise(supervision: Supervision) -> Result<Role, Error> {
    let caller_mask = os::sigprocmask(SigmaskHow::SIG_SETMASK, os::ALL_SIGNALS)
        .map_err(failed("blocking signals"))?;
    // While it is ignored, the kernel discards a child's exit status.
    let was_ignored = os::set_ignored(Signal::SIGCHLD, false);
    let signals = os::signalfd(os::ALL_SIGNALS).map_err(failed("signalfd"))?;
    let parent = getpid();
    // Process 1 gets orphans anyway.
    if parent.as_raw() != 1 {
        set_child_subreaper(true).map_err(failed("becoming a subreaper"))?;
    }
    let terminal = terminal::for_command();
    // Hides this process's /proc/PID/environ from COMMAND, which may hold a credential that `--unset` removed. Before the
    // fork, since COMMAND may read it at once.
    let was_dumpable = get_dumpable().unwrap_or(false);
    let _ = set_dumpable(false);
    match os::fork().map_err(failed("starting a process"))? {
        ForkResult::Child => {
            // In both processes, since either may be the first to rely on it.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            if let Some(terminal) = &terminal {
                let _ = tcsetpgrp(terminal, getpid());
            }
            let _ = set_dumpable(was_dumpable);
            os::set_ignored(Signal::SIGCHLD, was_ignored);
            os::sigprocmask(SigmaskHow::SIG_SETMASK, caller_mask)
                .map_err(failed("restoring the signal mask"))?;
            Ok(Role::Child {
                parent: parent.as_raw(),
            })
        }
        ForkResult::Parent { child } => {
            let _ = setpgid(child, child);
            // An open descriptor here would keep a pipe from ending and a file system from being unmounted.
            drop(terminal);
            let _ = os::keep_only_stderr_and(&signals);
            let _ = chdir(Path::new("/"));
            let supervisor = Supervisor::new(supervision, child, signals);
            Ok(Role::Parent(supervisor.run()))
        }
    }
}

/// A call that failed.
fn failed(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| {
        let hint = match errno {
            Errno::EAGAIN | Errno::ENOMEM => {
                "raise the container's limit on processes (pids) or on memory"
            }
            Errno::EMFILE | Errno::ENFILE => "raise the limit on open files (ulimit -n)",
            _ => "does a sandbox (seccomp) forbid it? try without --init",
        };
        let error = Error::new(Cause::Unavailable, errno.desc());
        error.context(what).hint(hint)
    }
}
