//! The token proxy of a cluster with identity bindings: it receives the requests to Entra. Its certificate can have
//! another name than its host, and a CA of the cluster
//! (<https://learn.microsoft.com/azure/aks/identity-bindings-concepts>).

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, RequestFailure};
use crate::http::{HttpClient, Service, split_url};
use crate::input;
use crate::request::environment::Environment;
use crate::request::host::Host;

/// The variable that holds the URL of the token proxy.
pub const URL_VARIABLE: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
/// The variable that holds the DNS name in the token proxy's certificate.
const SERVER_NAME_VARIABLE: &str = "AZURE_KUBERNETES_SNI_NAME";
/// The variable that holds the path of a file with the token proxy's CAs.
const CA_FILE_VARIABLE: &str = "AZURE_KUBERNETES_CA_FILE";
/// The variable that holds the token proxy's CAs themselves, as PEM.
const CA_DATA_VARIABLE: &str = "AZURE_KUBERNETES_CA_DATA";

/// The token proxy.
pub struct TokenProxy {
    /// The host of the token proxy.
    pub host: Host,
    /// The path that goes before the path of Entra's token endpoint, without a slash at its end.
    pub path: String,
    /// The DNS name in the proxy's certificate; `None` if it is the name of `host`.
    server_name: Option<String>,
    /// The trusted CAs as PEM. If `ca_data` and `ca_file` are both `None`, the CAs of all other connections are
    /// trusted.
    ca_data: Option<String>,
    /// The path of a file with the trusted CAs, as PEM.
    ca_file: Option<PathBuf>,
}

impl TokenProxy {
    /// Reads the variables of the token proxy; `None` if its URL is not set.
    pub fn build(env: &Environment) -> Result<Option<TokenProxy>, Error> {
        let setting_error = |name: &str, why: &str| Error::config(format!("{name}: {why}"));
        let (server_name, ca_file, ca_data) = (
            env.setting(SERVER_NAME_VARIABLE)?,
            env.setting(CA_FILE_VARIABLE)?,
            env.setting(CA_DATA_VARIABLE)?,
        );
        let Some(url) = env.setting(URL_VARIABLE)? else {
            let others = [
                (server_name, SERVER_NAME_VARIABLE),
                (ca_file, CA_FILE_VARIABLE),
                (ca_data, CA_DATA_VARIABLE),
            ];
            return match others.iter().find(|(value, _)| value.is_some()) {
                None => Ok(None),
                Some((_, name)) => Err(setting_error(
                    name,
                    &format!("needs {URL_VARIABLE}, which is not set"),
                )),
            };
        };
        if server_name.is_some_and(|name| name.contains(':') || Host::parse(name).is_err()) {
            return Err(setting_error(SERVER_NAME_VARIABLE, "expected a hostname"));
        }
        let url_error = || setting_error(URL_VARIABLE, "expected https://HOST[:PORT][/PATH]");
        let (origin, path) = split_url(url)
            .filter(|_| !url.contains(['?', '%']))
            .ok_or_else(url_error)?;
        let host = origin.strip_prefix("https://").ok_or_else(url_error)?;
        if ca_file.is_some() && ca_data.is_some() {
            return Err(setting_error(
                CA_FILE_VARIABLE,
                &format!("{CA_DATA_VARIABLE} is also set; use only one of them"),
            ));
        }
        Ok(Some(TokenProxy {
            host: Host::parse(host).map_err(|_| url_error())?,
            path: path.trim_end_matches('/').to_owned(),
            server_name: server_name.map(str::to_owned),
            ca_data: ca_data.map(str::to_owned),
            ca_file: ca_file.map(PathBuf::from),
        }))
    }

    /// The proxy as a service. Each call reads the CA file again, since a cluster rotates its CA.
    pub fn service(&self, http: &HttpClient) -> Result<Service, Error> {
        let setting = match &self.ca_file {
            Some(path) => format!("{CA_FILE_VARIABLE}: `{}`", path.display()),
            None => CA_DATA_VARIABLE.to_owned(),
        };
        let ca_error =
            |failure: RequestFailure, why: &str| failure.error(format!("{setting}: {why}"));
        let read = |path: &PathBuf| input::read(path, input::MAX_SIZE);
        let file = self.ca_file.as_ref().map(read).transpose();
        let file =
            file.map_err(|error| ca_error(RequestFailure::InvalidSettings, &error.to_string()))?;
        // It may be empty for a moment while it is replaced, so this is retried like an error of the proxy.
        if file.as_ref().is_some_and(Vec::is_empty) {
            return Err(ca_error(RequestFailure::ServerError, "it is empty"));
        }
        let ca_pem = file
            .as_deref()
            .or(self.ca_data.as_deref().map(str::as_bytes));
        http.cluster_service(&self.host, self.server_name.as_deref(), ca_pem)
            .map_err(|error| {
                ca_error(RequestFailure::InvalidSettings, &error.to_string())
                    .set_hint(error.hint.clone())
            })
    }
}

impl fmt::Display for TokenProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.host)
    }
}
