//! Puts each result into words: the text of its check, the facts, the warnings and the hints.

use std::net::IpAddr;
use std::time::Duration;

use super::report::Check;
use crate::azure::fetch::resource_without_token;
use crate::azure::identity::{AccessToken, EXPIRED_TOKEN_HINT, jwt_payload};
use crate::azure::key_vault::SecretBundle;
use crate::date;
use crate::error::{Cause, Error, RequestFailure};
use crate::http::Service;
use crate::http::probe::{NameSource, Peer, ResolvedName, name_servers, search_list};
use crate::http::retry::CHECK_PROXY_HINT;
use crate::request::cloud::Cloud;
use crate::request::host::{Host, is_private};
use crate::request::plan::PlanItem;
use crate::request::secret_id::SecretId;

/// The timeout of one attempt.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const SECONDS_PER_DAY: i64 = 86_400;
/// A certificate or secret that expires within this many days gets a warning.
const EXPIRY_WARNING_DAYS: i64 = 30;

/// The check of the host name that connections go to, the proxy's if there is one: its addresses, and their source.
pub fn name_check(service: &Service, resolved: &ResolvedName) -> Check {
    let addresses = resolved.addresses.iter();
    let addresses = addresses.map(|address| format!("{address} ({})", address_scope(*address)));
    let addresses = addresses.collect::<Vec<_>>().join(", ");
    let (mut text, found_in) = match (resolved.source, &*resolved.addresses) {
        (NameSource::Literal, [address]) => {
            (format!("an IP address ({})", address_scope(*address)), None)
        }
        // Named in the text, since an entry of /etc/hosts may be out of date.
        (NameSource::HostsFile, _) => (format!("{addresses}, from /etc/hosts"), Some("/etc/hosts")),
        (NameSource::SearchList, _) => (addresses.clone(), Some("search list")),
        _ => (addresses.clone(), Some("DNS")),
    };
    if service.proxy().is_some() {
        text.push_str(", the proxy");
    }
    let host = service.next_hop();
    let mut check = Check::passed("name", host, text).fact("addresses", addresses);
    if let Some(found_in) = found_in {
        check = check.fact("found", found_in);
    }
    if resolved.source != NameSource::SearchList {
        return check;
    }
    let domains = search_list();
    let hint = format!(
        "{host} itself does not exist in DNS: is the name right? A wildcard in a search domain of /etc/resolv.conf \
         matches any name"
    );
    check.warn(
        &format!("DNS has the name only with a search domain appended ({domains})"),
        Some(&hint),
    )
}

/// Adds notes to the error of a failed lookup: the name servers, and if the host is a proxy, for which service.
pub fn with_lookup_notes(service: &Service, mut error: Error) -> Error {
    let servers = name_servers();
    if !servers.is_empty() {
        error = error.note(format!("name servers: {servers}"));
    }
    if service.proxy().is_none() {
        return error;
    }
    let note = format!("this is the proxy for {}", service.authority());
    error.note(note).hint_if_none(|failure| {
        (failure == RequestFailure::NameNotFound).then(|| CHECK_PROXY_HINT.to_owned())
    })
}

/// Where an address is: "private", "link-local", "this machine" or "public".
fn address_scope(address: IpAddr) -> &'static str {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    match (is_private(address), is_link_local) {
        (true, _) => "private",
        (_, true) => "link-local",
        _ if address.is_loopback() => "this machine",
        _ => "public",
    }
}

/// The check of a connection that was opened. With TLS, also of the server's certificate (`peer`).
pub fn connection_check(service: &Service, peer: Option<&Peer>) -> Check {
    let proxy_note = match service.proxy() {
        Some(proxy) => format!(" through the proxy {proxy}"),
        None => String::new(),
    };
    let Some(peer) = peer else {
        return Check::passed(
            "connection",
            service.authority(),
            format!("open{proxy_note}"),
        );
    };
    let (tls_version, certificate) = (peer.tls_version, &peer.certificate);
    let (issuer, certificate_names) = (certificate.issuer.as_str(), certificate.names_summary());
    let certificate_name = certificate
        .name_matching(service.host())
        .unwrap_or(&certificate_names);
    let private_ca_note = match peer.is_publicly_trusted {
        true => "",
        false => " (a private CA)",
    };
    let days_left = (certificate.not_after - date::unix_now()) / SECONDS_PER_DAY;
    let text = format!(
        "{tls_version}{proxy_note}, certificate of {certificate_name} issued by {issuer}{private_ca_note}, \
         {days_left} days left"
    );
    let mut check = Check::passed("connection", service.authority(), text)
        .fact("tls", tls_version)
        .fact("issuer", issuer)
        .fact("names", certificate_names.as_str())
        .fact("until", date::format(certificate.not_after));
    let is_azure_host =
        |host: Host| host.cloud().is_some() || Cloud::from_authority_host(&host.name).is_some();
    if !peer.is_publicly_trusted && Host::parse(service.authority()).is_ok_and(is_azure_host) {
        check = check.warn(
            &format!("TLS is intercepted: {issuer} does not issue certificates for Azure"),
            Some("make sure that this is intended: the interceptor can read tokens and secrets"),
        );
    }
    match days_left < EXPIRY_WARNING_DAYS {
        true => check.warn("the certificate expires soon", None),
        false => check,
    }
}

