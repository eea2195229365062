//! The machine's clock, which may be set while the process waits.

use std::fs;

use nix::libc;
use nix::sys::ptrace::{self, AddressType, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{count, wait_of};
use crate::azure::{Azure, Endpoint};
use crate::support_files::Place;
use crate::support_tracer::{Next, trace};

const DAY: i64 = 86_400;

/// Makes a program that is about to start read the clock by system calls: removes the address of the kernel's code for
/// it (vdso(7)) from its auxiliary vector.
fn without_vdso(pid: Pid) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    // Field 28 is where the number of arguments is. The arguments, the variables and the vector follow.
    let start: usize = after_name.split(' ').nth(25).unwrap().parse().unwrap();
    let word = |index: usize| ptrace::read(pid, (start + index * 8) as AddressType).unwrap();
    let argument_count = usize::try_from(word(0)).unwrap();
    let variables = argument_count + 2;
    let variable_count = (variables..).take_while(|index| word(*index) != 0).count();
    let vector = variables + variable_count + 1;
    let sysinfo = libc::AT_SYSINFO_EHDR.cast_signed();
    let mut entries = (vector..).step_by(2).take_while(|index| word(*index) != 0);
    let entry = entries.find(|index| word(*index) == sysinfo).unwrap();
    let ignore = libc::AT_IGNORE.cast_signed();
    ptrace::write(pid, (start + entry * 8) as AddressType, ignore).unwrap();
}

#[test]
fn wait_does_not_change_when_the_clock_does() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let words = ["--layout=atomic", "--secret=a"];
    place.wrote(&azure, &[&words[..], &["--keep-existing"]].concat());
    let run = place.write(&azure, &[&words[..], &["--every=10m"]].concat());
    // By how many seconds the clock is wrong. The files appear to be five minutes old, so the process does read it.
    let mut ahead = 300;
    let mut jumps = [DAY, -DAY, 400 * DAY].into_iter();
    let mut waits = Vec::new();
    let outcome = trace(run, Options::empty(), without_vdso, |call| {
        let at_call = (call.number, call.args[0] as libc::clockid_t, call.result);
        if at_call == (libc::SYS_clock_gettime, libc::CLOCK_REALTIME, Some(0)) {
            let at = call.args[1] as AddressType;
            let seconds = ptrace::read(call.pid, at).unwrap();
            ptrace::write(call.pid, at, seconds + ahead).unwrap();
        }
        if let (Some(wait), None) = (wait_of(call), call.result) {
            waits.push(wait);
            let signal = match jumps.next() {
                None => Signal::SIGTERM,
                Some(jump) => {
                    ahead = jump;
                    // It looks at the clock, and goes on waiting.
                    Signal::SIGCHLD
                }
            };
            kill(call.pid, signal).unwrap();
        }
        Next::GoOn(None)
    });
    place.quiet(&outcome);
    assert_eq!(count(&azure, Endpoint::Vault), 1, "{waits:?}");
    assert_eq!(waits.len(), 4, "{waits:?}");
    let slack = 30;
    assert!((240 - slack..=360).contains(&waits[0]), "{waits:?}");
    for wait in &waits {
        assert!((waits[0] - slack..=waits[0]).contains(wait), "{waits:?}");
    }
}
