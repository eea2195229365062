//! Memory that the process does not get. tests/memory.sh has the whole table, for the static file.

use nix::sys::resource::Resource;
use nix::sys::signal::Signal;

use crate::support::{Outcome, Run, akv_init};
use crate::support_inherited as inherited;

/// The end of a run whose address space has no room for a second copy of its arguments. The text of a log format can be
/// given by a variable alone, which is read before the arguments.
pub fn out_of_memory(change: impl Fn(Run) -> Run) -> Outcome {
    let arguments = vec!["x".repeat(100_000); 15];
    // From where there is enough of it, in steps that are smaller than the copy: the first limit that is too low lets the
    // program start.
    let outcomes = (0..).map(|step| {
        let run = change(akv_init(["exec", "--dry-run", "--", "/bin/true"]).args(&arguments));
        let bytes = (24_576 - 512 * step) * 1024;
        let limit = |command: &mut _| inherited::limit(command, Resource::RLIMIT_AS, bytes, bytes);
        run.with(limit).outcome()
    });
    let mut failed = outcomes.skip_while(|outcome| outcome.code == Some(0));
    failed.next().expect("at the latest without any memory")
}

#[test]
fn no_memory_is_69_with_a_hint() {
    out_of_memory(|run| run).failed(69, &["error", "hint"]);
    let failure = out_of_memory(Run::json).failure(69, "unavailable");
    failure.hinted().omits("xxx");
}

/// std's handler of these signals takes memory for each thread, so it is kept from being there.
#[test]
fn signals_of_a_fault_are_those_of_the_caller() {
    const FAULTS: [Signal; 2] = [Signal::SIGSEGV, Signal::SIGBUS];
    let bits = FAULTS
        .iter()
        .fold(0, |bits, signal| bits | 1 << (*signal as i32 - 1));
    for (change, expected) in [
        (inherited::ignore as fn(&mut _, &'static [Signal]), bits),
        (inherited::restore, 0_u64),
    ] {
        let run = akv_init(["exec", "--", "/bin/cat", "/proc/self/status"]);
        let outcome = run.with(|command| change(command, &FAULTS)).outcome();
        let mut lines = outcome.stdout_alone().lines();
        let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = u64::from_str_radix(mask.expect("a line").trim(), 16).expect("a mask");
        assert_eq!(ignored & bits, expected);
    }
}
