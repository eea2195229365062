//! Workload identity: the service account token of a pod, exchanged at Entra for an access token.
//!
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>. The token file is read just before each
//! request, since the kubelet replaces it. With identity bindings
//! (<https://learn.microsoft.com/azure/aks/identity-bindings-concepts>) the exchange goes through the cluster's token
//! proxy: the same request to another host, under a TLS name and a CA of its own.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use super::entra::{Client, Credential, Entra};
use super::{AccessToken, TokenRequest, claims};
use crate::error::{Cause, Error};
use crate::http::error::AttemptError;
use crate::http::retry::{ErrorKind, retry};
use crate::http::{Http, split_url};
use crate::log;
use crate::request::environment::Environment;
use crate::request::host::Host;
use crate::request::options::Settings;
use crate::secret::Secret;
use crate::signals::Wait;

const FILE_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const PROXY_NAME: &str = "AZURE_KUBERNETES_SNI_NAME";
const PROXY_CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const PROXY_CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";

/// The source.
#[derive(Debug)]
pub struct WorkloadIdentity {
    entra: Entra,
    token_file: PathBuf,
    proxy: Option<TokenProxy>,
}

/// The cluster's token proxy.
#[derive(Debug)]
struct TokenProxy {
    host: Host,
    /// Without a slash at its end.
    path: String,
    /// The name that TLS asks for and checks, where it is not the host's.
    name: Option<String>,
    ca: ProxyCa,
}

#[derive(Debug)]
enum ProxyCa {
    /// What everything else trusts.
    Usual,
    File(PathBuf),
    Data(String),
}

impl WorkloadIdentity {
    /// Reads its settings; half of them is an error that names the other half.
    pub fn build(env: &Environment, settings: &Settings) -> Result<WorkloadIdentity, Error> {
        let client = Client::of(env, settings, "workload identity")?;
        let token_file = env
            .get(FILE_VARIABLE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let complete = client.complete(&[(token_file.is_some(), FILE_VARIABLE)]);
        match (complete, token_file) {
            (Ok(entra), Some(token_file)) => Ok(WorkloadIdentity {
                entra,
                token_file,
                proxy: TokenProxy::build(env)?,
            }),
            (Err(missing), _) => Err(Error::new(
                Cause::Config,
                format!("workload identity is not complete: {missing}"),
            )
            .hint(
                "the webhook sets all three in a pod labelled azure.workload.identity/use: \"true\" whose service \
                 account is annotated with azure.workload.identity/client-id",
            )),
            (Ok(_), None) => unreachable!("a missing token file was named above"),
        }
    }

    pub(super) fn tenant(&self) -> &str {
        &self.entra.tenant
    }

    /// Entra's host, unless the cluster's token proxy stands in between.
    pub(super) fn authority(&self) -> Option<&Host> {
        self.proxy.is_none().then_some(&self.entra.authority)
    }

    pub(super) fn describe(&self) -> String {
        let through = match &self.proxy {
            None => String::new(),
            Some(proxy) => format!(" through the token proxy https://{}", proxy.host),
        };
        format!(
            "Entra (https://{}, workload identity with {}){through}",
            self.entra.authority,
            self.entra.describe()
        )
    }

    pub(super) fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Error> {
        let doing = format!("getting an access token from {}", self.describe());
        let hint = |kind, credential: &Credential| self.hint(kind, credential);
        let assertion = || self.read_assertion().map(Credential::Assertion);
        let Some(proxy) = &self.proxy else {
            return self
                .entra
                .token(http, token_request, &doing, assertion, hint);
        };
        let path = format!("{}{}", proxy.path, self.entra.path(token_request));
        let wait = Wait::begin(&doing, None);
        retry(&http.deadline, wait, || {
            let name = proxy.name.as_deref();
            // Replaced while the cluster's CA rotates: read anew for each try.
            let roots = proxy.roots()?;
            let service = http
                .named(&proxy.host, name, roots.as_deref())
                .map_err(|error| proxy.unusable_ca(&error))?;
            self.entra
                .attempt(http, &service, &path, token_request, assertion()?, &hint)
        })
        .map_err(|error| error.context(doing))
    }

    /// The file as it is now, byte for byte but for white space at its ends, which no JWT has.
    fn read_assertion(&self) -> Result<Secret, AttemptError> {
        let path = self.token_file.display();
        let unusable = |what: String, hint: &str| {
            AttemptError::new(ErrorKind::InvalidSettings, what).hint(hint)
        };
        match fs::read_to_string(&self.token_file) {
            Ok(text) if text.trim().is_empty() => Err(unusable(
                format!("the token file `{path}` is empty"),
                "the kubelet writes it before the container starts: is this the projected token?",
            )),
            Ok(text) => Ok(Secret::new(text.trim().to_owned())),
            Err(error) => Err(unusable(
                format!("reading the token file `{path}`: {error}"),
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        "is the pod labelled azure.workload.identity/use: \"true\", and this container not skipped?"
                    }
                    _ => {
                        "the projected token must be readable by this user: look at fsGroup and runAsUser"
                    }
                },
            )),
        }
    }

    fn hint(&self, kind: ErrorKind, credential: &Credential) -> Option<String> {
        let (Credential::Assertion(sent) | Credential::ClientSecret(sent)) = credential;
        match kind {
            ErrorKind::FederationMismatch => Some(format!(
                "the federated credential of client id {} must have exactly what was presented: {}",
                self.entra.client_id,
                presented(sent)
            )),
            ErrorKind::AssertionExpired => Some(format!(
                "is the token file stale, or is a clock wrong? Presented: {}",
                presented(sent)
            )),
            _ => None,
        }
    }
}

