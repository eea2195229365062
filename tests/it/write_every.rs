//! `write --every`: rounds that refresh the files, until a signal ends the process. A test asks for each round by SIGHUP,
//! and knows by the line about the next one that it is over.

mod changes;
mod clock;
mod failures;
mod long;
mod starts;
mod stops;
mod waits;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::ChildStderr;
use std::thread;

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::azure::{Azure, Endpoint, Response};
use crate::support::{Run, Running};
use crate::support_files::Place;
use crate::support_tracer::Stopped;

/// A secret that is not there.
fn deleted() -> Response {
    Response::vault_error(404, "SecretNotFound", None, "deleted")
}

/// A run of `write --every 10m` with these words, which logs every step as JSON.
fn every(place: &Place, azure: &Azure, words: &[&str]) -> Run {
    let run = place.write(azure, &[&["--every", "10m", "-v"], words].concat());
    run.without("AKV_INIT_QUIET").json()
}

/// One that runs.
struct Sidecar {
    running: Running,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Sidecar {
    fn start(run: Run) -> Sidecar {
        let mut running = run.spawn();
        let stderr = running.child_mut().stderr.take().expect("a pipe");
        let lines = BufReader::new(stderr).lines();
        Sidecar { running, lines }
    }

    /// Starts it, and waits for the end of the first round. Returns the first round's lines too.
    #[track_caller]
    fn ready(run: Run) -> (Sidecar, Vec<Value>) {
        let mut sidecar = Sidecar::start(run);
        let (lines, _) = sidecar.round_end();
        (sidecar, lines)
    }

    /// The lines until the wait for the next round, without debug lines; and the seconds of that wait.
    #[track_caller]
    fn round_end(&mut self) -> (Vec<Value>, u64) {
        let mut lines = Vec::new();
        for line in self.lines.by_ref() {
            let line: Value = serde_json::from_str(&line.unwrap()).expect("a JSON object");
            match line["next"].as_u64() {
                Some(next) => return (lines, next),
                None if line["level"] == "debug" => {}
                None => lines.push(line),
            }
        }
        panic!("it has ended: {lines:?}");
    }

    /// Asks for a round, and returns its lines.
    #[track_caller]
    fn round(&mut self) -> Vec<Value> {
        self.running.signal(Signal::SIGHUP);
        self.round_end().0
    }

    /// Asks for a round, which writes nothing.
    #[track_caller]
    fn silent_round(&mut self) {
        let lines = self.round();
        assert!(lines.is_empty(), "{lines:?}");
    }

    /// Asks for a round, which writes one line of this level.
    #[track_caller]
    fn round_with(&mut self, level: &str) -> Value {
        let lines = self.round();
        assert!(
            lines.len() == 1 && lines[0]["level"] == level,
            "{level}: {lines:?}"
        );
        lines[0].clone()
    }

    /// Sends a signal and waits for the end. Returns the exit code and the lines since the last round.
    fn end(self, signal: Signal) -> (Option<i32>, Vec<Value>) {
        self.running.signal(signal);
        let lines = self.lines.map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).expect("a JSON object");
            line
        });
        let lines = lines.filter(|line| line["level"] != "debug").collect();
        (self.running.outcome().code, lines)
    }

    /// Ends it by TERM: with 0, and without a line.
    #[track_caller]
    fn stop(self) {
        assert_eq!(self.end(Signal::SIGTERM), (Some(0), Vec::new()));
    }

    /// Waits until it sleeps, which it does right after the line about the next round.
    fn until_asleep(&self) {
        while !self.status("State").starts_with('S') {
            thread::yield_now();
        }
    }

    /// The value of a field of its /proc/PID/status.
    fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.pid())).unwrap();
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.expect("the kernel has it").trim().to_owned()
    }

    /// What its descriptors are: `socket:[…]`, for example.
    fn descriptors(&self) -> Vec<String> {
        let listing = fs::read_dir(format!("/proc/{}/fd", self.running.pid())).unwrap();
        let paths = listing.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
        paths
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    }
}

/// The timeout in seconds of a call that waits for the next round; `None` for other calls.
fn wait_of(call: &Stopped) -> Option<u64> {
    const SHORTEST: u64 = 10;
    let at = match call.number {
        libc::SYS_ppoll if call.args[2] != 0 => call.args[2] as ptrace::AddressType,
        _ => return None,
    };
    let seconds = ptrace::read(call.pid, at).expect("a timespec is there");
    Some(seconds.cast_unsigned()).filter(|seconds| *seconds > SHORTEST)
}

/// The number of requests at an endpoint so far.
fn count(azure: &Azure, endpoint: Endpoint) -> usize {
    azure.requests_at(endpoint).len()
}
