//! Retries: the table that says for each failure of a request whether it is retried, and the loop that makes the
//! attempts.
//!
//! A failure that can go away by itself is retried until the deadline, with the pauses of `backoff.rs`. A longer pause
//! that the service asks for is kept, if it ends before the deadline. A failure that may be temporary or permanent is
//! retried a limited number of times. A service that throttles requests gets none from any thread during the pause, and
//! moves the deadline.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backoff::{self, Gate, Pass};
use super::random::random;
use crate::error::{Cause, Error, RequestFailure};
use crate::log::{self, Event};
use crate::signals::WaitGuard;

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

/// Whether a failure closes the gate of its service: the service has too many requests, or says when to come back.
fn closes_gate(error: &Error) -> bool {
    match error.request_failure {
        Some(RequestFailure::Throttled) => true,
        Some(RequestFailure::ServerError) => error.retry_after.is_some(),
        _ => false,
    }
}

/// The deadline that all requests of this run share, and the gates of the services.
pub struct Deadline {
    started: Instant,
    timeout: Duration,
    /// How long `--wait-for-access` extends the deadline; zero without that option.
    access_extension: Duration,
    /// How long after `started` throttling can move the deadline; zero if it does not move it.
    throttle_timeout: Duration,
    /// Whether the deadline is extended, which it is as soon as a vault has refused access.
    is_extended: AtomicBool,
    /// How many milliseconds after `started` the deadline is that throttling has moved; zero until then.
    moved_ms: AtomicU64,
    state: Mutex<State>,
    /// Notified when `state` changes in a way that a thread may wait for.
    changed: Condvar,
    /// Whether nothing is retried, whatever the table of failures says.
    pub is_single_attempt: bool,
}

/// What the threads of a run tell each other about attempts.
#[derive(Default)]
struct State {
    /// Whether no more attempts are to be made, because another request has failed permanently.
    is_given_up: bool,
    /// The services whose gate has been closed.
    throttled: Vec<ThrottledService>,
}

/// A service whose gate has been closed.
struct ThrottledService {
    name: String,
    gate: Gate,
    /// The last error that closed the gate.
    last_error: Error,
}

impl State {
    fn find(&mut self, name: &str) -> Option<&mut ThrottledService> {
        self.throttled.iter_mut().find(|known| known.name == name)
    }
}

impl Deadline {
    /// A deadline at `timeout` from now. With a timeout of zero, each request has one attempt.
    pub fn start(
        timeout: Duration,
        access_extension: Duration,
        throttle_timeout: Duration,
    ) -> Self {
        Deadline {
            started: Instant::now(),
            timeout,
            access_extension,
            throttle_timeout,
            is_extended: AtomicBool::new(false),
            moved_ms: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
            is_single_attempt: false,
        }
    }

    /// A deadline at `timeout` from now, with one attempt of each request.
    pub fn for_one_attempt(timeout: Duration) -> Self {
        Deadline {
            is_single_attempt: true,
            ..Deadline::start(timeout, Duration::ZERO, Duration::ZERO)
        }
    }

    /// When the deadline is; `None` with a timeout of zero, where only the timeouts of one attempt apply.
    pub fn end(&self) -> Option<Instant> {
        let extension = match self.is_extended.load(Ordering::Relaxed) {
            true => self.access_extension,
            false if self.timeout.is_zero() => return None,
            false => Duration::ZERO,
        };
        let moved = Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
        Some(self.started + moved.max(self.timeout + extension))
    }

