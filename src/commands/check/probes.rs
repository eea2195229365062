//! The checks that need the network: of names, connections, tokens and secrets, each with one attempt.
//!
//! Several threads probe the identity and read the secrets. What several secrets depend on, such as a token, is probed
//! by the first thread that needs it and awaited by the others. The main thread prints each result as soon as it and
//! those before it are known.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::clock;
use super::describe::{self, ATTEMPT_TIMEOUT};
use super::report::{Check, Phase, Report, State};
use crate::azure::fetch::{Expanded, SecretReader, make_values, resource_without_token};
use crate::azure::identity::{TokenRequest, TokenSource};
use crate::azure::key_vault::{LIST_PATH, VaultClient};
use crate::error::{Cause, Error, RequestFailure};
use crate::http::probe::{ResolvedName, resolve};
use crate::http::retry::with_default_hint;
use crate::http::{HttpClient, Service, Timeouts};
use crate::request::plan::{Plan, PlanItem};
use crate::request::secret_id::SecretId;
use crate::signals::{self, Inbox, WaitGuard, spawn_thread};

/// The maximum number of threads that read secrets.
const MAX_READERS: usize = 32;
/// The timeouts of a probe of a connection.
const ATTEMPT_TIMEOUTS: Timeouts = Timeouts {
    connect: ATTEMPT_TIMEOUT,
    response: ATTEMPT_TIMEOUT,
};

/// Makes the checks that use the network. Several threads share one prober.
struct Prober {
    plan: Plan,
    /// The same plan with the targets that answers have named.
    expanded: Mutex<Plan>,
    http: HttpClient,
    secret_reader: SecretReader,
    results: Inbox<Check>,
    deadline: Instant,
    /// The service that issues the tokens; `None` if a connection to it cannot be probed.
    token_service: Option<Service>,
    /// The resources that are known, before any request, to need a token.
    resources: Vec<String>,
    /// The resources for which a token was issued; not set until the identity has been probed.
    resources_with_token: OnceLock<Vec<String>>,
    vaults: Vec<Vault>,
    /// The number of the next task. Task 0 probes the identity; each later task reads one secret.
    next_task: AtomicUsize,
}

/// A vault and its secrets.
struct Vault {
    client: VaultClient,
    /// The resource of the vault's access token; `None` if only the vault's challenge names it.
    resource: Option<String>,
    /// Why the vault's secrets cannot be read, `None` if they can; not set until the vault has been probed.
    skip_reason: OnceLock<Option<&'static str>>,
    /// The vault's secrets, as indices into the plan's items.
    item_indices: Vec<usize>,
    /// The sort key of the vault's checks in the report: that of its first secret. The key of a secret is its index in the
    /// plan plus 1; checks of the identity have 0.
    order: usize,
}

/// Makes the checks that use the network and adds them to the report, until the time is up.
pub fn run(
    plan: Plan,
    http: HttpClient,
    source: Box<dyn TokenSource>,
    timeout: Duration,
    report: &mut Report,
) {
    let mut resources: Vec<String> = Vec::new();
    for resource in plan.items.iter().filter_map(PlanItem::resource) {
        if !resources.contains(resource) {
            resources.push(resource.clone());
        }
    }
    let vaults = plan
        .items_by_vault()
        .into_iter()
        .map(|(host, item_indices)| Vault {
            client: VaultClient::new(&http, &plan.settings, host),
            resource: plan.items[item_indices[0]].resource().cloned(),
            skip_reason: OnceLock::new(),
            order: item_indices[0] + 1,
            item_indices,
        });
    let prober = Arc::new(Prober {
        vaults: vaults.collect(),
        token_service: source.service(&http),
        secret_reader: SecretReader::new(source, Vec::new()),
        deadline: Instant::now() + timeout,
        resources_with_token: OnceLock::new(),
        next_task: AtomicUsize::new(0),
        expanded: Mutex::new(plan.clone()),
        plan,
        http,
        results: Inbox::new(),
        resources,
    });
    let checks = planned_checks(&prober, timeout);
    // Under a limit on processes, perhaps no thread can be started: then this one does the tasks.
    let start_thread = |_: &usize| {
        let prober = prober.clone();
        spawn_thread(move || prober.do_tasks(|| ())).is_ok()
    };
    let thread_count = 1 + prober.secrets().count().min(MAX_READERS);
    if (0..thread_count).take_while(start_thread).count() == 0 {
        prober.do_tasks(signals::exit_if_pending);
    }
    add_in_order(&prober, checks, report);
    if let Some(check) = clock::clock_check(prober.http.clock_skews()) {
        report.add(check);
    }
}

