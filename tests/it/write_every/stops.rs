//! Signals that end it: with 0 once a round was complete, and before that as they end `write`.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Sidecar, every};
use crate::azure::{Azure, Endpoint, Response};
use crate::support::Run;
use crate::support_files::Place;
use crate::support_inherited as inherited;
use crate::support_points::{Points, at_points};

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

fn sidecar(place: &Place, azure: &Azure, layout: &str) -> Sidecar {
    let words = ["--layout", layout, "--secret=a", "--secret=b"];
    let nested = format!("--secret=d/e=akv://{}/e", azure.vault());
    Sidecar::start(every(place, azure, &[&words[..], &[&nested]].concat()))
}

/// The value that all files have; `None` if there is none of them.
#[track_caller]
fn value_of_all(place: &Place) -> Option<Vec<u8>> {
    let values = NAMES.map(|name| std::fs::read(place.path(name)).ok());
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    let mut names = place.names();
    names.retain(|name| name.starts_with("..akv-init-") && name.ends_with("/ 0750"));
    names.retain(|name| name.matches('/').count() == 1);
    let is_atomic = place.path("..data").exists();
    assert_eq!(names.len(), usize::from(is_atomic), "{:?}", place.names());
    values[0].clone()
}

/// Sends TERM at one of many moments of the first round and of a later one. All files are old ones then, or all new.
fn stopped_at_each_moment(layout: &str, points: Points) {
    const COUNT: u32 = 150;
    let round = |place: &Place, is_first: bool, wait: Option<Duration>| {
        let azure = Azure::start();
        put(&azure, "old");
        let mut sidecar = sidecar(place, &azure, layout);
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
            let value = value_of_all(&place);
            let context = format!("{layout}, first: {is_first}, {moment:?}: {code:?} {lines:?}");
            match (is_first, code) {
                (false, Some(0)) => assert!(value.is_some(), "{context}"),
                (true, Some(0)) => assert_eq!(value.unwrap(), b"old", "{context}"),
                (true, Some(143)) => {}
                // Before it has blocked any signal.
                (true, None) => assert_eq!(value, None, "{context}"),
                _ => panic!("{context}"),
            }
        });
    }
}

at_points! {
    plain_files_are_all_old_or_all_new_when_a_round_is_stopped: |points| stopped_at_each_moment("plain", points);
    atomic_set_is_old_or_new_when_a_round_is_stopped: |points| stopped_at_each_moment("atomic", points);
}
