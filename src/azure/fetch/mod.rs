//! Fetches everything in a plan: one access token for each resource and each distinct secret once, in several threads.
//!
//! The main thread only waits, so that neither a look-up in DNS nor a service that never responds can hold it beyond the
//! deadline. Threads that are still working then end with the process or at its execve.

mod reader;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::azure::identity::{AccessToken, TokenRequest, TokenSource};
use crate::azure::key_vault::{SecretBundle, VaultClient};
use crate::date;
use crate::error::{Cause, Error};
use crate::http::HttpClient;
use crate::log;
use crate::request::plan::{Item, Plan, Target};
use crate::request::secret_id::SecretId;
use crate::request::value::Value;
use crate::secret::Secret;
use crate::signals::{self, Inbox};

pub use reader::{SecretReader, resource_without_token};

/// Connections to one vault at most.
const MAX_CONNECTIONS_PER_VAULT: usize = 16;
/// When the one line about a long wait is due.
const SLOW_NOTE_DELAY: Duration = Duration::from_secs(5);
/// After the first failure: time for the others to fail, so that one run names them all.
const FAILURE_COLLECTION_WINDOW: Duration = Duration::from_millis(500);
/// After the deadline: time for a thread to report its last response.
const LATE_RESULT_WINDOW: Duration = Duration::from_millis(400);

/// The result for one item, by its index in the plan.
type ItemResult = (usize, Result<Secret, Error>);

/// What the threads share.
struct Job {
    plan: Plan,
    http: HttpClient,
    secret_reader: SecretReader,
    /// For each item of the plan, the thread that reads it.
    readers: Vec<OnceLock<ThreadId>>,
    tasks: Vec<Task>,
    /// The next task.
    next: AtomicUsize,
    results: Inbox<ItemResult>,
}

/// The secrets of one vault, of which each reader takes the next.
struct Vault {
    client: VaultClient,
    /// Indices into the plan's items.
    items: Vec<usize>,
    /// The next of them.
    next: AtomicUsize,
}

/// What a thread does; one thread may do several in turn.
enum Task {
    /// Request the tokens that are known to be needed, so that this overlaps with connecting to the vaults.
    Tokens,
    /// Read secrets of a vault over one connection.
    Secrets(Arc<Vault>),
}

/// A plan whose every item was fetched.
pub struct FetchedPlan {
    job: Arc<Job>,
    /// The value of each item, in the order of [`Plan::items`].
    pub values: Vec<Secret>,
}

impl FetchedPlan {
    /// The value for a target of the plan.
    pub fn value(&self, target: &Target) -> Value<'_> {
        Value::new(&self.values[target.item], target.trim)
    }

    /// The plan that was fetched.
    pub fn plan(&self) -> &Plan {
        &self.job.plan
    }
}

/// Fetches every item of a plan, or none.
pub fn fetch(
    plan: Plan,
    http: HttpClient,
    source: Box<dyn TokenSource>,
) -> Result<FetchedPlan, Error> {
    let vaults = plan.vaults().into_iter().map(|(host, items)| {
        Arc::new(Vault {
            client: VaultClient::new(&http, host),
            items,
            next: AtomicUsize::new(0),
        })
    });
    let vaults: Vec<Arc<Vault>> = vaults.collect();
    let mut tasks = vec![Task::Tokens];
    // The first connection to each vault before the second to any.
    for connection in 0..MAX_CONNECTIONS_PER_VAULT {
        let vaults = vaults.iter().filter(|vault| connection < vault.items.len());
        tasks.extend(vaults.cloned().map(Task::Secrets));
    }
    let job = Arc::new(Job {
        readers: plan.items.iter().map(|_| OnceLock::new()).collect(),
        plan,
        http,
        secret_reader: SecretReader::new(source),
        tasks,
        next: AtomicUsize::new(0),
        results: Inbox::new(),
    });
    start_threads(&job)?;
    let values = collect(&job)?;
    Ok(FetchedPlan { job, values })
}

