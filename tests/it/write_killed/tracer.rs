//! A small strace: it stops the main thread of a run before and after each system call that touches the volume, and a
//! test decides how it continues (ptrace(2)).
//!
//! Only calls after the fetch have an index: DIR is opened twice, and the calls before the second time only read. From
//! then on the volume appears to be on a disk, so that `fsync` is called. Other threads are not traced.

use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::calls::{Call, Words};
use crate::support::{Outcome, Run};

/// EXT4_SUPER_MAGIC (statfs(2)).
const EXT4: libc::c_long = 0xEF53;

/// Before or after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Before,
    After,
}

/// How the process continues after a stop.
pub enum Then {
    /// The call fails with this and is not executed. Only before it.
    #[cfg(target_arch = "x86_64")]
    Fail(Errno),
    GoOn,
    Kill,
    /// A signal to the process, whichever thread takes it.
    Send(Signal),
    /// A signal to the main thread.
    SendToThread(Signal),
}

/// Runs to the end; `decide` is called at each stop.
pub fn watch(run: Run, dir: &Path, mut decide: impl FnMut(&Call) -> Then) -> Outcome {
    // Killed and reaped if a test panics.
    let running = run.with(trace_me).spawn();
    let pid = Pid::from_raw(running.pid());
    assert_eq!(
        next_stop(pid),
        WaitStatus::PtraceEvent(pid, Signal::SIGTRAP, 0)
    );
    ptrace::setoptions(
        pid,
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL,
    )
    .expect("it has stopped at its exec");
    let mut watched = Watched {
        pid,
        dir,
        openings: 0,
        count: 0,
        call: None,
        kind_at: None,
        #[cfg(target_arch = "x86_64")]
        failing: None,
    };
    let mut signal = None;
    loop {
        match ptrace::syscall(pid, signal.take()) {
            // Another thread has ended it.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => panic!("PTRACE_SYSCALL: {errno}"),
        }
        match next_stop(pid) {
            WaitStatus::PtraceSyscall(_) => signal = watched.at_call(&mut decide),
            // A signal that is about to be delivered (`waitid` does not distinguish it).
            WaitStatus::PtraceEvent(_, other, 0) => signal = Some(other),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return running.outcome(),
            status => panic!("an unexpected state: {status:?}"),
        }
    }
}

fn trace_me(command: &mut std::process::Command) {
    // SAFETY: one system call.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
}

/// Waits for a stop or the end, without reaping the process.
fn next_stop(pid: Pid) -> WaitStatus {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(pid), flags) {
            Err(Errno::EINTR) => {}
            status => return status.expect("it is our child"),
        }
    }
}

struct Watched<'a> {
    pid: Pid,
    dir: &'a Path,
    openings: usize,
    count: usize,
    /// The call that has been entered, if it touches the volume.
    call: Option<Call>,
    /// Where the call that has been entered writes the type of the file system.
    kind_at: Option<u64>,
    #[cfg(target_arch = "x86_64")]
    failing: Option<Errno>,
}

impl Watched<'_> {
    /// The signal to deliver as the process continues.
    fn at_call(&mut self, decide: &mut impl FnMut(&Call) -> Then) -> Option<Signal> {
        let info = match ptrace::syscall_info(self.pid) {
            Err(Errno::ESRCH) => return None,
            info => info.expect("PTRACE_GET_SYSCALL_INFO, of Linux 5.3"),
        };
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: `op` says which one of the union it is.
                let entry = unsafe { info.u.entry };
                let words = Words {
                    pid: self.pid,
                    dir: self.dir,
                };
                let (text, opens) = words.of(entry.nr, &entry.args)?;
                self.openings += usize::from(opens);
                self.kind_at = text.starts_with("fstatfs").then_some(entry.args[1]);
                self.call = Some(Call {
                    index: self.index(),
                    stop: Stop::Before,
                    text,
                    result: 0,
                });
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                // SAFETY: as above.
                let result = unsafe { info.u.exit }.sval;
                let call = self.call.as_mut()?;
                call.stop = Stop::After;
                call.result = result;
                if let (Some(at), 0, Some(_)) = (self.kind_at.take(), result, call.index) {
                    // `f_type` is the first member of `struct statfs`.
                    ptrace::write(self.pid, at as ptrace::AddressType, EXT4)
                        .expect("the call has just written there");
                }
                #[cfg(target_arch = "x86_64")]
                if let Some(errno) = self.failing.take() {
                    call.result = -i64::from(errno as i32);
                    self.set_result(errno);
                }
            }
            op => panic!("a stop of kind {op}"),
        }
        let then = decide(self.call.as_ref()?);
        if info.op == libc::PTRACE_SYSCALL_INFO_EXIT {
            self.call = None;
        }
        self.carry_out(then)
    }

    fn carry_out(&mut self, then: Then) -> Option<Signal> {
        match then {
            #[cfg(target_arch = "x86_64")]
            Then::Fail(errno) => {
                self.skip();
                self.failing = Some(errno);
            }
            Then::GoOn => {}
            Then::Kill => kill(self.pid, Signal::SIGKILL).expect("it is there"),
            Then::Send(signal) => kill(self.pid, signal).expect("it is there"),
            Then::SendToThread(signal) => return Some(signal),
        }
        None
    }

    fn index(&mut self) -> Option<usize> {
        (self.openings >= 2).then(|| {
            self.count += 1;
            self.count - 1
        })
    }
}

#[cfg(target_arch = "x86_64")]
impl Watched<'_> {
    /// Replaces the call by one that does not exist.
    fn skip(&self) {
        let mut registers = ptrace::getregs(self.pid).expect("it has stopped");
        registers.orig_rax = u64::MAX;
        ptrace::setregs(self.pid, registers).expect("it has stopped");
    }

    fn set_result(&self, errno: Errno) {
        let mut registers = ptrace::getregs(self.pid).expect("it has stopped");
        registers.rax = (-i64::from(errno as i32)) as u64;
        ptrace::setregs(self.pid, registers).expect("it has stopped");
    }
}
