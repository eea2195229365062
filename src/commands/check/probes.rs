//! The checks that need the network: names, connections, tokens and secrets, each with one attempt.
//!
//! Several threads probe the identity and read the secrets. What several secrets depend on, such as a token, is probed by
//! the first thread that needs it and awaited by the others. The main thread prints each result as soon as it and those
//! before it are known.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use super::clock;
use super::describe::{self, ATTEMPT};
use super::report::{Link, Phase, Report, State};
use crate::azure::fetch::{SecretReader, resource_without_token};
use crate::azure::identity::{TokenRequest, TokenSource};
use crate::azure::key_vault::VaultClient;
use crate::error::{Cause, Error, RequestFailure};
use crate::http::probe::{Resolved, resolve};
use crate::http::retry::with_default_hint;
use crate::http::{Http, Service, Timeouts};
use crate::request::plan::{Item, Plan};
use crate::signals::{self, Inbox, Wait, spawn};

/// Threads that read secrets.
const MAX_READERS: usize = 32;
const TIMEOUTS: Timeouts = Timeouts {
    connect: ATTEMPT,
    response: ATTEMPT,
};

/// What the threads share.
struct Job {
    plan: Plan,
    http: Http,
    secret_reader: SecretReader,
    results: Inbox<Link>,
    deadline: Instant,
    /// What issues the tokens, if it can be probed.
    identity: Option<Service>,
    /// The resources that are known before the first request.
    resources: Vec<String>,
    /// Those of them with a token.
    tokens: OnceLock<Vec<String>>,
    vaults: Vec<Vault>,
    /// The number of the next task: 0 is to probe the identity, each other one to read a secret.
    next_task: AtomicUsize,
}

struct Vault {
    client: VaultClient,
    /// The resource of the token for it, if it is known before the first request.
    resource: Option<String>,
    /// Why its secrets cannot be read.
    skip: OnceLock<Option<&'static str>>,
    /// Its secrets: items of the plan.
    items: Vec<usize>,
    /// The index of its links: that of its first secret. Those of the identity have 0.
    index: usize,
}

/// Probes everything until the time is up, and adds the links to the report.
pub fn run(
    plan: Plan,
    http: Http,
    source: Box<dyn TokenSource>,
    timeout: Duration,
    report: &mut Report,
) {
    let mut resources: Vec<String> = Vec::new();
    for resource in plan.items.iter().filter_map(Item::resource) {
        if !resources.contains(resource) {
            resources.push(resource.clone());
        }
    }
    let vaults = plan.vaults().into_iter().map(|(host, items)| Vault {
        client: VaultClient::new(&http, host),
        resource: plan.items[items[0]].resource().cloned(),
        skip: OnceLock::new(),
        index: items[0] + 1,
        items,
    });
    let job = Arc::new(Job {
        vaults: vaults.collect(),
        identity: source.service(&http),
        secret_reader: SecretReader::new(source),
        deadline: Instant::now() + timeout,
        tokens: OnceLock::new(),
        next_task: AtomicUsize::new(0),
        plan,
        http,
        results: Inbox::new(),
        resources,
    });
    let links = expected_links(&job, timeout);
    // Under a limit on processes there may be no thread: then this one does the work.
    let start = |_: &usize| {
        let job = job.clone();
        spawn(move || job.do_tasks(|| ())).is_ok()
    };
    let threads = 1 + job.secrets().count().min(MAX_READERS);
    if (0..threads).take_while(start).count() == 0 {
        job.do_tasks(signals::end_if_pending);
    }
    collect(&job, links, report);
    if let Some(link) = clock::link(job.http.clock_skews()) {
        report.add(link);
    }
}

