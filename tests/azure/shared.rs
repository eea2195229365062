//! The state that all threads share, behind one lock: the record, the scripts, the secrets, the issued tokens and the open
//! connections. One condition variable signals every change.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::certificate::Registered;
use super::script::Script;
use super::token::{Identity, Issued, TENANT, unix_now};
use super::vault::{API_VERSIONS, Stored};
use super::{Endpoint, Request, Response};

pub struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    fixed: Fixed,
}

/// Settings, which do not change.
pub struct Fixed {
    /// The TLS settings of the https endpoints.
    pub tls: HashMap<Endpoint, Arc<ServerConfig>>,
    /// The resource of hosts that have none of Azure's suffixes.
    pub vault_resource: String,
    /// More hosts that the proxy connects to the vault; one may start with `*.`.
    pub vault_names: Vec<String>,
    /// More hosts that the proxy connects to Entra.
    pub login_names: Vec<String>,
    /// `user:password` that the proxy requires.
    pub proxy_credentials: Option<String>,
    /// The certificate of the application.
    pub client: Registered,
    /// The seconds by which this clock is ahead of the machine's.
    pub clock: i64,
}

#[derive(Default)]
pub struct Inner {
    pub requests: Vec<Arc<Request>>,
    pub secrets: Vec<Stored>,
    pub identities: Vec<Identity>,
    pub tokens: HashMap<String, Issued>,
    /// The vault's `WWW-Authenticate`, where a test has set it.
    pub challenge: Option<String>,
    /// The tenant whose tokens the vault accepts.
    pub trusted: String,
    /// The vault's versions, oldest first.
    pub api_versions: Vec<String>,
    pub accepted: HashMap<Endpoint, u64>,
    pub muted: HashSet<Endpoint>,
    pub listening: HashSet<Endpoint>,
    /// The record of requests, where one is kept.
    pub log: Option<File>,
    scripts: HashMap<Endpoint, Script>,
    open: HashMap<u64, (Endpoint, Arc<TcpStream>)>,
    connections: u64,
    releases: u64,
    stopping: bool,
}

impl Deref for Shared {
    type Target = Fixed;

    fn deref(&self) -> &Fixed {
        &self.fixed
    }
}

impl Inner {
    pub fn script(&mut self, endpoint: Endpoint) -> &mut Script {
        self.scripts.entry(endpoint).or_default()
    }
}

/// A recorded request, and the response that a test has set for it.
pub struct Arrival {
    pub request: Arc<Request>,
    pub scripted: Option<Response>,
    /// How often responses had been released when it arrived. Read under the record's lock, so that a release right after
    /// the record is not missed.
    releases: u64,
}

impl Shared {
    pub fn new(fixed: Fixed) -> Shared {
        let inner = Inner {
            identities: vec![Identity::system()],
            trusted: TENANT.to_owned(),
            api_versions: API_VERSIONS.map(str::to_owned).to_vec(),
            ..Inner::default()
        };
        Shared {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            fixed,
        }
    }

    /// Unix seconds of this clock.
    pub fn now(&self) -> u64 {
        unix_now().saturating_add_signed(self.clock)
    }

    /// Also after a panic of another thread.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request, and finds the response that a test has set.
    pub fn arrive(&self, mut request: Request) -> Arrival {
        let mut inner = self.lock();
        request.request_id = format!("5d0c0ffe-0000-4000-8000-{:012x}", inner.requests.len() + 1);
        let scripted = inner.script(request.endpoint).take(&request.target);
        if let Some(log) = &mut inner.log {
            let line = format!("{}\n", request.to_json());
            log.write_all(line.as_bytes())
                .expect("the record of requests is writable");
        }
        let request = Arc::new(request);
        inner.requests.push(Arc::clone(&request));
        let releases = inner.releases;
        drop(inner);
        self.changed.notify_all();
        Arrival {
            request,
            scripted,
            releases,
        }
    }

    /// Counts and keeps a new connection. None while everything ends.
    pub fn enter(&self, endpoint: Endpoint, stream: &Arc<TcpStream>) -> Option<u64> {
        let mut inner = self.lock();
        if inner.stopping {
            return None;
        }
        inner.connections += 1;
        let number = inner.connections;
        inner.open.insert(number, (endpoint, Arc::clone(stream)));
        *inner.accepted.entry(endpoint).or_default() += 1;
        drop(inner);
        self.changed.notify_all();
        Some(number)
    }

    /// Moves a connection through the proxy to another endpoint, unless that is closed.
    pub fn pass(&self, number: u64, endpoint: Endpoint) -> bool {
        let mut inner = self.lock();
        if !inner.listening.contains(&endpoint) {
            return false;
        }
        if let Some((at, _)) = inner.open.get_mut(&number) {
            *at = endpoint;
        }
        *inner.accepted.entry(endpoint).or_default() += 1;
        drop(inner);
        self.changed.notify_all();
        true
    }

    /// Removes a connection that ended.
    pub fn leave(&self, number: u64) {
        self.lock().open.remove(&number);
    }

    /// Ends the open connections of an endpoint.
    pub fn cut(&self, endpoint: Endpoint) {
        let inner = self.lock();
        for (_, stream) in inner.open.values().filter(|(at, _)| *at == endpoint) {
            // It may have just ended.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends every thread: those that wait, and those that read.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
        Endpoint::ALL
            .into_iter()
            .for_each(|endpoint| self.cut(endpoint));
    }

    pub fn release(&self) {
        self.lock().releases += 1;
        self.changed.notify_all();
    }

    pub fn unmute(&self, endpoint: Endpoint) {
        self.lock().muted.remove(&endpoint);
        self.changed.notify_all();
    }

    /// Waits, unless everything ends.
    pub fn pause(&self, time: Duration) {
        if !time.is_zero() {
            drop(self.wait(Some(time), |_| false));
        }
    }

    /// Waits for the release that follows the arrival.
    pub fn wait_for_release(&self, arrival: &Arrival) {
        drop(self.wait(None, |inner| inner.releases > arrival.releases));
    }

    /// Waits while the endpoint is mute.
    pub fn wait_while_mute(&self, endpoint: Endpoint) {
        drop(self.wait(None, |inner| !inner.muted.contains(&endpoint)));
    }

    pub fn wait_for_requests(&self, endpoint: Endpoint, count: usize, limit: Duration) {
        let arrived = |inner: &Inner| {
            inner
                .requests
                .iter()
                .filter(|r| r.endpoint == endpoint)
                .count()
        };
        let inner = self.wait(Some(limit), |inner| arrived(inner) >= count);
        let seen = arrived(&inner);
        drop(inner);
        assert!(
            seen >= count,
            "{seen} of {count} requests arrived at the {} endpoint in {limit:?}",
            endpoint.name()
        );
    }

    pub fn wait_for_connections(&self, endpoint: Endpoint, count: u64, limit: Duration) {
        let accepted = |inner: &Inner| inner.accepted.get(&endpoint).copied().unwrap_or(0);
        let inner = self.wait(Some(limit), |inner| accepted(inner) >= count);
        let seen = accepted(&inner);
        drop(inner);
        assert!(
            seen >= count,
            "{seen} of {count} connections came to the {} endpoint in {limit:?}",
            endpoint.name()
        );
    }

    fn wait(
        &self,
        limit: Option<Duration>,
        done: impl Fn(&Inner) -> bool,
    ) -> MutexGuard<'_, Inner> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut inner = self.lock();
        while !inner.stopping && !done(&inner) {
            let Some(deadline) = deadline else {
                inner = self
                    .changed
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.changed.wait_timeout(inner, left);
            inner = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner
    }
}
