//! The link for each result: its text, its facts, and its warnings.

use std::net::IpAddr;
use std::time::Duration;

use super::report::Link;
use crate::azure::fetch::resource_without_token;
use crate::azure::identity::{AccessToken, jwt_payload};
use crate::azure::key_vault::SecretBundle;
use crate::date;
use crate::error::{Cause, Error, RequestFailure};
use crate::http::Service;
use crate::http::probe::{Found, Peer, Resolved, name_servers, search_list};
use crate::http::retry::CHECK_PROXY;
use crate::request::cloud::Cloud;
use crate::request::host::Host;
use crate::request::secret_id::SecretId;

/// How long one attempt may take.
pub const ATTEMPT: Duration = Duration::from_secs(3);
const DAY: i64 = 86_400;
/// The days before an expiry in which it is a warning.
const SOON: i64 = 30;

/// The addresses of the next host, and where they were found.
pub fn name(service: &Service, resolved: &Resolved) -> Link {
    let addresses = resolved.addresses.iter();
    let addresses = addresses.map(|address| format!("{address} ({})", reach(*address)));
    let addresses = addresses.collect::<Vec<_>>().join(", ");
    let (mut text, found) = match (resolved.found, &*resolved.addresses) {
        (Found::Literal, [address]) => (reach(*address).to_owned(), None),
        // The file may be older than the address.
        (Found::HostsFile, _) => (format!("{addresses}, from /etc/hosts"), Some("/etc/hosts")),
        (Found::SearchList, _) => (addresses.clone(), Some("search list")),
        _ => (addresses.clone(), Some("DNS")),
    };
    if service.proxy().is_some() {
        text.push_str(", the proxy");
    }
    let host = service.next_hop();
    let mut link = Link::passed("name", host, text).fact("addresses", addresses);
    if let Some(found) = found {
        link = link.fact("found", found);
    }
    if resolved.found != Found::SearchList {
        return link;
    }
    let domains = search_list();
    let hint = format!(
        "{host} itself does not exist in DNS: is the name right? A wildcard in a search domain of /etc/resolv.conf \
         matches any name"
    );
    link.warn(
        &format!("DNS has the name only with a search domain appended ({domains})"),
        Some(&hint),
    )
}

/// Why a name has no address.
pub fn no_name(service: &Service, mut error: Error) -> Error {
    let servers = name_servers();
    if !servers.is_empty() {
        error = error.note(format!("name servers: {servers}"));
    }
    if service.proxy().is_none() {
        return error;
    }
    let note = format!("it is the proxy for {}", service.authority());
    error
        .note(note)
        .hint_if_none(|kind| (kind == RequestFailure::NameNotFound).then(|| CHECK_PROXY.to_owned()))
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
    let proxy = match service.proxy() {
        Some(proxy) => format!(" through the proxy {proxy}"),
        None => String::new(),
    };
    let Some(peer) = peer else {
        return Link::passed("connection", service.authority(), format!("open{proxy}"));
    };
    let (version, certificate) = (peer.version, &peer.certificate);
    let (issuer, names) = (certificate.issuer.as_str(), certificate.some_names());
    let name = certificate.name_for(service.host()).unwrap_or(&names);
    let private = match peer.is_public {
        true => "",
        false => " (a private CA)",
    };
    let days = (certificate.not_after - date::now()) / DAY;
    let text = format!(
        "{version}{proxy}, certificate of {name} issued by {issuer}{private}, {days} days left"
    );
    let mut link = Link::passed("connection", service.authority(), text)
        .fact("tls", version)
        .fact("issuer", issuer)
        .fact("names", names.as_str())
        .fact("until", date::format(certificate.not_after));
    let is_azure = |host: Host| host.cloud().is_some() || Cloud::of_authority(&host.name).is_some();
    if !peer.is_public && Host::parse(service.authority()).is_ok_and(is_azure) {
        link = link.warn(
            &format!("TLS is intercepted: {issuer} does not issue certificates for Azure"),
            Some("make sure that this is intended: the interceptor can read tokens and secrets"),
        );
    }
    match days < SOON {
        true => link.warn(&format!("the certificate expires in {days} days"), None),
        false => link,
    }
}