/// Every link in the order of the report, as it is printed if there is no result when time is up.
fn expected_links(job: &Job, timeout: Duration) -> Vec<Link> {
    let reason = format!("timed out after {} s", timeout.as_secs());
    let error = Error::new(Cause::Unavailable, reason);
    let mut links: Vec<Link> = Vec::new();
    let mut add = |kind, subject: &str, index| {
        // The same proxy may be in front of several services.
        let is_known = |link: &Link| (link.kind, link.subject.as_str()) == (kind, subject);
        if kind != "name" || !links.iter().any(is_known) {
            links.push(Link::failed(kind, subject, &error).at(Phase::TimedOut, index));
        }
    };
    if let Some(service) = &job.identity {
        add("name", service.next_hop(), 0);
        add("connection", service.authority(), 0);
    }
    for resource in &job.resources {
        add("token", resource, 0);
    }
    for vault in &job.vaults {
        let service = &vault.client.service;
        add("name", service.next_hop(), vault.index);
        add("connection", service.authority(), vault.index);
    }
    for (_, item) in job.secrets() {
        add("secret", &job.plan.targets_of(item), item + 1);
    }
    links
}

/// Prints each result when it and those before it are known; at the deadline the others too.
fn collect(job: &Job, mut links: Vec<Link>, report: &mut Report) {
    for next in 0..links.len() {
        while links[next].phase == Phase::TimedOut
            && let Some(result) = job.results.receive(Some(job.deadline))
        {
            if let Some(link) = links.iter_mut().find(|link| link.is_same(&result)) {
                *link = result;
            }
        }
        report.add(links[next].clone());
    }
}

impl Job {
    /// The secrets with their vaults, in the order of the vaults.
    fn secrets(&self) -> impl Iterator<Item = (&Vault, usize)> {
        let vaults = self.vaults.iter();
        vaults.flat_map(|vault| vault.items.iter().map(move |item| (vault, *item)))
    }

    /// Does tasks until there are none left.
    fn do_tasks(&self, before_each: impl Fn()) {
        while Instant::now() < self.deadline {
            before_each();
            match self.next_task.fetch_add(1, Ordering::Relaxed) {
                0 => drop(self.tokens()),
                task => match self.secrets().nth(task - 1) {
                    Some((vault, item)) => self.read_secret(vault, item),
                    None => return,
                },
            }
        }
    }

    /// Sends a result to the main thread.
    fn send(&self, link: Link, index: usize) {
        self.results.send(link.at(Phase::Requests, index));
    }

    /// The resources that there is a token for, after the identity was probed.
    fn tokens(&self) -> &[String] {
        self.tokens.get_or_init(|| self.probe_identity())
    }

    /// Probes the connection to what issues the tokens, and requests them. Returns the resources that it has one for.
    fn probe_identity(&self) -> Vec<String> {
        let hint = |kind| self.secret_reader.source.hint(kind);
        let with_hint = |error: Error| error.hint_if_none(hint);
        let identity = self.identity.as_ref();
        let failed = identity.and_then(|service| self.probe_connection(service, 0, &with_hint));
        let request_failure = failed.as_ref().and_then(|link| link.request_failure);
        // A request would hang in the same lookup.
        let mut skip = (request_failure == Some(RequestFailure::NameServerTimeout))
            .then_some("no answer from the name servers");
        let mut resources = Vec::new();
        for resource in &self.resources {
            let mut link = match skip {
                Some(reason) => Link::skipped("token", resource, reason),
                None => self.probe_token(resource),
            };
            if link.cause == Some(Cause::Unavailable) {
                skip = Some("there was no token for the resource before");
            }
            if failed
                .as_ref()
                .is_some_and(|failed| failed.has_same_reason(&link))
            {
                link = Link::skipped("token", resource, "there is no connection to it");
            }
            if link.state == State::Passed {
                resources.push(resource.clone());
            }
            self.send(link, 0);
        }
        if let Some(mut failed) = failed {
            // The requests had a connection: `exec` would go on.
            if resources.len() == self.resources.len() {
                failed.state = State::Warning;
                failed.cause = None;
            }
            self.send(failed, 0);
        }
        resources
    }