/// Starts a thread for each task. Under a limit on processes the threads that could be started do the other tasks too.
fn start_threads(job: &Arc<Job>) -> Result<(), Error> {
    for thread in 0..job.tasks.len() {
        let job = job.clone();
        match signals::spawn(move || job.work()) {
            Ok(()) => {}
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
    /// Does tasks until there are none left.
    fn work(&self) {
        while let Some(task) = self.tasks.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            match task {
                Task::Tokens => self.request_tokens(),
                Task::Secrets(vault) => self.read_secrets(vault),
            }
        }
    }

    /// Requests the tokens that are needed whatever a vault responds, and reports those that are items themselves.
    fn request_tokens(&self) {
        for (index, item) in self.plan.items.iter().enumerate() {
            let Some(resource) = item.resource() else {
                continue;
            };
            let token = self
                .secret_reader
                .token(&self.http, &TokenRequest::new(resource));
            let result = match (token, item) {
                (Ok(_), Item::Secret(_)) => continue,
                (Ok(token), Item::Token(_)) => {
                    self.note_expiry(index, &token);
                    Ok(Secret::new(token.value.expose().to_owned()))
                }
                (Err(error), _) => Err(error),
            };
            self.results.send((index, result));
        }
    }

    /// `token` prints a token and has no target: nothing there runs longer.
    fn note_expiry(&self, index: usize, token: &AccessToken) {
        let targets = self.plan.targets_of(index);
        if !targets.is_empty() {
            log::debug(|| {
                let until = date::format(token.expires_on);
                log::Event::new(format!(
                    "{targets}: this token expires at {until}; a process that runs longer has to get new tokens itself"
                ))
                .fact("for", targets)
                .fact("expires", until)
            });
        }
    }

    fn read_secrets(&self, vault: &Vault) {
        if vault.next.load(Ordering::Relaxed) < vault.items.len() {
            vault.client.open_early();
        }
        while let Some(index) = vault.items.get(vault.next.fetch_add(1, Ordering::Relaxed)) {
            let Item::Secret(secret) = &self.plan.items[*index] else {
                continue;
            };
            let _ = self.readers[*index].set(thread::current().id());
            let targets = self.plan.targets_of(*index);
            let read = self
                .secret_reader
                .read(&self.http, &vault.client, secret, &targets);
            let result = read.map(|bundle| {
                warn_of_validity(secret, &bundle);
                bundle.value
            });
            self.results.send((*index, result));
        }
    }
}

/// An expired secret may still be the right one, so it is used.
fn warn_of_validity(secret: &SecretId, bundle: &SecretBundle) {
    let now = date::unix_now();
    let expired = bundle.expires.filter(|expires| *expires <= now);
    let early = bundle.not_before.filter(|begins| *begins > now);
    let parts = [("expired at", expired), ("is not valid before", early)];
    for (what, time) in parts {
        if let Some(time) = time {
            let (shown, time) = (secret.shown(), date::format(time));
            log::warning(format!("secret `{shown}` {what} {time}; using it anyway"));
        }
    }
}

/// Waits for every item. After the first failure only for [`FAILURE_COLLECTION_WINDOW`].
fn collect(job: &Job) -> Result<Vec<Secret>, Error> {
    let deadline = &job.http.deadline;
    let mut results: Vec<_> = job.plan.items.iter().map(|_| None).collect();
    let mut window_end: Option<Instant> = None;
    let mut note_at = Some(Instant::now() + SLOW_NOTE_DELAY.saturating_sub(signals::elapsed()));
    while results.iter().any(Option::is_none) {
        if note_at.is_some_and(|at| at <= Instant::now()) {
            note_at = None;
            if let Some(waiting) = signals::current() {
                log::note(format!("still {waiting}"));
            }
        }
        // Computed anew each time: a vault may extend the deadline.
        let end = || {
            let late = deadline.end().map(|end| end + LATE_RESULT_WINDOW);
            [late, window_end].into_iter().flatten().min()
        };
        match job
            .results
            .receive([end(), note_at].into_iter().flatten().min())
        {
            Some((index, result)) => {
                if result.is_err() {
                    deadline.give_up();
                    window_end.get_or_insert(Instant::now() + FAILURE_COLLECTION_WINDOW);
                }
                // A token that was refused is reported twice for each secret.
                results[index].get_or_insert(result);
            }
            None if end().is_some_and(|end| end <= Instant::now()) => break,
            None => {}
        }
    }
    if let Some(error) = combine(job, &results) {
        return Err(error);
    }
    let values = results.into_iter().map(|result| result?.ok());
    let values = values.collect::<Option<Vec<Secret>>>().ok_or_else(|| {
        let error = Error::new(Cause::Unavailable, "no response before the deadline");
        match signals::current() {
            None => error,
            Some(waiting) => error.context(waiting.to_string()).set_hint(waiting.hint),
        }
    })?;
    if note_at.is_none() {
        let seconds = signals::elapsed().as_secs();
        log::note(format!("got every secret after {seconds} s"));
    }
    Ok(values)
}

/// The first error in the order of the plan, and of those the first that waiting does not fix. The other secrets that
/// failed, or have failed so far, are named in a note, but for those that only lack the same token.
fn combine(job: &Job, results: &[Option<Result<Secret, Error>>]) -> Option<Error> {
    let failed = results.iter().enumerate().filter_map(|(index, result)| {
        let error = result.as_ref()?.as_ref().err()?;
        Some((index, error))
    });
    let (first, error) =
        failed.min_by_key(|(index, error)| (error.cause == Cause::Unavailable, *index))?;
    let mut others = Vec::new();
    for (index, result) in results.iter().enumerate() {
        let other = match result {
            Some(Ok(_)) => None,
            Some(Err(other)) => {
                let token = resource_without_token(other);
                let is_same = token.is_some() && token == resource_without_token(error);
                (!is_same).then(|| other.clone())
            }
            None => job.readers[index]
                .get()
                .copied()
                .and_then(signals::last_error),
        };
        let Some(other) = other.filter(|_| index != first) else {
            continue;
        };
        let what = match &job.plan.items[index] {
            Item::Secret(secret) => format!("`{}` from {}", secret.shown(), secret.host),
            Item::Token(resource) => format!("a token for {resource}"),
        };
        let (targets, why) = (job.plan.targets_of(index), other.code_or_cause());
        others.push(format!("{what} for {targets} ({why})"));
    }
    let error = error.clone();
    Some(match others.is_empty() {
        true => error,
        false => error.note(format!("also not read: {}", others.join(", "))),
    })
}
