//! The links that need the network: names, connections, tokens, secrets. Who looks at what, and when.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::reachability::{Lost, ONE_TRY, look_at_connection, look_at_name, no_address};
use super::report::{Link, Phase};
use super::{clock, describe};
use crate::azure::fetch::{ReadError, Reader};
use crate::azure::identity::Source;
use crate::azure::key_vault::KeyVault;
use crate::error::{Cause, Error};
use crate::http::{Http, Service};
use crate::request::host::Host;
use crate::request::plan::{Item, Plan};
use crate::signals;

/// Secrets of one vault that are read at the same time.
const TOGETHER: usize = 16;

/// What will be told, in order; each is filled by whoever looks.
pub struct Slots {
    links: Vec<Link>,
    late: Error,
}

/// What the threads share.
pub struct Job {
    /// What is to be had.
    pub plan: Plan,
    /// How services are reached.
    pub http: Http,
    /// Who asks, with the tokens so far.
    pub reader: Reader,
    seen: Mutex<Seen>,
    /// Told of each change of that.
    changed: Condvar,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    links: Vec<(usize, Link)>,
    /// Threads that still look.
    looking: usize,
    /// For each resource whether there is a token.
    tokens: Vec<(String, bool)>,
}

/// What is looked at for one vault, and the places of what is told.
struct Vault {
    host: Host,
    name: usize,
    connection: usize,
    /// Items of the plan, each with its place.
    items: Vec<(usize, usize)>,
    /// What a token for it is asked for, where that is known beforehand.
    resource: Option<String>,
}

/// Looks at all of them, within a time.
pub fn look(plan: Plan, http: Http, source: Box<dyn Source>, within: Duration) -> Vec<Link> {
    let deadline = Instant::now() + within;
    let job = Arc::new(Job {
        plan,
        http,
        reader: Reader::new(source),
        seen: Mutex::default(),
        changed: Condvar::new(),
    });
    let seconds = within.as_secs();
    let message = format!("no answer within {seconds} s, in which all was looked at");
    let mut slots = Slots {
        links: Vec::new(),
        late: Error::new(Cause::Unavailable, message),
    };
    let tokens = job.tokens(&mut slots);
    let mut vaults = job.vaults(&mut slots);
    let clock = slots.links.len();
    for vault in &mut vaults {
        for (item, place) in &mut vault.items {
            *place = slots.add("secret", &job.plan.targets_of(*item), *item + 1);
        }
    }
    let turns: Vec<(usize, Option<String>)> = vaults
        .iter()
        .flat_map(|vault| {
            let items = vault.items.iter().map(|(_, place)| *place);
            let places = items.chain([vault.name, vault.connection]);
            places.map(|place| (place, vault.resource.clone()))
        })
        .collect();

    for vault in vaults {
        job.start(move |job| job.look_at_vault(&vault));
    }
    job.start(move |job| job.look_at_identity(tokens));
    let mut links = slots.links;
    let mut seen = job.wait_until(deadline);
    for (place, link) in seen.links.drain(..) {
        let turn = links[place].turn;
        links[place] = link.at(turn);
    }
    for (place, resource) in turns {
        if resource.is_some_and(|resource| seen.token(&resource) != Some(true)) {
            links[place].turn.0 = Phase::Waiting;
        }
    }
    drop(seen);
    let told = clock::look(&job.http.clocks().all(), &mut links);
    links.splice(clock..clock, told);
    without_repetition(links)
}

/// A proxy's name is looked up for each that is behind it, and told once.
fn without_repetition(links: Vec<Link>) -> Vec<Link> {
    let mut kept: Vec<Link> = Vec::new();
    for link in links {
        let again = |known: &Link| {
            known.kind == "name" && link.kind == "name" && known.subject == link.subject
        };
        if !kept.iter().any(again) {
            kept.push(link);
        }
    }
    kept
}

impl Seen {
    /// Whether there is a token for a resource, where that is known.
    fn token(&self, resource: &str) -> Option<bool> {
        let known = self.tokens.iter().find(|(known, _)| known == resource);
        known.map(|(_, got)| *got)
    }
}

impl Slots {
    /// A place for a link.
    pub fn add(&mut self, kind: &'static str, subject: &str, index: usize) -> usize {
        let link = Link::failed(kind, subject, &self.late);
        self.links.push(link.at((Phase::Asking, index)));
        self.links.len() - 1
    }

    /// The places of a service's name and of a connection to it.
    pub fn add_way(&mut self, service: &Service, index: usize) -> (usize, usize) {
        let name = service
            .next_hop()
            .map_or_else(String::new, |host| host.name);
        (
            self.add("name", &name, index),
            self.add("connection", &describe::shown(service), index),
        )
    }
}

