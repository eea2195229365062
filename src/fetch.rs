//! One access token for each resource and each distinct secret once, all at the same time.
//!
//! One thread gets the tokens. For each vault some threads open connections meanwhile, wait for their token, and read
//! one secret after the other. The main thread only waits, so that neither a look-up in DNS nor a service that never
//! answers can hold it beyond the deadline; whatever still works then ends with the process or at its execve.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Cause, Failure};
use crate::host::Host;
use crate::http::Http;
use crate::identity::{AccessToken, Source};
use crate::plan::Plan;
use crate::secret::Secret;
use crate::vault::KeyVault;
use crate::{date, log, progress};

/// Connections to one vault at most.
const CONNECTIONS: usize = 16;
/// Only what is touched of a stack is memory. A TLS handshake takes some 30 KiB of it, far more in a debug build.
const STACK: usize = if cfg!(debug_assertions) {
    1024 * 1024
} else {
    256 * 1024
};
/// When the one line that shows patience is due.
const PATIENCE_SHOWN: Duration = Duration::from_secs(5);
/// After one secret failed for good: so long others may say the same, so that one run names them all.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// After the deadline: so long a thread may say what its last answer was.
const GRACE: Duration = Duration::from_millis(400);

/// What a thread has to say.
enum Event {
    /// One secret, by its index in the plan.
    Secret(usize, Result<Secret, Failure>),
    /// There is no access token.
    NoToken(Failure),
}

/// What the threads share.
struct Shared {
    plan: Plan,
    http: Http,
    source: Source,
    /// One for each resource.
    tokens: BTreeMap<String, Promise>,
}

/// A token that may not be there yet.
#[derive(Default)]
struct Promise {
    token: Mutex<Option<Arc<AccessToken>>>,
    kept: Condvar,
}

