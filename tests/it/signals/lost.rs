//! No signal is lost, whenever it comes: either it ends the wait, or COMMAND gets it.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::run;
use crate::azure::{Answer, Azure, Door};
use crate::become_command::inherited;

/// Sends TERM so often, each time around the moment at which one program becomes the other: a little later where we
/// were still there, a little sooner where COMMAND was. A signal that is lost leaves COMMAND running to its end.
fn around_the_exec(times: u32, seen_at: Door) {
    let azure = Azure::start();
    let mut delay = Duration::ZERO;
    let step = Duration::from_micros(40);
    for _ in 0..times {
        let before = azure.requests_at(seen_at).len();
        let running = run(&azure, &["/bin/sleep", "30"]).spawn();
        azure.wait_for(seen_at, before + 1);
        let seen = Instant::now();
        while seen.elapsed() < delay {
            spin_loop();
        }
        running.signal(Signal::SIGTERM);
        let outcome = running.outcome();
        match (outcome.code, outcome.signal) {
            (Some(143), None) => {
                let line = outcome.stderr.as_str();
                assert!(
                    line.starts_with("akv-init: error: stopped by SIGTERM after "),
                    "{line}"
                );
                assert_eq!(line.lines().count(), 1, "{line}");
                delay += step;
            }
            (None, Some(15)) => {
                assert_eq!(outcome.stderr, "");
                delay = delay.saturating_sub(step);
            }
            _ => panic!("after {delay:?} the signal was lost: {outcome:?}"),
        }
    }
}

#[test]
fn a_signal_around_the_exec_is_never_lost() {
    around_the_exec(150, Door::Vault);
}

#[test]
fn a_signal_once_the_token_was_asked_for_is_never_lost() {
    around_the_exec(50, Door::Imds);
}

#[test]
fn an_ignored_signal_ends_it_at_no_moment() {
    let azure = Azure::start();
    for _ in 0..20 {
        let mut running = run(&azure, &["/bin/echo", "through"])
            .with(|command| inherited::ignore(command, &super::SIGNALS))
            .spawn();
        let pid = Pid::from_raw(running.pid());
        let mut signals = super::SIGNALS.iter().cycle();
        // It stays our child, and its id its own, until its end is asked for.
        while running
            .child_mut()
            .try_wait()
            .expect("it is our child")
            .is_none()
        {
            kill(pid, *signals.next().expect("a cycle has no end")).expect("it is there");
        }
        assert_eq!(running.outcome().stdout_alone(), "through\n");
    }
}

#[test]
fn a_blocked_signal_ends_it_at_no_moment() {
    let azure = Azure::start();
    let running = run(&azure, &["/bin/cat", "/proc/self/status"])
        .with(|command| inherited::block(command, &super::SIGNALS))
        .spawn();
    for signal in super::SIGNALS {
        running.signal(signal);
    }
    let outcome = running.outcome();
    let mut lines = outcome.stdout_alone().lines();
    // HUP, INT and QUIT are 1 to 3, TERM is 15.
    assert!(
        lines.any(|line| line == "ShdPnd:\t0000000000004007"),
        "{outcome:?}"
    );
}

#[test]
fn many_signals_at_once_have_one_line() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::usual().hold());
    for count in 1..=50 {
        let running = run(&azure, &["/bin/true"]).spawn();
        azure.wait_for(Door::Imds, count);
        for signal in super::SIGNALS {
            running.signal(signal);
        }
        let outcome = running.outcome();
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        let codes = super::SIGNALS.map(|signal| Some(128 + signal as i32));
        assert!(codes.contains(&outcome.code), "{outcome:?}");
    }
}
