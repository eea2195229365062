//! Fetches everything in a plan: each access token and each distinct secret once, in several threads. The lists of vaults
//! come first, since they say which secrets there are.
//!
//! The main thread only waits, and starts more threads, so that neither a DNS look-up nor a service that never responds
//! can hold it beyond the deadline. Threads that still work after that end with the process or at its execve.

mod connections;
mod reader;
mod values;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::azure::identity::{AccessToken, KnownTokens, TokenRequest, TokenSource};
use crate::azure::key_vault::{SecretBundle, VaultClient};
use crate::date;
use crate::error::{Cause, Error, PROCESS_LIMITS_HINT};
use crate::http::HttpClient;
use crate::log::{self, Event};
use crate::request::plan::{Plan, PlanItem};
use crate::request::secret_id::SecretId;
use crate::request::value::StoredSecret;
use crate::secret::Secret;
use crate::signals::{self, Inbox};

use connections::{Progress, VaultState};

pub use reader::{SecretReader, resource_without_token};
pub use values::{Expanded, FetchedPlan, FetchedValue, ItemValues, make_values};

/// The shortest and the longest time between two looks at the progress of connections.
const LOOK_INTERVALS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];
/// How long after its start the process writes what it is waiting for.
const FIRST_PROGRESS_DELAY: Duration = Duration::from_secs(5);
/// The time from then on between two lines about that.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);
/// How long after the first failure to wait for failures of other items, so that one run reports them all.
const FAILURE_COLLECTION_WINDOW: Duration = Duration::from_millis(500);
/// How long after the deadline to wait for the results of threads that are about to report one.
const LATE_RESULT_WINDOW: Duration = Duration::from_millis(400);

/// How many other failures an error lists. A list of a vault may name thousands of secrets.
const MAX_SHOWN_FAILURES: usize = 20;

/// What the targets get of an item. The error is the item's.
type ItemResult = Result<ItemValues, Error>;

/// What the runs of one fetch share.
struct Session {
    http: HttpClient,
    secret_reader: SecretReader,
    /// The client of each vault, in the order of [`Plan::items_by_vault`].
    clients: Vec<Arc<VaultClient>>,
}

/// A run that fetches items of a plan: the state that its threads share.
struct FetchRun {
    plan: Arc<Plan>,
    session: Arc<Session>,
    /// The items to fetch, as indices into the plan's.
    items: Vec<usize>,
    /// For each item of the plan: the thread that reads it; empty until a thread does.
    reader_threads: Vec<OnceLock<ThreadId>>,
    vaults: Vec<Arc<VaultQueue>>,
    tasks: Vec<Task>,
    /// The index in `tasks` of the next task to do.
    next_task: AtomicUsize,
    /// The results, each with the index of its item in the plan.
    results: Inbox<(usize, ItemResult)>,
    /// The number of results that were sent. A failed token may give an item two.
    sent: AtomicUsize,
}

/// The secrets of one vault. Several threads read them; each repeatedly takes the next one.
struct VaultQueue {
    client: Arc<VaultClient>,
    /// What is read from the vault: indices into the plan's items.
    items: Vec<usize>,
    /// The position in `items` of the next secret to read.
    next_item: AtomicUsize,
    /// The number of connections that threads were started for.
    started: AtomicUsize,
    /// The number of those that were opened, or could not be.
    opened: AtomicUsize,
}

/// What a thread does; one thread may do several in turn.
enum Task {
    /// Request the tokens whose resources are known, while other threads connect to the vaults.
    Tokens,
    /// Read secrets of a vault over its first connection.
    Secrets(Arc<VaultQueue>),
}

