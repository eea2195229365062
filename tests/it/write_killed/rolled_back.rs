//! A run that fails at its last call, when all has to be rolled back, and is killed or fails again while it does so.

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::calls::Call;
use super::scenario::{Scenario, Stage};
use super::tracer::{Stop, Then, watch};
use super::volume::{Layout, copy, exactly, left_over};
use crate::support_files::MANIFEST;
use crate::support_points::{Points, at_points};

/// The call that fails: the last `fsync`.
fn last_sync(stage: &Stage) -> usize {
    let last = stage.calls.iter().rposition(|call| call.name() == "fsync");
    last.expect("DIR is synced at the end")
}

fn fail(call: &Call, at: usize) -> Then {
    match (call.index == Some(at), call.stop) {
        (true, Stop::Before) => Then::Fail(Errno::EIO),
        _ => Then::GoOn,
    }
}

/// Disturbs the run at each call of its roll-back, of which there are at least so many.
fn disturbed(layout: Layout, least: usize, stops: &[Stop], disturb: fn() -> Then, points: Points) {
    let scenario = Scenario::kept(layout);
    let stage = scenario.set_up();
    let last = last_sync(&stage);
    let mut calls = Vec::new();
    let volume = copy(&stage.template);
    let before = exactly(&volume);
    let run = scenario.run(&stage.azure, &volume);
    let outcome = watch(run, &volume.dir(), |call| {
        let late = call.index.is_some_and(|index| index > last);
        let new = call.stop == Stop::Before || call.changes();
        if late && new && stops.contains(&call.stop) {
            calls.push((call.index, call.stop, call.text.clone()));
        }
        fail(call, last)
    });
    outcome.failure(73, "cannot create");
    assert_eq!(exactly(&volume), before);
    points.visit(&calls, least, |(index, stop, text)| {
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
        stage.keeps_only_right_values(scenario, &volume, &context);
        scenario.next_run_completes(&stage.azure, &volume, &context);
    });
}

const BOTH: [Stop; 2] = [Stop::Before, Stop::After];

fn killed(layout: Layout, least: usize, points: Points) {
    disturbed(layout, least, &BOTH, || Then::Kill, points);
}

fn failed(layout: Layout, least: usize, points: Points) {
    disturbed(layout, least, &BOTH[..1], || Then::Fail(Errno::EIO), points);
}

at_points! {
    plain_files_are_complete_after_a_kill: |points| killed(Layout::Plain, 15, points);
    atomic_set_is_complete_after_a_kill: |points| killed(Layout::Atomic, 40, points);
    plain_files_are_complete_after_a_second_failure: |points| failed(Layout::Plain, 10, points);
    atomic_set_is_complete_after_a_second_failure: |points| failed(Layout::Atomic, 20, points);
}

/// Without hard links an old file cannot come back: the error names the new ones, and no manifest claims anything.
#[test]
fn without_hard_links_the_error_names_the_new_files() {
    let scenario = Scenario::kept(Layout::Plain);
    let stage = scenario.set_up();
    let last = last_sync(&stage);
    let volume = copy(&stage.template);
    let run = scenario.run(&stage.azure, &volume);
    let outcome = watch(run, &volume.dir(), |call| {
        match call.name() == "linkat" && call.stop == Stop::Before {
            true => Then::Fail(Errno::EPERM),
            false => fail(call, last),
        }
    });
    let failure = outcome.failure(73, "cannot create");
    failure.names("`comes`, `d/e/f`, `n/m/comes`, `value`");
    assert_eq!(left_over(&volume), [""; 0]);
    assert!(!volume.path(MANIFEST).exists());
    scenario.whole(&volume, "without hard links");
    stage.keeps_only_right_values(scenario, &volume, "without hard links");
    scenario.next_run_completes(&stage.azure, &volume, "without hard links");
}
