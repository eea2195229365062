//! The way to a service: where its name leads, and a connection that nothing is asked on.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::report::Link;
use super::told;
use crate::failure::Failure;
use crate::host::Host;
use crate::http::probe::{Found, NameServers, resolve};
use crate::http::retry::Kind;
use crate::http::trouble::Trouble;
use crate::http::{Limits, Service};
use crate::progress::Wait;

/// How long one try may take.
pub const ONE_TRY: Duration = Duration::from_secs(3);
const LIMITS: Limits = Limits {
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
    pub trouble: Trouble,
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
    let trouble = match resolved.take() {
        Some(Ok(resolved)) => {
            let place = Place {
                addresses: match resolved.found {
                    Found::Literal => String::new(),
                    // Where it is older than the address, that explains much.
                    Found::HostsFile => {
                        format!("{}, by /etc/hosts", told::places(&resolved.addresses))
                    }
                    Found::Dns | Found::SearchList => told::places(&resolved.addresses),
                },
                searched: (resolved.found == Found::SearchList)
                    .then(|| NameServers::read().search.join(" ")),
            };
            let link = told::name(&host, service, &resolved, &place).took(began.elapsed());
            return Ok((link, place));
        }
        Some(Err(trouble)) => trouble,
        None => {
            let seconds = ONE_TRY.as_secs();
            let message = format!("the name servers do not answer within {seconds} s");
            Trouble::new(Kind::NameServer, message)
        }
    };
    Err(Lost {
        name: host.name.clone(),
        trouble: complete(trouble, &host, service),
    })
}

/// What only `check` has the room to say of a name that leads nowhere.
fn complete(mut trouble: Trouble, host: &Host, service: &Service) -> Trouble {
    let servers = NameServers::read().servers.join(" ");
    if !servers.is_empty() {
        trouble.message = format!("{}; asked: {servers}", trouble.message);
    }
    if service.proxy().is_none() {
        return trouble;
    }
    if let Some(behind) = service.host().filter(|behind| behind != host) {
        trouble.message = format!("{}; it is the proxy to {}", trouble.message, behind.name);
    }
    trouble.hint_for(|kind| {
        let hint = "look at HTTPS_PROXY, or name the host in NO_PROXY";
        (kind == Kind::NameUnknown).then(|| hint.to_owned())
    })
}

/// Opens a connection. If there is none: why, in the words of whoever wants to use one.
pub fn look_at_connection(
    service: &Service,
    place: &Place,
    failure_of: impl FnOnce(Trouble) -> Failure,
) -> (Link, Option<String>) {
    let _wait = Wait::begin(&format!("connecting to {}", told::shown(service)), None);
    let began = Instant::now();
    let (opened, peer) = service.probe(LIMITS);
    let (link, why) = match opened {
        Ok(()) => (told::connection(service, peer.as_ref()), None),
        Err(trouble) => {
            let why = trouble.message.clone();
            let failure = failure_of(trouble);
            let link = told::no_connection(service, place, failure, peer.as_ref());
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
