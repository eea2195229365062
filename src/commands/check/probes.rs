//! The checks that need the network: names, connections, tokens and secrets, each with one attempt.
//!
//! A few threads probe the identity and the vaults. What several of them depend on, such as the tokens, is probed by the
//! first and awaited by the others. The main thread prints each result as soon as it and those before it are known.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::clock;
use super::describe::{self, ATTEMPT, Route};
use super::report::{Link, Phase, Report, State};
use crate::azure::fetch::{Reader, missing_token};
use crate::azure::identity::{Source, TokenRequest};
use crate::azure::key_vault::KeyVault;
use crate::error::{Cause, Error, ErrorKind};
use crate::http::error::AttemptError;
use crate::http::probe::resolve;
use crate::http::{Http, Service, Timeouts};
use crate::request::plan::{Item, Plan};
use crate::signals::{self, Receiver, Sender, Wait, spawn};

/// Threads that read secrets of one vault.
const READERS: usize = 16;
const TIMEOUTS: Timeouts = Timeouts {
    connect: ATTEMPT,
    response: ATTEMPT,
};

/// What the threads share.
struct Job {
    plan: Plan,
    http: Http,
    reader: Reader,
    results: Sender<Link>,
    deadline: Instant,
    /// What issues the tokens, if it can be probed.
    identity: Option<Service>,
    /// The resources that are known before the first request.
    resources: Vec<String>,
    /// Those of them with a token.
    tokens: OnceLock<Vec<String>>,
    vaults: Vec<Vault>,
}

struct Vault {
    client: KeyVault,
    /// The resource of the token for it, if it is known before the first request.
    resource: Option<String>,
    /// Why its secrets cannot be read.
    skip: OnceLock<Option<&'static str>>,
    /// Items of the plan.
    items: Vec<usize>,
    /// The next of them to be read.
    next: AtomicUsize,
}

/// A place in the report.
struct Slot {
    /// The link if the time is up before its result.
    timed_out: Link,
    result: Option<Link>,
    /// The resource of the token that `exec` needs before it comes here.
    resource: Option<String>,
}

/// Probes everything until the time is up, and adds the links to the report.
pub fn run(
    plan: Plan,
    http: Http,
    source: Box<dyn Source>,
    timeout: Duration,
    report: &mut Report,
) {
    let (results, inbox) = signals::channel();
    let mut resources: Vec<String> = Vec::new();
    for resource in plan.items.iter().filter_map(resource_of) {
        if !resources.contains(resource) {
            resources.push(resource.clone());
        }
    }
    let vaults = plan.vaults().into_iter().map(|(host, items)| Vault {
        client: KeyVault::new(&http, host),
        resource: resource_of(&plan.items[items[0]]).cloned(),
        skip: OnceLock::new(),
        items,
        next: AtomicUsize::new(0),
    });
    let job = Arc::new(Job {
        vaults: vaults.collect(),
        identity: source.service(&http),
        reader: Reader::new(source),
        deadline: Instant::now() + timeout,
        tokens: OnceLock::new(),
        plan,
        http,
        results,
        resources,
    });
    let slots = slots(&job, timeout);
    start_threads(&job);
    collect(&job, slots, &inbox, report);
    if let Some(link) = clock::link(&job.http.clock_skews()) {
        report.add(link);
    }
}

/// The order of the report.
fn slots(job: &Job, timeout: Duration) -> Vec<Slot> {
    let reason = format!("timed out after {} s", timeout.as_secs());
    let error = Error::new(Cause::Unavailable, reason);
    let mut slots: Vec<Slot> = Vec::new();
    let mut add = |kind, subject: String, index, resource: Option<&String>| {
        let link = Link::failed(kind, subject, &error).at(Phase::Requests, index);
        slots.push(Slot {
            timed_out: Link {
                timed_out: true,
                ..link
            },
            result: None,
            resource: resource.cloned(),
        });
    };
    if let Some(service) = &job.identity {
        add("name", describe::next_hop(service), 0, None);
        add("connection", describe::service(service), 0, None);
    }
    for resource in &job.resources {
        add("token", resource.clone(), 0, None);
    }
    for vault in &job.vaults {
        let (service, resource) = (vault.client.service(), vault.resource.as_ref());
        let index = vault.items[0] + 1;
        add("name", describe::next_hop(service), index, resource);
        add("connection", describe::service(service), index, resource);
    }
    for vault in &job.vaults {
        for item in &vault.items {
            let targets = job.plan.targets_of(*item);
            add("secret", targets, item + 1, vault.resource.as_ref());
        }
    }
    slots
}

/// The resource of the token for an item, if it is known before the first request.
fn resource_of(item: &Item) -> Option<&String> {
    match item {
        Item::Token(resource) => Some(resource),
        Item::Secret(secret) => secret.resource.as_ref(),
    }
}

/// What a thread does: probe the identity, or read secrets of the vault with this index.
type Task = Option<usize>;

