//! The arithmetic of retries: how long to pause before the next attempt, and when the requests to a service that
//! throttles them may go on. There is no clock, no source of random numbers and no I/O here: `bench/herd` simulates
//! thousands of processes with it.
//!
//! A time is a [`Duration`] since the same start. `random` is uniformly distributed over all values of `u32`.

use std::time::Duration;

/// The maximum pause after the first attempt, which doubles after each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The maximum pause after any attempt, unless the service asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(8);
/// The maximum pause after the first throttled request, and the lower bound of the maximum after a later one. Three
/// quarters of the first pause are random: processes that start together must not come back together. It is at least
/// 1 s, with which Key Vault's documentation begins
/// (<https://learn.microsoft.com/azure/key-vault/general/overview-throttling>).
const FIRST_THROTTLED_PAUSE: Duration = Duration::from_secs(4);
/// The maximum pause after any throttled request, unless the service asks for a longer one.
const MAX_THROTTLED_PAUSE: Duration = Duration::from_secs(16);
/// The maximum of what is added to a longer pause that the service asks for.
const MAX_ADDED: Duration = Duration::from_secs(3_600);

/// A random part of a duration.
fn part(duration: Duration, random: u32) -> Duration {
    duration * random / u32::MAX
}

/// The pause after an attempt that failed, the `attempts`-th, with full jitter. A pause that the service asks for is a
/// minimum; one shorter than [`FIRST_PAUSE`], as when a clock is wrong, must not cause a flood of requests.
pub fn pause(attempts: u32, retry_after: Option<Duration>, random: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << (attempts - 1).min(10));
    let pause = part(doubled.min(MAX_PAUSE), random);
    match retry_after {
        Some(delay) => pause.max(delay).max(FIRST_PAUSE),
        None => pause,
    }
}

/// The pause after a throttled request. `waited` is the time since the first pause ended; `None` if this is the first.
///
/// The first is 1 to 4 s. Each further one is between 9/16 and 3/4 of `waited`, within 3 to 16 s: how long throttling has
/// lasted is the only sign of how many processes compete.
///
/// A pause that the service asks for is a minimum, and up to a quarter of it is added: processes that got the same delay
/// at once must not all come back at once.
pub fn throttled_pause(
    waited: Option<Duration>,
    retry_after: Option<Duration>,
    random: u32,
) -> Duration {
    let (max, min) = match waited {
        None => (FIRST_THROTTLED_PAUSE, FIRST_THROTTLED_PAUSE / 4),
        Some(waited) => {
            let max = (waited / 4 * 3).clamp(FIRST_THROTTLED_PAUSE, MAX_THROTTLED_PAUSE);
            (max, max / 4 * 3)
        }
    };
    // A date can be so far away that a multiple of the time until then overflows.
    let added = |delay: Duration| part((delay / 4).min(MAX_ADDED), random);
    let asked = retry_after.map(|delay| delay + added(delay));
    (min + part(max - min, random)).max(asked.unwrap_or_default())
}

/// What all threads share that send requests to one service. It is open until the service throttles a request. Then all
/// threads wait; after a pause one request goes first, and if it is not throttled, the others follow.
#[derive(Default)]
pub struct Gate {
    /// The number of throttled requests in a row, not counting those that were sent together.
    pub refusals: u32,
    /// When one request may go first; `None` while the gate is open.
    pub opens_at: Option<Duration>,
    /// When the first pause of these throttled requests ended, or will end.
    first_opens_at: Duration,
    /// Whether that request has been sent.
    is_probing: bool,
    /// How often the gate has closed.
    closings: u32,
}

/// The permission to send one request: how often the gate had closed by then.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pass(u32);