/// The check of a connection that could not be opened. `name_check` is the check of the host's name.
pub fn failed_connection_check(service: &Service, name_check: Check, error: &Error) -> Check {
    let mut check = Check::failed("connection", service.authority(), error);
    match service.proxy() {
        Some(proxy) if error.get_fact("proxy").is_none() => {
            check.text = format!("through the proxy {proxy}: {}", check.text);
        }
        None if name_check.facts.contains_key("found") => {
            check.text = format!("{}, at {}", check.text, name_check.text);
        }
        _ => {}
    }
    check.hint = name_check.hint.or(check.hint);
    check
}

/// The check of an access token that was issued: claims and expiry.
pub fn token_check(resource: &str, token: &AccessToken) -> Check {
    let until = date::format(token.expires_on);
    let check =
        Check::passed("token", resource, format!("valid until {until}")).fact("until", until);
    let claims = jwt_payload(&token.value).unwrap_or_default();
    let claim_names = ["tid", "appid", "azp", "oid", "aud", "iss"].into_iter();
    let claims = claim_names.filter_map(|name| Some((name, claims[name].as_str()?.to_owned())));
    let check = claims.fold(check, |check, (name, value)| match name {
        "tid" => check.labeled(name, "tenant ", Some(value)),
        "appid" | "azp" => check.labeled(name, "client id ", Some(value)),
        "oid" => check.labeled(name, "object id ", Some(value)),
        // The audience is mostly the resource itself.
        "aud" if value != resource => check.labeled(name, "audience ", Some(value)),
        _ => check.fact(name, value),
    });
    match token.has_expired() {
        true => check.warn("it expired before it arrived", Some(EXPIRED_TOKEN_HINT)),
        false => check,
    }
}

/// The check of an access token that could not be got. `token_service` is the service that was asked; `None` if it is
/// not known.
pub fn failed_token_check(
    resource: &str,
    token_service: Option<&Service>,
    mut error: Error,
) -> Check {
    // The check's kind and subject, and the name of the service, say as much.
    error.context.clear();
    // An error before the request, such as a file that cannot be read, is not from the service.
    let is_from_service = error
        .request_failure
        .is_some_and(|failure| failure != RequestFailure::InvalidSettings);
    if let Some(service) = token_service.filter(|_| is_from_service) {
        error = error.context(format!("from {}", service.authority()));
    }
    failed_request_check("token", resource, error)
}

/// The check of a secret or a list that could not be read.
pub fn failed_secret_check(target_names: &str, item: &PlanItem, mut error: Error) -> Check {
    if let PlanItem::Secret(secret) = item {
        let name = secret.name_and_version();
        // An access token is missing only for a vault that names another tenant.
        if resource_without_token(&error).is_none() {
            error.context = vec![format!("`{name}` in {}", secret.host)];
        }
        error = error.fact("secret", name);
    }
    failed_request_check("secret", target_names, error)
}

/// The check of a request whose only attempt failed. The hint says if `exec` would retry the request or wait longer
/// for it.
fn failed_request_check(kind: &'static str, subject: &str, mut error: Error) -> Check {
    let missing = match error.request_failure {
        Some(RequestFailure::DeadlineExceeded) => Some("response"),
        Some(RequestFailure::DeadlineExceededWhileConnecting) => Some("connection"),
        _ => None,
    };
    if let Some(missing) = missing {
        error.reason = format!("no {missing} within {} s", ATTEMPT_TIMEOUT.as_secs());
    }
    if error.cause == Cause::Unavailable {
        let hint = match (error.hint.take(), missing) {
            (Some(hint), Some(_)) => format!("{hint}; exec waits longer for it"),
            (Some(hint), None) => hint,
            (None, _) => "this may be temporary: exec retries it until its deadline".to_owned(),
        };
        error = error.hint(hint);
    }
    Check::failed(kind, subject, &error)
}

/// The check of a secret that is not there, which no target needs.
pub fn missing_secret_check(target_names: &str, secret: &SecretId) -> Check {
    let shown = secret.name_and_version();
    let text = format!("`{shown}`, which is not there, and not needed");
    Check::passed("secret", target_names, text).fact("secret", shown)
}

/// The check of a secret that was read: version and attributes.
pub fn secret_check(target_names: &str, secret: &SecretId, bundle: &SecretBundle) -> Check {
    let (not_before, expires) = (bundle.not_before, bundle.expires);
    let mut check = Check::passed("secret", target_names, format!("`{}`", secret.name))
        .fact("secret", secret.name.as_str())
        .labeled("version", "version ", bundle.version.clone())
        .labeled("content_type", "", bundle.stored.content_type.clone());
    check.text.push_str(", enabled");
    let (from_text, until_text) = (not_before.map(date::format), expires.map(date::format));
    check = check.labeled("from", "valid from ", from_text).labeled(
        "until",
        "valid until ",
        until_text,
    );
    let now = date::unix_now();
    let seconds_left = expires.map(|expires| expires - now);
    let seconds_left = seconds_left.filter(|seconds| *seconds > 0);
    let days_left = seconds_left.map(|seconds| seconds / SECONDS_PER_DAY);
    if let Some(days) = days_left {
        check.text.push_str(&match days {
            0 => ", ends in less than a day".to_owned(),
            1 => ", ends in 1 day".to_owned(),
            _ => format!(", ends in {days} days"),
        });
        check = check.fact("days_left", days);
    }
    if not_before.is_some_and(|not_before| not_before > now) {
        return check.warn("it is not valid yet; exec uses it anyway", None);
    }
    match (expires, days_left) {
        (Some(_), None) => check.warn("it has expired; exec uses it anyway", None),
        (_, Some(days)) if days < EXPIRY_WARNING_DAYS => check.warn("it ends soon", None),
        _ => check,
    }
}