/// Starts as many threads as are useful. If there can be none, this one does the work.
fn start_threads(job: &Arc<Job>) {
    let mut tasks: VecDeque<Task> = VecDeque::from([None]);
    for reader in 0..READERS {
        let has_work = |at: &usize| reader < job.vaults[*at].items.len();
        tasks.extend((0..job.vaults.len()).filter(has_work).map(Some));
    }
    let threads = tasks.len();
    let tasks = Arc::new(Mutex::new(tasks));
    let start = || {
        let (job, tasks) = (job.clone(), tasks.clone());
        spawn(move || job.run(&tasks, || ()))
    };
    if (0..threads).take_while(|_| start().is_ok()).count() == 0 {
        job.run(&tasks, signals::end_if_pending);
    }
}

/// Prints each result when it and those before it are known; at the deadline the others too.
fn collect(job: &Job, mut slots: Vec<Slot>, inbox: &Receiver<Link>, report: &mut Report) {
    let mut printed = 0;
    loop {
        let is_late = Instant::now() >= job.deadline;
        while let Some(slot) = slots.get_mut(printed)
            && (is_late || slot.result.is_some())
        {
            let (mut phase, index) = slot.timed_out.turn;
            let tokens = job.tokens.get().map_or(&[][..], Vec::as_slice);
            if slot
                .resource
                .as_ref()
                .is_some_and(|resource| !tokens.contains(resource))
            {
                phase = Phase::WithoutToken;
            }
            let link = slot.result.take().unwrap_or_else(|| slot.timed_out.clone());
            // The same proxy may be in front of several services.
            if link.kind != "name" || !report.has("name", &link.subject) {
                report.add(link.at(phase, index));
            }
            printed += 1;
        }
        if printed == slots.len() {
            return;
        }
        if let Ok(link) = inbox.receive(Some(job.deadline)) {
            let slot = slots.iter_mut().find(|slot| slot.timed_out.is_same(&link));
            if let Some(slot) = slot {
                slot.result = Some(link);
            }
        }
    }
}

impl Job {
    /// Does the tasks until there are none left.
    fn run(&self, tasks: &Mutex<VecDeque<Task>>, before_each: impl Fn()) {
        let next = || {
            tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        while let Some(task) = next() {
            before_each();
            match task {
                None => {
                    self.tokens();
                }
                Some(vault) => self.read_secrets(&self.vaults[vault]),
            }
        }
    }

    /// Sends a link; `index` is that of its slot.
    fn send(&self, link: Link, index: usize) {
        self.results.send(link.at(Phase::Requests, index));
    }

    /// The resources that there is a token for, after the identity was probed.
    fn tokens(&self) -> &[String] {
        self.tokens.get_or_init(|| self.probe_identity())
    }

    fn probe_identity(&self) -> Vec<String> {
        let failed = match &self.identity {
            Some(service) => self.probe_route(service, 0, Error::from),
            None => None,
        };
        let mut tokens = self.probe_tokens(failed.as_ref().map(|(_, kind)| *kind));
        if let Some((mut failed, kind)) = failed {
            // The error of a token request has a better hint, and the same reason.
            for (link, token_kind) in &mut tokens {
                let is_unavailable = |link: &Link| link.cause == Some(Cause::Unavailable);
                if *token_kind == Some(kind) || is_unavailable(link) && is_unavailable(&failed) {
                    failed.hint = link.hint.take().or(failed.hint);
                    *link = Link::skipped(
                        "token",
                        link.subject.as_str(),
                        "there is no connection to it",
                    );
                }
            }
            if tokens.iter().all(|(link, _)| link.state == State::Good) {
                failed.state = State::Warning;
                failed.cause = None;
            }
            self.send(failed, 0);
        }
        let mut resources = Vec::new();
        for (link, _) in tokens {
            if link.state == State::Good {
                resources.push(link.subject.clone());
            }
            self.send(link, 0);
        }
        resources
    }

    /// Requests the tokens. `failed` is why there is no connection.
    fn probe_tokens(&self, failed: Option<ErrorKind>) -> Vec<(Link, Option<ErrorKind>)> {
        let issuer = self.identity.as_ref().map(describe::service);
        let mut skip = match failed {
            // A request would hang in the same lookup.
            Some(ErrorKind::NameServerTimeout) => Some("the name servers do not answer"),
            _ => None,
        };
        let mut tokens = Vec::new();
        for resource in &self.resources {
            if let Some(reason) = skip {
                tokens.push((Link::skipped("token", resource.as_str(), reason), None));
                continue;
            }
            let started = Instant::now();
            let token_request = TokenRequest::new(resource);
            let http = self.http.for_one_attempt(ATTEMPT);
            let (link, kind) = match self.reader.token(&http, &token_request) {
                Ok(token) => (describe::token(resource, &token), None),
                Err(error) => {
                    let kind = error.kind;
                    (describe::no_token(resource, issuer.as_deref(), error), kind)
                }
            };
            if link.cause == Some(Cause::Unavailable) {
                skip = Some("there was no token for the resource before");
            }
            tokens.push((link.took(started), kind));
        }
        tokens
    }

    /// Probes a name and a connection, and sends their links, except for a failed one, which is returned.
    fn probe_route(
        &self,
        service: &Service,
        index: usize,
        error_of: impl Fn(AttemptError) -> Error,
    ) -> Option<(Link, ErrorKind)> {
        let started = Instant::now();
        let shown = describe::service(service);
        let route = match probe_name(service) {
            Ok((link, route)) => {
                self.send(link.took(started), index);
                route
            }
            Err(error) => {
                let kind = error.kind;
                let reason = match service.proxy() {
                    Some(_) => "there is no address for the proxy",
                    None => "there is no address for it",
                };
                self.send(Link::skipped("connection", shown, reason), index);
                let host = describe::next_hop(service);
                return Some((Link::failed("name", host, &error_of(error)), kind));
            }
        };
        let started = Instant::now();
        let _wait = Wait::begin(&format!("connecting to {shown}"), None);
        match service.probe(TIMEOUTS) {
            Ok(peer) => {
                let link = describe::connection(service, peer.as_ref());
                self.send(link.took(started), index);
                None
            }
            Err(error) => {
                let kind = error.kind;
                let link = describe::no_connection(service, &route, &error_of(error));
                Some((link.took(started), kind))
            }
        }
    }

    /// Reads secrets of a vault until there are none left.
    fn read_secrets(&self, vault: &Vault) {
        let skip = *vault.skip.get_or_init(|| self.probe_vault(vault));
        while let Some(item) = vault.next_item()
            && Instant::now() < self.deadline
        {
            match skip {
                Some(reason) => {
                    let targets = self.plan.targets_of(item);
                    self.send(Link::skipped("secret", targets, reason), item + 1);
                }
                None => {
                    self.read_secret(vault, item);
                }
            }
        }
    }

    /// Probes a vault. Returns why its secrets cannot be read.
    fn probe_vault(&self, vault: &Vault) -> Option<&'static str> {
        let error_of = |error| vault.client.failure_of(error);
        let index = vault.items[0] + 1;
        if let Some((link, _)) = self.probe_route(vault.client.service(), index, error_of) {
            self.send(link, index);
            return Some("there is no connection to its vault");
        }
        let has_token = match &vault.resource {
            Some(resource) => self.tokens().contains(resource),
            // The first secret finds out, for all of them.
            None => vault
                .next_item()
                .is_none_or(|item| self.read_secret(vault, item)),
        };
        (!has_token).then_some("there is no access token")
    }