/// Fetches every item of a plan. Fails if any item cannot be fetched. `tokens` are access tokens of an earlier fetch. One
/// that is an item itself is not used: the target is to get a new one.
pub fn fetch(
    plan: Plan,
    http: HttpClient,
    source: Box<dyn TokenSource>,
    mut tokens: KnownTokens,
) -> Result<FetchedPlan, Error> {
    let is_item = |request: &TokenRequest| {
        let mut items = plan.items.iter();
        items.any(|item| matches!(item, PlanItem::Token(it) if *it == request.resource))
    };
    tokens.retain(|(request, _)| !is_item(request));
    let vaults = plan.items_by_vault().into_iter();
    let clients = vaults.map(|(host, _)| Arc::new(VaultClient::new(&http, &plan.settings, host)));
    let session = Arc::new(Session {
        clients: clients.collect(),
        secret_reader: SecretReader::new(source, tokens),
        http,
    });
    let mut plan = Arc::new(plan);
    let is_list = |plan: &Plan, index: &usize| matches!(plan.items[*index], PlanItem::List(_));
    let lists: Vec<usize> = (0..plan.items.len())
        .filter(|index| is_list(&plan, index))
        .collect();
    if !lists.is_empty() {
        let items = fetch_items(&plan, &session, lists)?;
        // Threads that are about to end may have the plan, too.
        let plan = Arc::make_mut(&mut plan);
        for (index, item) in items.into_iter().enumerate() {
            for expansion in item.expansions {
                if let Expanded::Secrets(listed) = expansion? {
                    plan.add_listed(index, listed)?;
                }
            }
        }
    }
    let items = (0..plan.items.len()).filter(|index| !is_list(&plan, index));
    let items = fetch_items(&plan, &session, items.collect())?;
    values::assemble(plan, items, session.secret_reader.tokens())
}

/// Fetches these items of a plan. Returns what the targets get of each item of the plan; of any other, that is nothing.
/// Fails if any of them cannot be fetched.
fn fetch_items(
    plan: &Arc<Plan>,
    session: &Arc<Session>,
    items: Vec<usize>,
) -> Result<Vec<ItemValues>, Error> {
    let vaults = plan.items_by_vault().into_iter().zip(&session.clients);
    let vaults = vaults.filter_map(|((_, vault_items), client)| {
        let is_wanted = |index: &usize| items.binary_search(index).is_ok();
        let items: Vec<usize> = vault_items.into_iter().filter(is_wanted).collect();
        (!items.is_empty()).then(|| {
            Arc::new(VaultQueue {
                client: client.clone(),
                items,
                next_item: AtomicUsize::new(0),
                started: AtomicUsize::new(1),
                opened: AtomicUsize::new(0),
            })
        })
    });
    let vaults: Vec<Arc<VaultQueue>> = vaults.collect();
    let mut tasks = vec![Task::Tokens];
    tasks.extend(vaults.iter().cloned().map(Task::Secrets));
    let run = Arc::new(FetchRun {
        plan: plan.clone(),
        session: session.clone(),
        reader_threads: plan.items.iter().map(|_| OnceLock::new()).collect(),
        items,
        vaults,
        tasks,
        next_task: AtomicUsize::new(0),
        results: Inbox::new(),
        sent: AtomicUsize::new(0),
    });
    start_threads(&run)?;
    collect(&run)
}

/// Starts a thread for each task, but not more than there may be connections. If a limit on processes allows fewer
/// threads, those that were started do all the tasks. Fails if not even one thread can be started.
fn start_threads(run: &Arc<FetchRun>) -> Result<(), Error> {
    for thread in 0..run.tasks.len().min(1 + connections::MAX) {
        let run = run.clone();
        match signals::spawn_thread(move || run.work()) {
            Ok(()) => {}
            Err(_) if thread > 0 => break,
            Err(error) => {
                let message = format!("starting a thread: {error}");
                let hint = format!("{PROCESS_LIMITS_HINT}; does a sandbox (seccomp) forbid clone?");
                return Err(Error::new(Cause::Unavailable, message).hint(hint));
            }
        }
    }
    Ok(())
}

impl FetchRun {
    /// Does tasks until no task is left.
    fn work(&self) {
        while let Some(task) = self
            .tasks
            .get(self.next_task.fetch_add(1, Ordering::Relaxed))
        {
            match task {
                Task::Tokens => self.request_tokens(),
                Task::Secrets(vault) => self.read_secrets(vault),
            }
        }
    }

    /// Sends the result of an item to the main thread, which is woken only for a failure and for the last result: to wake
    /// it takes more CPU time than to parse a response.
    fn send_result(&self, index: usize, result: ItemResult) {
        let has_failed = values::errors(&result).next().is_some();
        self.results.send_without_waking((index, result));
        let sent = self.sent.fetch_add(1, Ordering::AcqRel) + 1;
        if has_failed || sent >= self.items.len() {
            signals::wake_main_thread();
        }
    }

