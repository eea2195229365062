//! One access token for each resource and each distinct secret once, all at the same time.
//!
//! One thread gets the tokens that are known to be needed. For each vault some threads open connections meanwhile, wait
//! for their token, and read one secret after the other. The main thread only waits, so that neither a look-up in DNS
//! nor a service that never answers can hold it beyond the deadline; whatever still works then ends with the process or
//! at its execve.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::azure::identity::{Source, TokenRequest};
use crate::azure::key_vault::{KeyVault, SecretBundle};
use crate::azure::reader::{Missed, Reader};
use crate::date;
use crate::error::{Cause, Error};
use crate::http::Http;
use crate::log;
use crate::request::plan::{Item, Plan, Target};
use crate::request::secret_id::SecretId;
use crate::secret::{Secret, Value};
use crate::signals;

/// Connections to one vault at most.
const CONNECTIONS: usize = 16;
/// Only what is touched of a stack is memory. A TLS handshake takes some 30 KiB of it, far more in a debug build.
const STACK: usize = if cfg!(debug_assertions) {
    1024 * 1024
} else {
    256 * 1024
};
/// When the one line that shows deadline is due.
const PATIENCE_SHOWN: Duration = Duration::from_secs(5);
/// After one secret failed for good: so long others may say the same, so that one run names them all.
const FAILURE_COLLECTION_WINDOW: Duration = Duration::from_millis(500);
/// After the deadline: so long a thread may say what its last response was.
const LATE_RESULT_WINDOW: Duration = Duration::from_millis(400);

/// What a thread has to say.
enum Event {
    /// One item, by its index in the plan.
    Value(usize, Result<Secret, Error>),
    /// There is no access token.
    NoToken(Error),
}

/// What the threads share.
struct Job {
    plan: Plan,
    http: Http,
    reader: Reader,
}

/// The secrets of one vault, and who reads which.
struct Queue {
    vault: KeyVault,
    /// Indices into the plan's items.
    items: Vec<usize>,
    next: AtomicUsize,
}

/// What a plan asked for.
pub struct Fetched {
    job: Arc<Job>,
    /// In the order of [`Plan::items`].
    pub values: Vec<Secret>,
}

impl Fetched {
    /// What a target of the plan gets.
    pub fn value(&self, target: &Target) -> Value<'_> {
        Value {
            secret: &self.values[target.item],
            trim: target.trim,
        }
    }

    /// The plan that was carried out.
    pub fn plan(&self) -> &Plan {
        &self.job.plan
    }
}

/// Fetches every item of a plan, or none.
pub fn fetch(plan: Plan, http: Http, source: Source) -> Result<Fetched, Error> {
    let job = Arc::new(Job {
        plan,
        http,
        reader: Reader::new(source),
    });
    let (events, inbox) = mpsc::channel();
    let getter = (job.clone(), events.clone());
    start("token", move || get_tokens(&getter.0, &getter.1))?;
    start_readers(&job, &events)?;
    drop(events);
    let values = collect(&job, &inbox)?;
    Ok(Fetched { job, values })
}

/// Gets the tokens that are needed whatever a vault says, and hands out those that were asked for as such.
fn get_tokens(job: &Job, events: &Sender<Event>) {
    for (index, item) in job.plan.items.iter().enumerate() {
        let resource = match item {
            Item::Token(resource) => resource,
            Item::Secret(secret) => match &secret.resource {
                Some(resource) => resource,
                None => continue,
            },
        };
        let token = match job.reader.token(
            &job.http,
            &TokenRequest {
                resource,
                tenant: None,
            },
        ) {
            Ok(token) => token,
            Err(error) => {
                let _ = events.send(Event::NoToken(error));
                return;
            }
        };
        if let Item::Token(_) = item {
            let targets = job.plan.targets_of(index);
            log::debug(|| {
                let until = date::format(token.expires_on);
                let event = |who: &str| {
                    log::Event::new(format!(
                        "{who}this token ends at {until}; a process that runs longer should get its own"
                    ))
                };
                // `token` has nobody whom it is for.
                let event = match targets.as_str() {
                    "" => event(""),
                    targets => event(&format!("{targets}: ")).fact("for", targets),
                };
                event.fact("expires", until)
            });
            let value = Secret::new(token.token.expose().to_owned());
            let _ = events.send(Event::Value(index, Ok(value)));
        }
    }
}

fn start_readers(job: &Arc<Job>, events: &Sender<Event>) -> Result<(), Error> {
    for (host, items) in job.plan.vaults() {
        let readers = items.len().min(CONNECTIONS);
        let queue = Arc::new(Queue {
            vault: KeyVault::new(&job.http, host),
            items,
            next: AtomicUsize::new(0),
        });
        for reader in 0..readers {
            let (job, events, queue) = (job.clone(), events.clone(), queue.clone());
            let started = start("vault", move || read_secrets(&job, &events, &queue));
            // A limit on processes may allow one thread where it forbids sixteen; one is enough, only slower.
            if let Err(error) = started
                && reader == 0
            {
                return Err(error);
            }
        }
    }
    Ok(())
}

