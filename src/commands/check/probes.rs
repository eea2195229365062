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
use crate::azure::fetch::{ReadError, Reader};
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

/// What the threads share. Slots are indices into the list of links.
struct Job {
    plan: Plan,
    http: Http,
    reader: Reader,
    results: Sender<(usize, Link)>,
    deadline: Instant,
    /// What issues the tokens, if it can be probed, and the slots of its name and its connection.
    identity: Option<(Service, [usize; 2])>,
    /// The resources that are known before the first request.
    resources: Vec<(String, usize)>,
    /// Those of them with a token.
    tokens: OnceLock<Vec<String>>,
    vaults: Vec<Vault>,
}

struct Vault {
    client: KeyVault,
    slots: [usize; 2],
    /// Why its secrets cannot be read.
    skip: OnceLock<Option<&'static str>>,
    /// Items of the plan, and the slots of their secrets.
    items: Vec<(usize, usize)>,
    /// The next item to be read.
    next: AtomicUsize,
    /// The resource of the token for it, if it is known before the first request.
    resource: Option<String>,
}

/// A link that is not known yet.
struct Slot {
    /// What it is if the time is up first.
    timed_out: Link,
    /// The result.
    link: Option<Link>,
    /// The resource of the token that `exec` needs before it comes here.
    resource: Option<String>,
}

/// The link of a failed name or connection, with its slot and the kind of error.
type Unreachable = (usize, Link, ErrorKind);

/// Probes everything until the time is up, and adds the links to the report.
pub fn run(
    plan: Plan,
    http: Http,
    source: Box<dyn Source>,
    timeout: Duration,
    report: &mut Report,
) {
    let (results, inbox) = signals::channel();
    let (job, slots) = prepare(plan, http, source, timeout, results);
    let job = Arc::new(job);
    start_threads(&job);
    collect(&job, slots, &inbox, report);
    if let Some(link) = clock::link(&job.http.clocks().all()) {
        report.add(link);
    }
}

