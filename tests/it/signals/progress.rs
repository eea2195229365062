//! The progress lines: nothing for five seconds, then what is waited for, every 30 seconds, and at the end that all
//! secrets arrived.

use std::io::{BufRead, BufReader, Read};
use std::process::ChildStderr;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{run, stopped};
use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Outcome, Running};
use crate::support_listen::Listened;

/// A run whose first line on standard error has been read.
struct Waiting {
    running: Running,
    stderr: BufReader<ChildStderr>,
}

impl Waiting {
    /// Starts a run, whose first line must be a progress line that names each of these.
    #[track_caller]
    fn start(azure: &Azure, names: &[&str]) -> Waiting {
        let mut running = run(azure, &["/bin/echo", "through"]).spawn();
        let stderr = running.child_mut().stderr.take().expect("it is a pipe");
        let mut stderr = BufReader::new(stderr);
        let mut first = String::new();
        stderr.read_line(&mut first).expect("it is text");
        let line: Value = serde_json::from_str(&first).expect("an object");
        assert_eq!(line["level"], "info", "{first}");
        let message = line["message"].as_str().expect("a text");
        for name in names {
            assert!(message.contains(name), "{name}: {message}");
        }
        Waiting { running, stderr }
    }

    /// Its end, with the other lines of standard error.
    fn end(mut self) -> Outcome {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("it is text");
        let mut outcome = self.running.outcome();
        outcome.stderr = rest;
        outcome
    }
}

/// Asserts that COMMAND ran, after one more progress line.
#[track_caller]
fn completed(outcome: &Outcome) {
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(0), "through\n")
    );
    assert_eq!(outcome.json_lines().len(), 1, "{}", outcome.stderr);
    assert_eq!(outcome.lines_of("info").len(), 1, "{}", outcome.stderr);
}

/// Five runs at once, each of which waits five seconds.
#[test]
fn progress_is_reported_after_five_seconds() {
    thread::scope(|scope| {
        scope.spawn(|| {
            let azure = Azure::start();
            azure.next(Endpoint::Imds, Response::usual().hold());
            let waiting = Waiting::start(&azure, &[&azure.imds()]);
            azure.release();
            completed(&waiting.end());
        });
        scope.spawn(|| {
            let azure = Azure::start();
            azure.next(Endpoint::Imds, Response::usual().hold());
            let quiet = run(&azure, &["/bin/echo"]).env("AKV_INIT_QUIET", "true");
            let outcome = quiet.env("AKV_INIT_TIMEOUT", "6").outcome();
            outcome.failure(69, "unavailable");
            assert_eq!(outcome.json_lines().len(), 1, "{}", outcome.stderr);
        });
        scope.spawn(|| {
            let azure = Azure::start();
            azure.next(Endpoint::Vault, Response::status(503));
            azure.next(Endpoint::Vault, Response::usual().hold());
            let names = [&azure.vault(), "503 Service Unavailable"];
            let waiting = Waiting::start(&azure, &names);
            azure.release();
            completed(&waiting.end());
        });
        scope.spawn(|| {
            let azure = Azure::start();
            let busy = Response::throttled().header("Retry-After", "25");
            azure.next(Endpoint::Vault, busy);
            let vault = azure.vault();
            let names = [&vault, "throttling requests: attempt 1, next in "];
            drop(Waiting::start(&azure, &names));
        });
        scope.spawn(|| {
            let azure = Azure::start();
            azure.next(Endpoint::Imds, Response::usual().hold());
            let waiting = Waiting::start(&azure, &[&azure.imds()]);
            waiting.running.signal(Signal::SIGTERM);
            stopped(&waiting.end(), Signal::SIGTERM, &[&azure.imds()]);
        });
    });
}

#[test]
#[ignore = "long: runs in CI with --include-ignored"]
fn progress_is_reported_again_with_the_last_reason_and_the_time_left() {
    let azure = Azure::start();
    azure.always(Endpoint::Vault, Response::status(503));
    let run = run(&azure, &["/bin/echo"]).env("AKV_INIT_TIMEOUT", "40");
    let mut run = Listened::start(run);
    let mut progress = || {
        let line = run.until_line(|line| line["level"] == "info");
        let message = line["message"].as_str().expect("a text");
        assert!(message.contains("503 Service Unavailable"), "{message}");
        line["left"].as_u64().expect("a number of seconds")
    };
    let first = progress();
    assert!(progress() < first);
}
