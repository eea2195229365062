//! A run that fails at the very end, when everything has to be taken back, and is killed while it does that, or fails
//! again.

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::calls::Call;
use super::scenario::{Scenario, Stage, note, on_two_threads};
use super::tracer::{Stop, Then, watch};
use super::volume::{Layout, copy, exactly};

/// Where it fails: the last thing that is brought to the disk.
fn last_sync(stage: &Stage) -> usize {
    let last = stage.calls.iter().rposition(|call| call.name() == "fsync");
    last.expect("DIR is brought to the disk in the end")
}

fn fail(call: &Call, at: usize) -> Then {
    match (call.index == Some(at), call.stop) {
        (true, Stop::Before) => Then::Fail(Errno::EIO),
        _ => Then::GoOn,
    }
}

/// Lets something happen at each call with which it takes back what was done, of which there are at least so many.
fn disturbed(layout: Layout, least: usize, stops: &[Stop], disturb: fn() -> Then) {
    let scenario = Scenario::kept(layout);
    let stage = scenario.set_up();
    let last = last_sync(&stage);
    let mut points = Vec::new();
    let volume = copy(&stage.template);
    let before = exactly(&volume);
    let run = scenario.run(&stage.azure, &volume);
    let outcome = watch(run, &volume.dir(), |call| {
        let late = call.index.is_some_and(|index| index > last);
        let new = call.stop == Stop::Before || call.changes();
        if late && new && stops.contains(&call.stop) {
            points.push((call.index, call.stop, call.text.clone()));
        }
        fail(call, last)
    });
    outcome.failure(73, "cannot create");
    assert_eq!(exactly(&volume), before);
    on_two_threads(points.len(), |point| {
        let (index, stop, text) = &points[point];
        let context = format!("{stop:?} call {index:?}, {text}");
        let volume = copy(&stage.template);
        let run = scenario.run(&stage.azure, &volume);
        let outcome = watch(run, &volume.dir(), |call| {
            match call.index == *index && call.stop == *stop {
                true => disturb(),
                false => fail(call, last),
            }
        });
        let ended = (outcome.code, outcome.signal);
        let killed = (None, Some(Signal::SIGKILL as i32));
        assert!(
            ended == killed || ended == (Some(73), None),
            "{context}: {ended:?}"
        );
        scenario.whole(&volume, &context);
        stage.kept_only_what_is_so(scenario, &volume, &context);
        scenario.next_run_completes(&stage.azure, &volume, &context);
    });
    note(&format!(
        "{scenario}: {} points of taking back",
        points.len()
    ));
    assert!(points.len() >= least, "only {} points", points.len());
}

#[test]
fn plain_files_are_whole_wherever_it_is_killed_while_it_takes_back() {
    disturbed(Layout::Plain, 15, &[Stop::Before, Stop::After], || {
        Then::Kill
    });
}

#[test]
fn an_atomic_set_is_whole_wherever_it_is_killed_while_it_takes_back() {
    disturbed(Layout::Atomic, 40, &[Stop::Before, Stop::After], || {
        Then::Kill
    });
}

#[test]
fn plain_files_are_whole_when_taking_back_fails_too() {
    disturbed(Layout::Plain, 10, &[Stop::Before], || {
        Then::Fail(Errno::EIO)
    });
}

#[test]
fn an_atomic_set_is_whole_when_taking_back_fails_too() {
    disturbed(Layout::Atomic, 20, &[Stop::Before], || {
        Then::Fail(Errno::EIO)
    });
}
