//! Fetches everything in a plan: one access token for each resource and each distinct secret once, in several threads.
//!
//! The main thread only waits, so that neither a look-up in DNS nor a service that never responds can hold it beyond the
//! deadline. Threads that are still working then end with the process or at its execve.

mod reader;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::azure::identity::{AccessToken, Source, TokenRequest};
use crate::azure::key_vault::{KeyVault, SecretBundle};
use crate::date;
use crate::error::{Cause, Error};
use crate::http::Http;
use crate::log;
use crate::request::plan::{Item, Plan, Target};
use crate::request::secret_id::SecretId;
use crate::request::value::Value;
use crate::secret::Secret;
use crate::signals;

pub use reader::{ReadError, Reader};

/// Connections to one vault at most.
const CONNECTIONS: usize = 16;
/// Only the touched part of a stack is memory. A TLS handshake takes some 30 KiB of it, far more in a debug build.
const STACK: usize = if cfg!(debug_assertions) {
    1024 * 1024
} else {
    256 * 1024
};
/// When the one line about a long wait is due.
const SLOW_NOTE_DELAY: Duration = Duration::from_secs(5);
/// After the first failure: time for the others to fail, so that one run names them all.
const FAILURE_COLLECTION_WINDOW: Duration = Duration::from_millis(500);
/// After the deadline: time for a thread to report its last response.
const LATE_RESULT_WINDOW: Duration = Duration::from_millis(400);

/// The result for one item, by its index in the plan.
type ItemResult = (usize, Result<Secret, ReadError>);

/// What the threads share.
struct Job {
    plan: Plan,
    http: Http,
    reader: Reader,
}

/// The secrets of one vault, of which each reader takes the next.
struct Vault {
    client: KeyVault,
    /// Indices into the plan's items.
    items: Vec<usize>,
    next: AtomicUsize,
}

/// What a thread does; one thread may do several in turn.
enum Task {
    /// Request the tokens that are known to be needed, so that this overlaps with connecting to the vaults.
    Tokens,
    /// Read secrets of a vault over one connection.
    Secrets(Arc<Vault>),
}

/// The values of a plan.
pub struct Fetched {
    job: Arc<Job>,
    /// In the order of [`Plan::items`].
    pub values: Vec<Secret>,
}

impl Fetched {
    /// The value for a target of the plan.
    pub fn value(&self, target: &Target) -> Value<'_> {
        Value::new(&self.values[target.item], target.trim)
    }

    /// The plan that was carried out.
    pub fn plan(&self) -> &Plan {
        &self.job.plan
    }
}

/// Fetches every item of a plan, or none.
pub fn fetch(plan: Plan, http: Http, source: Box<dyn Source>) -> Result<Fetched, Error> {
    let job = Arc::new(Job {
        plan,
        http,
        reader: Reader::new(source),
    });
    let (results, inbox) = mpsc::channel();
    start_threads(&job, &results)?;
    drop(results);
    let values = collect(&job, &inbox)?;
    Ok(Fetched { job, values })
}

/// Starts a thread for each task. Under a limit on processes the threads that could be started do the other tasks too.
fn start_threads(job: &Arc<Job>, results: &Sender<ItemResult>) -> Result<(), Error> {
    let vaults = job.plan.vaults().into_iter().map(|(host, items)| {
        Arc::new(Vault {
            client: KeyVault::new(&job.http, host),
            items,
            next: AtomicUsize::new(0),
        })
    });
    let vaults: Vec<Arc<Vault>> = vaults.collect();
    let mut tasks = VecDeque::from([Task::Tokens]);
    // The first connection to each vault before the second to any.
    for connection in 0..CONNECTIONS {
        let vaults = vaults.iter().filter(|vault| connection < vault.items.len());
        tasks.extend(vaults.cloned().map(Task::Secrets));
    }
    let threads = tasks.len();
    let tasks = Arc::new(Mutex::new(tasks));
    for thread in 0..threads {
        let (job, results, tasks) = (job.clone(), results.clone(), tasks.clone());
        let next = move || {
            let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.pop_front()
        };
        let work = move || {
            while let Some(task) = next() {
                match task {
                    Task::Tokens => job.request_tokens(&results),
                    Task::Secrets(vault) => job.read_secrets(&vault, &results),
                }
            }
        };
        let started = thread::Builder::new().stack_size(STACK).spawn(work);
        match started {
            Ok(_) => {}
            Err(_) if thread > 0 => break,
            Err(error) => {
                let message = format!("starting a thread: {error}");
                return Err(Error::new(Cause::Unavailable, message)
                    .hint("raise the container's limit on processes (pids)"));
            }
        }
    }
    Ok(())
}

impl Job {
    /// Requests the tokens that are needed whatever a vault responds, and reports those that are items themselves.
    fn request_tokens(&self, results: &Sender<ItemResult>) {
        for (index, item) in self.plan.items.iter().enumerate() {
            let resource = match item {
                Item::Token(resource) => resource,
                Item::Secret(secret) => match &secret.resource {
                    Some(resource) => resource,
                    None => continue,
                },
            };
            let token_request = TokenRequest {
                resource,
                tenant: None,
            };
            let result = match (self.reader.token(&self.http, &token_request), item) {
                (Ok(_), Item::Secret(_)) => continue,
                (Ok(token), Item::Token(_)) => {
                    self.note_expiry(index, &token);
                    Ok(Secret::new(token.token.expose().to_owned()))
                }
                (Err(error), _) => Err(ReadError::Token(error)),
            };
            let _ = results.send((index, result));
        }
    }

