//! Attempts: the table that says for each kind of error whether there is another attempt, and the loop that makes them.
//!
//! An error that can go away by itself is retried until the deadline: after 0.25 s, doubling to 8 s, each with full
//! jitter, or after as long as the service asks for if that fits the deadline. Errors that are intermittent and may
//! also be permanent are retried a limited number of times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::random::random;
use crate::error::{Cause, Error, RequestFailure};
use crate::log::{self, Event};
use crate::signals::WaitGuard;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The time that a last attempt needs before the deadline.
const LAST_ATTEMPT: Duration = Duration::from_millis(300);

/// Whether there is another attempt.
enum Retry {
    /// Until the deadline.
    UntilDeadline,
    /// For this long, if the deadline is not sooner.
    For(Duration),
    /// This many attempts in all.
    Attempts(u32),
    /// Only with `--wait-for-access`, which extends the deadline.
    WithAccess,
    /// The error does not go away by itself.
    Never,
}

impl RequestFailure {
    /// The table: whether there is another attempt; who has to act when there is none; and the hint where the service
    /// has none of its own.
    fn row(self) -> (Retry, Cause, Option<&'static str>) {
        use Cause::{Config, Denied, NotFound, Protocol, Unavailable};
        use Retry::{Attempts, For, Never, UntilDeadline, WithAccess};
        match self {
            // A vault's name exists or does not, but a pod's DNS may not be ready when the pod is.
            RequestFailure::NameNotFound => (For(Duration::from_secs(10)), Unavailable, None),
            RequestFailure::NameServerTimeout => {
                (UntilDeadline, Unavailable, Some(CHECK_NAME_SERVERS))
            }
            RequestFailure::ConnectionRefused => (UntilDeadline, Unavailable, None),
            RequestFailure::NoRoute => (UntilDeadline, Unavailable, None),
            RequestFailure::ConnectTimeout => (UntilDeadline, Unavailable, None),
            RequestFailure::ResponseTimeout => (UntilDeadline, Unavailable, Some(SLOW)),
            RequestFailure::DeadlineExceeded => (UntilDeadline, Unavailable, Some(SLOW)),
            RequestFailure::DeadlineExceededWhileConnecting => (UntilDeadline, Unavailable, None),
            RequestFailure::ConnectionLost => (UntilDeadline, Unavailable, None),
            RequestFailure::ProxyRefused => (Never, Config, None),
            RequestFailure::ProxyFailed => (UntilDeadline, Unavailable, Some(CHECK_PROXY_HINT)),
            RequestFailure::Certificate => (Never, Protocol, None),
            RequestFailure::CertificateExpired => (Never, Protocol, None),
            RequestFailure::UnexpectedResponse => (Never, Protocol, None),
            RequestFailure::Throttled => (UntilDeadline, Unavailable, Some(THROTTLED)),
            RequestFailure::ServerError => (UntilDeadline, Unavailable, None),
            RequestFailure::IdentityNotYetAssigned => (UntilDeadline, Denied, None),
            RequestFailure::ServerErrorOrUnknownResource => (Attempts(3), Unavailable, None),
            RequestFailure::IdentityNotFound => (Never, Denied, None),
            RequestFailure::NoManagedIdentity => (Never, Unavailable, None),
            RequestFailure::FederationMismatch => (Attempts(5), Denied, None),
            RequestFailure::AssertionExpired => (Attempts(2), Denied, None),
            RequestFailure::CredentialRefused => (Never, Denied, None),
            RequestFailure::InvalidSettings => (Never, Config, None),
            RequestFailure::MissingPermission => (WithAccess, Denied, None),
            RequestFailure::TokenNotYetValid => (UntilDeadline, Unavailable, None),
            RequestFailure::SigningKeysUnavailable => (Attempts(5), Unavailable, None),
            RequestFailure::AccessRefused => (Never, Denied, None),
            RequestFailure::SecretNotFound => (Never, NotFound, None),
        }
    }

    /// An error of this kind, with nothing but a reason.
    pub fn error(self, reason: impl Into<String>) -> Error {
        let mut error = Error::new(self.row().1, reason);
        error.request_failure = Some(self);
        error
    }
}

const CHECK_NAME_SERVERS: &str = "check the name servers in /etc/resolv.conf: does a network policy allow DNS (port \
                                  53)? In a cluster: is CoreDNS running?";
const SLOW: &str = "the service accepts connections but does not respond: it is slow, or a proxy or firewall holds \
                    its responses back";
const THROTTLED: &str = "requests are being throttled; wait, or start fewer containers at once";
/// The hint where a proxy cannot be reached, or does not reach the host.
pub const CHECK_PROXY_HINT: &str = "check HTTPS_PROXY, or name the host in NO_PROXY";

/// Adds the hint for an error's kind, if the error has none.
pub fn with_default_hint(error: Error) -> Error {
    error.hint_if_none(|kind| kind.row().2.map(str::to_owned))
}

/// The one deadline of identity and vault together, and whether it is extended.
pub struct Deadline {
    started: Instant,
    timeout: Duration,
    access: Duration,
    /// A vault refused access, and `--wait-for-access` extends the deadline.
    extended: AtomicBool,
    /// Something else failed permanently: no more attempts.
    given_up: Mutex<bool>,
    /// Notified when `given_up` is set.
    woken: Condvar,
    /// Whether there is no second attempt, whatever the table says.
    once: bool,
}

impl Deadline {
    /// Starts the clock. A timeout of zero is one attempt each.
    pub fn start(timeout: Duration, access: Duration) -> Self {
        Deadline {
            started: Instant::now(),
            timeout,
            access,
            extended: AtomicBool::new(false),
            given_up: Mutex::new(false),
            woken: Condvar::new(),
            once: false,
        }
    }

