//! `write`, killed at each system call with which it touches the volume, before the call and after it: a reader finds
//! whole files, and the next run finds nothing in its way.

mod calls;
// A call can be made to fail by its registers only, which are each architecture's own.
#[cfg(target_arch = "x86_64")]
mod fallback;
#[cfg(target_arch = "x86_64")]
mod faults;
mod order;
mod scenario;
mod stopped;
mod swapped;
#[cfg(target_arch = "x86_64")]
mod taken_back;
mod tracer;
pub mod volume;

use nix::sys::signal::Signal;

use scenario::{Scenario, note, on_two_threads};
use tracer::{Stop, Then, watch};
use volume::{Layout, copy};

/// Kills it at each point, of which there are at least so many.
fn killed_everywhere(scenario: Scenario, least: usize) {
    let stage = scenario.set_up();
    let mut points = Vec::new();
    for (index, call) in stage.calls.iter().enumerate() {
        points.push((index, Stop::Before));
        // After one that only looks, all is as it was before it.
        if call.changes() {
            points.push((index, Stop::After));
        }
    }
    on_two_threads(points.len(), |point| {
        let (index, stop) = points[point];
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
        stage.kept_only_what_is_so(scenario, &volume, &context);
        scenario.next_run_completes(&stage.azure, &volume, &context);
    });
    note(&format!("{scenario}: killed at {} points", points.len()));
    assert!(points.len() >= least, "only {} points", points.len());
}

#[test]
fn plain_files_are_whole_wherever_it_is_killed() {
    killed_everywhere(Scenario::of(Layout::Plain), 100);
}

#[test]
fn an_atomic_set_is_whole_wherever_it_is_killed() {
    killed_everywhere(Scenario::of(Layout::Atomic), 140);
}

#[test]
fn plain_files_are_kept_only_for_what_they_are_wherever_it_was_killed() {
    killed_everywhere(Scenario::kept(Layout::Plain), 120);
}

#[test]
fn an_atomic_set_is_kept_only_for_what_it_is_wherever_it_was_killed() {
    killed_everywhere(Scenario::kept(Layout::Atomic), 150);
}

/// The manifest is of the run before, and has to forget what this one writes.
#[test]
fn plain_files_written_without_a_manifest_are_not_kept_for_what_they_were() {
    let scenario = Scenario {
        kept: true,
        ..Scenario::of(Layout::Plain)
    };
    killed_everywhere(scenario, 110);
}
