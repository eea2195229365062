//! `Reader`: reads a secret with an access token for its vault, and requests each token once.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::azure::identity::{AccessToken, Source, TokenRequest};
use crate::azure::key_vault::{KeyVault, SecretBundle};
use crate::date;
use crate::error::Error;
use crate::http::Http;
use crate::log::{self, Event};
use crate::request::secret_id::SecretId;

/// Why a secret was not read.
pub enum ReadError {
    /// The vault refused, or could not be reached.
    Secret(Error),
    /// There is no access token for the vault.
    Token(Error),
}

impl ReadError {
    /// The error, of whichever.
    pub fn inner(&self) -> &Error {
        let (ReadError::Secret(error) | ReadError::Token(error)) = self;
        error
    }

    /// The resource of the token, if it is the token that is missing.
    pub fn missing_token(&self) -> Option<&str> {
        match self {
            ReadError::Secret(_) => None,
            ReadError::Token(error) => error.get_fact("resource"),
        }
    }
}

/// A token, or why there is none. Empty while it is being requested.
type TokenCell = OnceLock<Result<Arc<AccessToken>, Error>>;

/// The resource and, where a vault named one, the tenant.
type TokenKey = (String, Option<String>);

/// Reads secrets, from several threads.
pub struct Reader {
    /// The identity.
    pub source: Box<dyn Source>,
    tokens: Mutex<Vec<(TokenKey, Arc<TokenCell>)>>,
}

impl Reader {
    /// A reader without any token yet.
    pub fn new(source: Box<dyn Source>) -> Reader {
        Reader {
            source,
            tokens: Mutex::default(),
        }
    }

    /// The access token for a resource and tenant. The first caller requests it; the others wait, and receive its error
    /// if there is one.
    pub fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<Arc<AccessToken>, Error> {
        let key = (
            token_request.resource.to_owned(),
            token_request.tenant.map(str::to_owned),
        );
        let cell = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            match tokens.iter().find(|(known, _)| *known == key) {
                Some((_, cell)) => cell.clone(),
                None => {
                    let cell = Arc::<TokenCell>::default();
                    tokens.push((key, cell.clone()));
                    cell
                }
            }
        };
        let token = cell.get_or_init(|| self.request_token(http, token_request));
        token.clone()
    }

    fn request_token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<Arc<AccessToken>, Error> {
        let (resource, identity) = (token_request.resource, self.source.describe());
        let token = self.source.token(http, token_request).map_err(|error| {
            error
                .fact("resource", resource)
                .fact("identity", identity.as_str())
        })?;
        log::debug(|| {
            let until = date::format(token.expires_on);
            let text =
                format!("got an access token for {resource} from {identity}, good until {until}");
            Event::new(text)
                .fact("resource", resource)
                .fact("identity", identity.as_str())
                .fact("expires", until)
        });
        Ok(Arc::new(token))
    }

    /// Reads a secret. `purpose` is the variables or files that get it, for messages.
    ///
    /// The token is for the cloud of the vault, or for the resource in the vault's challenge where the cloud is unknown;
    /// and from the tenant that the vault names, where that is another one than the identity's.
    pub fn read(
        &self,
        http: &Http,
        vault: &KeyVault,
        secret: &SecretId,
        purpose: &str,
    ) -> Result<SecretBundle, ReadError> {
        let challenge = match &secret.resource {
            Some(_) => None,
            None => {
                let challenge = vault.challenge(http, secret, purpose);
                Some(challenge.map_err(ReadError::Secret)?)
            }
        };
        let is_foreign = |tenant: &&str| self.source.is_other_tenant(tenant);
        let token_request = match (&challenge, &secret.resource) {
            (Some(challenge), _) => TokenRequest {
                resource: &challenge.resource,
                tenant: challenge.tenant.as_deref().filter(is_foreign),
            },
            (None, resource) => TokenRequest {
                resource: resource.as_deref().unwrap_or_default(),
                tenant: None,
            },
        };
        let read = |token_request: &TokenRequest<'_>| {
            let token = self.token(http, token_request).map_err(ReadError::Token)?;
            let read = vault.read(http, secret, &token, purpose);
            read.map_err(ReadError::Secret)
        };
        let error = match read(&token_request) {
            Err(ReadError::Secret(error)) => error,
            read => return read,
        };
        let used = token_request.tenant.unwrap_or_default();
        let tenant = error
            .get_fact("tenant")
            .filter(|tenant| !tenant.eq_ignore_ascii_case(used) && is_foreign(tenant));
        let Some(tenant) = tenant else {
            return Err(ReadError::Secret(error));
        };
        log::debug(|| {
            let text = format!("the vault requires a token of tenant {tenant}");
            Event::new(text).fact("tenant", tenant)
        });
        read(&TokenRequest {
            tenant: Some(tenant),
            ..token_request
        })
    }
}
