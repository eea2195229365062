//! Signals while secrets are fetched, and the progress lines of a long wait.

mod ending;
mod pid_1;
mod progress;
mod races;

use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::process::Stdio;

use nix::fcntl::{F_GETFL, F_SETFL, OFlag, fcntl};
use nix::sys::signal::Signal;

use serde_json::Value;

use crate::azure::{APPLICATION, Azure, Endpoint, Response, TENANT};
use crate::support::{Outcome, Run, Running, exec};
use crate::support_inherited as inherited;

const SIGNALS: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// A run that needs one secret, whose caller neither ignores nor blocks a signal.
fn run(azure: &Azure, words: &[&str]) -> Run {
    azure.secret("sa", "s3cret");
    let run = exec(azure, words).env("S", format!("akv://{}/sa", azure.vault()));
    run.json().with(|command| {
        inherited::block(command, &[]);
        inherited::restore(command, &SIGNALS);
    })
}

/// Asserts that a signal ended it, and that the error names the signal and each of these.
#[track_caller]
fn stopped(outcome: &Outcome, signal: Signal, names: &[&str]) {
    let failure = outcome.failure(128 + signal as i32, "signal");
    failure.names(signal.as_str());
    for name in names {
        failure.names(name);
    }
}

#[test]
fn signal_ends_the_wait_for_a_token() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    for (count, signal) in SIGNALS.into_iter().enumerate() {
        let running = run(&azure, &["/bin/true"]).spawn();
        azure.wait_for(Endpoint::Imds, count + 1);
        running.signal(signal);
        stopped(&running.outcome(), signal, &[&azure.imds()]);
    }
}

#[test]
fn signal_ends_the_wait_for_a_secret() {
    let azure = Azure::start();
    azure.always(Endpoint::Vault, Response::usual().hold());
    for (count, signal) in SIGNALS.into_iter().enumerate() {
        let running = run(&azure, &["/bin/true"]).spawn();
        azure.wait_for(Endpoint::Vault, count + 1);
        running.signal(signal);
        stopped(&running.outcome(), signal, &["`sa`", &azure.vault()]);
    }
}

#[test]
fn signal_ends_the_wait_for_a_federated_token() {
    let azure = Azure::start();
    azure.always(Endpoint::Login, Response::usual().hold());
    let workload = azure.workload_environment();
    let run = workload
        .iter()
        .fold(run(&azure, &["/bin/true"]), |run, (name, value)| {
            run.env(name, value)
        });
    let running = run.spawn();
    azure.wait_for(Endpoint::Login, 1);
    running.signal(Signal::SIGTERM);
    let names = [&azure.login(), APPLICATION, TENANT];
    stopped(&running.outcome(), Signal::SIGTERM, &names);
}

#[test]
fn interrupted_run_reports_attempts_and_the_last_error() {
    let azure = Azure::start();
    azure.next(Endpoint::Vault, Response::status(503));
    azure.next(Endpoint::Vault, Response::status(500));
    azure.next(Endpoint::Vault, Response::usual().hold());
    let running = run(&azure, &["/bin/true"]).spawn();
    azure.wait_for(Endpoint::Vault, 3);
    running.signal(Signal::SIGTERM);
    let names = [&azure.vault(), "(3 ", "500 Internal Server Error"];
    stopped(&running.outcome(), Signal::SIGTERM, &names);
}

#[test]
fn signal_ends_the_delay_between_attempts() {
    let azure = Azure::start();
    azure.always(
        Endpoint::Imds,
        Response::status(429).header("Retry-After", "20"),
    );
    let names = [&azure.imds(), "429 Too Many Requests"];
    let pauses = |line: &Value| line["next_ms"].as_u64() >= Some(20_000);
    stopped_after(pauses, &azure, &names, || {});
}

#[test]
fn signal_ends_an_unanswered_handshake() {
    let azure = Azure::start();
    azure.mute(Endpoint::Vault);
    azure.next(Endpoint::Imds, Response::usual().hold());
    let has_token = |line: &Value| line["expires"].is_string();
    stopped_after(has_token, &azure, &[&azure.vault()], || {
        azure.wait_for(Endpoint::Imds, 1);
        azure.wait_for_connections(Endpoint::Vault, 1);
        azure.release();
    });
}

/// SIGTERM after the first line of standard error that matches.
#[track_caller]
fn stopped_after(
    matches: impl Fn(&Value) -> bool,
    azure: &Azure,
    names: &[&str],
    meanwhile: impl FnOnce(),
) {
    let mut running = run(azure, &["--verbose", "/bin/true"]).spawn();
    meanwhile();
    let stderr = running.child_mut().stderr.take().expect("it is a pipe");
    let mut lines = BufReader::new(stderr)
        .lines()
        .map(|line| line.expect("it is text"));
    let found = lines.any(|line| matches(&serde_json::from_str(&line).expect("an object")));
    assert!(found, "it ended without that line");
    running.signal(Signal::SIGTERM);
    let mut outcome = running.outcome();
    outcome.stderr = lines.map(|line| line + "\n").collect();
    stopped(&outcome, Signal::SIGTERM, names);
}

