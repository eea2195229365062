//! Reading a secret with the token that its vault wants: the cloud's, or what its challenge names, from the tenant that it
//! names.

use std::sync::Arc;

use crate::failure::Failure;
use crate::http::Http;
use crate::identity::{AccessToken, Ask, Source};
use crate::log;
use crate::tokens::Tokens;
use crate::vault::{Bundle, KeyVault, NotRead, Wanted};

/// Why a secret is not there.
pub enum Missed {
    /// Because of itself, or its vault.
    Secret(Failure),
    /// Because of the token for it.
    Token(Failure),
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
    pub fn token(&self, http: &Http, ask: &Ask<'_>) -> Result<Arc<AccessToken>, Failure> {
        self.tokens.get(http, &self.source, ask)
    }

    /// Reads a secret, with the token that its vault wants.
    pub fn read(
        &self,
        http: &Http,
        vault: &KeyVault,
        wanted: &Wanted,
        purpose: &str,
    ) -> Result<Bundle, Missed> {
        let asked = match &wanted.resource {
            Some(_) => None,
            None => Some(vault.ask(http, wanted, purpose).map_err(Missed::Secret)?),
        };
        let ask = match (&wanted.resource, &asked) {
            (Some(resource), _) => Ask {
                resource,
                tenant: None,
            },
            (None, Some(asked)) => Ask {
                resource: &asked.resource,
                tenant: asked
                    .tenant
                    .as_deref()
                    .filter(|tenant| self.source.is_other_tenant(tenant)),
            },
            (None, None) => unreachable!("a vault that is not known was asked above"),
        };
        let token = self.token(http, &ask).map_err(Missed::Token)?;
        match vault.read(http, wanted, &token, purpose) {
            Ok(bundle) => Ok(bundle),
            Err(NotRead::Tenant(tenant, failure)) => {
                let known = ask
                    .tenant
                    .is_some_and(|asked| asked.eq_ignore_ascii_case(&tenant));
                if known || !self.source.is_other_tenant(&tenant) {
                    return Err(Missed::Secret(failure));
                }
                log::debug(|| {
                    let text = format!("the vault wants a token of tenant {tenant}");
                    log::Event::new(text).fact("tenant", tenant.as_str())
                });
                let tenant = Some(tenant.as_str());
                let token = self
                    .token(http, &Ask { tenant, ..ask })
                    .map_err(Missed::Token)?;
                match vault.read(http, wanted, &token, purpose) {
                    Ok(bundle) => Ok(bundle),
                    Err(NotRead::Failed(failure) | NotRead::Tenant(_, failure)) => {
                        Err(Missed::Secret(failure))
                    }
                }
            }
            Err(NotRead::Failed(failure)) => Err(Missed::Secret(failure)),
        }
    }
}
