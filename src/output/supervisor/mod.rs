//! The opt-in supervisor: COMMAND runs in a child, and this process is what a container's first process should be. It
//! reaps every orphan, passes every signal on, and when COMMAND has ended it lets what COMMAND left behind come to its
//! own end first: other inits end at once, and the kernel then kills a database in the middle of its checkpoint.
//!
//! The fork comes before any thread, connection or token, so that this process never holds a secret. All signals are
//! blocked and read from a descriptor (signalfd(2)): one that a handler took between a look and the wait that follows
//! would be heard of with the next one only; in the descriptor it waits.

mod event_loop;
mod processes;
mod terminal;

use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl::{get_dumpable, set_child_subreaper, set_dumpable};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, chdir, getpid, setpgid, tcsetpgrp};

use crate::error::{Cause, Error};
use crate::os::{self, Fork};
use crate::request::supervision::Supervision;
use event_loop::Supervisor;

/// Which of the two processes this is.
pub enum Role {
    /// The one that becomes COMMAND, and the id of its parent.
    Child { parent: i32 },
    /// The other one, when all is over, and its exit code.
    Parent(u8),
}

/// Splits the process in two. The parent comes back when the child, and what it left behind, has ended.
pub fn supervise(supervision: Supervision) -> Result<Role, Error> {
    let before = os::set_signal_mask(os::ALL_SIGNALS).map_err(failed("blocking signals"))?;
    // Where it is ignored the kernel throws the status of a child away.
    let ignored_children = os::stop_ignoring(Signal::SIGCHLD);
    let signals = os::signals().map_err(failed("signalfd"))?;
    let parent = getpid();
    // Orphans come to process 1 anyway; to any other process only if it asks for them.
    if parent.as_raw() != 1 {
        set_child_subreaper(true).map_err(failed("becoming a subreaper"))?;
    }
    let terminal = terminal::for_command();
    // `--unset` keeps a credential from COMMAND, and so must our /proc/PID/environ. Before the fork: COMMAND may look at
    // once.
    let was_dumpable = get_dumpable().unwrap_or(false);
    let _ = set_dumpable(false);
    match os::fork().map_err(failed("starting a process"))? {
        Fork::Child => {
            // On both sides, since either may be the first to rely on it.
            let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
            if let Some(terminal) = &terminal {
                let _ = tcsetpgrp(terminal, getpid());
            }
            let _ = set_dumpable(was_dumpable);
            if ignored_children {
                os::ignore(Signal::SIGCHLD);
            }
            os::set_signal_mask(before).map_err(failed("restoring the signal mask"))?;
            Ok(Role::Child {
                parent: parent.as_raw(),
            })
        }
        Fork::Parent(child) => {
            let child = Pid::from_raw(child);
            let _ = setpgid(child, child);
            // Whoever waits for the end of a pipe, or unmounts a file system, must not wait for us.
            drop(terminal);
            let _ = os::keep_only_stderr_and(&signals);
            let _ = chdir(Path::new("/"));
            let supervisor = Supervisor::new(supervision, child, signals);
            Ok(Role::Parent(supervisor.run()))
        }
    }
}

/// A call that makes a supervisor, and was refused.
fn failed(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| {
        let hint = match errno {
            Errno::EAGAIN | Errno::ENOMEM => {
                "raise the container's limit on processes (pids) or on memory"
            }
            Errno::EMFILE | Errno::ENFILE => "raise the limit on open files (ulimit -n)",
            _ => "does a sandbox (seccomp) forbid it? Without --init there is no need for it",
        };
        Error::new(Cause::Unavailable, format!("{what}: {}", errno.desc())).hint(hint)
    }
}
