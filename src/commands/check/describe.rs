//! What is told of each link that was seen: the facts, and what is odd about them.

use std::net::IpAddr;

use super::reachability::{ONE_TRY, Place};
use super::report::Link;
use crate::azure::identity::AccessToken;
use crate::azure::key_vault::SecretBundle;
use crate::date;
use crate::error::{Cause, Error, ErrorKind};
use crate::http::Service;
use crate::http::probe::{Found, Peer, Resolved};
use crate::request::cloud::Cloud;
use crate::request::host::Host;
use crate::request::secret_id::SecretId;

const DAY: i64 = 86_400;
/// When something that ends is worth a warning, in days.
const SOON: i64 = 30;
/// Words of Entra and of vaults for a token that is refused for its time.
const OF_TIME: [&str; 3] = ["AADSTS700024", "valid time range", "not yet valid"];

/// A service as one names it: with its port only where that is not the usual one.
pub fn shown(service: &Service) -> String {
    match service.host() {
        None => String::new(),
        Some(host) if !service.is_tls() && host.port == 80 => host.name,
        Some(host) => host.to_string(),
    }
}

/// Addresses, and who can reach them.
pub fn places(addresses: &[IpAddr]) -> String {
    let places = addresses
        .iter()
        .map(|address| format!("{address} ({})", reach(*address)));
    places.collect::<Vec<_>>().join(", ")
}

/// Where a name leads.
pub fn name(host: &Host, service: &Service, resolved: &Resolved, place: &Place) -> Link {
    let mut text = match resolved.found {
        Found::Literal => resolved
            .addresses
            .first()
            .map_or_else(String::new, |address| reach(*address).to_owned()),
        _ => place.addresses.clone(),
    };
    if service.proxy().is_some() {
        text.push_str(", the proxy on the way");
    }
    let link =
        Link::good("name", host.name.as_str(), text).fact("addresses", places(&resolved.addresses));
    match (resolved.found, &place.searched) {
        (Found::SearchList, Some(domains)) => {
            let oddity = format!("DNS only knows it with a search domain behind it ({domains})");
            let hint = "is the name right? A wildcard in a search domain answers for any name";
            link.fact("found", "search list").warn(&oddity, Some(hint))
        }
        (Found::HostsFile, _) => link.fact("found", "/etc/hosts"),
        (Found::Dns, _) => link.fact("found", "DNS"),
        _ => link,
    }
}

/// Who can reach an address.
fn reach(address: IpAddr) -> &'static str {
    let (private, loopback, local) = match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            (
                v4.is_private() || shared,
                v4.is_loopback(),
                v4.is_link_local(),
            )
        }
        IpAddr::V6(v6) => (
            v6.is_unique_local(),
            v6.is_loopback(),
            v6.is_unicast_link_local(),
        ),
    };
    match (private, loopback, local) {
        (true, ..) => "private",
        (_, true, _) => "this machine",
        (_, _, true) => "link-local",
        _ => "public",
    }
}

/// The name that a certificate has for a host, or what it has instead.
fn name_of(peer: &Peer, service: &Service) -> String {
    let host = service.host();
    let own = host.and_then(|host| peer.certificate.name_for(&host.name).map(str::to_owned));
    own.unwrap_or_else(|| peer.certificate.some_names())
}

/// A connection, and who is at its other end.
pub fn connection(service: &Service, peer: Option<&Peer>) -> Link {
    let subject = shown(service);
    let way = match service.proxy() {
        Some(proxy) => format!(" through the proxy {proxy}"),
        None => String::new(),
    };
    let Some(peer) = peer else {
        return Link::good("connection", subject, format!("open{way}"));
    };
    let certificate = &peer.certificate;
    let days = (certificate.not_after - date::now()) / DAY;
    let version = peer.version;
    let (name, issuer) = (name_of(peer, service), &certificate.issuer);
    let private = if peer.is_public {
        ""
    } else {
        " (a private CA)"
    };
    let text = format!("{version}{way}, {name} by {issuer}{private}, {days} days left");
    let link = Link::good("connection", subject, text).fact("tls", version);
    let link = with_certificate(link, peer);
    let host = service.host();
    let is_azure = host
        .is_some_and(|host| host.cloud().is_some() || Cloud::of_authority(&host.name).is_some());
    let link = match is_azure && !peer.is_public {
        true => link.warn(
            &format!("TLS is intercepted on the way: Azure has no certificate by {issuer}"),
            Some("that proxy reads everything, tokens and secrets too: is it meant to?"),
        ),
        false => link,
    };
    match days < SOON {
        true => link.warn(&format!("the certificate ends in {days} days"), None),
        false => link,
    }
}

