//! SIGTERM at each system call that touches the volume: it ends `write` at once before the first change, and after the
//! last one from then on.

use nix::sys::signal::Signal;

use super::scenario::Scenario;
use super::tracer::{Stop, Then, watch};
use super::volume::{Layout, copy, exactly};
use crate::support_inherited as inherited;
use crate::support_points::{Points, at_points};

fn interrupted(layout: Layout, least: usize, points: Points) {
    let scenario = Scenario::kept(layout);
    let stage = scenario.set_up();
    let lock = stage.calls.iter().position(|call| call.name() == "flock");
    let lock = lock.expect("DIR is locked before it is changed");
    // Each call, and whether the signal is for the whole process. Once signals are blocked the thread does not matter.
    let process = (0..stage.calls.len()).map(|index| (index, true));
    let thread = (0..=lock).map(|index| (index, false));
    let stops: Vec<(usize, bool)> = process.chain(thread).collect();
    points.visit(&stops, least, |&(index, whole_process)| {
        let context = format!("at call {index}, {}", stage.calls[index].text);
        let volume = copy(&stage.template);
        let before = exactly(&volume);
        let run = scenario.run(&stage.azure, &volume).with(|command| {
            inherited::block(command, &[]);
            inherited::restore(command, &[Signal::SIGTERM]);
        });
        let outcome = watch(run, &volume.dir(), |call| {
            match (call.index == Some(index), call.stop, whole_process) {
                (true, Stop::Before, true) => Then::Send(Signal::SIGTERM),
                (true, Stop::Before, false) => Then::SendToThread(Signal::SIGTERM),
                _ => Then::GoOn,
            }
        });
        let failure = outcome.failure(143, "signal");
        failure.names("SIGTERM");
        let early = index <= lock;
        let untouched = exactly(&volume) == before;
        // Another thread may handle it while this one makes the first change.
        assert_eq!(
            untouched,
            early && (!whole_process || untouched),
            "{context}"
        );
        if !untouched {
            scenario.complete(&volume, &context);
        }
    });
}

at_points! {
    plain_files_are_all_old_or_all_new_after_a_signal: |points| interrupted(Layout::Plain, 70, points);
    atomic_set_is_old_or_new_after_a_signal: |points| interrupted(Layout::Atomic, 100, points);
}
