//! The CONNECT proxy: it leads the host names of the real services to the endpoints, so that the product can be tested
//! with `akv://prod-kv/sql-sa` and its built-in authorities, without a hosts file. Nothing else gets through.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#name-connect>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::shared::Shared;
use super::{Endpoint, Request, Response};

/// The endpoint that a CONNECT leads to, or the refusal.
pub fn lead(shared: &Shared, request: &Request) -> Result<Endpoint, Response> {
    if let Some(credentials) = &shared.proxy_credentials {
        let expected = format!("Basic {}", STANDARD.encode(credentials));
        if request.header("proxy-authorization") != Some(&expected) {
            return Err(Response::proxy_authentication());
        }
    }
    if request.method != "CONNECT" {
        return Err(Response::text(405, "this proxy does CONNECT only"));
    }
    let Some((host, port)) = request.target.rsplit_once(':') else {
        return Err(Response::text(400, "CONNECT needs host:port"));
    };
    let host = host.to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    let is = |name: &String| match name.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => host == name,
    };
    let login = LOGIN_HOSTS.contains(&host) || shared.login_names.iter().any(is);
    let vault = VAULT_SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
        || shared.vault_names.iter().any(is);
    if port == "443" && login {
        Ok(Endpoint::Login)
    } else if port == "443" && vault {
        Ok(Endpoint::Vault)
    } else {
        Err(Response::text(
            403,
            &format!("{} is not reached through this proxy", request.target),
        ))
    }
}

const LOGIN_HOSTS: [&str; 3] = [
    "login.chinacloudapi.cn",
    "login.microsoftonline.com",
    "login.microsoftonline.us",
];
const VAULT_SUFFIXES: [&str; 3] = [
    ".vault.azure.cn",
    ".vault.azure.net",
    ".vault.usgovcloudapi.net",
];
