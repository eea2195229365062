//! The supervisor of `--init`: COMMAND runs in a child process, and this process does what the first process of a
//! container should do. It reaps orphans, forwards every signal and, when COMMAND has ended, gives the remaining
//! processes time to stop. Other inits end at once, and the kernel then kills a database in the middle of its
//! checkpoint.
//!
//! The fork comes before any thread, connection or token, so this process never holds a secret. All signals are blocked
//! and read from a signalfd: a signal that a handler received just before a blocking wait would not end that wait.

mod event_loop;
pub mod processes;
mod terminal;

use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl::{get_dumpable, set_child_subreaper, set_dumpable};
use nix::sys::signal::{SigmaskHow, Signal, kill};
use nix::unistd::{ForkResult, Pid, chdir, getpid, setpgid, tcsetpgrp};

use crate::error::{Cause, Error, PROCESS_LIMITS_HINT};
use crate::os;
use crate::request::supervision::Supervision;
use event_loop::Supervisor;

/// The process that [`supervise`] has returned in.
pub enum Role {
    /// The child, which is to execute COMMAND.
    Child { parent_pid: i32 },
    /// The supervisor, after the last process has ended. `exit_code` is that of COMMAND.
    Supervisor { exit_code: u8 },
}

/// Forks. Returns in the child at once, and in the supervisor when the child and all processes that it left behind
/// have ended. Fails if a system call does.
pub fn supervise(supervision: Supervision) -> Result<Role, Error> {
    let caller_mask = os::sigprocmask(SigmaskHow::SIG_SETMASK, os::ALL_SIGNALS)
        .map_err(call_error("blocking signals"))?;
    // If SIGCHLD is ignored, the kernel discards the exit status of a child.
    let sigchld_was_ignored = os::set_ignored(Signal::SIGCHLD, false);
    let signalfd = os::signalfd(os::ALL_SIGNALS).map_err(call_error("signalfd"))?;
    let parent_pid = getpid().as_raw();
    // A sandbox that forbids these would be noticed only when COMMAND has ended, or is to be stopped.
    kill(getpid(), None).map_err(call_error("sending signals"))?;
    match os::wait_for_any_child() {
        Ok(_) | Err(Errno::ECHILD) => {}
        Err(errno) => return Err(call_error("waiting for child processes")(errno)),
    }
    // Process 1 gets orphans anyway.
    if parent_pid != 1 {
        set_child_subreaper(true).map_err(call_error("becoming a subreaper"))?;
    }
    let terminal = terminal::open_for_command();
    // Hides the /proc/PID/environ of this process from COMMAND: it may hold a credential that `--unset` removes. Done
    // before the fork, since COMMAND could read it at once.
    let was_dumpable = get_dumpable().unwrap_or(false);
    let _ = set_dumpable(false);
    match os::fork().map_err(call_error("starting a process"))? {
        ForkResult::Child => {
            // In both processes, since either may be the first that needs the group.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            if let Some(terminal) = &terminal {
                let _ = tcsetpgrp(terminal, getpid());
            }
            let _ = set_dumpable(was_dumpable);
            os::set_ignored(Signal::SIGCHLD, sigchld_was_ignored);
            os::sigprocmask(SigmaskHow::SIG_SETMASK, caller_mask)
                .map_err(call_error("restoring the signal mask"))?;
            Ok(Role::Child { parent_pid })
        }
        ForkResult::Parent { child } => {
            let _ = setpgid(child, child);
            // A descriptor that stays open here would keep a pipe from ending or a file system from being unmounted.
            drop(terminal);
            let _ = os::keep_only_stderr_and(&signalfd);
            let _ = chdir(Path::new("/"));
            let supervisor = Supervisor::new(supervision, child, signalfd);
            Ok(Role::Supervisor {
                exit_code: supervisor.run(),
            })
        }
    }
}

/// Makes the error for a system call that failed with an errno.
fn call_error(activity: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| {
        let hint = match errno {
            Errno::EAGAIN | Errno::ENOMEM => PROCESS_LIMITS_HINT,
            Errno::EMFILE | Errno::ENFILE => "raise the limit on open files (ulimit -n)",
            _ => "does a sandbox (seccomp) forbid it? try without --init",
        };
        let error = Error::new(Cause::Unavailable, errno.desc());
        error.context(activity).hint(hint)
    }
}
