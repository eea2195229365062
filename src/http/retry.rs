//! Retries: the table that says for each failure of a request whether it is retried, and the loop that makes the
//! attempts.
//!
//! A failure that can go away by itself is retried until the deadline. The backoff starts at 0.25 s and doubles up to 8
//! s, with full jitter; it is at least 1 s after a response that there are too many requests. A longer pause that the
//! service asks for is kept, if it ends before the deadline. A failure that may be temporary or permanent is retried a
//! limited number of times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::random::random;
use crate::error::{Cause, Error, RequestFailure};
use crate::log::{self, Event};
use crate::signals::WaitGuard;

/// The maximum pause after the first attempt, which doubles after each further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The minimum pause after a response that says that there are too many requests. Key Vault's documentation recommends it
/// (<https://learn.microsoft.com/azure/key-vault/general/overview-throttling>).
const MIN_THROTTLED_PAUSE: Duration = Duration::from_secs(1);
/// The maximum pause after any attempt, unless the service asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(8);
/// The time before the deadline that is reserved for the last attempt.
const MIN_ATTEMPT_TIME: Duration = Duration::from_millis(300);

/// How long a failed request is retried.
enum Retry {
    /// Until the deadline.
    UntilDeadline,
    /// For this time, but not beyond the deadline.
    For(Duration),
    /// Up to this number of attempts, including the first one.
    Attempts(u32),
    /// Only with `--wait-for-access`, and until the deadline that this option has extended.
    IfWaitingForAccess,
    /// Not at all: the failure does not go away by itself.
    Never,
}

impl RequestFailure {
    /// The table of failures: how long each is retried, its cause, and the hint for an error that has none.
    fn retry_cause_and_hint(self) -> (Retry, Cause, Option<&'static str>) {
        use Cause::{Config, Denied, NotFound, Protocol, Unavailable};
        use Retry::{Attempts, For, IfWaitingForAccess, Never, UntilDeadline};
        match self {
            // A vault's name exists or does not, but a pod's DNS may not be ready when the pod is.
            RequestFailure::NameNotFound => (For(Duration::from_secs(10)), Unavailable, None),
            RequestFailure::NameServerTimeout => {
                (UntilDeadline, Unavailable, Some(CHECK_NAME_SERVERS_HINT))
            }
            RequestFailure::ConnectionRefused => (UntilDeadline, Unavailable, None),
            RequestFailure::NoRoute => (UntilDeadline, Unavailable, None),
            RequestFailure::ConnectTimeout => (UntilDeadline, Unavailable, None),
            RequestFailure::ResponseTimeout => (UntilDeadline, Unavailable, Some(SLOW_HINT)),
            RequestFailure::DeadlineExceeded => (UntilDeadline, Unavailable, Some(SLOW_HINT)),
            RequestFailure::DeadlineExceededWhileConnecting => (UntilDeadline, Unavailable, None),
            RequestFailure::ConnectionLost => (UntilDeadline, Unavailable, None),
            RequestFailure::ProxyRefused => (Never, Config, None),
            RequestFailure::ProxyFailed => (UntilDeadline, Unavailable, Some(CHECK_PROXY_HINT)),
            RequestFailure::Certificate => (Never, Protocol, None),
            RequestFailure::CertificateExpired => (Never, Protocol, None),
            RequestFailure::UnexpectedResponse => (Never, Protocol, None),
            RequestFailure::Throttled => (UntilDeadline, Unavailable, Some(THROTTLED_HINT)),
            RequestFailure::ServerError => (UntilDeadline, Unavailable, None),
            RequestFailure::IdentityNotYetAssigned => (UntilDeadline, Denied, None),
            RequestFailure::PossiblyPermanent => (Attempts(3), Unavailable, None),
            RequestFailure::PossiblyTemporary => (Attempts(3), Denied, None),
            RequestFailure::IdentityNotFound => (Never, Denied, None),
            RequestFailure::NoManagedIdentity => (Never, Unavailable, None),
            RequestFailure::FederationMismatch => (Attempts(5), Denied, None),
            RequestFailure::AssertionExpired => (Attempts(2), Denied, None),
            RequestFailure::CredentialRefused => (Never, Denied, None),
            RequestFailure::InvalidSettings => (Never, Config, None),
            RequestFailure::MissingPermission => (IfWaitingForAccess, Denied, None),
            RequestFailure::TokenNotYetValid => (UntilDeadline, Unavailable, None),
            // A new token is requested, once.
            RequestFailure::TokenRejected => (Never, Denied, None),
            RequestFailure::SigningKeysUnavailable => (Attempts(5), Unavailable, None),
            RequestFailure::AccessRefused => (Never, Denied, None),
            RequestFailure::SecretNotFound => (Never, NotFound, None),
        }
    }

