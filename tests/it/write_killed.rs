//! `write`, killed at each system call that touches the volume, before the call and after it: readers find complete
//! files, and the next run succeeds.

mod calls;
// The result of a call is set in its registers, which differ between architectures.
#[cfg(target_arch = "x86_64")]
mod faults;
mod interrupted;
mod order;
#[cfg(target_arch = "x86_64")]
mod rolled_back;
mod scenario;
mod swapped;
mod tracer;
pub mod volume;

use nix::sys::signal::Signal;

use crate::support_points::{Points, at_points};
use scenario::Scenario;
use tracer::{Stop, Then, watch};
use volume::{Layout, copy};

/// Kills the run at these points, of which there are at least so many.
fn killed(scenario: Scenario, least: usize, points: Points) {
    let stage = scenario.set_up();
    let mut stops = Vec::new();
    for (index, call) in stage.calls.iter().enumerate() {
        stops.push((index, Stop::Before));
        // After a call that only reads, all is as before it.
        if call.changes() {
            stops.push((index, Stop::After));
        }
    }
    points.visit(&stops, least, |&(index, stop)| {
        let context = format!("{stop:?} call {index}, {}", stage.calls[index].text);
        let volume = copy(&stage.template);
        let run = scenario.run(&stage.azure, &volume);
        let outcome = watch(run, &volume.dir(), |call| {
            match call.index == Some(index) && call.stop == stop {
                true => Then::Kill,
                false => Then::GoOn,
            }
        });
        let killed = Some(Signal::SIGKILL as i32);
        assert_eq!((outcome.code, outcome.signal), (None, killed), "{context}");
        scenario.whole(&volume, &context);
        stage.keeps_only_right_values(scenario, &volume, &context);
        scenario.next_run_completes(&stage.azure, &volume, &context);
    });
}

/// The manifest of the run before must not list what this run writes.
const WITHOUT_MANIFEST: Scenario = Scenario {
    kept: true,
    ..Scenario::of(Layout::Plain)
};

at_points! {
    plain_files_are_complete_after_a_kill: |points| killed(Scenario::of(Layout::Plain), 100, points);
    atomic_set_is_complete_after_a_kill: |points| killed(Scenario::of(Layout::Atomic), 140, points);
    plain_manifest_is_right_after_a_kill: |points| killed(Scenario::kept(Layout::Plain), 120, points);
    atomic_manifest_is_right_after_a_kill: |points| killed(Scenario::kept(Layout::Atomic), 150, points);
    manifest_without_keep_existing_is_right_after_a_kill: |points| killed(WITHOUT_MANIFEST, 110, points);
}