/// All checks in the order of the report, each marked as timed out. The result of a check replaces it if it arrives in
/// time.
fn planned_checks(prober: &Prober, timeout: Duration) -> Vec<Check> {
    let reason = format!("timed out after {} s", timeout.as_secs());
    let error = Error::new(Cause::Unavailable, reason);
    let mut checks: Vec<Check> = Vec::new();
    let mut add = |kind, subject: &str, order| {
        // The same proxy may be in front of several services.
        let is_listed = |check: &Check| (check.kind, check.subject.as_str()) == (kind, subject);
        if kind != "name" || !checks.iter().any(is_listed) {
            checks.push(Check::failed(kind, subject, &error).needed_in(Phase::TimedOut, order));
        }
    };
    if let Some(service) = &prober.token_service {
        add("name", service.next_hop(), 0);
        add("connection", service.authority(), 0);
    }
    for resource in &prober.resources {
        add("token", resource, 0);
    }
    for vault in &prober.vaults {
        let service = &vault.client.service;
        add("name", service.next_hop(), vault.order);
        add("connection", service.authority(), vault.order);
        if vault.resource.is_none() {
            add("token", service.authority(), vault.order);
        }
    }
    for (_, item_index) in prober.secrets() {
        add(
            "secret",
            &prober.plan.target_names(item_index),
            item_index + 1,
        );
    }
    checks
}

/// Adds the checks to the report in their order, each as soon as its result has arrived. At the deadline, adds those
/// without a result as timed out.
fn add_in_order(prober: &Prober, mut checks: Vec<Check>, report: &mut Report) {
    for next in 0..checks.len() {
        while checks[next].phase == Phase::TimedOut
            && let Some(result) = prober.results.receive(Some(prober.deadline))
        {
            if let Some(check) = checks.iter_mut().find(|check| check.is_same_check(&result)) {
                *check = result;
            }
        }
        report.add(checks[next].clone());
    }
}

impl Prober {
    /// Each secret, as its vault and its index in the plan's items, ordered by vault.
    fn secrets(&self) -> impl Iterator<Item = (&Vault, usize)> {
        let vaults = self.vaults.iter();
        vaults.flat_map(|vault| vault.item_indices.iter().map(move |index| (vault, *index)))
    }

    /// Does tasks until none is left or the time is up. Calls `before_each` before each task.
    fn do_tasks(&self, before_each: impl Fn()) {
        while Instant::now() < self.deadline {
            before_each();
            match self.next_task.fetch_add(1, Ordering::Relaxed) {
                0 => drop(self.resources_with_token()),
                task => match self.secrets().nth(task - 1) {
                    Some((vault, item_index)) => self.read_item(vault, item_index),
                    None => return,
                },
            }
        }
    }

    /// Sends the result of a check to the main thread.
    fn send(&self, check: Check, order: usize) {
        self.results.send(check.needed_in(Phase::Requests, order));
    }

    /// The resources for which a token was issued. The first caller probes the identity; other callers wait for the
    /// result.
    fn resources_with_token(&self) -> &[String] {
        self.resources_with_token
            .get_or_init(|| self.probe_identity())
    }

    /// Probes the connection to the service that issues tokens, and requests the tokens. Returns the resources for
    /// which a token was issued.
    fn probe_identity(&self) -> Vec<String> {
        let hint = |failure| self.secret_reader.source.hint(failure);
        let with_hint = |error: Error| error.hint_if_none(hint);
        let service = self.token_service.as_ref();
        let failed_check =
            service.and_then(|service| self.probe_connection(service, 0, &with_hint));
        let request_failure = failed_check
            .as_ref()
            .and_then(|check| check.request_failure);
        // A request would hang in the same lookup.
        let mut skip_reason = (request_failure == Some(RequestFailure::NameServerTimeout))
            .then_some("no answer from the name servers");
        let mut resources_with_token = Vec::new();
        for resource in &self.resources {
            let mut check = match skip_reason {
                Some(reason) => Check::skipped("token", resource, reason),
                None => self.probe_token(&TokenRequest::new(resource)),
            };
            if check.cause == Some(Cause::Unavailable) {
                skip_reason = Some("the same identity got no token for another resource");
            }
            if failed_check
                .as_ref()
                .is_some_and(|failed| failed.has_same_reason(&check))
            {
                check = Check::skipped(
                    "token",
                    resource,
                    "there is no connection to the service that issues it",
                );
            }
            if matches!(check.state, State::Passed | State::Warning) {
                resources_with_token.push(resource.clone());
            }
            self.send(check, 0);
        }
        if let Some(mut failed) = failed_check {
            // The requests had a connection, so `exec` would not fail.
            if resources_with_token.len() == self.resources.len() {
                failed.state = State::Warning;
                failed.cause = None;
            }
            self.send(failed, 0);
        }
        resources_with_token
    }