    /// An error about this failure, with a reason only.
    pub fn error(self, reason: impl Into<String>) -> Error {
        let mut error = Error::new(self.retry_cause_and_hint().1, reason);
        error.request_failure = Some(self);
        error
    }
}

/// The hint for name servers that do not answer.
const CHECK_NAME_SERVERS_HINT: &str = "check the name servers in /etc/resolv.conf: does a network policy allow DNS \
                                       (port 53)? In a cluster: is CoreDNS running?";
/// The hint for a service that accepts connections and does not respond.
const SLOW_HINT: &str = "the service accepts connections but does not respond: it is slow, or a proxy or firewall \
                         holds its responses back";
/// The hint for a service that refuses requests because there are too many.
const THROTTLED_HINT: &str =
    "requests are being throttled; wait, or start fewer containers at once";
/// The hint for a proxy that cannot be reached, or that cannot reach the host.
pub const CHECK_PROXY_HINT: &str = "check HTTPS_PROXY, or add the destination host to NO_PROXY";

/// Adds the hint of the table, unless the error already has a hint.
pub fn with_default_hint(error: Error) -> Error {
    error.hint_if_none(|failure| failure.retry_cause_and_hint().2.map(str::to_owned))
}

/// The deadline that all requests of this run share.
pub struct Deadline {
    started: Instant,
    timeout: Duration,
    /// How long `--wait-for-access` extends the deadline; zero without that option.
    access_extension: Duration,
    /// Whether the deadline is extended, which it is as soon as a vault has refused access.
    is_extended: AtomicBool,
    /// Whether no more attempts are to be made, because another request has failed permanently.
    is_given_up: Mutex<bool>,
    /// Notified when `is_given_up` becomes `true`.
    gave_up: Condvar,
    /// Whether nothing is retried, whatever the table of failures says.
    pub is_single_attempt: bool,
}

impl Deadline {
    /// A deadline at `timeout` from now. With a timeout of zero, each request has one attempt.
    pub fn start(timeout: Duration, access_extension: Duration) -> Self {
        Deadline {
            started: Instant::now(),
            timeout,
            access_extension,
            is_extended: AtomicBool::new(false),
            is_given_up: Mutex::new(false),
            gave_up: Condvar::new(),
            is_single_attempt: false,
        }
    }

    /// A deadline at `timeout` from now, with one attempt of each request.
    pub fn for_one_attempt(timeout: Duration) -> Self {
        Deadline {
            is_single_attempt: true,
            ..Deadline::start(timeout, Duration::ZERO)
        }
    }

    /// When the deadline is; `None` with a timeout of zero, where only the timeouts of one attempt apply.
    pub fn end(&self) -> Option<Instant> {
        let extension = match self.is_extended.load(Ordering::Relaxed) {
            true => self.access_extension,
            false if self.timeout.is_zero() => return None,
            false => Duration::ZERO,
        };
        Some(self.started + self.timeout + extension)
    }