impl Job {
    /// In a thread of its own. Whoever hangs is left behind.
    fn start(self: &Arc<Job>, look: impl FnOnce(&Job) + Send + 'static) {
        self.seen().looking += 1;
        let job = self.clone();
        thread::spawn(move || {
            look(&job);
            job.seen().looking -= 1;
            job.changed.notify_all();
            signals::wake();
        });
    }

    /// What was seen when all have looked, or when time was up.
    fn wait_until(&self, deadline: Instant) -> MutexGuard<'_, Seen> {
        loop {
            let seen = self.seen();
            if seen.looking == 0 || deadline <= Instant::now() {
                return seen;
            }
            drop(seen);
            signals::wait(Some(deadline));
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be told at a place.
    pub fn tell(&self, place: usize, link: Link) {
        self.seen().links.push((place, link));
    }

    /// Whether there is a token for a resource.
    pub fn note_token(&self, resource: &str, got: bool) {
        self.seen().tokens.push((resource.to_owned(), got));
        self.changed.notify_all();
    }

    /// Whether there is a token, as soon as that is known.
    fn has_token(&self, resource: &str) -> bool {
        let seen = self
            .changed
            .wait_while(self.seen(), |seen| seen.token(resource).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        seen.token(resource) == Some(true)
    }

    /// Each vault with the items that are read there, which have no place yet.
    fn vaults(&self, slots: &mut Slots) -> Vec<Vault> {
        let vault = |(host, items): (&Host, Vec<usize>)| {
            let service = self.http.internet(host);
            let (name, connection) = slots.add_way(&service, items[0] + 1);
            let resource = match &self.plan.items[items[0]] {
                Item::Secret(secret) => secret.resource.clone(),
                Item::Token(_) => None,
            };
            Vault {
                host: host.clone(),
                name,
                connection,
                items: items.into_iter().map(|index| (index, 0)).collect(),
                resource,
            }
        };
        self.plan.vaults().into_iter().map(vault).collect()
    }

    fn look_at_vault(&self, vault: &Vault) {
        let skip = |items: &[(usize, usize)], why: &str| {
            for (item, place) in items {
                let targets = self.plan.targets_of(*item);
                self.tell(*place, Link::skipped("secret", targets, why));
            }
        };
        let service = KeyVault::new(&self.http, &vault.host);
        let place = match look_at_name(service.service()) {
            Ok((link, place)) => {
                self.tell(vault.name, link);
                place
            }
            Err(Lost { name, error }) => {
                let link = Link::failed("name", name, &service.failure_of(error));
                self.tell(vault.name, link);
                let why = no_address(service.service());
                let skipped = Link::skipped("connection", describe::shown(service.service()), why);
                self.tell(vault.connection, skipped);
                return skip(&vault.items, "there is no way to its vault");
            }
        };
        let failure_of = |error| service.failure_of(error);
        let (link, why) = look_at_connection(service.service(), &place, failure_of);
        self.tell(vault.connection, link);
        if why.is_some() {
            return skip(&vault.items, "there is no way to its vault");
        }
        if let Some(resource) = &vault.resource
            && !self.has_token(resource)
        {
            return skip(&vault.items, "there is no access token");
        }
        // The first one alone: what it lacks a token for, those behind it would wait for, and a vault that has to say
        // what it wants is asked once.
        let (first, rest) = vault.items.split_at(1);
        for (item, place) in first {
            let (link, had_token) = self.look_at_secret(&service, *item);
            self.tell(*place, link);
            if !had_token {
                return skip(rest, "there is no access token");
            }
        }
        for group in rest.chunks(TOGETHER) {
            thread::scope(|scope| {
                for (item, place) in group {
                    let service = &service;
                    scope.spawn(move || {
                        self.tell(*place, self.look_at_secret(service, *item).0);
                    });
                }
            });
        }
    }

    /// A secret, and whether there was a token for it.
    fn look_at_secret(&self, vault: &KeyVault, item: usize) -> (Link, bool) {
        let targets = self.plan.targets_of(item);
        let Item::Secret(secret) = &self.plan.items[item] else {
            return (
                Link::skipped("secret", targets, "it is an access token"),
                true,
            );
        };
        let began = Instant::now();
        let http = self.http.for_one_try(ONE_TRY);
        let read = self.reader.read(&http, vault, secret, &targets);
        let had_token = !matches!(read, Err(ReadError::Token(_)));
        let link = match read {
            Ok(bundle) => describe::secret(&targets, secret, &bundle),
            Err(ReadError::Secret(error) | ReadError::Token(error)) => {
                describe::no_secret(&targets, secret, &error)
            }
        };
        (link.took(began.elapsed()), had_token)
    }
}
