//! Signals that end it: with 0 once a round was complete, and before that as they end `write`.

use std::mem;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::ptrace::Options;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Sidecar, every, wait_of};
use crate::azure::{Azure, Endpoint, Response};
use crate::support::Run;
use crate::support_files::Place;
use crate::support_inherited as inherited;
use crate::support_points::{Points, at_points};
use crate::support_tracer::{Next, trace};
use crate::write_killed::volume::left_over;

#[test]
fn signal_before_the_first_round_is_complete_ends_it_as_it_ends_write() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        let (azure, place) = (Azure::start(), Place::in_memory());
        azure.secret("a", "one");
        azure.always(Endpoint::Vault, Response::usual().hold());
        let sidecar = Sidecar::start(every(&place, &azure, &["--secret=a"]));
        azure.wait_for(Endpoint::Vault, 1);
        let (code, lines) = sidecar.end(signal);
        assert_eq!(code, Some(128 + signal as i32));
        assert!(
            lines.len() == 1 && lines[0]["cause"] == "signal",
            "{lines:?}"
        );
        assert!(place.tree().is_empty());
    }
}

#[test]
fn signal_between_rounds_ends_it_with_0() {
    let azure = Azure::start();
    azure.secret("a", "one");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let place = Place::in_memory();
        let (sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
        assert_eq!(sidecar.end(signal), (Some(0), Vec::new()));
        assert_eq!(place.read("a"), b"one");
    }
}

#[test]
fn signal_in_a_later_round_ends_it_with_0_at_once() {
    for endpoint in [Endpoint::Vault, Endpoint::Imds] {
        let (azure, place) = (Azure::start(), Place::in_memory());
        azure.secret("a", "one");
        azure.next(
            Endpoint::Imds,
            Response::token(serde_json::json!({"expires_in": 60})),
        );
        let (sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
        let before = place.snapshot();
        azure.always(endpoint, Response::usual().hold());
        sidecar.running.signal(Signal::SIGHUP);
        azure.wait_for(endpoint, 2);
        sidecar.stop();
        assert_eq!(place.snapshot(), before);
    }
}

#[test]
fn hangup_that_was_ignored_stays_ignored() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let run = every(&place, &azure, &["--secret=a"]);
    let run = run.with(|command| inherited::ignore(command, &[Signal::SIGHUP]));
    let (sidecar, _) = Sidecar::ready(run);
    sidecar.running.signal(Signal::SIGHUP);
    sidecar.stop();
    assert_eq!(azure.requests_at(Endpoint::Vault).len(), 1);
}

/// The children of a process.
fn children(pid: i32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// The same as the first process of a PID namespace, below unshare(1).
fn as_first_process(run: Run) -> Run {
    run.with(|command| {
        let mut outer = Command::new("unshare");
        outer.args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        outer.arg(command.get_program()).args(command.get_args());
        outer.env_clear();
        let variables = command.get_envs();
        outer.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        *command = outer;
    })
}

#[test]
fn first_process_of_a_container_does_the_same() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let run = as_first_process(every(&place, &azure, &["--secret=a"]));
    let (mut sidecar, _) = Sidecar::ready(run);
    let pid = Pid::from_raw(children(sidecar.running.pid())[0]);
    azure.secret("a", "two");
    kill(pid, Signal::SIGHUP).unwrap();
    assert_eq!(sidecar.round_end().0.len(), 1);
    assert_eq!(place.read("a"), b"two");
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(sidecar.running.outcome().code, Some(0));
}

#[test]
fn end_of_a_rounds_process_is_a_warning() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let (mut sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
    let kill_round = |sidecar: &mut Sidecar, requests| {
        azure.next(Endpoint::Vault, Response::usual().hold());
        sidecar.running.signal(Signal::SIGHUP);
        azure.wait_for(Endpoint::Vault, requests);
        let child = children(sidecar.running.pid())[0];
        kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
        azure.release();
        sidecar.round_end().0
    };
    let lines = kill_round(&mut sidecar, 2);
    assert!(
        lines.len() == 1 && lines[0]["level"] == "warning",
        "{lines:?}"
    );
    assert!(kill_round(&mut sidecar, 3).is_empty());
    sidecar.silent_round();
    sidecar.stop();
}

/// Whatever else ends the sidecar: its round does not go on alone.
#[test]
fn round_ends_with_its_parent() {
    let (azure, place) = (Azure::start(), Place::in_memory());
    azure.secret("a", "one");
    let (sidecar, _) = Sidecar::ready(every(&place, &azure, &["--secret=a"]));
    azure.secret("a", "two");
    azure.always(Endpoint::Vault, Response::usual().hold());
    sidecar.running.signal(Signal::SIGHUP);
    azure.wait_for(Endpoint::Vault, 2);
    let (_, lines) = sidecar.end(Signal::SIGKILL);
    // The pipe of standard error has ended, so the round has too.
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(place.read("a"), b"one");
}

const NAMES: [&str; 3] = ["a", "b", "d/e"];

fn put(azure: &Azure, value: &str) {
    for name in ["a", "b", "e"] {
        azure.secret(name, value);
    }
}