    /// The time until the deadline, or zero once it has passed. `None` if there is no deadline, since the timeout is zero.
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.end()?.saturating_duration_since(Instant::now()))
    }

    /// Makes the current attempts of all requests their last ones.
    pub fn give_up(&self) {
        *self.lock_is_given_up() = true;
        self.gave_up.notify_all();
    }

    fn lock_is_given_up(&self) -> MutexGuard<'_, bool> {
        self.is_given_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Pauses before the next attempt. Returns whether to make that attempt: `false` after [`Deadline::give_up`].
    fn sleep(&self, pause: Duration) -> bool {
        let is_given_up = self.lock_is_given_up();
        let result = self
            .gave_up
            .wait_timeout_while(is_given_up, pause, |is_given_up| !*is_given_up);
        let (is_given_up, _) = result.unwrap_or_else(PoisonError::into_inner);
        !*is_given_up
    }

    /// Whether a 403 of a vault is retried, because `--wait-for-access` is given.
    pub fn waits_for_access(&self) -> bool {
        !self.access_extension.is_zero()
    }

    /// The pause before the next attempt. `Err` if no attempt is to follow; it contains the delay that the service
    /// asks for, if that would end past the deadline.
    fn next_pause(
        &self,
        error: &Error,
        attempts: u32,
        streak: &Streak,
    ) -> Result<Duration, Option<Duration>> {
        let retry = error
            .request_failure
            .map_or(Retry::Never, |failure| failure.retry_cause_and_hint().0);
        let limit = match retry {
            _ if self.is_single_attempt => return Err(None),
            Retry::UntilDeadline => Duration::MAX,
            Retry::For(limit) => limit.saturating_sub(streak.started.elapsed()),
            Retry::Attempts(limit) if streak.attempts < limit => Duration::MAX,
            Retry::IfWaitingForAccess if self.waits_for_access() => {
                self.is_extended.store(true, Ordering::Relaxed);
                Duration::MAX
            }
            Retry::Attempts(_) | Retry::IfWaitingForAccess | Retry::Never => return Err(None),
        };
        let remaining = self.remaining().ok_or(None)?.min(limit);
        let ceiling = FIRST_PAUSE
            .saturating_mul(1 << (attempts - 1).min(10))
            .min(MAX_PAUSE);
        let backoff = ceiling * u32::from_le_bytes(random()) / u32::MAX;
        let min_pause = match error.request_failure {
            Some(RequestFailure::Throttled) => MIN_THROTTLED_PAUSE,
            _ => Duration::ZERO,
        };
        match error.retry_after {
            Some(delay) if delay >= remaining => Err(Some(delay)),
            // A delay of zero, or a date in the past by a wrong clock, must not cause a thousand requests a second.
            Some(delay) => Ok(delay.max(backoff).max(FIRST_PAUSE).min(remaining)),
            None if remaining > MIN_ATTEMPT_TIME => {
                Ok(backoff.max(min_pause).min(remaining - MIN_ATTEMPT_TIME))
            }
            None => Err(None),
        }
    }
}

/// Consecutive attempts with the same failure. The limits in the table of failures apply to one streak; earlier
/// attempts with other failures do not count.
struct Streak {
    attempts: u32,
    started: Instant,
}

/// Makes attempts until one succeeds or fails for good, or the deadline has passed. `wait` shows the user what is
/// being done.
///
/// Returns the error of the last attempt; if the deadline cut that attempt off, the error of the attempt before, which
/// says more about the service.
pub fn retry<T>(
    deadline: &Deadline,
    mut wait: WaitGuard,
    mut attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let started = Instant::now();
    let mut previous: Option<Error> = None;
    let mut streak = Streak {
        attempts: 0,
        started,
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if previous
            .as_ref()
            .and_then(|previous| previous.request_failure)
            != error.request_failure
        {
            streak = Streak {
                attempts: 0,
                started: Instant::now(),
            };
        }
        streak.attempts += 1;
        let pause = deadline.next_pause(&error, attempts, &streak);
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
            Err(None) => return Err(with_attempts(last, attempts, started.elapsed())),
            Err(Some(delay)) => {
                let seconds = delay.as_secs();
                return Err(with_attempts(last, attempts, started.elapsed())
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
            let mut error = with_attempts(last, attempts, started.elapsed());
            // A retry might have succeeded, so the permanent error of another request is reported first.
            error.cause = Cause::Unavailable;
            return Err(error);
        }
        wait.update(attempts + 1, &last);
        previous = Some(last);
    }
}

/// Adds to the final error the number of attempts and the time they took.
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
