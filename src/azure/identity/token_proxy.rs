//! The token proxy of a cluster with identity bindings: the request to Entra, sent to another host, whose certificate
//! can have a name and a CA of its own
//! (<https://learn.microsoft.com/azure/aks/identity-bindings-concepts>).

use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::error::{Error, RequestFailure};
use crate::http::{HttpClient, Service, split_url};
use crate::request::environment::Environment;
use crate::request::host::Host;

/// Its URL.
pub const URL: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const SERVER_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

/// The token proxy.
pub struct TokenProxy {
    /// Where requests go.
    pub host: Host,
    /// Without a slash at its end.
    pub path: String,
    /// The name in the certificate, where it is not the host's.
    server_name: Option<String>,
    /// PEM. Without it and `ca_file`, the CAs of all other connections are trusted.
    ca_data: Option<String>,
    ca_file: Option<PathBuf>,
}

impl TokenProxy {
    /// Reads its variables.
    pub fn build(env: &Environment) -> Result<Option<TokenProxy>, Error> {
        let invalid = |name: &str, why: &str| Error::config(format!("{name}: {why}"));
        let (server_name, file, data) = (
            env.setting(SERVER_NAME)?,
            env.setting(CA_FILE)?,
            env.setting(CA_DATA)?,
        );
        let Some(url) = env.setting(URL)? else {
            let others = [(server_name, SERVER_NAME), (file, CA_FILE), (data, CA_DATA)];
            return match others.iter().find(|(value, _)| value.is_some()) {
                None => Ok(None),
                Some((_, name)) => Err(invalid(name, &format!("needs {URL}, which is not set"))),
            };
        };
        if server_name.is_some_and(|name| name.contains(':') || Host::parse(name).is_err()) {
            return Err(invalid(SERVER_NAME, "expected a hostname"));
        }
        let not_a_url = || invalid(URL, "expected https://HOST[:PORT][/PATH]");
        let (base, path) = split_url(url)
            .filter(|_| !url.contains(['?', '%']))
            .ok_or_else(not_a_url)?;
        let host = base.strip_prefix("https://").ok_or_else(not_a_url)?;
        if file.is_some() && data.is_some() {
            return Err(invalid(
                CA_FILE,
                &format!("{CA_DATA} is also set; use only one of them"),
            ));
        }
        Ok(Some(TokenProxy {
            host: Host::parse(host).map_err(|_| not_a_url())?,
            path: path.trim_end_matches('/').to_owned(),
            server_name: server_name.map(str::to_owned),
            ca_data: data.map(str::to_owned),
            ca_file: file.map(PathBuf::from),
        }))
    }

    /// The proxy as a service, with its CA as it is now: a cluster rotates it.
    pub fn service(&self, http: &HttpClient) -> Result<Service, Error> {
        let setting = match &self.ca_file {
            Some(path) => format!("{CA_FILE}: `{}`", path.display()),
            None => CA_DATA.to_owned(),
        };
        let unusable = |kind: RequestFailure, why: &str| kind.error(format!("{setting}: {why}"));
        let file = self.ca_file.as_ref().map(fs::read).transpose();
        let file =
            file.map_err(|error| unusable(RequestFailure::InvalidSettings, &error.to_string()))?;
        // Empty for a moment while it is replaced: as temporary as an error of the proxy.
        if file.as_ref().is_some_and(Vec::is_empty) {
            return Err(unusable(RequestFailure::ServerError, "it is empty"));
        }
        let roots = file
            .as_deref()
            .or(self.ca_data.as_deref().map(str::as_bytes));
        http.cluster_service(&self.host, self.server_name.as_deref(), roots)
            .map_err(|error| {
                unusable(RequestFailure::InvalidSettings, &error.to_string())
                    .set_hint(error.hint.clone())
            })
    }
}

impl fmt::Display for TokenProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.host)
    }
}
