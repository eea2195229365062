//! `akv-init write --every`: refreshes the files, in rounds.
//!
//! A round is one `write`, in a process of its own. It gets what the rounds before it have left in a file in memory: the
//! access tokens, the lines that were written, and the last failure. The first round fails as `write` does. A later one
//! that fails leaves the files as they are, and the process keeps running.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::write::WriteJob;
use crate::azure::identity::{AccessToken, KnownTokens, TokenRequest};
use crate::date;
use crate::error::{Cause, Error};
use crate::http;
use crate::log::{self, Event};
use crate::os;
use crate::output::memfd;
use crate::request::arguments::Arguments;
use crate::secret::Secret;
use crate::signals::{self, RoundProcess, Rounds, Woken};

/// An access token is used again if it is valid for this long, in seconds.
const MIN_TOKEN_LIFETIME: i64 = 300;
/// Where a [`State`], as JSON, begins in the file, in bytes. Before it is the number of seconds that a service asks to
/// wait, in binary: the parent reads it, and does not allocate in any round.
const STATE_OFFSET: u64 = 8;
/// The maximum number of lines that are remembered.
const MAX_LINES: usize = 1_000;

/// Does rounds until a signal ends the process. Returns the exit code: 0 once a round was complete.
pub fn run(arguments: &Arguments<'_>) -> Result<u8, Error> {
    let job = WriteJob::parse(arguments)?;
    let interval = job.options.every.unwrap_or_default();
    os::forbid_memory_access();
    let memory = memfd::create_private()?;
    let rounds = Rounds::begin()?;
    // An init container may just have written the files.
    let age = job.written_at().map(|at| date::unix_now() - at);
    let age = age.and_then(|age| u64::try_from(age).ok());
    let age = age.map(Duration::from_secs).filter(|age| *age < interval);
    let mut is_complete = age.is_some();
    let mut wait = age.map(|age| delay(interval, random(), age, Duration::ZERO));
    let mut problem = None;
    loop {
        if let Some(wait) = wait {
            log::debug(|| {
                let seconds = wait.as_secs();
                Event::new(format!("the next round is due in {seconds} s")).fact("next", seconds)
            });
            if rounds.wait_until(Instant::now() + wait) == Woken::Stopped {
                return Ok(0);
            }
        }
        let mut is_round_requested = false;
        let new_problem = match rounds.start() {
            Ok(RoundProcess::Child) => return do_round(job, is_complete, &memory),
            Ok(RoundProcess::Parent(end)) => {
                is_complete |= end.exit_code == 0;
                match (is_complete, end.stopped_by) {
                    (true, None) => {}
                    (true, Some(_)) => return Ok(0),
                    (false, None) => return Ok(end.exit_code),
                    (false, Some(signal)) => return Ok(128 + signal as u8),
                }
                is_round_requested = end.is_round_requested;
                let code = end.exit_code;
                (code != 0).then(|| format!("the process of a round ended with exit code {code}"))
            }
            Err(error) if is_complete => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        if let Some(text) = &new_problem
            && new_problem != problem
        {
            log::warning(format!("{text}; the files stay as they are"));
        }
        problem = new_problem;
        let pause = delay(interval, random(), Duration::ZERO, retry_after(&memory));
        wait = (!is_round_requested).then_some(pause);
    }
}

/// The time until the next round: `interval`, 10 % more or less by a random number, less the `age` of the files; but no
/// shorter than a service asks to wait.
fn delay(interval: Duration, random: u32, age: Duration, retry_after: Duration) -> Duration {
    let millis = interval.as_secs() * 1_000;
    // 128 bits, since the interval may be a hundred years.
    let jitter = (u128::from(millis / 5) * u128::from(random)) >> u32::BITS;
    let interval = Duration::from_millis(millis - millis / 10 + jitter as u64);
    interval.saturating_sub(age).max(retry_after)
}

fn random() -> u32 {
    u32::from_le_bytes(http::random())
}

/// Does a round in this process, which then ends. Returns the exit code. `is_later` is whether the files are complete.
fn do_round(job: WriteJob<'_>, is_later: bool, memory: &File) -> Result<u8, Error> {
    let mut state = State::read(memory);
    store_retry_after(memory, Duration::ZERO);
    log::begin_round(is_later.then(|| state.lines.clone()));
    if is_later {
        signals::exit_silently();
    }
    let dir = job.options.dir.clone();
    match job.run(state.tokens.clone()) {
        Ok(Some(done)) => {
            if state.failed_rounds > 0 {
                let count = state.failed_rounds;
                let noun = if count == 1 { "round" } else { "rounds" };
                let text = format!("succeeded after {count} {noun} that failed");
                log::outcome(Event::new(text).fact("failed_rounds", count));
            }
            if done.is_change || !is_later {
                log::outcome(done.summary);
            }
            state = State {
                tokens: done.tokens,
                ..State::default()
            };
        }
        Ok(None) => {}
        Err(error) if !is_later => return Err(error),
        Err(error) => {
            state.failed_rounds += 1;
            // A group that the identity has joined is in a new token only.
            if error.cause == Cause::Denied {
                state.tokens.clear();
            }
            let failure = Some(failure_hash(&error));
            if state.failure != failure {
                state.failure = failure;
                report(&error, &dir.display().to_string());
            }
            store_retry_after(memory, error.retry_after.unwrap_or_default());
        }
    }
    for hash in log::lines_of_round() {
        if !state.lines.contains(&hash) && state.lines.len() < MAX_LINES {
            state.lines.push(hash);
        }
    }
    state.write(memory);
    Ok(0)
}

/// Writes why a round has failed.
fn report(error: &Error, dir: &str) {
    let text = format!("{error}; the files in `{dir}` stay as they are");
    let event = Event::about(error, text);
    log::failure(event, error.hint.as_deref());
}

/// A hash of what a failure is about. Failures with the same hash are reported once. While Azure cannot be reached, each
/// round may fail at another step.
fn failure_hash(error: &Error) -> u64 {
    let name = error.cause.name();
    log::hash(&match error.cause {
        Cause::Unavailable => name.to_owned(),
        _ => format!("{name} {:?} {}", error.context, error.reason),
    })
}

/// What a round leaves for the next one.
#[derive(Default)]
struct State {
    /// The hash of the failure that was last reported; `None` after a round that has succeeded.
    failure: Option<u64>,
    /// The number of rounds that have failed since one has succeeded.
    failed_rounds: u64,
    /// The hashes of the lines of the round.
    lines: Vec<u64>,
    /// The access tokens that are still valid.
    tokens: KnownTokens,
}

impl State {
    /// The state that the round before has left.
    fn read(memory: &File) -> State {
        let size = memory.metadata().map_or(0, |status| status.len());
        let mut text = vec![0; size.saturating_sub(STATE_OFFSET) as usize];
        let _ = memory.read_exact_at(&mut text, STATE_OFFSET);
        let state: Value = serde_json::from_slice(&text).unwrap_or_default();
        let list = |name: &str| state[name].as_array().map_or(&[][..], Vec::as_slice);
        let is_valid =
            |token: &AccessToken| date::unix_now() + MIN_TOKEN_LIFETIME < token.expires_on;
        let tokens = list("tokens").iter().filter_map(|token| {
            let text = |name: &str| token[name].as_str().map(str::to_owned);
            let request = TokenRequest {
                resource: text("resource")?,
                tenant: text("tenant"),
                is_known_resource: token["is_known_resource"].as_bool()?,
            };
            let token =
                AccessToken::new(Secret::new(text("value")?), token["expires_on"].as_i64()?);
            is_valid(&token).then(|| (request, Arc::new(token)))
        });
        State {
            failure: state["failure"].as_u64(),
            failed_rounds: state["failed_rounds"].as_u64().unwrap_or_default(),
            lines: list("lines").iter().filter_map(Value::as_u64).collect(),
            tokens: tokens.collect(),
        }
    }

    /// Leaves the state for the next round.
    fn write(self, memory: &File) {
        let tokens = self.tokens.into_iter().map(|(request, token)| {
            json!({
                "resource": request.resource,
                "tenant": request.tenant,
                "is_known_resource": request.is_known_resource,
                "value": token.value.expose(),
                "expires_on": token.expires_on,
            })
        });
        let mut state = json!({"failure": self.failure, "failed_rounds": self.failed_rounds});
        state["lines"] = self.lines.into();
        state["tokens"] = tokens.collect();
        // Without it the next round gets its own tokens.
        let _ = memory.set_len(STATE_OFFSET);
        let _ = memory.write_all_at(state.to_string().as_bytes(), STATE_OFFSET);
    }
}

/// Leaves for the parent how long a service asks to wait.
fn store_retry_after(memory: &File, delay: Duration) {
    let _ = memory.write_all_at(&delay.as_secs().to_le_bytes(), 0);
}

/// How long a service asks to wait, as the last round has left it.
fn retry_after(memory: &File) -> Duration {
    let mut bytes = [0; STATE_OFFSET as usize];
    match memory.read_exact_at(&mut bytes, 0) {
        Ok(()) => Duration::from_secs(u64::from_le_bytes(bytes)),
        Err(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_the_interval_with_jitter_less_the_age_or_what_the_service_asks_for() {
        const MINUTE: u64 = 60;
        for (random, age, retry_after, expected) in [
            (0, 0, 0, 9 * MINUTE),
            (u32::MAX / 2, 0, 0, 10 * MINUTE),
            (u32::MAX, 0, 0, 11 * MINUTE),
            (u32::MAX / 2, 4 * MINUTE, 0, 6 * MINUTE),
            (0, 599, 0, 0),
            (u32::MAX / 2, 0, 5 * MINUTE, 10 * MINUTE),
            (u32::MAX, 0, 3_600, 3_600),
            (u32::MAX, 0, 1 << 40, 1 << 40),
        ] {
            let seconds = Duration::from_secs;
            let actual = delay(seconds(600), random, seconds(age), seconds(retry_after));
            let difference = actual.abs_diff(seconds(expected));
            assert!(difference < seconds(1), "{actual:?} is not {expected} s");
        }
    }
}