fn run(place: &Place, azure: &Azure, layout: &str) -> Run {
    let words = ["--layout", layout, "--secret=a", "--secret=b"];
    let nested = format!("--secret=d/e=akv://{}/e", azure.vault());
    every(place, azure, &[&words[..], &[&nested]].concat())
}

/// The value that all files have; `None` if there is none of them.
#[track_caller]
fn value_of_all(place: &Place) -> Option<Vec<u8>> {
    let values = NAMES.map(|name| std::fs::read(place.path(name)).ok());
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    assert!(left_over(place).is_empty(), "{:?}", place.names());
    values[0].clone()
}

/// Asserts that the files are those of a process that TERM has ended in this way.
#[track_caller]
fn assert_whole(place: &Place, is_first: bool, code: Option<i32>, context: &str) {
    let value = value_of_all(place);
    match (is_first, code) {
        (false, Some(0)) => assert!(value.is_some(), "{context}"),
        (true, Some(0)) => assert_eq!(value.unwrap(), b"old", "{context}"),
        (true, Some(143)) => {}
        // Before it has blocked any signal.
        (true, None) => assert_eq!(value, None, "{context}"),
        _ => panic!("{context}"),
    }
}

/// Sends TERM at one of many moments of the first round and of a later one. All files are old ones then, or all new.
fn stopped_at_each_moment(layout: &str, points: Points) {
    const COUNT: u32 = 150;
    let round = |place: &Place, is_first: bool, wait: Option<Duration>| {
        let azure = Azure::start();
        put(&azure, "old");
        let mut sidecar = Sidecar::start(run(place, &azure, layout));
        if !is_first {
            sidecar.round_end();
            put(&azure, "new");
            sidecar.running.signal(Signal::SIGHUP);
        }
        let begun = Instant::now();
        match wait {
            None => drop(sidecar.round_end()),
            Some(wait) => while begun.elapsed() < wait {},
        }
        (begun.elapsed(), sidecar.end(Signal::SIGTERM))
    };
    for is_first in [true, false] {
        let (duration, _) = round(&Place::in_memory(), is_first, None);
        let moments: Vec<Duration> = (0..COUNT)
            .map(|point| duration * 2 * point / COUNT)
            .collect();
        points.visit(&moments, 150, |moment| {
            let place = Place::in_memory();
            let (_, (code, lines)) = round(&place, is_first, Some(*moment));
            let context = format!("{layout}, first: {is_first}, {moment:?}: {code:?} {lines:?}");
            assert_whole(&place, is_first, code, &context);
        });
    }
}

/// Sends TERM to the process before one of the system calls of a round: its own ones, and those of the main thread of the
/// process of the round. Returns how many there were before it. The last one is the wait after the round.
fn stopped_at_call(layout: &str, is_first: bool, index: usize) -> usize {
    let (azure, place) = (Azure::start(), Place::in_memory());
    put(&azure, "old");
    let (mut process, mut is_in_round, mut is_sent, mut is_held) = (None, is_first, false, false);
    let mut count = 0;
    let run = run(&place, &azure, layout);
    let outcome = trace(
        run,
        Options::PTRACE_O_TRACEFORK,
        |_| {},
        |call| {
            let process = *process.get_or_insert(call.pid);
            let is_its_own = call.pid == process;
            let waits = is_its_own && wait_of(call).is_some();
            if call.result.is_some() {
                let is_forwarded = is_its_own && call.number == libc::SYS_kill;
                return match is_forwarded && mem::take(&mut is_held) {
                    true => Next::Release,
                    false => Next::GoOn(None),
                };
            }
            match (is_in_round, is_sent) {
                (false, _) if waits => {
                    is_in_round = true;
                    put(&azure, "new");
                    kill(process, Signal::SIGHUP).unwrap();
                }
                (true, false) if count == index || waits => {
                    is_sent = true;
                    kill(process, Signal::SIGTERM).unwrap();
                    // A round that goes on could end before the signal has arrived.
                    is_held = !is_its_own;
                }
                (true, false) => count += 1,
                _ => {}
            }
            match is_held && !is_its_own {
                true => Next::Hold,
                false => Next::GoOn(None),
            }
        },
    );
    let context = format!("{layout}, first: {is_first}, call {index} of {count}: {outcome:?}");
    assert_whole(&place, is_first, outcome.code, &context);
    if !is_first {
        let mut lines = outcome.json_lines();
        lines.retain(|line| line["level"] != "debug" && line["level"] != "info");
        assert!(lines.is_empty(), "{context}");
    }
    count
}

fn stopped_at_each_call(layout: &str, points: Points) {
    for is_first in [true, false] {
        let count = stopped_at_call(layout, is_first, usize::MAX);
        let calls: Vec<usize> = (0..=count).collect();
        points.visit(&calls, 150, |index| {
            stopped_at_call(layout, is_first, *index);
        });
    }
}

at_points! {
    plain_files_are_all_old_or_all_new_when_a_round_is_stopped: |points| stopped_at_each_moment("plain", points);
    atomic_set_is_old_or_new_when_a_round_is_stopped: |points| stopped_at_each_moment("atomic", points);
    plain_files_are_all_old_or_all_new_when_stopped_at_a_call: |points| stopped_at_each_call("plain", points);
    atomic_set_is_old_or_new_when_stopped_at_a_call: |points| stopped_at_each_call("atomic", points);
}
