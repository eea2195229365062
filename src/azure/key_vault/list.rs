//! A page of the list of a vault's secrets.
//!
//! <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets/get-secrets>. A page may be empty and have a next
//! one. The link to that is a URL that the server chooses, and the next request has the token: so it must lead to the
//! same vault.

use serde_json::Value;

use crate::request::host::{Host, strip_prefix_ignore_case};
use crate::request::reference::check_secret_name;

/// The maximum length of the path and query of a page, in bytes. A header of a request has at most about as many.
const MAX_TARGET_LEN: usize = 8 * 1024;

/// A page of the list.
#[derive(Debug, Default)]
pub struct ListPage {
    /// The secrets that can be read: not those that are disabled, nor those of certificates, which Key Vault manages.
    pub secrets: Vec<ListedSecret>,
    /// How many secrets the page names, those included that cannot be read.
    pub count: usize,
    /// The path and query of the next page; `None` if this is the last one.
    pub next: Option<String>,
}

/// A secret of the list.
#[derive(Debug)]
pub struct ListedSecret {
    /// Its name.
    pub name: String,
    /// Its tags: an object with texts.
    tags: Value,
}

impl ListedSecret {
    /// The value of the tag with this name; `None` if there is no such tag.
    pub fn tag(&self, name: &str) -> Option<String> {
        self.tags[name].as_str().map(str::to_owned)
    }
}

impl ListPage {
    /// Parses a response of the vault at `host`. Fails, with the reason as text, if it is not a page of its list.
    pub fn parse(mut body: Value, host: &Host) -> Result<ListPage, &'static str> {
        let Some(Value::Array(values)) = body.get_mut("value").map(Value::take) else {
            return Err("the response is not JSON with a list as its `value`");
        };
        let mut page = ListPage {
            count: values.len(),
            ..ListPage::default()
        };
        for mut secret in values {
            // https://HOST/secrets/NAME. The host may be another one, as in the response with a secret.
            let mut parts = secret["id"].as_str().unwrap_or_default().split('/').skip(3);
            let name = match (parts.next(), parts.next()) {
                (Some("secrets"), Some(name)) if check_secret_name(name).is_ok() => name.to_owned(),
                _ => return Err("an `id` in the list is not that of a secret"),
            };
            if secret["attributes"]["enabled"] == false || secret["managed"] == true {
                continue;
            }
            let tags = secret["tags"].take();
            page.secrets.push(ListedSecret { name, tags });
        }
        page.next = match &body["nextLink"] {
            Value::Null => None,
            Value::String(link) if link.is_empty() => None,
            Value::String(link) => Some(next_target(link, host)?),
            _ => return Err("its `nextLink` is not a text"),
        };
        Ok(page)
    }
}

/// The path and query of a link to the next page. Fails if the link leads to another server, or is not one.
fn next_target(link: &str, host: &Host) -> Result<String, &'static str> {
    let target = match strip_prefix_ignore_case(link, "https://") {
        None => link,
        Some(rest) => {
            let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if Host::parse(authority).ok().as_ref() != Some(host) {
                return Err("its `nextLink` leads to another server");
            }
            target
        }
    };
    // A browser takes `//` and `/\` at the start for another server.
    let is_path = target.starts_with('/') && !target[1..].starts_with(['/', '\\']);
    let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    match is_path && target.len() <= MAX_TARGET_LEN && target.bytes().all(is_visible) {
        true => Ok(target.to_owned()),
        false => Err("its `nextLink` is not the URL of a page"),
    }
}