#[test]
fn full_standard_error_does_not_delay_a_signal() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    let (reader, writer) = full_pipe();
    let mut running = run(&azure, &["/bin/true"])
        .with(|command| inherited::pass(command, writer.into(), 2))
        .spawn();
    azure.wait_for(Endpoint::Imds, 1);
    running.signal(Signal::SIGTERM);
    assert_eq!(ended(&mut running), Some(143));
    drop(reader);
}

#[test]
fn full_standard_error_does_not_block_command() {
    let azure = Azure::start();
    let (reader, writer) = full_pipe();
    let mut running = run(&azure, &["--verbose", "/bin/true"])
        .with(|command| inherited::pass(command, writer.into(), 2))
        .spawn();
    assert_eq!(ended(&mut running), Some(0));
    drop(reader);
}

/// A pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("there are descriptors");
    let flags = fcntl(&writer, F_GETFL).expect("it is open");
    let flags = OFlag::from_bits_retain(flags);
    fcntl(&writer, F_SETFL(flags | OFlag::O_NONBLOCK)).expect("it is open");
    let full = writer
        .write_all(&vec![b'.'; 1 << 24])
        .map_err(|error| error.kind());
    assert_eq!(full, Err(ErrorKind::WouldBlock));
    fcntl(&writer, F_SETFL(flags)).expect("it is open");
    (reader, writer)
}

/// The exit code, if it ends within ten seconds.
fn ended(running: &mut Running) -> Option<i32> {
    for _ in 0..1_000 {
        if let Some(status) = running.child_mut().try_wait().expect("it is our child") {
            return status.code();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    None
}

#[test]
fn closed_standard_error_does_not_delay_a_signal() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    let running = run(&azure, &["/bin/true"])
        .with(|command| inherited::close(command, &[2]))
        .spawn();
    azure.wait_for(Endpoint::Imds, 1);
    running.signal(Signal::SIGTERM);
    let outcome = running.outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(143), ""));
}

#[test]
fn inherited_ignored_signal_stays_ignored() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    let running = run(&azure, &["/bin/echo", "through"])
        .with(|command| inherited::ignore(command, &[Signal::SIGHUP, Signal::SIGTERM]))
        .spawn();
    azure.wait_for(Endpoint::Imds, 1);
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGHUP);
    azure.release();
    assert_eq!(running.outcome().stdout_alone(), "through\n");
    // The other signals still end it.
    let running = run(&azure, &["/bin/echo", "through"])
        .with(|command| inherited::ignore(command, &[Signal::SIGHUP, Signal::SIGTERM]))
        .spawn();
    azure.wait_for(Endpoint::Imds, 2);
    running.signal(Signal::SIGINT);
    stopped(&running.outcome(), Signal::SIGINT, &[&azure.imds()]);
}

#[test]
fn inherited_blocked_signal_stays_pending_for_command() {
    let azure = Azure::start();
    azure.always(Endpoint::Imds, Response::usual().hold());
    let running = run(&azure, &["/bin/cat", "/proc/self/status"])
        .with(|command| inherited::block(command, &[Signal::SIGTERM, Signal::SIGUSR1]))
        .spawn();
    azure.wait_for(Endpoint::Imds, 1);
    running.signal(Signal::SIGTERM);
    azure.release();
    let outcome = running.outcome();
    let field = |name: &str| {
        let mut lines = outcome.stdout_alone().lines();
        lines
            .find_map(|line| line.strip_prefix(name))
            .expect("a field of status")
    };
    let bit = |signal: Signal| 1_u64 << (signal as u64 - 1);
    assert_eq!(field("ShdPnd:\t"), format!("{:016x}", bit(Signal::SIGTERM)));
    let blocked = bit(Signal::SIGTERM) | bit(Signal::SIGUSR1);
    assert_eq!(field("SigBlk:\t"), format!("{blocked:016x}"));
}

#[test]
fn signals_reach_command_after_the_exec() {
    let azure = Azure::start();
    let script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do read line; done";
    let mut running = run(&azure, &["/bin/sh", "-c", script])
        .with(|command| {
            command.stdin(Stdio::piped());
        })
        .spawn();
    let stdin = running.child_mut().stdin.take().expect("it is a pipe");
    let stdout = running.child_mut().stdout.take().expect("it is a pipe");
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.read_line(&mut line).expect("it is text");
    assert_eq!(line, "ready\n");
    running.signal(Signal::SIGTERM);
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).expect("it is text");
    let outcome = running.outcome();
    assert_eq!(
        (outcome.code, rest.as_str(), outcome.stderr.as_str()),
        (Some(7), "caught\n", "")
    );
}
