//! What can go wrong in one try, and for each whether there is another: one table.
//!
//! What can get better by itself is tried again until the deadline: after 0.25 s, doubling to 8 s, each with full
//! jitter, or as long as the service asks for if that fits the deadline. What cannot is an error at once. Only what is
//! known to flicker while it will perhaps never heal is counted instead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::error::AttemptError;
use super::random::random;
use crate::error::{Cause, Error};
use crate::log::{self, Event};
use crate::signals::Wait;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// What a last try needs before the deadline to be worth making.
const LAST_TRY: Duration = Duration::from_millis(300);

/// Everything that can go wrong with a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    // The way to a service.
    /// The name does not exist.
    NameNotFound,
    /// The name servers do not answer.
    NameServerTimeout,
    /// Nobody listens there, yet.
    ConnectionRefused,
    /// No route.
    NoRoute,
    /// No connection in time.
    ConnectTimeout,
    /// A connection, and no response in time.
    ResponseTimeout,
    /// The deadline came before a response: says nothing about the service.
    DeadlineExceeded,
    /// The deadline came before a connection.
    DeadlineExceededConnecting,
    /// The connection broke before the response was whole.
    ConnectionLost,
    /// The proxy does not let us through.
    ProxyRefused,
    /// The proxy does not get through.
    ProxyFailed,
    /// The certificate is not one for this host from a root that is trusted.
    Certificate,
    /// Not TLS, not HTTP, a redirect, too long, not JSON: not Azure.
    UnexpectedResponse,
    // Any service.
    /// 429.
    Throttled,
    /// 408 and 5xx.
    ServerError,
    // Identity endpoints.
    /// IMDS: 404 and 410 while it is being updated.
    EndpointUpdating,
    /// NMI: 403 and 404 while it assigns the identity to the pod.
    IdentityNotYetAssigned,
    /// App Service's endpoint: 500, for a moment or for a resource that does not exist.
    MaybeBadResource,
    /// The identity is not there, or it is not clear which one is meant.
    IdentityNotFound,
    /// No managed identity can be had where this runs.
    NotOnAzure,
    // Entra.
    /// The assertion fits no federated credential: seen at random with a correct set-up, and for minutes after it.
    FederationMismatch,
    /// The assertion is outside its validity: the file may have been replaced meanwhile.
    AssertionExpired,
    /// The credential, or the client, is refused.
    CredentialRefused,
    /// The tenant, resource or client that was asked for does not exist.
    InvalidSettings,
    // The vault.
    /// 403 for want of a role or an access policy, which may be on its way.
    AccessNotGranted,
    /// 401 AKV10046: the vault could not fetch Entra's signing keys.
    SigningKeysUnavailable,
    /// Any other 401 or 403.
    AccessRefused,
    /// No such secret or version, or disabled.
    SecretNotFound,
}

/// Whether there is another try.
enum Retry {
    /// Until the deadline.
    UntilDeadline,
    /// For so long, if the deadline is not sooner.
    For(Duration),
    /// So many tries in all.
    Tries(u32),
    /// Only with `--wait-for-access`, which moves the deadline.
    WithAccess,
    /// It cannot get better by itself.
    Never,
}