    /// Requests the tokens whose resources are known before any vault has responded. Reports every failure. Reports a
    /// token only if it is an item of the plan, and not if it only serves to read secrets.
    fn request_tokens(&self) {
        for index in &self.items {
            let item = &self.plan.items[*index];
            let Some(resource) = item.resource() else {
                continue;
            };
            let token = self
                .session
                .secret_reader
                .token(&self.session.http, &TokenRequest::new(resource));
            let result = match (token, item) {
                (Ok(token), PlanItem::Token(_)) => {
                    self.log_expiry(*index, &token);
                    let token = StoredSecret {
                        value: Secret::new(token.value.expose().as_bytes().to_vec()),
                        content_type: None,
                    };
                    make_values(&self.plan, *index, Ok(token))
                }
                (Ok(_), _) => continue,
                (Err(error), _) => Err(error),
            };
            self.send_result(*index, result);
        }
    }

    /// Logs when the access token of an item expires. An item of the command `token`, which has no target, is not
    /// logged: that command prints its token and ends.
    fn log_expiry(&self, index: usize, token: &AccessToken) {
        let targets = self.plan.target_names(index);
        if !targets.is_empty() {
            log::debug(|| {
                let until = date::format(token.expires_on);
                Event::new(format!(
                    "{targets}: this token expires at {until}; a process that runs longer has to get new tokens itself"
                ))
                .fact("for", targets)
                .fact("expires", until)
            });
        }
    }

    /// Reads secrets of a vault over one connection until none is left, and sends each result to the main thread.
    fn read_secrets(&self, vault: &VaultQueue) {
        let client = &vault.client;
        // The connection that has read the list is idle.
        let is_first = vault.opened.load(Ordering::Relaxed) == 0;
        let has_idle = is_first && client.has_responded();
        if vault.next_item.load(Ordering::Relaxed) < vault.items.len() && !has_idle {
            client.open_early();
        }
        vault.opened.fetch_add(1, Ordering::Relaxed);
        while let Some(index) = vault
            .items
            .get(vault.next_item.fetch_add(1, Ordering::Relaxed))
        {
            let _ = self.reader_threads[*index].set(thread::current().id());
            let targets = self.plan.target_names(*index);
            let Session {
                http,
                secret_reader,
                ..
            } = &*self.session;
            let result = match &self.plan.items[*index] {
                PlanItem::Token(_) => continue,
                PlanItem::List(_) => {
                    let names =
                        secret_reader.list_names(http, client, &self.plan, *index, &targets);
                    names.map(|names| ItemValues {
                        expansions: names.into_iter().map(Expanded::Secrets).map(Ok).collect(),
                        ..ItemValues::default()
                    })
                }
                PlanItem::Secret(secret) => {
                    let read = secret_reader.read(http, client, secret, &targets);
                    let read = read.map(|bundle| {
                        warn_if_not_valid(secret, &bundle);
                        bundle.stored
                    });
                    make_values(&self.plan, *index, read)
                }
            };
            self.send_result(*index, result);
        }
    }
}

impl VaultQueue {
    /// The state of the vault's connections. `latest_change` is updated when more are open.
    fn state(&self, latest_change: &mut Change) -> VaultState {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let (started, opened) = (count(&self.started), count(&self.opened));
        let milestones = &self.client.service.milestones();
        let since = |time: &OnceLock<Instant>| time.get().map(Instant::elapsed);
        let responses = count(&milestones.responses);
        if latest_change.connections != opened {
            *latest_change = Change {
                connections: opened,
                responses,
                time: Instant::now(),
            };
        }
        let progress = if responses > 0 {
            Progress::Responding(
                responses - latest_change.responses,
                latest_change.time.elapsed(),
            )
        } else if let Some(time) = since(&milestones.first_request)
            .or_else(|| since(&milestones.ready))
            .or_else(|| since(&milestones.connected))
        {
            Progress::Waiting(time)
        } else {
            since(&milestones.connecting).map_or(Progress::LookingUp, Progress::Connecting)
        };
        let taken = count(&self.next_item).min(self.items.len());
        VaultState {
            progress,
            connections: started,
            waiting: (self.items.len() - taken).saturating_sub(started - opened),
        }
    }
}

