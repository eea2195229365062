//! Signals while it is fetching, and the two lines that show patience.

mod lost;
mod patience;
mod pid_1;

use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::process::Stdio;

use nix::fcntl::{F_GETFL, F_SETFL, OFlag, fcntl};
use nix::sys::signal::Signal;

use crate::azure::{Answer, Azure, Door};
use crate::become_command::inherited;
use crate::support::{Outcome, Run, Running, exec};

const SIGNALS: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// A run that needs one secret, started by somebody who neither ignores nor blocks a signal.
fn run(azure: &Azure, words: &[&str]) -> Run {
    azure.secret("sa", "s3cret");
    let run = exec(azure, words).env("S", format!("akv://{}/sa", azure.vault()));
    run.with(|command| {
        inherited::block(command, &[]);
        inherited::restore(command, &SIGNALS);
    })
}

/// Asserts that a signal ended it while it waited for this, after so many tries.
#[track_caller]
fn stopped(outcome: &Outcome, signal: Signal, doing: &str) {
    assert_eq!(
        without_seconds(&outcome.stderr),
        format!("akv-init: error: stopped by {signal} after N s, while {doing}\n")
    );
    let code = Some(128 + signal as i32);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (code, ""));
}

/// The text with the number between "after " and " s" replaced: a busy machine may take a second more.
fn without_seconds(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" after ") else {
        return text.to_owned();
    };
    let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    assert!(
        behind.len() < rest.len() && behind.starts_with(" s"),
        "{text}"
    );
    format!("{before} after N{behind}")
}

fn of_imds(azure: &Azure) -> String {
    format!(
        "getting an access token from IMDS ({}, managed identity)",
        azure.imds()
    )
}

fn of_vault(azure: &Azure) -> String {
    format!("reading secret `sa` from {} for S", azure.vault())
}

#[test]
fn each_of_four_signals_ends_the_wait_for_a_token() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::usual().hold());
    for (count, signal) in SIGNALS.into_iter().enumerate() {
        let running = run(&azure, &["/bin/true"]).spawn();
        azure.wait_for(Door::Imds, count + 1);
        running.signal(signal);
        stopped(
            &running.outcome(),
            signal,
            &format!("{} (1 try)", of_imds(&azure)),
        );
    }
}

#[test]
fn each_of_four_signals_ends_the_wait_for_a_secret() {
    let azure = Azure::start();
    azure.always(Door::Vault, Answer::usual().hold());
    for (count, signal) in SIGNALS.into_iter().enumerate() {
        let running = run(&azure, &["/bin/true"]).spawn();
        azure.wait_for(Door::Vault, count + 1);
        running.signal(signal);
        stopped(
            &running.outcome(),
            signal,
            &format!("{} (1 try)", of_vault(&azure)),
        );
    }
}

#[test]
fn a_federated_token_is_waited_for_at_entra() {
    let azure = Azure::start();
    azure.always(Door::Login, Answer::usual().hold());
    let workload = azure.workload_environment();
    let run = workload
        .iter()
        .fold(run(&azure, &["/bin/true"]), |run, (name, value)| {
            run.env(name, value)
        });
    let running = run.spawn();
    azure.wait_for(Door::Login, 1);
    running.signal(Signal::SIGTERM);
    let doing = format!(
        "getting an access token from Entra ({}, workload identity with client id {}, tenant {}) (1 try)",
        azure.login(),
        crate::azure::APPLICATION,
        crate::azure::TENANT
    );
    stopped(&running.outcome(), Signal::SIGTERM, &doing);
}

#[test]
fn the_line_says_how_many_tries_there_were_and_how_the_last_one_ended() {
    let azure = Azure::start();
    azure.next(Door::Vault, Answer::status(503));
    azure.next(Door::Vault, Answer::status(500));
    azure.next(Door::Vault, Answer::usual().hold());
    let running = run(&azure, &["/bin/true"]).spawn();
    azure.wait_for(Door::Vault, 3);
    running.signal(Signal::SIGTERM);
    let last = "500 Internal Server Error, without a reason";
    stopped(
        &running.outcome(),
        Signal::SIGTERM,
        &format!("{} (3 tries, last: {last})", of_vault(&azure)),
    );
}