impl ErrorKind {
    /// The table: whether there is another try, and who has to act when there is none.
    fn row(self) -> (Retry, Cause) {
        match self {
            // A vault's name exists or does not, but a pod's DNS may not be ready when the pod is.
            ErrorKind::NameNotFound => (Retry::For(Duration::from_secs(10)), Cause::Unavailable),
            ErrorKind::NameServerTimeout => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::ConnectionRefused => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::NoRoute => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::ConnectTimeout => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::ResponseTimeout => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::DeadlineExceeded => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::DeadlineExceededConnecting => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::ConnectionLost => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::ProxyRefused => (Retry::Never, Cause::Config),
            ErrorKind::ProxyFailed => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::Certificate => (Retry::Never, Cause::Protocol),
            ErrorKind::UnexpectedResponse => (Retry::Never, Cause::Protocol),
            ErrorKind::Throttled => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::ServerError => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::EndpointUpdating => (Retry::UntilDeadline, Cause::Unavailable),
            ErrorKind::IdentityNotYetAssigned => (Retry::UntilDeadline, Cause::Denied),
            ErrorKind::MaybeBadResource => (Retry::Tries(3), Cause::Unavailable),
            ErrorKind::IdentityNotFound => (Retry::Never, Cause::Denied),
            ErrorKind::NotOnAzure => (Retry::Never, Cause::Unavailable),
            ErrorKind::FederationMismatch => (Retry::Tries(5), Cause::Denied),
            ErrorKind::AssertionExpired => (Retry::Tries(2), Cause::Denied),
            ErrorKind::CredentialRefused => (Retry::Never, Cause::Denied),
            ErrorKind::InvalidSettings => (Retry::Never, Cause::Config),
            ErrorKind::AccessNotGranted => (Retry::WithAccess, Cause::Denied),
            ErrorKind::SigningKeysUnavailable => (Retry::Tries(5), Cause::Unavailable),
            ErrorKind::AccessRefused => (Retry::Never, Cause::Denied),
            ErrorKind::SecretNotFound => (Retry::Never, Cause::NotFound),
        }
    }
}

impl ErrorKind {
    /// Who has to act when there is no other attempt.
    pub fn cause(self) -> Cause {
        self.row().1
    }

    /// What to do, where that is the same whoever was asked.
    fn hint(self) -> Option<&'static str> {
        match self {
            ErrorKind::ResponseTimeout | ErrorKind::DeadlineExceeded => Some(
                "it takes connections and does not answer: it is slow, or what is on the way holds answers back",
            ),
            ErrorKind::Throttled => Some(
                "it is asked too often, by whomever: wait, and let fewer containers start at the same time",
            ),
            _ => None,
        }
    }
}

/// The one deadline, and what can move it.
pub struct Deadline {
    started: Instant,
    timeout: Duration,
    access: Duration,
    /// A vault said "not yet", and that is worth waiting for.
    extended: AtomicBool,
    /// Something else failed for good: no more tries.
    given_up: AtomicBool,
    /// Whether there is no second try, whatever the table says.
    once: bool,
}

impl Deadline {
    /// Starts the clock. A timeout of zero is one try each.
    pub fn start(timeout: Duration, access: Duration) -> Self {
        Deadline {
            started: Instant::now(),
            timeout,
            access,
            extended: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            once: false,
        }
    }

    /// Starts the clock for one try.
    pub fn attempt(within: Duration) -> Self {
        Deadline {
            once: true,
            ..Deadline::start(within, Duration::ZERO)
        }
    }

    /// What is left; none means that only the timeouts of one try count.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining_with(Duration::ZERO)
    }

    fn whole(&self) -> Option<Duration> {
        match (
            self.extended.load(Ordering::Relaxed),
            self.timeout.is_zero(),
        ) {
            (true, _) => Some(self.timeout + self.access),
            (false, true) => None,
            (false, false) => Some(self.timeout),
        }
    }

    /// What is left until so long after the deadline; none where there is no deadline.
    pub fn remaining_with(&self, grace: Duration) -> Option<Duration> {
        let whole = self.whole()?;
        Some((whole + grace).saturating_sub(self.started.elapsed()))
    }

    /// Lets every loop end after its present try.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether a vault's 403 is waited for.
    pub fn waits_for_access(&self) -> bool {
        !self.access.is_zero()
    }

    /// How long to pause before another try, or why there is none.
    fn pause(&self, error: &AttemptError, tries: u32, run: &Run) -> Result<Duration, End> {
        if self.once {
            return Err(End::Verdict);
        }
        let (retry, _) = error.kind.row();
        let limit = match retry {
            Retry::UntilDeadline => Duration::MAX,
            Retry::For(limit) => limit.saturating_sub(run.since.elapsed()),
            Retry::Tries(limit) if run.tries < limit => Duration::MAX,
            Retry::WithAccess if self.waits_for_access() => {
                self.extended.store(true, Ordering::Relaxed);
                Duration::MAX
            }
            Retry::Tries(_) | Retry::WithAccess | Retry::Never => return Err(End::Verdict),
        };
        if self.given_up.load(Ordering::Relaxed) {
            return Err(End::GivenUp);
        }
        let remaining = self.remaining().ok_or(End::Verdict)?.min(limit);
        let ceiling = FIRST_PAUSE
            .saturating_mul(1 << (tries - 1).min(10))
            .min(LONGEST_PAUSE);
        let jitter = f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX);
        let backoff = ceiling.mul_f64(jitter);
        match error.retry_after {
            Some(asked) if asked >= remaining => Err(End::AskedForTooMuch(asked)),
            // A service that says "at once", or whose clock is behind, does not mean a thousand times a second.
            Some(asked) => Ok(asked.max(backoff).max(FIRST_PAUSE).min(remaining)),
            None if remaining > LAST_TRY => Ok(backoff.min(remaining - LAST_TRY)),
            None => Err(End::Verdict),
        }
    }
}