    /// The time until the deadline, or zero once it has passed. `None` if there is no deadline, since the timeout is zero.
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.end()?.saturating_duration_since(Instant::now()))
    }

    /// The time until the deadline if requests are throttled until then; `None` as for [`Deadline::remaining`].
    fn remaining_if_throttled(&self) -> Option<Duration> {
        let moved = self.throttle_timeout.saturating_sub(self.started.elapsed());
        Some(self.remaining()?.max(moved))
    }

    /// Makes the current attempts of all requests their last ones.
    pub fn give_up(&self) {
        self.lock().is_given_up = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pauses before the next attempt. Returns whether to make that attempt: `false` after [`Deadline::give_up`].
    fn sleep(&self, pause: Duration) -> bool {
        let result = self
            .changed
            .wait_timeout_while(self.lock(), pause, |state| !state.is_given_up);
        let (state, _) = result.unwrap_or_else(PoisonError::into_inner);
        !state.is_given_up
    }

    /// Waits until the gate of a service lets a request pass. `Err` after [`Deadline::give_up`], with the error that
    /// closed the gate.
    fn enter_gate(&self, service: &str) -> Result<Pass, Error> {
        let mut state = self.lock();
        loop {
            let is_given_up = state.is_given_up;
            let Some(service) = state.find(service) else {
                return Ok(Pass::default());
            };
            let now = self.started.elapsed();
            let pause = match service.gate.enter(now) {
                Ok(pass) => return Ok(pass),
                Err(_) if is_given_up => return Err(service.last_error.clone()),
                Err(opens_at) => opens_at.map_or(Duration::MAX, |opens_at| opens_at - now),
            };
            let result = self.changed.wait_timeout(state, pause);
            state = result.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets the requests of all threads pass the gate of a service, since the one with this pass did not close it.
    fn open_gate(&self, service: &str, pass: Pass) {
        if let Some(service) = self.lock().find(service) {
            service.gate.open(pass);
            self.changed.notify_all();
        }
    }

    /// Closes the gate of a service, for at most `max_pause`, and moves the deadline if the service throttles requests.
    /// Returns for how long the gate is closed.
    fn close_gate(
        &self,
        service: &str,
        pass: Pass,
        error: &Error,
        max_pause: Duration,
    ) -> Duration {
        let (now, random) = (self.started.elapsed(), u32::from_le_bytes(random()));
        let mut state = self.lock();
        let mut known = state.throttled.iter();
        let known_index = known.position(|known| known.name == service);
        let index = known_index.unwrap_or_else(|| {
            state.throttled.push(ThrottledService {
                name: service.to_owned(),
                gate: Gate::default(),
                last_error: error.clone(),
            });
            state.throttled.len() - 1
        });
        let service = &mut state.throttled[index];
        let latest = now + max_pause;
        let opens_at = service
            .gate
            .close(pass, now, error.retry_after, latest, random);
        service.last_error = error.clone();
        drop(state);
        self.changed.notify_all();
        if error.request_failure == Some(RequestFailure::Throttled) {
            let moved = backoff::moved_deadline(opens_at, self.timeout, self.throttle_timeout);
            let moved_ms = moved.as_millis() as u64;
            self.moved_ms.fetch_max(moved_ms, Ordering::Relaxed);
        }
        opens_at.saturating_sub(now)
    }

    /// The progress line about a service that throttles requests; `None` if none does, or if a request is on its way.
    pub fn describe_throttling(&self) -> Option<Event> {
        let left = self.remaining_if_throttled()?.as_secs();
        let now = self.started.elapsed();
        let state = self.lock();
        state.throttled.iter().find_map(|service| {
            let pause = service.gate.opens_at?.checked_sub(now)?;
            if service.last_error.request_failure != Some(RequestFailure::Throttled) {
                return None;
            }
            let (name, attempt, next) = (&service.name, service.gate.refusals, pause.as_secs() + 1);
            let shown_left = match left {
                ..120 => format!("{left} s"),
                _ => format!("{} min", left / 60),
            };
            let text = format!(
                "still waiting: {name} is throttling requests: attempt {attempt}, next in {next} s, giving up in {shown_left}"
            );
            Some(Event::new(text).fact("attempt", attempt).fact("next", next).fact("left", left))
        })
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
        service: &str,
        pass: Pass,
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
        let remaining = match error.request_failure {
            Some(RequestFailure::Throttled) => self.remaining_if_throttled(),
            _ => self.remaining(),
        };
        let remaining = remaining.ok_or(None)?.min(limit);
        let delay = error.retry_after;
        let max_pause = remaining.saturating_sub(MIN_ATTEMPT_TIME);
        let max_pause = max_pause.max(delay.unwrap_or_default());
        let pause = match closes_gate(error) {
            true => self.close_gate(service, pass, error, max_pause),
            false => backoff::pause(attempts, delay, u32::from_le_bytes(random())).min(max_pause),
        };
        match delay {
            Some(delay) if delay >= remaining => Err(Some(delay)),
            None if remaining <= MIN_ATTEMPT_TIME => Err(None),
            _ => Ok(pause),
        }
    }
}

/// Consecutive attempts with the same failure. The limits in the table of failures apply to one streak; earlier
/// attempts with other failures do not count.
struct Streak {
    attempts: u32,
    started: Instant,
}

/// Makes attempts until one succeeds or fails for good, or the deadline has passed. `service` is what gets the requests,
/// for messages; all requests to it have one gate. `wait` shows the user what is being done.
///
/// Returns the error of the last attempt; if the deadline cut that attempt off, the error of the attempt before, which
/// says more about the service.
pub fn retry<T>(
    deadline: &Deadline,
    service: &str,
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
    let given_up = |last, attempts| {
        let mut error = with_attempts(last, attempts, started.elapsed());
        // A retry might have succeeded, so the permanent error of another request is reported first.
        error.cause = Cause::Unavailable;
        error
    };
    loop {
        let pass = match deadline.enter_gate(service) {
            Ok(pass) => pass,
            Err(refusal) => return Err(given_up(previous.unwrap_or(refusal), attempts)),
        };
        attempts += 1;
        let result = attempt();
        if !result.as_ref().is_err_and(closes_gate) {
            deadline.open_gate(service, pass);
        }
        let error = match result {
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
        let pause = deadline.next_pause(&error, attempts, &streak, service, pass);
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
            return Err(given_up(last, attempts));
        }
        wait.update(attempts + 1, &last);
        previous = Some(last);
    }
}

/// Adds to the final error the number of attempts and the time they took.
fn with_attempts(last: Error, attempts: u32, elapsed: Duration) -> Error {
    let error = with_default_hint(last);
    if attempts <= 1 {
        return error;
    }
    let seconds = elapsed.as_secs();
    error
        .note(format!("after {attempts} attempts in {seconds} s"))
        .fact("attempts", attempts.to_string())
}
