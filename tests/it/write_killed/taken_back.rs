//! A run that fails at the very end, when everything has to be taken back, and is killed while it does that.

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::calls::Call;
use super::scenario::{Scenario, note, on_two_threads};
use super::tracer::{Stop, Then, watch};
use super::volume::{Layout, copy, exactly};

fn killed_while_it_takes_back(layout: Layout, least: usize) {
    let scenario = Scenario::kept(layout);
    let stage = scenario.set_up();
    let last = stage.calls.iter().rposition(|call| call.name() == "fsync");
    let last = last.expect("DIR is brought to the disk in the end");
    let fail = |call: &Call| match (call.index == Some(last), call.stop) {
        (true, Stop::Before) => Then::Fail(Errno::EIO),
        _ => Then::GoOn,
    };
    let mut points = Vec::new();
    let volume = copy(&stage.template);
    let before = exactly(&volume);
    let run = scenario.run(&stage.azure, &volume);
    let outcome = watch(run, &volume.dir(), |call| {
        if call.index.is_some_and(|index| index > last)
            && (call.stop == Stop::Before || call.changes())
        {
            points.push((call.index, call.stop, call.text.clone()));
        }
        fail(call)
    });
    assert_eq!(outcome.code, Some(73), "{}", outcome.stderr);
    assert_eq!(exactly(&volume), before);
    on_two_threads(points.len(), |point| {
        let (index, stop, text) = &points[point];
        let context = format!("{stop:?} call {index:?}, {text}");
        let volume = copy(&stage.template);
        let run = scenario.run(&stage.azure, &volume);
        let outcome = watch(run, &volume.dir(), |call| {
            match call.index == *index && call.stop == *stop {
                true => Then::Kill,
                false => fail(call),
            }
        });
        assert_eq!(outcome.signal, Some(Signal::SIGKILL as i32), "{context}");
        scenario.whole(&volume, &context);
        stage.kept_only_what_is_so(scenario, &volume, &context);
        scenario.next_run_completes(&stage.azure, &volume, &context);
    });
    note(&format!(
        "{scenario}: killed at {} points of taking back",
        points.len()
    ));
    assert!(points.len() >= least, "only {} points", points.len());
}

#[test]
fn plain_files_are_whole_wherever_it_is_killed_while_it_takes_back() {
    killed_while_it_takes_back(Layout::Plain, 10);
}

#[test]
fn an_atomic_set_is_whole_wherever_it_is_killed_while_it_takes_back() {
    killed_while_it_takes_back(Layout::Atomic, 10);
}