/// Opens more connections where they save time.
struct ConnectionOpener {
    started: Instant,
    /// The latest change of the number of connections to each vault.
    changes: Vec<Change>,
    /// Whether the CPU quota is small; `None` until that matters.
    has_small_quota: Option<bool>,
    /// When to look at the progress again; `None` if no more connections will be opened.
    next_look: Option<Instant>,
}

/// When the number of a vault's open connections changed.
#[derive(Clone, Copy)]
struct Change {
    connections: usize,
    /// The number of responses until then.
    responses: usize,
    time: Instant,
}

impl ConnectionOpener {
    fn new(run: &FetchRun) -> ConnectionOpener {
        let start = Change {
            connections: 0,
            responses: 0,
            time: Instant::now(),
        };
        ConnectionOpener {
            started: start.time,
            changes: vec![start; run.vaults.len()],
            has_small_quota: None,
            next_look: Some(start.time),
        }
    }

    /// Opens connections if it is time to look for that.
    fn look(&mut self, run: &Arc<FetchRun>) {
        if self.next_look.is_none_or(|time| time > Instant::now()) {
            return;
        }
        self.next_look = None;
        let vaults = run.vaults.iter().zip(&mut self.changes);
        let states: Vec<VaultState> = vaults.map(|(vault, change)| vault.state(change)).collect();
        let mut to_open = connections::connections_to_open(&states, false);
        if to_open.iter().any(|count| *count > 0) {
            let has_small_quota = self
                .has_small_quota
                .get_or_insert_with(connections::has_small_quota);
            to_open = connections::connections_to_open(&states, *has_small_quota);
        }
        for (vault, count) in run.vaults.iter().zip(to_open) {
            for _ in 0..count {
                let (run, queue) = (run.clone(), vault.clone());
                vault.started.fetch_add(1, Ordering::Relaxed);
                if signals::spawn_thread(move || run.read_secrets(&queue)).is_err() {
                    // A limit on processes: the threads that there are read all secrets.
                    return;
                }
            }
        }
        let [shortest, longest] = LOOK_INTERVALS;
        let states = states.iter().filter(|state| state.may_want_more());
        let interval = (self.started.elapsed() / 8).clamp(shortest, longest);
        let next = states.map(|state| state.next_look().unwrap_or(interval));
        self.next_look = next.min().map(|interval| Instant::now() + interval);
    }
}

/// Warns of a secret that has expired or is not valid yet. Such a secret is used all the same: it may still work.
fn warn_if_not_valid(secret: &SecretId, bundle: &SecretBundle) {
    let now = date::unix_now();
    let expired_at = bundle.expires.filter(|expires| *expires <= now);
    let valid_from = bundle.not_before.filter(|not_before| *not_before > now);
    let problems = [
        ("expired at", expired_at),
        ("is not valid before", valid_from),
    ];
    for (problem, time) in problems {
        if let Some(time) = time {
            let (shown, time) = (secret.name_and_version(), date::format(time));
            log::warning(format!(
                "secret `{shown}` {problem} {time}; using it anyway"
            ));
        }
    }
}

