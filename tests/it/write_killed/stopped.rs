//! SIGTERM at each system call with which `write` touches the volume: it is obeyed at once before the first change, and
//! after the last one from then on.

use nix::sys::signal::Signal;

use super::scenario::{Scenario, note, on_two_threads};
use super::tracer::{Stop, Then, watch};
use super::volume::{Layout, copy, exactly};
use crate::become_command::inherited;

fn stopped_everywhere(layout: Layout, least: usize) {
    let scenario = Scenario::kept(layout);
    let stage = scenario.set_up();
    let lock = stage.calls.iter().position(|call| call.name() == "flock");
    let lock = lock.expect("DIR is locked before it is changed");
    let points = stage.calls.len();
    on_two_threads(points + lock + 1, |number| {
        // Once signals have to wait, it does not matter which thread has to obey.
        let (index, whole_process) = match number < points {
            true => (number, true),
            false => (number - points, false),
        };
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
        // By another thread it may be obeyed while this one goes on, and then too late.
        assert_eq!(
            untouched,
            early && (!whole_process || untouched),
            "{context}"
        );
        if !untouched {
            scenario.complete(&volume, &context);
        }
    });
    note(&format!("{layout:?}: stopped at {points} points"));
    assert!(points >= least, "only {points} points");
}

#[test]
fn plain_files_are_all_old_or_all_new_wherever_it_is_stopped() {
    stopped_everywhere(Layout::Plain, 70);
}

#[test]
fn an_atomic_set_is_old_or_new_wherever_it_is_stopped() {
    stopped_everywhere(Layout::Atomic, 100);
}
