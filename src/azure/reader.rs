//! Reading a secret with the token that its vault wants: the cloud's, or what its challenge names, from the tenant that it
//! names.

use std::sync::Arc;

use crate::azure::identity::{AccessToken, Source, TokenRequest};
use crate::azure::key_vault::{KeyVault, SecretBundle};
use crate::azure::tokens::Tokens;
use crate::error::Error;
use crate::http::Http;
use crate::log;
use crate::request::secret_id::SecretId;

/// Why a secret is not there.
pub enum Missed {
    /// Because of itself, or its vault.
    Secret(Error),
    /// Because of the token for it.
    Token(Error),
}

/// Reads secrets.
pub struct Reader {
    /// Who we are.
    pub source: Source,
    /// The tokens that were got so far.
    pub tokens: Tokens,
}

impl Reader {
    /// No token yet.
    pub fn new(source: Source) -> Reader {
        Reader {
            source,
            tokens: Tokens::default(),
        }
    }

    /// An access token: one for each resource and tenant, however many ask.
    pub fn token(
        &self,
        http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<Arc<AccessToken>, Error> {
        self.tokens.get(http, &self.source, token_request)
    }

    /// Reads a secret, with the token that its vault wants.
    pub fn read(
        &self,
        http: &Http,
        vault: &KeyVault,
        secret: &SecretId,
        purpose: &str,
    ) -> Result<SecretBundle, Missed> {
        let asked = match &secret.resource {
            Some(_) => None,
            None => Some(
                vault
                    .challenge(http, secret, purpose)
                    .map_err(Missed::Secret)?,
            ),
        };
        let ask = match (&secret.resource, &asked) {
            (Some(resource), _) => TokenRequest {
                resource,
                tenant: None,
            },
            (None, Some(asked)) => TokenRequest {
                resource: &asked.resource,
                tenant: asked
                    .tenant
                    .as_deref()
                    .filter(|tenant| self.source.is_other_tenant(tenant)),
            },
            (None, None) => unreachable!("a vault that is not known was asked above"),
        };
        let token = self.token(http, &ask).map_err(Missed::Token)?;
        let error = match vault.read(http, secret, &token, purpose) {
            Ok(bundle) => return Ok(bundle),
            Err(error) => error,
        };
        let tenant = error.get_fact("tenant").filter(|tenant| {
            let used = ask.tenant.unwrap_or_default();
            !used.eq_ignore_ascii_case(tenant) && self.source.is_other_tenant(tenant)
        });
        if tenant.is_none() {
            return Err(Missed::Secret(error));
        }
        log::debug(|| {
            let tenant = tenant.unwrap_or_default();
            log::Event::new(format!("the vault requires a token of tenant {tenant}"))
                .fact("tenant", tenant)
        });
        let token = self
            .token(http, &TokenRequest { tenant, ..ask })
            .map_err(Missed::Token)?;
        vault
            .read(http, secret, &token, purpose)
            .map_err(Missed::Secret)
    }
}
