//! What the tests of requests and responses share: a run that reads one secret, and a request as values to compare.

use nix::sys::signal::Signal;

use crate::azure::{Azure, Endpoint, Request};
use crate::support::{Outcome, Run, exec, exec_federated};
use crate::support_inherited as inherited;

/// The name of the secret of [`one_secret`].
pub const NAME: &str = "sql-sa";
/// Its value.
pub const VALUE: &str = "pa$$w0rd of sa";

/// A run with these options that puts one secret into `S` and prints it.
pub fn one_secret(azure: &Azure, options: &[&str]) -> Run {
    complete(azure, exec(azure, options))
}

/// The same in a pod with workload identity.
pub fn one_secret_federated(azure: &Azure, options: &[&str]) -> Run {
    complete(azure, exec_federated(azure, options))
}

fn complete(azure: &Azure, run: Run) -> Run {
    azure.secret(NAME, VALUE);
    let reference = format!("S=akv://{}/{NAME}", azure.vault());
    run.args(["--secret", &reference, "--", "printenv", "S"])
}

/// Asserts that standard output is the secret of [`one_secret`] and that standard error is empty.
#[track_caller]
pub fn assert_got_it(outcome: &Outcome) {
    assert_eq!(outcome.stdout_alone(), format!("{VALUE}\n"));
}

/// All headers of a request, sorted, names in lower case, random ids as `UUID`.
pub fn headers(request: &Request) -> Vec<String> {
    let mut lines: Vec<String> = request
        .headers
        .iter()
        .map(|(name, value)| match is_uuid(value) {
            true => format!("{}: UUID", name.to_ascii_lowercase()),
            false => format!("{}: {value}", name.to_ascii_lowercase()),
        })
        .collect();
    lines.sort();
    lines
}

/// All query parameters of a request, decoded and sorted.
pub fn query(request: &Request) -> Vec<String> {
    let pairs = request.query_pairs();
    let mut lines: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
    lines.sort();
    lines
}

/// `User-Agent` as this version sends it.
pub fn user_agent() -> String {
    format!("user-agent: akv-init/{} (linux)", env!("CARGO_PKG_VERSION"))
}

/// The number of attempts that failed and were followed by another, of a run with `--verbose` and `--log-format json`.
#[track_caller]
pub fn attempts(outcome: &Outcome) -> usize {
    let lines = outcome.json_lines();
    lines.iter().filter(|line| line["try"].is_u64()).count()
}

/// The number of requests at IMDS, Entra and the vault.
pub fn counts(azure: &Azure) -> [usize; 3] {
    [Endpoint::Imds, Endpoint::Login, Endpoint::Vault]
        .map(|endpoint| azure.requests_at(endpoint).len())
}

/// The number of connections to all endpoints.
pub fn connections(azure: &Azure) -> u64 {
    Endpoint::ALL
        .iter()
        .map(|endpoint| azure.connections(*endpoint))
        .sum()
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Ends a run by SIGTERM after `event`, whose value is kept until then; the run has printed nothing.
#[track_caller]
pub fn stopped<T>(run: Run, event: impl FnOnce() -> T) -> Outcome {
    let outcome = stopped_while_printing(run, event);
    assert_eq!(outcome.stdout, "", "{}", outcome.stderr);
    outcome
}

/// The same for a run that may have printed something.
#[track_caller]
pub fn stopped_while_printing<T>(run: Run, event: impl FnOnce() -> T) -> Outcome {
    let running = run
        .with(|command| inherited::restore(command, &[Signal::SIGTERM]))
        .spawn();
    let _held = event();
    running.signal(Signal::SIGTERM);
    let outcome = running.outcome();
    assert_eq!(outcome.code, Some(143), "{}", outcome.stderr);
    outcome
}

/// A text with `UUID` for every id.
pub fn without_ids(text: &str) -> String {
    let is_id = |bytes: &[u8]| {
        bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let mut left = text;
    let mut found = String::new();
    while let Some(c) = left.chars().next() {
        let length = match left.as_bytes().get(..36) {
            Some(bytes) if is_id(bytes) => {
                found.push_str("UUID");
                36
            }
            _ => {
                found.push(c);
                c.len_utf8()
            }
        };
        left = &left[length..];
    }
    found
}