    fn note_expiry(&self, index: usize, token: &AccessToken) {
        log::debug(|| {
            let until = date::format(token.expires_on);
            let text = format!(
                "this token ends at {until}; a process that runs longer should get its own"
            );
            // `token` has no target.
            let event = match self.plan.targets_of(index).as_str() {
                "" => log::Event::new(text),
                targets => log::Event::new(format!("{targets}: {text}")).fact("for", targets),
            };
            event.fact("expires", until)
        });
    }

    fn read_secrets(&self, vault: &Vault, results: &Sender<ItemResult>) {
        if vault.next.load(Ordering::Relaxed) < vault.items.len() {
            vault.client.open_early();
        }
        while let Some(index) = vault.items.get(vault.next.fetch_add(1, Ordering::Relaxed)) {
            let Item::Secret(secret) = &self.plan.items[*index] else {
                continue;
            };
            let targets = self.plan.targets_of(*index);
            let read = self
                .reader
                .read(&self.http, &vault.client, secret, &targets);
            let result = read.map(|bundle| {
                warn_of_validity(secret, &bundle);
                bundle.value
            });
            if results.send((*index, result)).is_err() {
                return;
            }
        }
    }
}

/// An expired secret may still be the right one, so it is used.
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

/// Waits for every item. After the first failure only for [`FAILURE_COLLECTION_WINDOW`].
fn collect(job: &Job, inbox: &mpsc::Receiver<ItemResult>) -> Result<Vec<Secret>, Error> {
    let deadline = &job.http.deadline;
    let mut results: Vec<Option<Result<Secret, ReadError>>> = Vec::new();
    results.resize_with(job.plan.items.len(), || None);
    let mut window_end: Option<Instant> = None;
    let mut is_slow = false;
    while results.iter().any(Option::is_none) {
        let until_deadline = deadline.remaining_with(LATE_RESULT_WINDOW);
        let until_note = (!is_slow).then(|| SLOW_NOTE_DELAY.saturating_sub(signals::elapsed()));
        let until_end = window_end.map(|at| at.saturating_duration_since(Instant::now()));
        let wait = [until_deadline, until_note, until_end]
            .into_iter()
            .flatten()
            .min();
        match inbox.recv_timeout(wait.unwrap_or(Duration::from_secs(3_600))) {
            Ok((index, result)) => {
                if result.is_err() {
                    deadline.give_up();
                    window_end.get_or_insert(Instant::now() + FAILURE_COLLECTION_WINDOW);
                }
                // A token that was refused is reported for each secret twice.
                results[index].get_or_insert(result);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let is_over = |left: Option<Duration>| left.is_some_and(|left| left.is_zero());
                let until_end = window_end.map(|at| at.saturating_duration_since(Instant::now()));
                if is_over(until_end) || is_over(deadline.remaining_with(LATE_RESULT_WINDOW)) {
                    break;
                }
                if !is_slow && signals::elapsed() >= SLOW_NOTE_DELAY {
                    is_slow = true;
                    if let Some(waiting) = signals::current() {
                        log::note(format!("still {waiting}"));
                    }
                }
            }
        }
    }
    let mut values = Vec::new();
    let mut errors = Vec::new();
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Some(Ok(value)) => values.push(value),
            Some(Err(error)) => errors.push((index, error)),
            None => {}
        }
    }
    if let Some(error) = combine(&job.plan, errors) {
        return Err(error);
    }
    if values.len() < job.plan.items.len() {
        let error = Error::new(Cause::Unavailable, "no response before the deadline");
        return Err(match signals::current() {
            None => error,
            Some(waiting) => error
                .context(waiting.to_string())
                .maybe_hint(waiting.hint.clone()),
        });
    }
    if is_slow {
        let seconds = signals::elapsed().as_secs();
        log::note(format!("got every secret after {seconds} s"));
    }
    Ok(values)
}

/// The first error in the order of the plan, and of those the first that waiting does not fix. The other secrets that
/// failed are named in a note, but for those that only lack the same token.
fn combine(plan: &Plan, mut errors: Vec<(usize, ReadError)>) -> Option<Error> {
    let order = |(index, error): &(usize, ReadError)| {
        let (ReadError::Secret(error) | ReadError::Token(error)) = error;
        (error.cause == Cause::Unavailable, *index)
    };
    let first = (0..errors.len()).min_by_key(|at| order(&errors[*at]))?;
    let (_, first) = errors.remove(first);
    let (first, resource) = match first {
        ReadError::Secret(error) => (error, None),
        ReadError::Token(error) => {
            let resource = error.get_fact("resource").map(str::to_owned);
            (error, resource)
        }
    };
    let others = errors.iter().filter_map(|(index, error)| {
        let error = match error {
            ReadError::Token(error) if error.get_fact("resource") == resource.as_deref() => {
                return None;
            }
            ReadError::Token(error) | ReadError::Secret(error) => error,
        };
        let (targets, why) = (plan.targets_of(*index), error.short_name());
        Some(match &plan.items[*index] {
            Item::Secret(secret) => {
                let (name, vault) = (secret.shown(), &secret.host);
                format!("`{name}` from {vault} for {targets} ({why})")
            }
            Item::Token(resource) => format!("token for {resource} for {targets} ({why})"),
        })
    });
    let others: Vec<String> = others.collect();
    Some(match others.is_empty() {
        true => first,
        false => first.note(format!("also not read: {}", others.join(", "))),
    })
}
