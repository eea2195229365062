//! The link for each result: its text, its facts, and its warnings.

use std::net::IpAddr;
use std::time::Duration;

use super::report::Link;
use crate::azure::identity::AccessToken;
use crate::azure::key_vault::SecretBundle;
use crate::date;
use crate::error::{Cause, Error, ErrorKind};
use crate::http::Service;
use crate::http::error::AttemptError;
use crate::http::probe::{Found, Peer, Resolved, name_servers, search_list};
use crate::request::cloud::Cloud;
use crate::request::host::Host;
use crate::request::secret_id::SecretId;

/// How long one attempt may take.
pub const ATTEMPT: Duration = Duration::from_secs(3);
const DAY: i64 = 86_400;
/// The days before an expiry in which it is a warning.
const SOON: i64 = 30;

/// The addresses of a service, as far as messages need them.
#[derive(Default)]
pub struct Route {
    /// With their reach; empty where the host is an address itself.
    addresses: String,
    /// The search list, if DNS has the name only with one of its domains appended.
    search_list: Option<String>,
}

/// Host and port; the port only where it is not the usual one.
pub fn service(service: &Service) -> String {
    match service.host() {
        None => String::new(),
        Some(host) if !service.is_tls() && host.port == 80 => host.name,
        Some(host) => host.to_string(),
    }
}

/// The host of the next connection.
pub fn next_hop(service: &Service) -> String {
    service
        .next_hop()
        .map_or_else(String::new, |host| host.name)
}

/// The addresses of a name.
pub fn name(host: &Host, service: &Service, resolved: &Resolved) -> (Link, Route) {
    let addresses: Vec<String> = resolved
        .addresses
        .iter()
        .map(|address| format!("{address} ({})", reach(*address)))
        .collect();
    let addresses = addresses.join(", ");
    let route = Route {
        addresses: match resolved.found {
            Found::Literal => String::new(),
            // The file may be older than the address.
            Found::HostsFile => format!("{addresses}, by /etc/hosts"),
            Found::Dns | Found::SearchList => addresses.clone(),
        },
        search_list: (resolved.found == Found::SearchList).then(search_list),
    };
    let mut text = match (resolved.found, resolved.addresses.first()) {
        (Found::Literal, Some(address)) => reach(*address).to_owned(),
        _ => route.addresses.clone(),
    };
    if service.proxy().is_some() {
        text.push_str(", the proxy");
    }
    let link = Link::good("name", host.name.as_str(), text).fact("addresses", addresses);
    let link = match (resolved.found, &route.search_list) {
        (_, Some(domains)) => link.fact("found", "search list").warn(
            &format!("DNS has this name only with a search domain appended ({domains})"),
            Some("is the name right? A wildcard in a search domain matches any name"),
        ),
        (Found::HostsFile, _) => link.fact("found", "/etc/hosts"),
        (Found::Dns, _) => link.fact("found", "DNS"),
        _ => link,
    };
    (link, route)
}

/// Why a name has no address.
pub fn no_name(mut error: AttemptError, service: &Service) -> AttemptError {
    let servers = name_servers();
    if !servers.is_empty() {
        error = error.map(|error| error.note(format!("name servers: {servers}")));
    }
    if service.proxy().is_none() {
        return error;
    }
    let note = format!("it is the proxy for {}", self::service(service));
    error.map(|error| error.note(note)).hint_for(|kind| {
        let hint = "check HTTPS_PROXY, or name the host in NO_PROXY";
        (kind == ErrorKind::NameNotFound).then(|| hint.to_owned())
    })
}

/// The networks that can reach an address.
fn reach(address: IpAddr) -> &'static str {
    let (is_private, is_link_local) = match address {
        IpAddr::V4(v4) => {
            let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            (v4.is_private() || is_shared, v4.is_link_local())
        }
        IpAddr::V6(v6) => (v6.is_unique_local(), v6.is_unicast_link_local()),
    };
    match (is_private, is_link_local) {
        (true, _) => "private",
        (_, true) => "link-local",
        _ if address.is_loopback() => "this machine",
        _ => "public",
    }
}

/// A connection, and the server's certificate.
pub fn connection(service: &Service, peer: Option<&Peer>) -> Link {
    let subject = self::service(service);
    let proxy = match service.proxy() {
        Some(proxy) => format!(" through the proxy {proxy}"),
        None => String::new(),
    };
    let Some(peer) = peer else {
        return Link::good("connection", subject, format!("open{proxy}"));
    };
    let (version, certificate) = (peer.version, &peer.certificate);
    let (issuer, names) = (certificate.issuer.as_str(), certificate.some_names());
    let days = (certificate.not_after - date::now()) / DAY;
    let host = service.host();
    let host = host.as_ref();
    let name = host.and_then(|host| certificate.name_for(&host.name));
    let name = name.unwrap_or(&names);
    let private = if peer.is_public {
        ""
    } else {
        " (a private CA)"
    };
    let text = format!("{version}{proxy}, {name} by {issuer}{private}, {days} days left");
    let mut link = Link::good("connection", subject, text)
        .fact("tls", version)
        .fact("issuer", issuer)
        .fact("names", names.as_str())
        .fact("until", date::format(certificate.not_after));
    let is_azure =
        |host: &Host| host.cloud().is_some() || Cloud::of_authority(&host.name).is_some();
    if host.is_some_and(is_azure) && !peer.is_public {
        link = link.warn(
            &format!("TLS is intercepted: {issuer} issues no certificates to Azure"),
            Some("the interceptor can read tokens and secrets: is it meant to?"),
        );
    }
    match days < SOON {
        true => link.warn(&format!("the certificate expires in {days} days"), None),
        false => link,
    }
}