impl Promise {
    fn keep(&self, token: AccessToken) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(token));
        self.kept.notify_all();
    }

    fn wait(&self) -> Arc<AccessToken> {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(token) = &*token {
                return token.clone();
            }
            token = self
                .kept
                .wait(token)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The secrets of a plan.
pub struct Fetched {
    shared: Arc<Shared>,
    /// In the order of [`Plan::secrets`].
    pub secrets: Vec<Secret>,
}

impl Fetched {
    /// The plan that was carried out.
    pub fn plan(&self) -> &Plan {
        &self.shared.plan
    }
}

/// Fetches every secret of a plan, or none.
pub fn fetch(plan: Plan, http: Http, source: Source) -> Result<Fetched, Failure> {
    let tokens = plan
        .secrets
        .iter()
        .map(|wanted| (wanted.resource.clone(), Promise::default()))
        .collect();
    let shared = Arc::new(Shared {
        plan,
        http,
        source,
        tokens,
    });
    let (events, inbox) = mpsc::channel();
    let getter = (shared.clone(), events.clone());
    start("token", move || get_tokens(&getter.0, &getter.1))?;
    start_readers(&shared, &events)?;
    drop(events);
    let secrets = collect(&shared, &inbox)?;
    Ok(Fetched { shared, secrets })
}

fn get_tokens(shared: &Shared, events: &Sender<Event>) {
    for (resource, promise) in &shared.tokens {
        match shared.source.token(&shared.http, resource) {
            Ok(token) => {
                log::debug(|| {
                    let until = date::format(token.expires_on);
                    format!(
                        "got an access token for {resource} from {}, good until {until}",
                        shared.source.describe()
                    )
                });
                promise.keep(token);
            }
            Err(failure) => {
                let _ = events.send(Event::NoToken(failure));
                return;
            }
        }
    }
}

fn start_readers(shared: &Arc<Shared>, events: &Sender<Event>) -> Result<(), Failure> {
    let mut of_host: BTreeMap<&Host, Vec<usize>> = BTreeMap::new();
    for (index, wanted) in shared.plan.secrets.iter().enumerate() {
        of_host.entry(&wanted.host).or_default().push(index);
    }
    for (host, secrets) in of_host {
        let readers = secrets.len().min(CONNECTIONS);
        let work = Arc::new((
            KeyVault::new(&shared.http, host),
            secrets,
            AtomicUsize::new(0),
        ));
        for reader in 0..readers {
            let (shared, events, work) = (shared.clone(), events.clone(), work.clone());
            let started = start("vault", move || {
                let (vault, secrets, next) = &*work;
                read_secrets(&shared, &events, vault, secrets, next);
            });
            // A limit on processes may allow one thread where it forbids sixteen; one is enough, only slower.
            if let Err(failure) = started
                && reader == 0
            {
                return Err(failure);
            }
        }
    }
    Ok(())
}

fn read_secrets(
    shared: &Shared,
    events: &Sender<Event>,
    vault: &KeyVault,
    secrets: &[usize],
    next: &AtomicUsize,
) {
    vault.open_early();
    while let Some(index) = secrets.get(next.fetch_add(1, Ordering::Relaxed)) {
        let wanted = &shared.plan.secrets[*index];
        let token = shared.tokens[&wanted.resource].wait();
        let found = vault.read(
            &shared.http,
            wanted,
            &token,
            &shared.plan.targets_of(*index),
        );
        if events.send(Event::Secret(*index, found)).is_err() {
            return;
        }
    }
}

/// Waits for every secret; at the first failure only for a moment more, so that what else is wrong is said too.
fn collect(shared: &Shared, inbox: &mpsc::Receiver<Event>) -> Result<Vec<Secret>, Failure> {
    let patience = &shared.http.patience;
    let mut found: Vec<Option<Secret>> = shared.plan.secrets.iter().map(|_| None).collect();
    let mut failures: BTreeMap<usize, Failure> = BTreeMap::new();
    let mut missing = found.len();
    let mut last_words: Option<Instant> = None;
    let mut shown = false;
    while missing > 0 {
        let deadline = patience.remaining_with(GRACE);
        let until_shown = (!shown).then(|| PATIENCE_SHOWN.saturating_sub(progress::elapsed()));
        let until_end = last_words.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = [deadline, until_shown, until_end]
            .into_iter()
            .flatten()
            .min();
        match inbox.recv_timeout(wait.unwrap_or(Duration::from_secs(3_600))) {
            Ok(Event::Secret(index, Ok(secret))) => {
                found[index] = Some(secret);
                missing -= 1;
            }
            Ok(Event::Secret(index, Err(failure))) => {
                patience.give_up();
                failures.insert(index, failure);
                missing -= 1;
                last_words.get_or_insert(Instant::now() + LAST_WORDS);
            }
            // Without a token nothing else can fail any more, but a vault may have refused before.
            Ok(Event::NoToken(failure)) => return Err(combine(shared, failures).unwrap_or(failure)),
            Err(RecvTimeoutError::Timeout) if last_words.is_some_and(|at| at <= Instant::now()) => {
                break;
            }
            Err(RecvTimeoutError::Timeout)
                if patience
                    .remaining_with(GRACE)
                    .is_some_and(|left| left.is_zero()) =>
            {
                break;
            }
            Err(RecvTimeoutError::Timeout) => {
                if !shown && progress::elapsed() >= PATIENCE_SHOWN {
                    shown = true;
                    if let Some(waiting) = progress::current() {
                        log::note(&format!("still {waiting}"));
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Some(failure) = combine(shared, failures) {
        return Err(failure);
    }
    let secrets: Option<Vec<Secret>> = found.into_iter().collect();
    let Some(secrets) = secrets else {
        let failure = Failure::new(Cause::Unavailable, "no answer before the deadline");
        return Err(match progress::current() {
            None => failure,
            Some(waiting) => failure
                .about(&waiting.to_string())
                .maybe_hint(waiting.hint.clone()),
        });
    };
    if shown {
        log::note(&format!(
            "got every secret after {} s",
            progress::elapsed().as_secs()
        ));
    }
    Ok(secrets)
}

/// The first failure in the order of the plan; the names of other secrets that failed are added to it.
fn combine(shared: &Shared, failures: BTreeMap<usize, Failure>) -> Option<Failure> {
    let mut failures = failures.into_iter();
    let (_, first) = failures.next()?;
    let others: Vec<String> = failures
        .map(|(index, failure)| {
            format!(
                "`{}` ({})",
                shared.plan.secrets[index].name,
                failure.cause.name()
            )
        })
        .collect();
    if others.is_empty() {
        return Some(first);
    }
    Some(first.and(&format!("also not read: {}", others.join(", "))))
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map(drop)
        .map_err(|error| {
            Failure::new(Cause::Unavailable, format!("starting a thread: {error}"))
                .hint("raise the container's limit on processes (pids)")
        })
}