impl Gate {
    /// Asks whether a request may be sent. `Err` if not: it has the time at which to ask again, `None` if that is when
    /// the request that went first has its response.
    pub fn enter(&mut self, now: Duration) -> Result<Pass, Option<Duration>> {
        match self.opens_at {
            Some(opens_at) if now < opens_at => return Err(Some(opens_at)),
            Some(_) if self.is_probing => return Err(None),
            Some(_) => self.is_probing = true,
            None => {}
        }
        Ok(Pass(self.closings))
    }

    /// Records that a request was not throttled.
    pub fn open(&mut self, pass: Pass) {
        // A request that was sent before the gate closed says nothing about now.
        if pass.0 == self.closings {
            self.refusals = 0;
            self.opens_at = None;
            self.is_probing = false;
        }
    }

    /// Records that a request was throttled. The gate opens at `latest` at the latest. Returns when it opens,
    /// which is in the past if a request is on its way.
    pub fn close(
        &mut self,
        pass: Pass,
        now: Duration,
        retry_after: Option<Duration>,
        latest: Duration,
        random: u32,
    ) -> Duration {
        if pass.0 == self.closings {
            let waited = (self.refusals > 0).then(|| now.saturating_sub(self.first_opens_at));
            let opens_at = (now + throttled_pause(waited, retry_after, random)).min(latest);
            if waited.is_none() {
                self.first_opens_at = opens_at;
            }
            self.refusals += 1;
            self.closings += 1;
            self.is_probing = false;
            self.opens_at = Some(opens_at);
        } else if let (Some(opens_at), Some(delay)) = (&mut self.opens_at, retry_after) {
            // It was sent together with the request that closed the gate, and counts as one with that.
            *opens_at = (now + delay).min(latest).max(*opens_at);
            if self.refusals == 1 {
                self.first_opens_at = *opens_at;
            }
        }
        self.opens_at.unwrap_or(now)
    }
}