/// Why there is no connection.
pub fn no_connection(service: &Service, route: &Route, error: &Error) -> Link {
    let mut link = Link::failed("connection", self::service(service), error);
    match service.proxy() {
        Some(proxy) if error.get_fact("proxy").is_none() => {
            link.text = format!("through the proxy {proxy}: {}", link.text);
        }
        None if !route.addresses.is_empty() => {
            link.text = format!("at {}: {}", route.addresses, link.text);
        }
        _ => {}
    }
    for name in ["issuer", "names", "until"] {
        if let Some(value) = error.get_fact(name) {
            link = link.fact(name, value);
        }
    }
    if let Some(domains) = &route.search_list {
        let host = service.host().map_or_else(String::new, |host| host.name);
        link.text = format!(
            "{}; DNS has the name only with a search domain appended ({domains})",
            link.text
        );
        link.hint = Some(format!(
            "{host} itself does not exist in DNS: is the name right? A wildcard in a search domain of \
             /etc/resolv.conf matches any name"
        ));
    }
    link
}

/// An access token: its claims and its expiry.
pub fn token(resource: &str, token: &AccessToken) -> Link {
    let until = date::format(token.expires_on);
    let claims = token.claims();
    let mut text = format!("until {until}");
    for (name, label) in [
        ("tid", "tenant"),
        ("appid", "application"),
        ("azp", "application"),
        ("oid", "object"),
        ("aud", "audience"),
    ] {
        // The audience is mostly the resource itself.
        let claim = |(claim, value): &&(&str, String)| *claim == name && value != resource;
        if let Some((_, value)) = claims.iter().find(claim) {
            text.push_str(&format!(", {label} {value}"));
        }
    }
    let link = Link::good("token", resource, text).fact("until", until);
    claims
        .into_iter()
        .fold(link, |link, (name, value)| link.fact(name, value))
}

/// Why there is no access token. `issuer` is the service that was asked for it, if there is one.
pub fn no_token(resource: &str, issuer: Option<&str>, mut error: Error) -> Link {
    if !error.context.is_empty() {
        error.context.remove(0);
    }
    // What keeps from a request is not from the issuer: a file that cannot be read.
    let is_response = error
        .kind
        .is_some_and(|kind| kind != ErrorKind::InvalidSettings);
    if let Some(issuer) = issuer.filter(|_| is_response) {
        error = error.context(format!("from {issuer}"));
    }
    after_one_attempt(error, |error| Link::failed("token", resource, error))
}

/// Why a secret was not read.
pub fn no_secret(targets: &str, secret: &SecretId, mut error: Error) -> Link {
    let shown = secret.shown();
    error.context = vec![format!("`{shown}` in {}", secret.host)];
    after_one_attempt(error, |error| {
        Link::failed("secret", targets, error).fact("secret", shown.as_str())
    })
}

/// Why there is no access token for a vault that names its resource itself.
pub fn no_secret_token(targets: &str, secret: &SecretId, error: Error) -> Link {
    after_one_attempt(error, |error| {
        Link::failed("secret", targets, error).fact("secret", secret.shown())
    })
}

/// A request that `exec` would repeat, or wait for longer.
fn after_one_attempt(mut error: Error, link: impl FnOnce(&Error) -> Link) -> Link {
    let seconds = ATTEMPT.as_secs();
    let is_timeout = match error.kind {
        Some(ErrorKind::DeadlineExceeded) => {
            error.reason = format!("no response within {seconds} s");
            true
        }
        Some(ErrorKind::DeadlineExceededConnecting) => {
            error.reason = format!("no connection within {seconds} s");
            true
        }
        _ => false,
    };
    let link = link(&error);
    match (error.cause, &error.hint) {
        (Cause::Unavailable, Some(hint)) if is_timeout => Link {
            hint: Some(format!("{hint}; exec waits longer")),
            ..link
        },
        (Cause::Unavailable, None) => link.or_hint("exec retries this until its deadline"),
        _ => link,
    }
}

/// A secret: its version and its attributes.
pub fn secret(targets: &str, secret: &SecretId, bundle: &SecretBundle) -> Link {
    let mut text = format!("`{}`", secret.name);
    let mut link = Link::good("secret", targets, "").fact("secret", secret.name.as_str());
    if let Some(version) = &bundle.version {
        text.push_str(&format!(", version {version}"));
        link = link.fact("version", version.as_str());
    }
    if let Some(content_type) = &bundle.content_type {
        text.push_str(&format!(", {content_type}"));
        link = link.fact("content_type", content_type.as_str());
    }
    text.push_str(", enabled");
    for (label, time) in [("from", bundle.not_before), ("until", bundle.expires)] {
        if let Some(time) = time.map(date::format) {
            text.push_str(&format!(", {label} {time}"));
            link = link.fact(label, time);
        }
    }
    link.text = text;
    let now = date::now();
    if bundle.not_before.is_some_and(|begins| begins > now) {
        return link.warn("it is not valid yet; exec uses it anyway", None);
    }
    match bundle.expires.map(|expires| expires - now) {
        Some(..=0) => link.warn("it has expired; exec uses it anyway", None),
        Some(left) if left < SOON * DAY => {
            link.warn(&format!("it expires in {} days", left / DAY), None)
        }
        _ => link,
    }
}
