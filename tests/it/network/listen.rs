//! A run that is listened to while it goes on: a test waits for a line of `--verbose`, not for time.

use std::io::{BufRead, BufReader, Read};
use std::process::ChildStderr;

use nix::sys::signal::Signal;

use crate::support::{Outcome, Run, Running};

/// A running process and what it has said on standard error so far.
pub struct Listened {
    running: Running,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Listened {
    /// Starts it.
    pub fn start(run: Run) -> Listened {
        let mut running = run.spawn();
        let stderr = running.child_mut().stderr.take();
        Listened {
            running,
            stderr: BufReader::new(stderr.expect("standard error is a pipe")),
            said: String::new(),
        }
    }

    /// Waits for a line that holds this.
    #[track_caller]
    pub fn until(&mut self, words: &str) {
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).expect("it says UTF-8");
            assert!(read > 0, "it ended without `{words}`:\n{}", self.said);
            self.said.push_str(&line);
            if line.contains(words) {
                return;
            }
        }
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits for its end.
    pub fn outcome(mut self) -> Outcome {
        self.stderr
            .read_to_string(&mut self.said)
            .expect("it says UTF-8");
        Outcome {
            stderr: self.said,
            ..self.running.outcome()
        }
    }
}
