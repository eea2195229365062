//! No signal is lost around execve: it ends either akv-init or COMMAND.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::run;
use crate::azure::{Azure, Endpoint, Response};
use crate::support_inherited as inherited;
use crate::support_points::{Points, at_points};

/// Sends SIGTERM so often, each time around the moment of execve: a little later where it ended akv-init, a little
/// sooner where it ended COMMAND. A lost signal leaves COMMAND running to its end.
fn around_the_exec(points: Points, received_by: Endpoint) {
    let times = match points {
        Points::All => 150,
        Points::Sample => 30,
    };
    let azure = Azure::start();
    let mut delay = Duration::ZERO;
    let step = Duration::from_micros(40);
    for _ in 0..times {
        let before = azure.requests_at(received_by).len();
        let running = run(&azure, &["/bin/sleep", "30"]).spawn();
        azure.wait_for(received_by, before + 1);
        let since = Instant::now();
        while since.elapsed() < delay {
            spin_loop();
        }
        running.signal(Signal::SIGTERM);
        let outcome = running.outcome();
        match (outcome.code, outcome.signal) {
            (Some(143), None) => {
                outcome.failure(143, "signal").names("SIGTERM");
                assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
                delay += step;
            }
            (None, Some(15)) => {
                assert_eq!(outcome.stderr, "");
                delay = delay.saturating_sub(step);
            }
            _ => panic!("after {delay:?} the signal was dropped: {outcome:?}"),
        }
    }
}

at_points! {
    signal_around_the_exec_is_not_dropped: |points| around_the_exec(points, Endpoint::Vault);
    signal_after_the_token_request_is_not_dropped: |points| around_the_exec(points, Endpoint::Imds);
}

#[test]
fn ignored_signals_never_end_the_run() {
    let azure = Azure::start();
    for _ in 0..20 {
        let mut running = run(&azure, &["/bin/echo", "through"])
            .with(|command| inherited::ignore(command, &super::SIGNALS))
            .spawn();
        let pid = Pid::from_raw(running.pid());
        let mut signals = super::SIGNALS.iter().cycle();
        // The id stays valid until the child is waited for.
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
fn blocked_signals_never_end_the_run() {
    let azure = Azure::start();
    azure.next(Endpoint::Imds, Response::usual().hold());
    let running = run(&azure, &["/bin/cat", "/proc/self/status"])
        .with(|command| inherited::block(command, &super::SIGNALS))
        .spawn();
    azure.wait_for(Endpoint::Imds, 1);
    for signal in super::SIGNALS {
        running.signal(signal);
    }
    azure.release();
    let outcome = running.outcome();
    let mut lines = outcome.stdout_alone().lines();
    // HUP, INT and QUIT are 1 to 3, TERM is 15.
    assert!(
        lines.any(|line| line == "ShdPnd:\t0000000000004007"),
        "{outcome:?}"
    );
}

#[test]
fn several_signals_at_once_cause_one_error_line() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    for count in 1..=20 {
        let running = run(&azure, &["/bin/true"]).spawn();
        azure.wait_for(Endpoint::Imds, count);
        for signal in super::SIGNALS {
            running.signal(signal);
        }
        let outcome = running.outcome();
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        let codes = super::SIGNALS.map(|signal| Some(128 + signal as i32));
        assert!(codes.contains(&outcome.code), "{outcome:?}");
    }
}