/// The job, and its slots in the order of the report.
fn prepare(
    plan: Plan,
    http: Http,
    source: Box<dyn Source>,
    timeout: Duration,
    results: Sender<(usize, Link)>,
) -> (Job, Vec<Slot>) {
    let reason = format!("timed out after {} s", timeout.as_secs());
    let late = Error::new(Cause::Unavailable, reason);
    let mut slots: Vec<Slot> = Vec::new();
    let mut add = |kind, subject: &str, index, resource: Option<&String>| {
        let link = Link {
            timed_out: true,
            ..Link::failed(kind, subject, &late)
        };
        slots.push(Slot {
            timed_out: link.at(Phase::Requests, index),
            link: None,
            resource: resource.cloned(),
        });
        slots.len() - 1
    };
    let identity = source.service(&http).map(|service| {
        let (host, shown) = (describe::next_hop(&service), describe::service(&service));
        let slots = [
            add("name", &host, 0, None),
            add("connection", &shown, 0, None),
        ];
        (service, slots)
    });
    let mut resources: Vec<(String, usize)> = Vec::new();
    for resource in plan.items.iter().filter_map(resource_of) {
        if !resources.iter().any(|(known, _)| known == resource) {
            resources.push((resource.clone(), add("token", resource, 0, None)));
        }
    }
    let mut vaults: Vec<Vault> = Vec::new();
    for (host, items) in plan.vaults() {
        let client = KeyVault::new(&http, host);
        let (host, shown) = (
            describe::next_hop(client.service()),
            describe::service(client.service()),
        );
        let resource = resource_of(&plan.items[items[0]]);
        let index = items[0] + 1;
        vaults.push(Vault {
            slots: [
                add("name", &host, index, resource),
                add("connection", &shown, index, resource),
            ],
            client,
            skip: OnceLock::new(),
            items: items.into_iter().map(|item| (item, 0)).collect(),
            next: AtomicUsize::new(0),
            resource: resource.cloned(),
        });
    }
    for vault in &mut vaults {
        for (item, slot) in &mut vault.items {
            let targets = plan.targets_of(*item);
            *slot = add("secret", &targets, *item + 1, vault.resource.as_ref());
        }
    }
    let job = Job {
        plan,
        http,
        reader: Reader::new(source),
        results,
        deadline: Instant::now() + timeout,
        identity,
        resources,
        tokens: OnceLock::new(),
        vaults,
    };
    (job, slots)
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
fn collect(job: &Job, mut slots: Vec<Slot>, inbox: &Receiver<(usize, Link)>, report: &mut Report) {
    let mut printed = 0;
    loop {
        let is_late = Instant::now() >= job.deadline;
        while let Some(slot) = slots.get_mut(printed)
            && (is_late || slot.link.is_some())
        {
            let (mut phase, index) = slot.timed_out.turn;
            let tokens = job.tokens.get();
            if let Some(resource) = &slot.resource
                && !tokens.is_some_and(|tokens| tokens.contains(resource))
            {
                phase = Phase::WithoutToken;
            }
            let link = slot.link.take().unwrap_or_else(|| slot.timed_out.clone());
            // The same proxy may be in front of several services.
            if link.kind != "name" || !report.has("name", &link.subject) {
                report.add(link.at(phase, index));
            }
            printed += 1;
        }
        if printed == slots.len() {
            return;
        }
        if let Ok((slot, link)) = inbox.receive(Some(job.deadline)) {
            slots[slot].link = Some(link);
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

    fn send(&self, slot: usize, link: Link) {
        self.results.send((slot, link));
    }

    /// The resources that there is a token for, after the identity was probed.
    fn tokens(&self) -> &[String] {
        self.tokens.get_or_init(|| self.probe_identity())
    }

    fn probe_identity(&self) -> Vec<String> {
        let Some((service, slots)) = &self.identity else {
            return self.send_tokens(self.probe_tokens(None, None));
        };
        let shown = describe::service(service);
        let Some((slot, mut failed, kind)) = self.probe_route(service, *slots, Error::from) else {
            return self.send_tokens(self.probe_tokens(Some(&shown), None));
        };
        // A request would hang in the same lookup.
        let hangs =
            (kind == ErrorKind::NameServerTimeout).then_some("the name servers do not answer");
        let mut tokens = self.probe_tokens(Some(&shown), hangs);
        // The error of a token request has a better hint, and the same reason.
        for (_, link, token_kind) in &mut tokens {
            let is_same = *token_kind == Some(kind)
                || link.cause.is_some()
                    && link.cause == failed.cause
                    && link.cause == Some(Cause::Unavailable);
            if is_same {
                failed.hint = link.hint.take().or(failed.hint.take());
                *link = Link::skipped(
                    "token",
                    link.subject.as_str(),
                    "there is no connection to it",
                );
            }
        }
        if tokens.iter().all(|(_, link, _)| link.state == State::Good) {
            failed.state = State::Warning;
            failed.cause = None;
        }
        self.send(slot, failed);
        self.send_tokens(tokens)
    }

    /// Sends the links of the tokens. Returns the resources that there is a token for.
    fn send_tokens(&self, tokens: Vec<(usize, Link, Option<ErrorKind>)>) -> Vec<String> {
        let mut resources = Vec::new();
        for (slot, link, _) in tokens {
            if link.state == State::Good {
                resources.push(link.subject.clone());
            }
            self.send(slot, link);
        }
        resources
    }

    fn probe_tokens(
        &self,
        issuer: Option<&str>,
        mut skip: Option<&str>,
    ) -> Vec<(usize, Link, Option<ErrorKind>)> {
        let mut tokens = Vec::new();
        for (resource, slot) in &self.resources {
            let (link, kind) = match skip {
                Some(reason) => (Link::skipped("token", resource.as_str(), reason), None),
                None => self.probe_token(resource, issuer),
            };
            if link.cause == Some(Cause::Unavailable) {
                skip = Some("there was no token for the resource before");
            }
            tokens.push((*slot, link, kind));
        }
        tokens
    }

    fn probe_token(&self, resource: &str, issuer: Option<&str>) -> (Link, Option<ErrorKind>) {
        let started = Instant::now();
        let token_request = TokenRequest {
            resource,
            tenant: None,
        };
        let http = self.http.for_one_try(ATTEMPT);
        match self.reader.token(&http, &token_request) {
            Ok(token) => (describe::token(resource, &token).took(started), None),
            Err(error) => {
                let kind = error.kind;
                let link = describe::no_token(resource, issuer, error);
                (link.took(started), kind)
            }
        }
    }

    /// Probes a name and a connection, and sends their links, except for a failed one, which is returned.
    fn probe_route(
        &self,
        service: &Service,
        [name, connection]: [usize; 2],
        error_of: impl Fn(AttemptError) -> Error,
    ) -> Option<Unreachable> {
        let started = Instant::now();
        let route = match probe_name(service) {
            Ok((link, route)) => {
                self.send(name, link.took(started));
                route
            }
            Err(error) => {
                let kind = error.kind;
                let host = describe::next_hop(service);
                let link = Link::failed("name", host, &error_of(error));
                let reason = match service.proxy() {
                    Some(_) => "there is no address for the proxy",
                    None => "there is no address for it",
                };
                let shown = describe::service(service);
                self.send(connection, Link::skipped("connection", shown, reason));
                return Some((name, link, kind));
            }
        };
        let started = Instant::now();
        let doing = format!("connecting to {}", describe::service(service));
        let _wait = Wait::begin(&doing, None);
        match service.probe(TIMEOUTS) {
            Ok(peer) => {
                let link = describe::connection(service, peer.as_ref());
                self.send(connection, link.took(started));
                None
            }
            Err(error) => {
                let kind = error.kind;
                let link = describe::no_connection(service, &route, &error_of(error));
                Some((connection, link.took(started), kind))
            }
        }
    }

    /// Reads secrets of a vault until there are none left.
    fn read_secrets(&self, vault: &Vault) {
        let skip = *vault.skip.get_or_init(|| self.probe_vault(vault));
        while let Some((item, slot)) = vault.next_item()
            && Instant::now() < self.deadline
        {
            let link = match skip {
                Some(reason) => Link::skipped("secret", self.plan.targets_of(*item), reason),
                None => self.read_secret(vault, *item).0,
            };
            self.send(*slot, link);
        }
    }

    /// Probes a vault. Returns why its secrets cannot be read.
    fn probe_vault(&self, vault: &Vault) -> Option<&'static str> {
        let error_of = |error| vault.client.failure_of(error);
        let probed = self.probe_route(vault.client.service(), vault.slots, error_of);
        if let Some((slot, link, _)) = probed {
            self.send(slot, link);
            return Some("there is no connection to its vault");
        }
        let has_token = match &vault.resource {
            Some(resource) => self.tokens().contains(resource),
            // The first secret finds out, for all of them.
            None => vault.next_item().is_none_or(|(item, slot)| {
                let (link, has_token) = self.read_secret(vault, *item);
                self.send(*slot, link);
                has_token
            }),
        };
        (!has_token).then_some("there is no access token")
    }

    /// Reads a secret. Returns its link, and whether there was a token for it.
    fn read_secret(&self, vault: &Vault, item: usize) -> (Link, bool) {
        let Item::Secret(secret) = &self.plan.items[item] else {
            unreachable!("only secrets are read from vaults");
        };
        let targets = self.plan.targets_of(item);
        let started = Instant::now();
        let http = self.http.for_one_try(ATTEMPT);
        let read = self.reader.read(&http, &vault.client, secret, &targets);
        let has_token = !matches!(read, Err(ReadError::Token(_)));
        let link = match read {
            Ok(bundle) => describe::secret(&targets, secret, &bundle),
            Err(ReadError::Secret(error)) => describe::no_secret(&targets, secret, error),
            Err(ReadError::Token(error)) => describe::no_secret_token(&targets, secret, error),
        };
        (link.took(started), has_token)
    }
}

impl Vault {
    /// An item that no thread has taken yet, and its slot.
    fn next_item(&self) -> Option<&(usize, usize)> {
        self.items.get(self.next.fetch_add(1, Ordering::Relaxed))
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
        Err(error) => Err(describe::no_name(error, &host, service)),
    }
}