/// Why there is no connection. `name` is the link of [`name`].
pub fn no_connection(service: &Service, name: Link, error: &Error) -> Link {
    let mut link = Link::failed("connection", service.authority(), error);
    match service.proxy() {
        Some(proxy) if error.get_fact("proxy").is_none() => {
            link.text = format!("through the proxy {proxy}: {}", link.text);
        }
        None if name.facts.contains_key("found") => {
            link.text = format!("at {}: {}", name.text, link.text);
        }
        _ => {}
    }
    link.hint = name.hint.or(link.hint);
    link
}

/// An access token: its claims and its expiry.
pub fn token(resource: &str, token: &AccessToken) -> Link {
    let until = date::format(token.expires_on);
    let link = Link::passed("token", resource, format!("valid until {until}")).fact("until", until);
    let claims = jwt_payload(&token.value).unwrap_or_default();
    let names = ["tid", "appid", "azp", "oid", "aud", "iss"].into_iter();
    let claims = names.filter_map(|name| Some((name, claims[name].as_str()?.to_owned())));
    claims.fold(link, |link, (name, value)| match name {
        "tid" => link.labeled(name, "tenant ", Some(value)),
        "appid" | "azp" => link.labeled(name, "client id ", Some(value)),
        "oid" => link.labeled(name, "object id ", Some(value)),
        // The audience is mostly the resource itself.
        "aud" if value != resource => link.labeled(name, "audience ", Some(value)),
        _ => link.fact(name, value),
    })
}

/// Why there is no access token. `issuer` is the service that was asked for it, if there is one.
pub fn no_token(resource: &str, issuer: Option<&Service>, mut error: Error) -> Link {
    // The link's kind and the issuer say the same.
    error.context.clear();
    // What keeps from a request is not from the issuer: a file that cannot be read.
    let is_response = error
        .request_failure
        .is_some_and(|failure| failure != RequestFailure::InvalidSettings);
    if let Some(issuer) = issuer.filter(|_| is_response) {
        error = error.context(format!("from {}", issuer.authority()));
    }
    failed_attempt("token", resource, error)
}

/// Why a secret was not read.
pub fn no_secret(targets: &str, secret: &SecretId, mut error: Error) -> Link {
    let shown = secret.shown();
    // An access token is missing only for a vault that names its resource itself, or another tenant.
    if resource_without_token(&error).is_none() {
        error.context = vec![format!("`{shown}` in {}", secret.host)];
    }
    failed_attempt("secret", targets, error.fact("secret", shown))
}

/// Why the one attempt of a request failed: `exec` repeats it, or waits longer.
fn failed_attempt(kind: &'static str, subject: &str, mut error: Error) -> Link {
    let missing = match error.request_failure {
        Some(RequestFailure::DeadlineExceeded) => Some("response"),
        Some(RequestFailure::DeadlineExceededWhileConnecting) => Some("connection"),
        _ => None,
    };
    if let Some(missing) = missing {
        error.reason = format!("no {missing} within {} s", ATTEMPT.as_secs());
    }
    if error.cause == Cause::Unavailable {
        let hint = match (error.hint.take(), missing) {
            (Some(hint), Some(_)) => format!("{hint}; exec waits longer"),
            (Some(hint), None) => hint,
            (None, _) => "exec retries this until its deadline".to_owned(),
        };
        error = error.hint(hint);
    }
    Link::failed(kind, subject, &error)
}

/// A secret: its version and its attributes.
pub fn secret(targets: &str, secret: &SecretId, bundle: &SecretBundle) -> Link {
    let (from, until) = (bundle.not_before, bundle.expires);
    let mut link = Link::passed("secret", targets, format!("`{}`", secret.name))
        .fact("secret", secret.name.as_str())
        .labeled("version", "version ", bundle.version.clone())
        .labeled("content_type", "", bundle.content_type.clone());
    link.text.push_str(", enabled");
    let (from_text, until_text) = (from.map(date::format), until.map(date::format));
    let link = link
        .labeled("from", "from ", from_text)
        .labeled("until", "until ", until_text);
    let now = date::now();
    if from.is_some_and(|from| from > now) {
        return link.warn("it is not valid yet; exec uses it anyway", None);
    }
    match until.map(|until| until - now) {
        Some(..=0) => link.warn("it has expired; exec uses it anyway", None),
        Some(left) if left < SOON * DAY => {
            link.warn(&format!("it expires in {} days", left / DAY), None)
        }
        _ => link,
    }
}