/// The deadline after throttling has moved it, as a time since the start of the process: `timeout` after the gate
/// opens, but at most `throttle_timeout`.
pub fn moved_deadline(
    opens_at: Duration,
    timeout: Duration,
    throttle_timeout: Duration,
) -> Duration {
    (opens_at + timeout).min(throttle_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn pauses_are_within_their_ranges() {
        for (attempts, retry_after, min, max) in [
            (1, None, 0, 250),
            (2, None, 0, 500),
            (6, None, 0, 8_000),
            (u32::MAX, None, 0, 8_000),
            (1, Some(0), 250, 250),
            (6, Some(400), 400, 8_000),
        ] {
            let pause = |random| pause(attempts, retry_after.map(ms), random);
            assert_range(pause, min, max, &format!("{attempts} {retry_after:?}"));
        }
        // Until the end of the year 9999.
        let longest = 260_000_000_000_000;
        for (waited, retry_after, min, max) in [
            (None, None, 1_000, 4_000),
            (Some(0), None, 3_000, 4_000),
            (Some(8_000), None, 4_500, 6_000),
            (Some(16_000), None, 9_000, 12_000),
            (Some(longest), None, 12_000, 16_000),
            (None, Some(0), 1_000, 4_000),
            (None, Some(10_000), 10_000, 12_500),
            (Some(60_000), Some(13_600), 13_600, 17_000),
            (None, Some(longest), longest, longest + 3_600_000),
        ] {
            let pause = |random| throttled_pause(waited.map(ms), retry_after.map(ms), random);
            assert_range(pause, min, max, &format!("{waited:?} {retry_after:?}"));
        }
    }

    /// Checks the shortest and the longest pause of a policy, in milliseconds.
    #[track_caller]
    fn assert_range(pause: impl Fn(u32) -> Duration, min: u64, max: u64, row: &str) {
        assert_eq!((pause(0), pause(u32::MAX)), (ms(min), ms(max)), "{row}");
        assert!((ms(min)..=ms(max)).contains(&pause(1 << 31)), "{row}");
    }

    /// What happens at a gate.
    enum Step {
        /// Requests ask to pass, and this is the answer to each.
        Enter(&'static [Result<(), Option<u64>>]),
        /// The request that passed as the given one, counted from 0, is not throttled.
        Open(usize),
        /// That request is throttled, perhaps with a `Retry-After`; the gate opens then.
        Close(usize, Option<u64>, u64),
    }

    use Step::{Close, Enter, Open};

    /// Runs steps, each at its time in milliseconds, with the longest pauses.
    #[track_caller]
    fn run(steps: &[(u64, Step)]) -> Gate {
        let (mut gate, mut passes) = (Gate::default(), Vec::new());
        for (now, step) in steps {
            match step {
                Enter(expected) => {
                    for expected in *expected {
                        let result = gate.enter(ms(*now)).map(|pass| passes.push(pass));
                        assert_eq!(result, expected.map_err(|at| at.map(ms)), "at {now} ms");
                    }
                }
                Open(index) => gate.open(passes[*index]),
                Close(index, retry_after, opens_at) => {
                    let retry_after = retry_after.map(ms);
                    let latest = ms(60_000);
                    let at = gate.close(passes[*index], ms(*now), retry_after, latest, u32::MAX);
                    assert_eq!(at, ms(*opens_at), "at {now} ms");
                }
            }
        }
        gate
    }

    #[test]
    fn one_request_goes_first() {
        let gate = run(&[
            (0, Enter(&[Ok(()), Ok(()), Ok(()), Ok(())])),
            (10, Close(0, None, 4_010)),
            // Sent together: it neither counts as another pause, nor opens the gate, nor shortens the pause of another.
            (20, Close(1, None, 4_010)),
            (20, Open(2)),
            (30, Close(3, Some(4_100), 4_130)),
            (40, Enter(&[Err(Some(4_130)), Err(Some(4_130))])),
            (4_130, Enter(&[Ok(()), Err(None)])),
            (4_140, Close(4, None, 8_140)),
            (8_140, Enter(&[Ok(()), Err(None)])),
            (8_150, Open(5)),
            (8_160, Enter(&[Ok(()), Ok(())])),
        ]);
        assert_eq!((gate.refusals, gate.opens_at), (0, None));
    }

    #[test]
    fn time_begins_when_the_first_pause_has_ended() {
        run(&[
            (0, Enter(&[Ok(()), Ok(())])),
            (0, Close(0, None, 4_000)),
            (10, Close(1, Some(30_000), 30_010)),
            (30_010, Enter(&[Ok(())])),
            (30_020, Close(2, None, 34_020)),
        ]);
    }

    #[test]
    fn pause_grows_with_the_time_starts_again_after_a_success_and_ends_in_time() {
        run(&[
            (0, Enter(&[Ok(()), Ok(())])),
            (0, Close(0, None, 4_000)),
            (12_000, Enter(&[Ok(())])),
            // Three quarters of 8 s, and then of 16 s.
            (12_000, Close(2, None, 18_000)),
            (20_000, Enter(&[Ok(())])),
            (20_000, Close(3, None, 32_000)),
            (32_000, Enter(&[Ok(())])),
            (32_000, Open(4)),
            // Sent before the gate closed, it says nothing about now.
            (32_010, Close(1, None, 32_010)),
            (32_010, Enter(&[Ok(())])),
            (32_010, Close(5, None, 36_010)),
            (59_500, Enter(&[Ok(())])),
            (59_500, Close(6, None, 60_000)),
        ]);
    }

    #[test]
    fn throttling_moves_the_deadline() {
        let moved = |opens_at, timeout, throttle_timeout| {
            moved_deadline(ms(opens_at), ms(timeout), ms(throttle_timeout))
        };
        for (opens_at, timeout, throttle_timeout, expected) in [
            (1_000, 120_000, 600_000, 121_000),
            (500_000, 120_000, 600_000, 600_000),
            (1_000, 120_000, 0, 0),
        ] {
            assert_eq!(moved(opens_at, timeout, throttle_timeout), ms(expected));
        }
    }
}