    /// Requests a token, and returns the check of it.
    fn probe_token(&self, token_request: &TokenRequest) -> Check {
        let started = Instant::now();
        let resource = &token_request.resource;
        let http = self.http.for_one_attempt(ATTEMPT_TIMEOUT);
        let check = match self.secret_reader.token(&http, token_request) {
            Ok(token) => describe::token_check(resource, &token),
            Err(error) => {
                describe::failed_token_check(resource, self.token_service.as_ref(), error)
            }
        };
        check.with_duration_since(started)
    }

    /// Looks up the host of a service and connects to it. Sends the check of each step that passes to the main thread;
    /// returns the check of the step that fails, or `None`.
    fn probe_connection(
        &self,
        service: &Service,
        order: usize,
        with_hint: &dyn Fn(Error) -> Error,
    ) -> Option<Check> {
        let started = Instant::now();
        let authority = service.authority();
        let name_check = match look_up(service.next_hop()) {
            Ok(resolved) => describe::name_check(service, &resolved),
            Err(error) => {
                let reason = match service.proxy() {
                    Some(_) => "the name of the proxy has no address",
                    None => "there is no address for it",
                };
                self.send(Check::skipped("connection", authority, reason), order);
                let error =
                    with_default_hint(with_hint(describe::with_lookup_notes(service, error)));
                return Some(Check::failed("name", service.next_hop(), &error));
            }
        };
        self.send(name_check.clone().with_duration_since(started), order);
        let started = Instant::now();
        let _wait = WaitGuard::begin(&format!("connecting to {authority}"), None);
        match service.probe(ATTEMPT_TIMEOUTS) {
            Ok(peer) => {
                let check = describe::connection_check(service, peer.as_ref());
                self.send(check.with_duration_since(started), order);
                None
            }
            Err(error) => {
                let error = with_default_hint(with_hint(error));
                let check = describe::failed_connection_check(service, name_check, &error);
                Some(check.with_duration_since(started))
            }
        }
    }

