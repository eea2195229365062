//! URLs: checks and parts.

use ureq::http::Uri;

/// Splits an `http://` or `https://` URL into its origin, and its path with the query; `None` if the URL cannot be
/// requested.
pub fn split_url(url: &str) -> Option<(&str, &str)> {
    let host_start = url.find("://")? + "://".len();
    let host_len = url[host_start..].find(['/', '?']);
    let (origin, path) = url.split_at(host_len.map_or(url.len(), |len| host_start + len));
    let is_usable = ["http://", "https://"].contains(&&url[..host_start])
        && !url.contains(['#', '\\'])
        && !origin.contains('@')
        && origin.parse::<Uri>().is_ok_and(|uri| uri.host().is_some())
        && !path.starts_with('?')
        && !path.contains(' ');
    is_usable.then_some((origin, if path.is_empty() { "/" } else { path }))
}

/// Appends a query to a path that may already have one.
pub fn with_query(path: &str, query: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{query}")
}
