//! Stops a run before and after each of its system calls, where a test may look at it or interfere (ptrace(2)).

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::support::{Outcome, Run};

/// A process that has stopped at a system call.
pub struct Stopped {
    pub pid: Pid,
    /// The number of the call.
    pub number: libc::c_long,
    pub args: [u64; 6],
    /// The result of the call; `None` before it.
    pub result: Option<i64>,
}

/// How a process continues after a stop.
pub enum Next {
    /// At once. A signal is delivered to it.
    GoOn(Option<Signal>),
    /// When another process returns [`Next::Release`].
    Hold,
    /// At once, and so does the process that is held.
    Release,
}

/// Runs to the end. `at_start` is called when the program has been loaded, and `at_call` before and after each system
/// call of a main thread. With `PTRACE_O_TRACEFORK` the calls of child processes are traced as well.
pub fn trace(
    run: Run,
    options: Options,
    at_start: impl FnOnce(Pid),
    mut at_call: impl FnMut(&Stopped) -> Next,
) -> Outcome {
    // Killed and reaped if a test panics.
    let running = run.with(trace_me).spawn();
    let main = Pid::from_raw(running.pid());
    assert_eq!(
        next_stop(main),
        WaitStatus::PtraceEvent(main, Signal::SIGTRAP, 0)
    );
    let options = options | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(main, options).expect("it has stopped at its exec");
    at_start(main);
    go_on(main, None);
    let (mut entered, mut held) = (BTreeMap::new(), None);
    loop {
        let (pid, signal) = match next_stop(main) {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) if pid == main => {
                return running.outcome();
            }
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => continue,
            WaitStatus::PtraceSyscall(pid) => match stopped_at(pid, entered.remove(&pid)) {
                None => (pid, None),
                Some(stopped) => {
                    let next = at_call(&stopped);
                    if stopped.result.is_none() {
                        entered.insert(pid, stopped);
                    }
                    match next {
                        Next::GoOn(signal) => (pid, signal),
                        Next::Hold => {
                            held = Some(pid);
                            continue;
                        }
                        Next::Release => {
                            go_on(held.take().expect("one is held"), None);
                            (pid, None)
                        }
                    }
                }
            },
            // The beginning of a child process.
            WaitStatus::PtraceEvent(pid, Signal::SIGSTOP, 0) if pid != main => (pid, None),
            // A signal that is about to be delivered (`waitid` does not distinguish it).
            WaitStatus::PtraceEvent(pid, signal, 0) => (pid, Some(signal)),
            WaitStatus::PtraceEvent(pid, ..) => (pid, None),
            status => panic!("an unexpected state: {status:?}"),
        };
        go_on(pid, signal);
    }
}

fn trace_me(command: &mut Command) {
    // SAFETY: one system call.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
}

/// At which call the process has stopped; `None` if another thread has ended it, or after the fork that has made it.
fn stopped_at(pid: Pid, entered: Option<Stopped>) -> Option<Stopped> {
    let info = match ptrace::syscall_info(pid) {
        Err(Errno::ESRCH) => return None,
        info => info.expect("PTRACE_GET_SYSCALL_INFO, of Linux 5.3"),
    };
    match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: `op` says which one of the union it is.
            let entry = unsafe { info.u.entry };
            Some(Stopped {
                pid,
                number: entry.nr.cast_signed(),
                args: entry.args,
                result: None,
            })
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => Some(Stopped {
            // SAFETY: as above.
            result: Some(unsafe { info.u.exit }.sval),
            ..entered?
        }),
        op => panic!("a stop of kind {op}"),
    }
}

fn go_on(pid: Pid, signal: Option<Signal>) {
    match ptrace::syscall(pid, signal) {
        // Another thread has ended it.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => panic!("PTRACE_SYSCALL: {errno}"),
    }
}

/// Waits until one of the processes of this thread stops or ends. Does not reap the main process.
fn next_stop(main: Pid) -> WaitStatus {
    let flags = WaitPidFlag::__WNOTHREAD
        | WaitPidFlag::WEXITED
        | WaitPidFlag::WSTOPPED
        | WaitPidFlag::WNOWAIT;
    loop {
        let status = match waitid(Id::All, flags) {
            Err(Errno::EINTR) => continue,
            status => status.expect("it is our child"),
        };
        let pid = status.pid().expect("it is about a process");
        // It is not reported again, unless it is the main process: that might have ended since.
        if pid != main {
            waitpid(pid, Some(WaitPidFlag::__WNOTHREAD)).expect("it has just been reported");
        }
        return status;
    }
}
