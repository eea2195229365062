//! Descriptors: COMMAND inherits the caller's, closed ones stay closed, and akv-init leaves none of its own.

use std::fs::File;
use std::os::fd::{OwnedFd, RawFd};
use std::process::{Command, Stdio};

use super::Comparison;
use crate::azure::Azure;
use crate::support::exec;
use crate::support_inherited as inherited;

/// Exits with the sum of 1, 2, 4, 8, 16 and 32 for each descriptor from 0 to 5 that is open.
const OPEN: [&str; 3] = [
    "/bin/sh",
    "-c",
    "sum=0 bit=1; for n in 0 1 2 3 4 5; do [ -e /proc/$$/fd/$n ] && sum=$((sum + bit)); bit=$((bit * 2)); done; exit $sum",
];

#[test]
fn command_inherits_exactly_the_descriptors_of_the_caller() {
    let process = Comparison::new();
    let ca_file = process.azure.ca_file().to_owned();
    let pass = |command: &mut Command| {
        let file = File::open(&ca_file).expect("it is there");
        inherited::pass(command, OwnedFd::from(file), 70);
    };
    let outcome = process.compare(&["/bin/ls", "/proc/self/fd"], pass);
    assert!(
        outcome.stdout_alone().lines().any(|line| line == "70"),
        "{outcome:?}"
    );
    let whole = std::fs::read_to_string(&ca_file).expect("it is there");
    assert_eq!(
        process.output(&["/bin/cat", "/proc/self/fd/70"], pass),
        whole
    );
}

#[test]
fn standard_input_is_left_to_command() {
    let process = Comparison::new();
    let run = exec(
        &process.azure,
        ["--secret", &process.secret, "--", "/bin/cat"],
    );
    let mut running = run
        .with(|command| {
            command.stdin(Stdio::piped());
        })
        .spawn();
    running.say("every byte of it");
    assert_eq!(running.outcome().stdout_alone(), "every byte of it");
}

#[test]
fn closed_standard_descriptors_stay_closed() {
    let cases: [(&'static [RawFd], i32); 5] =
        [(&[], 7), (&[0], 6), (&[1], 5), (&[2], 3), (&[0, 1, 2], 0)];
    for (closed, open) in cases {
        let outcome = Comparison::new().compare(&OPEN, |command| inherited::close(command, closed));
        assert_eq!(outcome.code, Some(open), "closed: {closed:?}");
    }
}

#[test]
fn error_without_standard_error_has_its_exit_code() {
    let outcome = exec(&Azure::start(), ["--bogus"])
        .with(|command| inherited::close(command, &[0, 1, 2]))
        .outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(64), ""));
}