    fn probe_token(&self, resource: &str) -> Link {
        let started = Instant::now();
        let token_request = TokenRequest::new(resource);
        let http = self.http.for_one_attempt(ATTEMPT);
        let link = match self.secret_reader.token(&http, &token_request) {
            Ok(token) => describe::token(resource, &token),
            Err(error) => describe::no_token(resource, self.identity.as_ref(), error),
        };
        link.took(started)
    }

    /// Probes a name and a connection, and sends their links, except for a failed one, which is returned.
    fn probe_connection(
        &self,
        service: &Service,
        index: usize,
        with_hint: &dyn Fn(Error) -> Error,
    ) -> Option<Link> {
        let started = Instant::now();
        let authority = service.authority();
        let name = match look_up(service.next_hop()) {
            Ok(resolved) => describe::name(service, &resolved),
            Err(error) => {
                let reason = match service.proxy() {
                    Some(_) => "there is no address for the proxy",
                    None => "there is no address for it",
                };
                self.send(Link::skipped("connection", authority, reason), index);
                let error = with_default_hint(with_hint(describe::no_name(service, error)));
                return Some(Link::failed("name", service.next_hop(), &error));
            }
        };
        self.send(name.clone().took(started), index);
        let started = Instant::now();
        let _wait = Wait::begin(&format!("connecting to {authority}"), None);
        match service.probe(TIMEOUTS) {
            Ok(peer) => {
                let link = describe::connection(service, peer.as_ref());
                self.send(link.took(started), index);
                None
            }
            Err(error) => {
                let error = with_default_hint(with_hint(error));
                let link = describe::no_connection(service, name, &error);
                Some(link.took(started))
            }
        }
    }

    /// Probes a vault. Returns why its secrets cannot be read.
    fn probe_vault(&self, vault: &Vault) -> Option<&'static str> {
        let with_hint = |error| vault.client.with_hint(error);
        let failed = self.probe_connection(&vault.client.service, vault.index, &with_hint);
        let has_token = match &vault.resource {
            Some(resource) => self.tokens().contains(resource),
            None => true,
        };
        if let Some(link) = failed {
            let phase = match has_token {
                true => Phase::Requests,
                false => Phase::WithoutToken,
            };
            self.results.send(link.at(phase, vault.index));
            return Some("there is no connection to its vault");
        }
        (!has_token).then_some("there is no access token")
    }

    /// Reads a secret, if its vault can be reached, and sends its link.
    fn read_secret(&self, vault: &Vault, item: usize) {
        let Item::Secret(secret) = &self.plan.items[item] else {
            return;
        };
        let targets = self.plan.targets_of(item);
        let skip = *vault.skip.get_or_init(|| self.probe_vault(vault));
        let started = Instant::now();
        let link = match skip {
            Some(reason) => Link::skipped("secret", targets, reason),
            None => {
                let http = self.http.for_one_attempt(ATTEMPT);
                let read = self
                    .secret_reader
                    .read(&http, &vault.client, secret, &targets);
                let link = match read {
                    Ok(bundle) => describe::secret(&targets, secret, &bundle),
                    // The same error for all of them.
                    Err(error)
                        if item != vault.items[0] && resource_without_token(&error).is_some() =>
                    {
                        Link::skipped("secret", targets, "there is no access token")
                    }
                    Err(error) => describe::no_secret(&targets, secret, error),
                };
                link.took(started)
            }
        };
        self.send(link, item + 1);
    }
}

/// Looks a host up.
fn look_up(host: &str) -> Result<Resolved, Error> {
    let _wait = Wait::begin(&format!("looking up {host}"), None);
    // A lookup cannot be interrupted: one that takes too long keeps its thread.
    let (sender, receiver) = mpsc::channel();
    let name = host.to_owned();
    match spawn(move || drop(sender.send(resolve(&name)))) {
        Ok(()) => receiver.recv_timeout(ATTEMPT).unwrap_or_else(|_| {
            let seconds = ATTEMPT.as_secs();
            let reason = format!("no answer from the name servers within {seconds} s");
            Err(RequestFailure::NameServerTimeout.error(reason))
        }),
        Err(_) => resolve(host),
    }
}