/// Waits for the result of every item of the run. Fails if an item fails, after another [`FAILURE_COLLECTION_WINDOW`]
/// for failures of others; or if a result is missing at the deadline.
fn collect(run: &Arc<FetchRun>) -> Result<Vec<ItemValues>, Error> {
    let deadline = &run.session.http.deadline;
    let mut results: Vec<_> = run.plan.items.iter().map(|_| None).collect();
    let mut missing = run.items.len();
    let mut window_end: Option<Instant> = None;
    let mut was_slow = false;
    let mut progress_at =
        Instant::now() + FIRST_PROGRESS_DELAY.saturating_sub(signals::elapsed_since_start());
    let mut opener = ConnectionOpener::new(run);
    while missing > 0 {
        opener.look(run);
        if progress_at <= Instant::now() {
            was_slow = true;
            progress_at += PROGRESS_INTERVAL;
            if let Some(throttling) = deadline.describe_throttling() {
                log::progress(throttling);
            } else if let Some(waiting) = signals::current_wait() {
                log::progress(match deadline.remaining().map(|left| left.as_secs()) {
                    Some(left) => {
                        Event::new(format!("still {waiting}, {left} s left")).fact("left", left)
                    }
                    None => Event::new(format!("still {waiting}")),
                });
            }
        }
        // Computed each time: a vault's response may extend the deadline.
        let wait_until = || {
            let late_end = deadline.end().map(|end| end + LATE_RESULT_WINDOW);
            [late_end, window_end].into_iter().flatten().min()
        };
        match run.results.receive(
            [wait_until(), opener.next_look, Some(progress_at)]
                .into_iter()
                .flatten()
                .min(),
        ) {
            Some((index, result)) => {
                if values::errors(&result).next().is_some() {
                    deadline.give_up();
                    window_end.get_or_insert(Instant::now() + FAILURE_COLLECTION_WINDOW);
                }
                // For a failed token, a secret has two errors: from `request_tokens`, and from reading it.
                if results[index].is_none() {
                    results[index] = Some(result);
                    missing -= 1;
                }
            }
            None if wait_until().is_some_and(|end| end <= Instant::now()) => break,
            None => {}
        }
    }
    if let Some(error) = combined_error(run, &results) {
        return Err(error);
    }
    if missing > 0 {
        let error = Error::new(Cause::Unavailable, "no response before the deadline");
        return Err(match signals::current_wait() {
            None => error,
            Some(waiting) => error.context(waiting.to_string()).set_hint(waiting.hint),
        });
    }
    if was_slow {
        let seconds = signals::elapsed_since_start().as_secs();
        log::progress(format!("got every secret after {seconds} s"));
    }
    let values = results.into_iter().map(|result| result.transpose());
    values
        .map(|values| Ok(values?.unwrap_or_default()))
        .collect()
}

/// The error of the fetch, `None` if no item has failed: the first error in the order of the plan, but errors that a
/// retry cannot fix come before [`Cause::Unavailable`]. A note lists the other items that failed, or whose last
/// attempt failed, unless they failed for lack of the same token.
fn combined_error(run: &FetchRun, results: &[Option<ItemResult>]) -> Option<Error> {
    // The index of each item that failed or whose last attempt failed, the targets that lack it, and why.
    let mut failed: Vec<(usize, String, Error)> = Vec::new();
    for (index, result) in results.iter().enumerate() {
        let names = || run.plan.target_names(index);
        match result {
            Some(Err(error)) => failed.push((index, names(), error.clone())),
            Some(Ok(values)) => {
                let parts = run.plan.parts_of(index).zip(&values.parts);
                failed.extend(parts.filter_map(|((target, _), part)| {
                    let name = target.shown_name().into_owned();
                    Some((index, name, part.as_ref().err()?.clone()))
                }));
                let expansions = run.plan.expansions_of(index).zip(&values.expansions);
                failed.extend(expansions.filter_map(|(expansion, made)| {
                    Some((index, expansion.label(), made.as_ref().err()?.clone()))
                }));
            }
            None => {
                let thread = run.reader_threads[index].get().copied();
                let error = thread.and_then(signals::last_attempt_error);
                failed.extend(error.map(|error| (index, names(), error)));
            }
        }
    }
    let ended = (0..failed.len()).filter(|at| results[failed[*at].0].is_some());
    let first = ended.min_by_key(|at| (failed[*at].2.cause == Cause::Unavailable, *at))?;
    let (_, _, error) = failed.remove(first);
    let lacks_same_token = |other: &Error| {
        let token = resource_without_token(other);
        token.is_some() && token == resource_without_token(&error)
    };
    failed.retain(|(_, _, other)| !lacks_same_token(other));
    let mut others = Vec::new();
    for (index, targets, other) in failed {
        let (what, why) = (run.plan.items[index].describe(), other.code_or_cause());
        others.push(format!("{what} for {targets} ({why})"));
    }
    let more = others.len().saturating_sub(MAX_SHOWN_FAILURES);
    if more > 1 {
        others.truncate(MAX_SHOWN_FAILURES);
        others.push(format!("{more} more"));
    }
    Some(match others.is_empty() {
        true => error,
        false => error.note(format!("also not read: {}", others.join(", "))),
    })
}