    /// Probes the connection to a vault. Returns why the vault's secrets cannot be read, or `None` if they can.
    fn probe_vault(&self, vault: &Vault) -> Option<&'static str> {
        let with_hint = |error| vault.client.with_hint(error);
        let failed_check = self.probe_connection(&vault.client.service, vault.order, &with_hint);
        let has_token = match &vault.resource {
            Some(resource) => self.resources_with_token().contains(resource),
            None if failed_check.is_some() => {
                let authority = vault.client.service.authority();
                let reason = "the vault has not said which resource it is for";
                self.send(Check::skipped("token", authority, reason), vault.order);
                true
            }
            None => self.probe_challenge(vault),
        };
        if let Some(check) = failed_check {
            let phase = match has_token {
                true => Phase::Requests,
                false => Phase::WithoutToken,
            };
            self.results.send(check.needed_in(phase, vault.order));
            return Some("there is no connection to its vault");
        }
        (!has_token).then_some("there is no access token")
    }

    /// Requests the token that the vault's challenge requires, and sends the check of it to the main thread. Returns whether
    /// there is one.
    fn probe_challenge(&self, vault: &Vault) -> bool {
        let started = Instant::now();
        let authority = vault.client.service.authority();
        let item_index = vault.item_indices[0];
        let path = match &self.plan.items[item_index] {
            PlanItem::Secret(secret) => secret.path(),
            _ => LIST_PATH.to_owned(),
        };
        let http = self.http.for_one_attempt(ATTEMPT_TIMEOUT);
        let targets = self.plan.target_names(item_index);
        let reader = &self.secret_reader;
        let check = match reader.required_token(&http, &vault.client, &path, &targets) {
            Ok(token_request) => {
                let check = self.probe_token(&token_request);
                let text = format!("for {}: {}", check.subject, check.text);
                Check {
                    subject: authority.to_owned(),
                    text,
                    ..check
                }
            }
            Err(error) => {
                describe::failed_token_check(authority, None, error).with_duration_since(started)
            }
        };
        let has_token = matches!(check.state, State::Passed | State::Warning);
        self.send(check, vault.order);
        has_token
    }

    /// Reads a secret, or a list and its secrets, unless its vault cannot be used, and sends the check of it to the main
    /// thread.
    fn read_item(&self, vault: &Vault, item_index: usize) {
        let target_names = self.plan.target_names(item_index);
        let skip_reason = *vault.skip_reason.get_or_init(|| self.probe_vault(vault));
        let started = Instant::now();
        let check = match skip_reason {
            Some(reason) => Check::skipped("secret", target_names, reason),
            None => {
                let check = match &self.plan.items[item_index] {
                    PlanItem::Token(_) => return,
                    PlanItem::Secret(secret) => {
                        self.check_secret(vault, item_index, secret, &target_names)
                    }
                    PlanItem::List(_) => self.check_list(vault, item_index, &target_names),
                };
                let check = check.unwrap_or_else(|error| {
                    // The check of the vault's first secret has this error, which is the same for each.
                    match item_index != vault.item_indices[0]
                        && resource_without_token(&error).is_some()
                    {
                        true => Check::skipped("secret", target_names, "there is no access token"),
                        false => {
                            let item = &self.plan.items[item_index];
                            describe::failed_secret_check(&target_names, item, error)
                        }
                    }
                });
                check.with_duration_since(started)
            }
        };
        self.send(check, item_index + 1);
    }

    /// The check of a secret that was read or may be missing, and of what the targets get of it.
    fn check_secret(
        &self,
        vault: &Vault,
        item_index: usize,
        secret: &SecretId,
        target_names: &str,
    ) -> Result<Check, Error> {
        let http = self.http.for_one_attempt(ATTEMPT_TIMEOUT);
        let read = self
            .secret_reader
            .read(&http, &vault.client, secret, target_names);
        let is_there = read.is_ok();
        let (mut check, read) = match read {
            Ok(bundle) => (
                describe::secret_check(target_names, secret, &bundle),
                Ok(bundle.stored),
            ),
            Err(error) => (
                describe::missing_secret_check(target_names, secret),
                Err(error),
            ),
        };
        let made = make_values(&self.plan, item_index, read)?;
        for ((target, _), part) in self.plan.parts_of(item_index).zip(made.parts) {
            let fetched = part?;
            check = check.labeled("note", "note: ", fetched.note.filter(|_| is_there));
            let warnings = fetched.warnings.into_iter();
            for warning in warnings.filter(|warning| !(target.in_memfd && warning.is_newline)) {
                // Two targets of a secret mostly have the same warnings.
                if !check.text.contains(&warning.text) {
                    check = check.warn(&warning.text, None);
                }
            }
        }
        for expansion in made.expansions {
            if let Expanded::Fields(targets, note) = expansion? {
                check = check.labeled("note", "note: ", note.filter(|_| is_there));
                let targets = targets.into_iter().map(|(target, _)| target).collect();
                self.lock_expanded().add_expanded(targets)?;
            }
        }
        Ok(check)
    }

    /// The check of a list and of all its secrets, which are read one after the other.
    fn check_list(
        &self,
        vault: &Vault,
        item_index: usize,
        target_names: &str,
    ) -> Result<Check, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let http = self.http.for_one_attempt(left);
        let names = self.secret_reader.list_names(
            &http,
            &vault.client,
            &self.plan,
            item_index,
            target_names,
        )?;
        let plan = {
            let mut plan = self.lock_expanded();
            for names in names {
                plan.add_listed(item_index, names)?;
            }
            plan.clone()
        };
        let host = self.plan.items[item_index].host();
        let listed = plan.items.iter().enumerate().skip(self.plan.items.len());
        let mut count = 0;
        for (index, item) in listed {
            if let PlanItem::Secret(secret) = item
                && Some(&secret.host) == host
            {
                count += 1;
                let targets = plan.target_names(index);
                self.secret_reader
                    .read(&http, &vault.client, secret, &targets)?;
            }
        }
        let noun = if count == 1 { "secret" } else { "secrets" };
        let text = format!("{count} {noun}, listed and read");
        Ok(Check::passed("secret", target_names, text).fact("secrets", count))
    }

    /// The plan with all targets that answers have named so far.
    fn lock_expanded(&self) -> MutexGuard<'_, Plan> {
        self.expanded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks up a host, within the time of one attempt.
fn look_up(host: &str) -> Result<ResolvedName, Error> {
    let _wait = WaitGuard::begin(&format!("looking up {host}"), None);
    // A lookup cannot be interrupted, so it has its own thread, which goes on if it takes too long. Not a channel: that of
    // the standard library would add 7 KB of code.
    let resolved = Arc::new(OnceLock::new());
    let (waiting, cell, name) = (thread::current(), resolved.clone(), host.to_owned());
    let work = move || {
        let _ = cell.set(resolve(&name));
        waiting.unpark();
    };
    if spawn_thread(work).is_err() {
        return resolve(host);
    }
    let end = Instant::now() + ATTEMPT_TIMEOUT;
    while resolved.get().is_none() && Instant::now() < end {
        thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
    resolved.get().cloned().unwrap_or_else(|| {
        let seconds = ATTEMPT_TIMEOUT.as_secs();
        let reason = format!("no answer from the name servers within {seconds} s");
        Err(RequestFailure::NameServerTimeout.error(reason))
    })
}