impl TokenProxy {
    fn build(env: &Environment) -> Result<Option<TokenProxy>, Error> {
        let refuse = |name: &str, why: &str| Error::new(Cause::Config, format!("{name}: {why}"));
        let (name, file, data) = (
            env.setting(PROXY_NAME)?,
            env.setting(PROXY_CA_FILE)?,
            env.setting(PROXY_CA_DATA)?,
        );
        let Some(url) = env.setting(PROXY)? else {
            let stray = [
                (name, PROXY_NAME),
                (file, PROXY_CA_FILE),
                (data, PROXY_CA_DATA),
            ];
            return match stray.iter().find_map(|(value, name)| value.map(|_| *name)) {
                None => Ok(None),
                Some(stray) => Err(refuse(stray, &format!("it is set, and {PROXY} is not"))),
            };
        };
        if let Some(name) = name
            && (name.contains(':') || Host::parse(name).is_err())
        {
            return Err(refuse(PROXY_NAME, "this is not a host name"));
        }
        let not_a_url = || refuse(PROXY, "this is not https://HOST[:PORT][/PATH]");
        let (base, path) = split_url(url)
            .filter(|_| !url.contains(['?', '%']))
            .ok_or_else(not_a_url)?;
        let host = base.strip_prefix("https://").ok_or_else(not_a_url)?;
        let ca = match (file, data) {
            (Some(_), Some(_)) => {
                return Err(refuse(
                    PROXY_CA_FILE,
                    &format!("it is set, and so is {PROXY_CA_DATA}: only one of them can be"),
                ));
            }
            (Some(file), None) => ProxyCa::File(PathBuf::from(file)),
            (None, Some(data)) => ProxyCa::Data(data.to_owned()),
            (None, None) => ProxyCa::Usual,
        };
        Ok(Some(TokenProxy {
            host: Host::parse(host).map_err(|_| not_a_url())?,
            path: path.trim_end_matches('/').to_owned(),
            name: name.map(str::to_owned),
            ca,
        }))
    }

    fn unusable_ca(&self, error: &Error) -> AttemptError {
        let (setting, place) = match &self.ca {
            ProxyCa::File(path) => (PROXY_CA_FILE, format!("`{}`: ", path.display())),
            ProxyCa::Data(_) | ProxyCa::Usual => (PROXY_CA_DATA, String::new()),
        };
        AttemptError::new(
            ErrorKind::InvalidSettings,
            format!("{setting}: {place}{error}"),
        )
        .hint_for(|_| error.hint.clone())
    }

    /// The proxy's roots, PEM; none where it has the usual ones.
    fn roots(&self) -> Result<Option<Vec<u8>>, AttemptError> {
        match &self.ca {
            ProxyCa::Usual => Ok(None),
            ProxyCa::Data(pem) => Ok(Some(pem.clone().into_bytes())),
            ProxyCa::File(path) => match fs::read(path) {
                // Empty for a moment while it is replaced.
                Ok(pem) if pem.is_empty() => Err(AttemptError::new(
                    ErrorKind::EndpointUpdating,
                    format!("{PROXY_CA_FILE}: `{}` is empty", path.display()),
                )),
                Ok(pem) => Ok(Some(pem)),
                Err(error) => Err(AttemptError::new(
                    ErrorKind::InvalidSettings,
                    format!("{PROXY_CA_FILE}: `{}`: {error}", path.display()),
                )),
            },
        }
    }
}

/// Issuer, subject and audience of a JWT: what a federated credential is compared with, and no secret.
fn presented(assertion: &Secret) -> String {
    let Some(claims) = claims::payload(assertion) else {
        return "something that is not a JWT".to_owned();
    };
    let claim = |name: &str| match &claims[name] {
        Value::String(text) => log::excerpt(text, &[]),
        Value::Array(list) => {
            let texts: Vec<String> = list
                .iter()
                .filter_map(Value::as_str)
                .map(|text| log::excerpt(text, &[]))
                .collect();
            texts.join(" ")
        }
        _ => "none".to_owned(),
    };
    format!(
        "issuer {}, subject {}, audience {}",
        claim("iss"),
        claim("sub"),
        claim("aud")
    )
}