    /// Starts the clock for one attempt.
    pub fn attempt(within: Duration) -> Self {
        Deadline {
            once: true,
            ..Deadline::start(within, Duration::ZERO)
        }
    }

    /// The instant of the deadline. Without a deadline, only the timeouts of one attempt apply.
    pub fn end(&self) -> Option<Instant> {
        let access = match self.extended.load(Ordering::Relaxed) {
            true => self.access,
            false if self.timeout.is_zero() => return None,
            false => Duration::ZERO,
        };
        Some(self.started + self.timeout + access)
    }

    /// The time until then.
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.end()?.saturating_duration_since(Instant::now()))
    }

    /// Makes the present attempts the last ones.
    pub fn give_up(&self) {
        *self.given_up() = true;
        self.woken.notify_all();
    }

    fn given_up(&self) -> MutexGuard<'_, bool> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pauses between two attempts. Returns whether there is to be another one.
    fn sleep(&self, pause: Duration) -> bool {
        let given_up = self.given_up();
        let result = self
            .woken
            .wait_timeout_while(given_up, pause, |given_up| !*given_up);
        let (given_up, _) = result.unwrap_or_else(PoisonError::into_inner);
        !*given_up
    }

    /// Whether a vault's 403 is retried.
    pub fn waits_for_access(&self) -> bool {
        !self.access.is_zero()
    }

    /// How long to pause before another attempt. Where there is none, the error is how long the service asks to wait, if
    /// that is past the deadline.
    fn pause(
        &self,
        error: &Error,
        attempts: u32,
        streak: &Streak,
    ) -> Result<Duration, Option<Duration>> {
        let retry = error
            .request_failure
            .map_or(Retry::Never, |kind| kind.row().0);
        let limit = match retry {
            _ if self.once => return Err(None),
            Retry::UntilDeadline => Duration::MAX,
            Retry::For(limit) => limit.saturating_sub(streak.since.elapsed()),
            Retry::Attempts(limit) if streak.attempts < limit => Duration::MAX,
            Retry::WithAccess if self.waits_for_access() => {
                self.extended.store(true, Ordering::Relaxed);
                Duration::MAX
            }
            Retry::Attempts(_) | Retry::WithAccess | Retry::Never => return Err(None),
        };
        let remaining = self.remaining().ok_or(None)?.min(limit);
        let ceiling = FIRST_PAUSE
            .saturating_mul(1 << (attempts - 1).min(10))
            .min(LONGEST_PAUSE);
        let backoff = ceiling * u32::from_le_bytes(random()) / u32::MAX;
        match error.retry_after {
            Some(delay) if delay >= remaining => Err(Some(delay)),
            // Zero, or a date in the past because of a wrong clock, must not cause a thousand requests a second.
            Some(delay) => Ok(delay.max(backoff).max(FIRST_PAUSE).min(remaining)),
            None if remaining > LAST_ATTEMPT => Ok(backoff.min(remaining - LAST_ATTEMPT)),
            None => Err(None),
        }
    }
}

/// Consecutive attempts with the same kind of error. A limit applies to one streak: other errors before it do not
/// count.
struct Streak {
    attempts: u32,
    since: Instant,
}

/// Makes attempts until one succeeds, cannot succeed, or the time is over. `wait` shows the user what is being done.
///
/// The error is that of the last attempt which got one from the service: a final attempt that the deadline cut off says
/// nothing.
pub fn retry<T>(
    deadline: &Deadline,
    mut wait: WaitGuard,
    mut attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let since = Instant::now();
    let mut previous: Option<Error> = None;
    let mut streak = Streak { attempts: 0, since };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match attempt() {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if previous
            .as_ref()
            .and_then(|previous| previous.request_failure)
            != error.request_failure
        {
            let since = Instant::now();
            streak = Streak { attempts: 0, since };
        }
        streak.attempts += 1;
        let pause = deadline.pause(&error, attempts, &streak);
        let was_cut_off = matches!(
            error.request_failure,
            Some(
                RequestFailure::DeadlineExceeded | RequestFailure::DeadlineExceededWhileConnecting
            )
        );
        let last = match previous.take() {
            Some(earlier) if was_cut_off => earlier,
            _ => error,
        };
        let pause = match pause {
            Ok(pause) => pause,
            Err(None) => return Err(with_attempts(last, attempts, since.elapsed())),
            Err(Some(delay)) => {
                let seconds = delay.as_secs();
                return Err(with_attempts(last, attempts, since.elapsed())
                    .note(format!(
                        "the service asks to wait {seconds} s, which is past the deadline"
                    ))
                    .fact("retry_after", seconds.to_string()));
            }
        };
        wait.update(attempts, &last);
        log::debug(|| {
            let next = pause.as_millis() as u64;
            Event::new(format!("attempt {attempts}: {last}; next in {next} ms"))
                .fact("try", attempts)
                .fact("next_ms", next)
        });
        if !deadline.sleep(pause) {
            let mut error = with_attempts(last, attempts, since.elapsed());
            // Another attempt might have succeeded: what failed permanently in the meantime is reported first.
            error.cause = Cause::Unavailable;
            return Err(error);
        }
        wait.update(attempts + 1, &last);
        previous = Some(last);
    }
}

/// The final error, with the number of attempts and how long they took.
fn with_attempts(last: Error, attempts: u32, elapsed: Duration) -> Error {
    let error = with_default_hint(last);
    if attempts == 1 {
        return error;
    }
    let seconds = elapsed.as_secs();
    error
        .note(format!("after {attempts} attempts in {seconds} s"))
        .fact("attempts", attempts.to_string())
}
