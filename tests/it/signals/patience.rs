//! Silent when it is quick; after five seconds one line, and one more when it got there.

use std::io::{BufRead, BufReader, Read};
use std::process::ChildStderr;
use std::thread;

use nix::sys::signal::Signal;

use super::{of_imds, of_vault, run, without_seconds};
use crate::azure::{Answer, Azure, Door};
use crate::support::Running;

/// A run whose first line on standard error has been read.
struct Patient {
    running: Running,
    stderr: BufReader<ChildStderr>,
}

impl Patient {
    #[track_caller]
    fn that_says(azure: &Azure, line: &str) -> Patient {
        let mut running = run(azure, &["/bin/echo", "through"]).spawn();
        let stderr = running.child_mut().stderr.take().expect("it is a pipe");
        let mut stderr = BufReader::new(stderr);
        let mut first = String::new();
        stderr.read_line(&mut first).expect("it is text");
        assert_eq!(first, format!("akv-init: {line}\n"));
        Patient { running, stderr }
    }

    /// The exit code, standard output, and what else was said on standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("it is text");
        let outcome = self.running.outcome();
        (outcome.code, outcome.stdout, without_seconds(&rest))
    }
}

/// Three waits at once: each takes its five seconds.
#[test]
fn after_five_seconds_it_says_what_it_waits_for() {
    thread::scope(|scope| {
        scope.spawn(and_then_that_it_came);
        scope.spawn(with_the_end_of_the_last_try);
        scope.spawn(and_a_signal_has_a_line_of_its_own);
    });
}

fn and_then_that_it_came() {
    let azure = Azure::start();
    azure.next(Door::Imds, Answer::usual().hold());
    let patient = Patient::that_says(&azure, &format!("still {} (1 try)", of_imds(&azure)));
    azure.release();
    let arrived = "akv-init: got every secret after N s\n";
    assert_eq!(
        patient.end(),
        (Some(0), "through\n".to_owned(), arrived.to_owned())
    );
}

fn with_the_end_of_the_last_try() {
    let azure = Azure::start();
    azure.next(Door::Vault, Answer::status(503));
    azure.next(Door::Vault, Answer::usual().hold());
    let last = "503 Service Unavailable, without a reason";
    let line = format!("still {} (2 tries, last: {last})", of_vault(&azure));
    let patient = Patient::that_says(&azure, &line);
    azure.release();
    assert_eq!(patient.end().2, "akv-init: got every secret after N s\n");
}

fn and_a_signal_has_a_line_of_its_own() {
    let azure = Azure::start();
    azure.next(Door::Imds, Answer::usual().hold());
    let doing = format!("{} (1 try)", of_imds(&azure));
    let patient = Patient::that_says(&azure, &format!("still {doing}"));
    patient.running.signal(Signal::SIGTERM);
    let line = format!("akv-init: error: stopped by SIGTERM after N s, while {doing}\n");
    assert_eq!(patient.end(), (Some(143), String::new(), line));
}
