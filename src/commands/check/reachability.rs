//! The way to a service: where its name leads, and a connection that nothing is asked on.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::describe;
use super::report::Link;
use crate::error::Error;
use crate::http::error::AttemptError;
use crate::http::probe::{Found, NameServers, resolve};
use crate::http::retry::ErrorKind;
use crate::http::{Service, Timeouts};
use crate::request::host::Host;
use crate::signals::Wait;

/// How long one try may take.
pub const ONE_TRY: Duration = Duration::from_secs(3);
const TIMEOUTS: Timeouts = Timeouts {
    connect: ONE_TRY,
    response: ONE_TRY,
};

/// Where a name leads.
#[derive(Default)]
pub struct Place {
    /// Its addresses and who can reach them; empty where it is an address itself.
    pub addresses: String,
    /// The search list, where DNS knows the name only with one of its domains behind it.
    pub searched: Option<String>,
}

/// A name that leads nowhere.
pub struct Lost {
    /// The name.
    pub name: String,
    /// Why.
    pub error: AttemptError,
}

/// Looks a service's name up; or that of the proxy before it.
pub fn look_at_name(service: &Service) -> Result<(Link, Place), Lost> {
    let Some(host) = service.next_hop() else {
        let link = Link::skipped("name", "", "there is no name");
        return Ok((link, Place::default()));
    };
    let _wait = Wait::begin(&format!("looking up {}", host.name), None);
    let answer = Arc::new((Mutex::new(None), Condvar::new()));
    let began = Instant::now();
    let (asked, asker) = (host.clone(), answer.clone());
    // A look-up cannot be broken off: one that takes too long is left behind.
    thread::spawn(move || {
        let resolved = resolve(&asked);
        *asker.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(resolved);
        asker.1.notify_all();
    });
    let resolved = answer.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut resolved, _) = answer
        .1
        .wait_timeout_while(resolved, ONE_TRY, |resolved| resolved.is_none())
        .unwrap_or_else(PoisonError::into_inner);
    let error = match resolved.take() {
        Some(Ok(resolved)) => {
            let place = Place {
                addresses: match resolved.found {
                    Found::Literal => String::new(),
                    // Where it is older than the address, that explains much.
                    Found::HostsFile => {
                        format!("{}, by /etc/hosts", describe::places(&resolved.addresses))
                    }
                    Found::Dns | Found::SearchList => describe::places(&resolved.addresses),
                },
                searched: (resolved.found == Found::SearchList)
                    .then(|| NameServers::read().search.join(" ")),
            };
            let link = describe::name(&host, service, &resolved, &place).took(began.elapsed());
            return Ok((link, place));
        }
        Some(Err(error)) => error,
        None => {
            let seconds = ONE_TRY.as_secs();
            let message = format!("the name servers do not answer within {seconds} s");
            AttemptError::new(ErrorKind::NameServerTimeout, message)
        }
    };
    Err(Lost {
        name: host.name.clone(),
        error: complete(error, &host, service),
    })
}

/// What only `check` has the room to say of a name that leads nowhere.
fn complete(mut error: AttemptError, host: &Host, service: &Service) -> AttemptError {
    let servers = NameServers::read().servers.join(" ");
    if !servers.is_empty() {
        error.error.reason = format!("{}; asked: {servers}", error.error.reason);
    }
    if service.proxy().is_none() {
        return error;
    }
    if let Some(behind) = service.host().filter(|behind| behind != host) {
        error.error.reason = format!("{}; it is the proxy to {}", error.error.reason, behind.name);
    }
    error.hint_for(|kind| {
        let hint = "check HTTPS_PROXY, or name the host in NO_PROXY";
        (kind == ErrorKind::NameNotFound).then(|| hint.to_owned())
    })
}

/// Opens a connection. If there is none: why, in the words of whoever wants to use one.
pub fn look_at_connection(
    service: &Service,
    place: &Place,
    failure_of: impl FnOnce(AttemptError) -> Error,
) -> (Link, Option<String>) {
    let _wait = Wait::begin(&format!("connecting to {}", describe::shown(service)), None);
    let began = Instant::now();
    let (link, why) = match service.probe(TIMEOUTS) {
        Ok(peer) => (describe::connection(service, peer.as_ref()), None),
        Err(error) => {
            let why = error.error.to_string();
            let error = failure_of(error);
            let link = describe::no_connection(service, place, error);
            (link, Some(why))
        }
    };
    (link.took(began.elapsed()), why)
}

/// Why a connection is not looked at where the name leads nowhere.
pub fn no_address(service: &Service) -> &'static str {
    match service.proxy() {
        Some(_) => "there is no address for the proxy",
        None => "there is no address for it",
    }
}