/// Why there is no other try.
enum End {
    /// It cannot get better, or time is up.
    Verdict,
    /// The service asks to be left alone for longer than there is time.
    AskedForTooMuch(Duration),
    /// Something else failed for good meanwhile.
    GivenUp,
}

/// Tries in a row that had the same error: what is counted is counted by itself, not with what came before.
struct Run {
    kind: ErrorKind,
    tries: u32,
    since: Instant,
}

/// Tries until it works, cannot work, or time is up. `wait` says to whoever asks what is being done.
///
/// The last error is the last real response: a final try that the deadline cut off says nothing.
pub fn retry<T>(
    deadline: &Deadline,
    mut wait: Wait,
    mut attempt: impl FnMut() -> Result<T, AttemptError>,
) -> Result<T, Error> {
    let since = Instant::now();
    let mut real: Option<AttemptError> = None;
    let mut run: Option<Run> = None;
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match attempt() {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let run = match &mut run {
            Some(run) if run.kind == error.kind => {
                run.tries += 1;
                run
            }
            other => other.insert(Run {
                kind: error.kind,
                tries: 1,
                since: Instant::now(),
            }),
        };
        let pause = deadline.pause(&error, tries, run);
        let last = match real.take() {
            Some(earlier)
                if matches!(
                    error.kind,
                    ErrorKind::DeadlineExceeded | ErrorKind::DeadlineExceededConnecting
                ) =>
            {
                earlier
            }
            _ => error,
        };
        let pause = match pause {
            Ok(pause) => pause,
            Err(End::Verdict) => return Err(final_failure(last, tries, since.elapsed())),
            Err(End::AskedForTooMuch(asked)) => {
                let asked = format!(
                    "it asks for {} s without a request, which is past the deadline",
                    asked.as_secs()
                );
                return Err(final_failure(last, tries, since.elapsed()).note(&asked));
            }
            // This might have healed, so it is no verdict; the one that there is ends the process in a moment.
            Err(End::GivenUp) => loop {
                std::thread::park();
            },
        };
        wait.update(tries, &last.error.to_string());
        log::debug(|| {
            let next = pause.as_millis() as u64;
            Event::new(format!("try {tries}: {}; next in {next} ms", last.error))
                .fact("try", tries)
                .fact("next_ms", next)
        });
        std::thread::sleep(pause);
        wait.update(tries + 1, &last.error.to_string());
        real = Some(last);
    }
}

impl From<AttemptError> for Error {
    fn from(error: AttemptError) -> Error {
        error.hint_for(|kind| kind.hint().map(str::to_owned)).error
    }
}

/// The last error, with the number of attempts and how long they took.
fn final_failure(mut last: AttemptError, tries: u32, elapsed: Duration) -> Error {
    if tries > 1 {
        let seconds = elapsed.as_secs();
        last.error.reason = format!("{}, after {tries} tries in {seconds} s", last.error.reason);
    }
    last.into()
}