    /// Reads a secret, and sends its link. Returns whether there was a token for it.
    fn read_secret(&self, vault: &Vault, item: usize) -> bool {
        let Item::Secret(secret) = &self.plan.items[item] else {
            unreachable!("only secrets are read from vaults");
        };
        let targets = self.plan.targets_of(item);
        let started = Instant::now();
        let http = self.http.for_one_attempt(ATTEMPT);
        let read = self.reader.read(&http, &vault.client, secret, &targets);
        let error = read.as_ref().err();
        let has_token = error.and_then(missing_token).is_none();
        let link = match read {
            Ok(bundle) => describe::secret(&targets, secret, &bundle),
            Err(error) if has_token => describe::no_secret(&targets, secret, error),
            Err(error) => describe::no_secret_token(&targets, secret, error),
        };
        self.send(link.took(started), item + 1);
        has_token
    }
}

impl Vault {
    /// An item that no thread has taken yet.
    fn next_item(&self) -> Option<usize> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.items.get(next).copied()
    }
}

/// Looks a service's name up, or that of its proxy.
fn probe_name(service: &Service) -> Result<(Link, Route), AttemptError> {
    let Some(host) = service.next_hop() else {
        return Ok((
            Link::skipped("name", "", "there is no name"),
            Route::default(),
        ));
    };
    let _wait = Wait::begin(&format!("looking up {}", host.name), None);
    // A lookup cannot be interrupted: one that takes too long keeps its thread.
    let (sender, receiver) = mpsc::channel();
    let name = host.clone();
    let lookup = move || drop(sender.send(resolve(&name)));
    let resolved = match spawn(lookup) {
        Ok(()) => receiver.recv_timeout(ATTEMPT).unwrap_or_else(|_| {
            let seconds = ATTEMPT.as_secs();
            let reason = format!("the name servers do not answer within {seconds} s");
            Err(AttemptError::new(ErrorKind::NameServerTimeout, reason))
        }),
        Err(_) => resolve(&host),
    };
    match resolved {
        Ok(resolved) => Ok(describe::name(&host, service, &resolved)),
        Err(error) => Err(describe::no_name(error, service)),
    }
}