fn read_secrets(job: &Job, events: &Sender<Event>, queue: &Queue) {
    queue.vault.open_early();
    while let Some(index) = queue.items.get(queue.next.fetch_add(1, Ordering::Relaxed)) {
        let Item::Secret(secret) = &job.plan.items[*index] else {
            continue;
        };
        let targets = job.plan.targets_of(*index);
        let event = match job.reader.read(&job.http, &queue.vault, secret, &targets) {
            Ok(bundle) => {
                warn_of_validity(secret, &bundle);
                Event::Value(*index, Ok(bundle.value))
            }
            Err(Missed::Secret(error)) => Event::Value(*index, Err(error)),
            Err(Missed::Token(error)) => Event::NoToken(error),
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// An expired secret may still be the right one: whoever set the date is not there to be asked.
fn warn_of_validity(secret: &SecretId, bundle: &SecretBundle) {
    let (shown, now) = (secret.shown(), date::now());
    if let Some(expired) = bundle.expires.filter(|expires| *expires <= now) {
        log::warning(format!(
            "secret `{shown}` expired at {}; it is used nevertheless",
            date::format(expired)
        ));
    }
    if let Some(begins) = bundle.not_before.filter(|begins| *begins > now) {
        log::warning(format!(
            "secret `{shown}` is not valid before {}; it is used nevertheless",
            date::format(begins)
        ));
    }
}

/// Waits for every secret; at the first error only for a moment more, so that what else is wrong is said too.
fn collect(job: &Job, inbox: &mpsc::Receiver<Event>) -> Result<Vec<Secret>, Error> {
    let deadline = &job.http.deadline;
    let mut found: Vec<Option<Secret>> = job.plan.items.iter().map(|_| None).collect();
    let mut errors: Vec<(usize, Error)> = Vec::new();
    let mut missing = found.len();
    let mut last_words: Option<Instant> = None;
    let mut shown = false;
    while missing > 0 {
        let until_deadline = deadline.remaining_with(LATE_RESULT_WINDOW);
        let until_shown = (!shown).then(|| PATIENCE_SHOWN.saturating_sub(signals::elapsed()));
        let until_end = last_words.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = [until_deadline, until_shown, until_end]
            .into_iter()
            .flatten()
            .min();
        match inbox.recv_timeout(wait.unwrap_or(Duration::from_secs(3_600))) {
            Ok(Event::Value(index, Ok(secret))) => {
                found[index] = Some(secret);
                missing -= 1;
            }
            Ok(Event::Value(index, Err(error))) => {
                deadline.give_up();
                errors.push((index, error));
                missing -= 1;
                last_words.get_or_insert(Instant::now() + FAILURE_COLLECTION_WINDOW);
            }
            // Without a token nothing else can fail any more, but a vault may have refused before.
            Ok(Event::NoToken(error)) => return Err(combine(job, errors).unwrap_or(error)),
            Err(RecvTimeoutError::Timeout) if last_words.is_some_and(|at| at <= Instant::now()) => {
                break;
            }
            Err(RecvTimeoutError::Timeout)
                if deadline
                    .remaining_with(LATE_RESULT_WINDOW)
                    .is_some_and(|left| left.is_zero()) =>
            {
                break;
            }
            Err(RecvTimeoutError::Timeout) => {
                if !shown && signals::elapsed() >= PATIENCE_SHOWN {
                    shown = true;
                    if let Some(waiting) = signals::current() {
                        log::note(format!("still {waiting}"));
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if let Some(error) = combine(job, errors) {
        return Err(error);
    }
    let secrets: Option<Vec<Secret>> = found.into_iter().collect();
    let Some(secrets) = secrets else {
        let error = Error::new(Cause::Unavailable, "no response before the deadline");
        return Err(match signals::current() {
            None => error,
            Some(waiting) => error
                .context(waiting.to_string())
                .maybe_hint(waiting.hint.clone()),
        });
    };
    if shown {
        log::note(format!(
            "got every secret after {} s",
            signals::elapsed().as_secs()
        ));
    }
    Ok(secrets)
}

/// The first error in the order of the plan, and of those the first that waiting does not mend; the names of other
/// secrets that failed are added to it.
fn combine(job: &Job, mut errors: Vec<(usize, Error)>) -> Option<Error> {
    let turn = |(index, error): &(usize, Error)| (error.cause == Cause::Unavailable, *index);
    let first = (0..errors.len()).min_by_key(|at| turn(&errors[*at]))?;
    let (_, first) = errors.swap_remove(first);
    let others = job
        .plan
        .items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| {
            let (_, error) = errors.iter().find(|(failed, _)| *failed == index)?;
            Some(format!("`{item}` ({})", error.short_name()))
        });
    let others: Vec<String> = others.collect();
    if others.is_empty() {
        return Some(first);
    }
    Some(first.note(format!("also not read: {}", others.join(", "))))
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(work)
        .map(drop)
        .map_err(|error| {
            Error::new(Cause::Unavailable, format!("starting a thread: {error}"))
                .hint("raise the container's limit on processes (pids)")
        })
}