/// No connection, and who was at its other end if anybody was.
pub fn no_connection(service: &Service, place: &Place, error: Error) -> Link {
    let mut link = Link::failed("connection", shown(service), &error);
    let way = match service.proxy() {
        Some(proxy) if !link.text.contains(proxy) => format!("through the proxy {proxy}: "),
        None if !place.addresses.is_empty() => format!("at {}: ", place.addresses),
        _ => String::new(),
    };
    link.text = format!("{way}{}", link.text);
    link.is_of_time = error.kind == Some(ErrorKind::CertificateExpired);
    for name in ["issuer", "names", "until"] {
        if let Some(value) = error.get_fact(name) {
            link = link.fact(name, value);
        }
    }
    if link.cause == Some(Cause::Protocol) {
        link = link.or_hint("another server answers at this address: check DNS and proxies");
    }
    if let Some(domains) = &place.searched {
        let host = service.host().map_or_else(String::new, |host| host.name);
        link.text = format!(
            "{}; DNS only knows the name with a search domain behind it ({domains})",
            link.text
        );
        link.hint = Some(format!(
            "{host} itself does not exist in DNS: is the name right? A wildcard in a search domain of /etc/resolv.conf \
             led elsewhere"
        ));
    }
    link
}

fn with_certificate(link: Link, peer: &Peer) -> Link {
    let certificate = &peer.certificate;
    link.fact("issuer", certificate.issuer.as_str())
        .fact("names", certificate.some_names())
        .fact("until", date::format(certificate.not_after))
}

/// An access token: whose, for what, until when. Never itself.
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
        let value = claims.iter().find(|(claim, _)| *claim == name);
        // An audience that is what was asked for says nothing.
        if let Some((_, value)) = value.filter(|(_, value)| value != resource) {
            text.push_str(&format!(", {label} {value}"));
        }
    }
    let link = Link::good("token", resource, text).fact("until", until);
    claims
        .into_iter()
        .fold(link, |link, (name, value)| link.fact(name, value))
}

/// No access token. `source` is what was asked, as messages have it, and `place` where it is.
pub fn no_token(resource: &str, source: &str, place: Option<&str>, error: &Error) -> Link {
    let mut link = Link::failed("token", resource, error);
    let doing = format!("getting an access token from {source}: ");
    if let Some(rest) = link.text.strip_prefix(&doing) {
        // An answer, and not what kept us from asking.
        let answered = rest.starts_with(|c: char| c.is_ascii_digit());
        link.text = match place.filter(|_| answered) {
            Some(place) => format!("from {place}: {rest}"),
            None => rest.to_owned(),
        };
    }
    complete(link)
}

/// A secret that cannot be read.
pub fn no_secret(targets: &str, secret: &SecretId, error: &Error) -> Link {
    let mut link = Link::failed("secret", targets, error);
    let shown = secret.shown();
    let doing = format!(
        "reading secret `{shown}` from {} for {targets}",
        secret.host
    );
    if let Some(rest) = link.text.strip_prefix(&doing) {
        link.text = format!("`{shown}` in {}{rest}", secret.host);
    }
    complete(link.fact("secret", shown))
}

/// What a request that was made once leaves to be said.
fn complete(mut link: Link) -> Link {
    link.is_of_time = OF_TIME.iter().any(|words| link.text.contains(words));
    let within = format!("no response within {} s", ONE_TRY.as_secs());
    link.text = link
        .text
        .replace("no response before the deadline", &within);
    match link.cause {
        Some(Cause::Unavailable) if link.text.contains(&within) => {
            link.and_hint("exec waits longer")
        }
        Some(Cause::Unavailable) => link.or_hint("exec tries this again until its deadline"),
        _ => link,
    }
}

/// A secret: which version, what it says to be, until when. Never its value, nor how long that is.
pub fn secret(targets: &str, secret: &SecretId, bundle: &SecretBundle) -> Link {
    let mut text = format!("`{}`", secret.name);
    let mut link = Link::good("secret", targets, "").fact("secret", secret.name.as_str());
    if let Some(version) = &bundle.version {
        text.push_str(&format!(", version {version}"));
        link = link.fact("version", version.as_str());
    }
    if let Some(kind) = &bundle.content_type {
        text.push_str(&format!(", {kind}"));
        link = link.fact("content_type", kind.as_str());
    }
    text.push_str(", enabled");
    let now = date::now();
    for (label, time) in [("from", bundle.not_before), ("until", bundle.expires)] {
        if let Some(time) = time {
            let time = date::format(time);
            text.push_str(&format!(", {label} {time}"));
            link = link.fact(label, time);
        }
    }
    link.text = text;
    if bundle.not_before.is_some_and(|begins| begins > now) {
        return link.warn("it is not valid yet, and used nevertheless", None);
    }
    match bundle.expires {
        Some(expires) if expires <= now => {
            link.warn("it has expired, and is used nevertheless", None)
        }
        Some(expires) if expires - now < SOON * DAY => {
            let days = (expires - now) / DAY;
            link.warn(&format!("it expires in {days} days"), None)
        }
        _ => link,
    }
}
