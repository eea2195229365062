//! A run whose standard error is read while it goes on: a test waits for a line of `--verbose`, not for time.

use std::io::{BufRead, BufReader, Read};
use std::process::ChildStderr;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Outcome, Run, Running};

/// A running process and its standard error so far.
pub struct Listened {
    running: Running,
    stderr: BufReader<ChildStderr>,
    text: String,
}

impl Listened {
    /// Starts it.
    pub fn start(run: Run) -> Listened {
        let mut running = run.spawn();
        let stderr = running.child_mut().stderr.take();
        Listened {
            running,
            stderr: BufReader::new(stderr.expect("standard error is a pipe")),
            text: String::new(),
        }
    }

    /// Waits for a line that contains this.
    #[track_caller]
    pub fn until(&mut self, words: &str) {
        loop {
            let line = self.next_line();
            assert!(
                !line.is_empty(),
                "it ended without `{words}`:\n{}",
                self.text
            );
            if line.contains(words) {
                return;
            }
        }
    }

    /// Waits for the `debug` line of a failed attempt with this number; the run has `--verbose` and
    /// `--log-format json`.
    #[track_caller]
    pub fn until_attempt(&mut self, number: u32) -> Value {
        self.until_line(|line| line["try"] == number)
    }

    /// Waits for a line for which `found` is true, of a run with `--log-format json`.
    #[track_caller]
    pub fn until_line(&mut self, found: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.next_line();
            assert!(!line.is_empty(), "it ended before:\n{}", self.text);
            match serde_json::from_str(&line) {
                Ok(line) if found(&line) => return line,
                _ => {}
            }
        }
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).expect("UTF-8");
        self.text.push_str(&line);
        line
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits for its end.
    pub fn outcome(mut self) -> Outcome {
        self.stderr.read_to_string(&mut self.text).expect("UTF-8");
        Outcome {
            stderr: self.text,
            ..self.running.outcome()
        }
    }
}