#[test]
fn a_pause_between_tries_is_ended_at_once() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::status(429).header("Retry-After", "20"));
    let last = "429 Too Many Requests";
    let doing = format!("{} (1 try, last: {last})", of_imds(&azure));
    stopped_after("next in 20000 ms", &azure, &doing, || {});
}

#[test]
fn a_handshake_that_is_never_answered_is_ended_at_once() {
    let azure = Azure::start();
    azure.mute(Door::Vault);
    azure.next(Door::Imds, Answer::usual().hold());
    let doing = format!("connecting to {} (1 try)", azure.vault());
    stopped_after("got an access token", &azure, &doing, || {
        azure.wait_for(Door::Imds, 1);
        azure.wait_for_connections(Door::Vault, 1);
        azure.release();
    });
}

/// TERM as soon as `--verbose` has said so.
#[track_caller]
fn stopped_after(line: &str, azure: &Azure, doing: &str, meanwhile: impl FnOnce()) {
    let mut running = run(azure, &["--verbose", "/bin/true"]).spawn();
    meanwhile();
    let stderr = running.child_mut().stderr.take().expect("it is a pipe");
    let mut lines = BufReader::new(stderr)
        .lines()
        .map(|line| line.expect("it is text"));
    assert!(
        lines.any(|said| said.contains(line)),
        "it ended without that line"
    );
    running.signal(Signal::SIGTERM);
    let mut outcome = running.outcome();
    let others = lines.filter(|line| !line.starts_with("akv-init: debug: "));
    outcome.stderr = others.map(|line| line + "\n").collect();
    stopped(&outcome, Signal::SIGTERM, doing);
}

#[test]
fn a_standard_error_that_nobody_reads_delays_no_signal() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::usual().hold());
    let (reader, writer) = full_pipe();
    let mut running = run(&azure, &["/bin/true"])
        .with(|command| inherited::pass(command, writer.into(), 2))
        .spawn();
    azure.wait_for(Door::Imds, 1);
    running.signal(Signal::SIGTERM);
    assert_eq!(ended(&mut running), Some(143));
    drop(reader);
}

#[test]
fn a_standard_error_that_nobody_reads_keeps_no_command_down() {
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
fn a_standard_error_that_was_closed_delays_no_signal() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::usual().hold());
    let running = run(&azure, &["/bin/true"])
        .with(|command| inherited::close(command, &[2]))
        .spawn();
    azure.wait_for(Door::Imds, 1);
    running.signal(Signal::SIGTERM);
    let outcome = running.outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(143), ""));
}

#[test]
fn a_signal_that_came_in_ignored_stays_so() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::usual().hold());
    let running = run(&azure, &["/bin/echo", "through"])
        .with(|command| inherited::ignore(command, &[Signal::SIGHUP, Signal::SIGTERM]))
        .spawn();
    azure.wait_for(Door::Imds, 1);
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGHUP);
    azure.release();
    assert_eq!(running.outcome().stdout_alone(), "through\n");
    // The others still end it.
    let running = run(&azure, &["/bin/echo", "through"])
        .with(|command| inherited::ignore(command, &[Signal::SIGHUP, Signal::SIGTERM]))
        .spawn();
    azure.wait_for(Door::Imds, 2);
    running.signal(Signal::SIGINT);
    stopped(
        &running.outcome(),
        Signal::SIGINT,
        &format!("{} (1 try)", of_imds(&azure)),
    );
}

#[test]
fn a_signal_that_came_in_blocked_waits_for_the_command() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::usual().hold());
    let running = run(&azure, &["/bin/cat", "/proc/self/status"])
        .with(|command| inherited::block(command, &[Signal::SIGTERM, Signal::SIGUSR1]))
        .spawn();
    azure.wait_for(Door::Imds, 1);
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
fn other_signals_do_what_they_always_do() {
    let azure = Azure::start();
    azure.always(Door::Imds, Answer::usual().hold());
    for (count, signal) in [Signal::SIGUSR1, Signal::SIGALRM].into_iter().enumerate() {
        let running = run(&azure, &["/bin/true"]).spawn();
        azure.wait_for(Door::Imds, count + 1);
        running.signal(signal);
        let outcome = running.outcome();
        assert_eq!(
            (outcome.signal, outcome.stderr.as_str()),
            (Some(signal as i32), "")
        );
    }
}

#[test]
fn afterwards_signals_are_the_commands() {
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
