//! Stops the main thread of a run before and after each system call that touches the volume, and a test decides how it
//! continues.
//!
//! Only calls after the fetch have an index: DIR is opened twice, and the calls before the second time only read. From
//! then on the volume appears to be on a disk, so that `fsync` is called. Other threads are not traced.

use std::path::Path;

#[cfg(target_arch = "x86_64")]
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::calls::{Call, Words};
use crate::support::{Outcome, Run};
use crate::support_tracer::{Next, Stopped, trace};

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
    let mut watched = Watched {
        dir,
        openings: 0,
        count: 0,
        call: None,
        kind_at: None,
        #[cfg(target_arch = "x86_64")]
        failing: None,
    };
    let at_call = |stopped: &_| Next::GoOn(watched.at_call(stopped, &mut decide));
    trace(run, Options::empty(), |_| {}, at_call)
}

struct Watched<'a> {
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
    fn at_call(
        &mut self,
        stopped: &Stopped,
        decide: &mut impl FnMut(&Call) -> Then,
    ) -> Option<Signal> {
        let pid = stopped.pid;
        match stopped.result {
            None => {
                let words = Words { pid, dir: self.dir };
                let (text, opens) = words.of(stopped.number, &stopped.args)?;
                self.openings += usize::from(opens);
                self.kind_at = text.starts_with("fstatfs").then_some(stopped.args[1]);
                self.call = Some(Call {
                    index: self.index(),
                    stop: Stop::Before,
                    text,
                    result: 0,
                });
            }
            Some(result) => {
                let call = self.call.as_mut()?;
                call.stop = Stop::After;
                call.result = result;
                if let (Some(at), 0, Some(_)) = (self.kind_at.take(), result, call.index) {
                    // `f_type` is the first member of `struct statfs`.
                    ptrace::write(pid, at as ptrace::AddressType, EXT4)
                        .expect("the call has just written there");
                }
                #[cfg(target_arch = "x86_64")]
                if let Some(errno) = self.failing.take() {
                    call.result = -i64::from(errno as i32);
                    set_result(pid, errno);
                }
            }
        }
        let then = decide(self.call.as_ref()?);
        if stopped.result.is_some() {
            self.call = None;
        }
        self.carry_out(pid, then)
    }

    fn carry_out(&mut self, pid: Pid, then: Then) -> Option<Signal> {
        match then {
            #[cfg(target_arch = "x86_64")]
            Then::Fail(errno) => {
                skip(pid);
                self.failing = Some(errno);
            }
            Then::GoOn => {}
            Then::Kill => kill(pid, Signal::SIGKILL).expect("it is there"),
            Then::Send(signal) => kill(pid, signal).expect("it is there"),
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

/// Replaces the call by one that does not exist.
#[cfg(target_arch = "x86_64")]
fn skip(pid: Pid) {
    let mut registers = ptrace::getregs(pid).expect("it has stopped");
    registers.orig_rax = u64::MAX;
    ptrace::setregs(pid, registers).expect("it has stopped");
}

#[cfg(target_arch = "x86_64")]
fn set_result(pid: Pid, errno: Errno) {
    let mut registers = ptrace::getregs(pid).expect("it has stopped");
    registers.rax = (-i64::from(errno as i32)) as u64;
    ptrace::setregs(pid, registers).expect("it has stopped");
}
