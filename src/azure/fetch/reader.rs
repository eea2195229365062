//! Reads secrets, each with an access token for its vault, and requests each token once.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::azure::identity::{
    AccessToken, EXPIRED_TOKEN_HINT, KnownTokens, TokenRequest, TokenSource,
};
use crate::azure::key_vault::{LIST_PATH, SecretBundle, VaultClient, VaultRequest, with_list_hint};
use crate::date;
use crate::error::{Error, RequestFailure};
use crate::http::retry::retry;
use crate::http::{HttpClient, Response};
use crate::log::{self, Event};
use crate::request::expansion::Expansion;
use crate::request::plan::Plan;
use crate::request::secret_id::SecretId;
use crate::signals::WaitGuard;

/// How many secrets a list may have. An empty page counts as one.
const MAX_LISTED: usize = 10_000;

/// The resource of the access token that could not be got, if that is what the error is about. Only such an error has
/// the fact `resource`.
pub fn resource_without_token(error: &Error) -> Option<&str> {
    error.get_fact("resource")
}

/// A token, or the error of the request for it. Empty while the request is being made.
type TokenCell = OnceLock<Result<Arc<AccessToken>, Error>>;

/// Reads secrets and requests access tokens for that. Several threads share one reader, and so share its tokens.
pub struct SecretReader {
    /// Where access tokens come from.
    pub source: Box<dyn TokenSource>,
    /// The result of each token request, so that no token is requested twice.
    tokens: Mutex<Vec<(TokenRequest, Arc<TokenCell>)>>,
}

impl SecretReader {
    /// A reader that has these tokens.
    pub fn new(source: Box<dyn TokenSource>, tokens: KnownTokens) -> SecretReader {
        let tokens = tokens.into_iter().map(|(request, token)| {
            let cell = TokenCell::from(Ok(token));
            (request, Arc::new(cell))
        });
        SecretReader {
            source,
            tokens: Mutex::new(tokens.collect()),
        }
    }

    /// The tokens that it has, each with the request for it.
    pub fn tokens(&self) -> KnownTokens {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = tokens.iter().filter_map(|(request, cell)| {
            let token = cell.get()?.as_ref().ok()?;
            Some((request.clone(), token.clone()))
        });
        tokens.collect()
    }

    /// The access token for a resource and tenant. The first caller requests it; the others wait for the same result.
    pub fn token(
        &self,
        http: &HttpClient,
        token_request: &TokenRequest,
    ) -> Result<Arc<AccessToken>, Error> {
        let cell = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            match tokens.iter().find(|(known, _)| known == token_request) {
                Some((_, cell)) => cell.clone(),
                None => {
                    let cell = Arc::<TokenCell>::default();
                    tokens.push((token_request.clone(), cell.clone()));
                    cell
                }
            }
        };
        let token = cell.get_or_init(|| self.request_token(http, token_request));
        token.clone()
    }

    /// Requests an access token, repeatedly until the deadline.
    fn request_token(
        &self,
        http: &HttpClient,
        token_request: &TokenRequest,
    ) -> Result<Arc<AccessToken>, Error> {
        let (resource, identity) = (&token_request.resource, self.source.describe());
        let operation = format!("getting an access token from {identity}");
        let hint = |kind| self.source.hint(kind);
        let wait = WaitGuard::begin(&operation, hint(RequestFailure::ConnectTimeout));
        let service = OnceCell::new();
        let token = retry(&http.deadline, &identity, wait, || {
            let token = self.source.attempt(http, &service, token_request);
            token.map_err(|error| error.hint_if_none(hint))
        })
        .map_err(|error| {
            error
                .context(operation)
                .fact("resource", resource)
                .fact("identity", identity.as_str())
        })?;
        // `check` reports it itself.
        if token.has_expired() && !http.deadline.is_single_attempt {
            let until = date::format(token.expires_on);
            log::warning(format!(
                "the access token from {identity} expired at {until}, before it arrived; {EXPIRED_TOKEN_HINT}"
            ));
        }
        log::debug(|| {
            let until = date::format(token.expires_on);
            let text =
                format!("got an access token for {resource} from {identity}, valid until {until}");
            Event::new(text)
                .fact("resource", resource.as_str())
                .fact("identity", identity.as_str())
                .fact("expires", until)
        });
        Ok(Arc::new(token))
    }

    /// Makes the next caller of [`SecretReader::token`] request a new token in place of this one.
    fn forget(&self, token: &Arc<AccessToken>) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|(_, cell)| {
            let known = cell.get().and_then(|known| known.as_ref().ok());
            known.is_none_or(|known| !Arc::ptr_eq(known, token))
        });
    }

    /// Reads a secret. `targets` names the variables or files that get it, for messages.
    pub fn read(
        &self,
        http: &HttpClient,
        vault: &VaultClient,
        secret: &SecretId,
        targets: &str,
    ) -> Result<SecretBundle, Error> {
        let (path, operation) = (secret.path(), secret.operation(targets));
        let request = VaultRequest {
            path: &path,
            operation: &operation,
            targets,
        };
        let response = self.send(http, vault, secret.resource.as_ref(), &request);
        let bundle = response.and_then(|response| {
            let bundle = vault.parse_bundle(&response, secret);
            bundle.map_err(|error| vault.in_context(error, &request))
        });
        bundle.map_err(|error| error.fact("secret", secret.name_and_version()))
    }

    /// Lists the secrets of a vault: the item of the plan with this index. Returns for each of its expansions the names of
    /// its targets, each with that of its secret. `targets` is for messages.
    pub fn list_names(
        &self,
        http: &HttpClient,
        vault: &VaultClient,
        plan: &Plan,
        item_index: usize,
        targets: &str,
    ) -> Result<Vec<Vec<(String, String)>>, Error> {
        let operation = vault.list_operation(targets);
        let expansions: Vec<&Expansion> = plan.expansions_of(item_index).collect();
        let mut names: Vec<_> = expansions.iter().map(|_| Vec::new()).collect();
        let mut paths = vec![LIST_PATH.to_owned()];
        let mut count = 0;
        loop {
            let request = VaultRequest {
                path: &paths[paths.len() - 1],
                operation: &operation,
                targets,
            };
            let in_context = |error: Error| vault.in_context(error, &request);
            let resource = plan.items[item_index].resource();
            let response = self.send(http, vault, resource, &request);
            let response = response.map_err(with_list_hint)?;
            let page = vault.parse_page(&response).map_err(in_context)?;
            // An empty page counts, too: a server could send such pages for ever.
            count += page.count.max(1);
            if count > MAX_LISTED {
                let reason = format!("the vault has more than {MAX_LISTED} secrets");
                let hint = "name its secrets one by one, or keep those of each application in a vault of its own";
                return Err(in_context(Error::config(reason).hint(hint)));
            }
            for secret in &page.secrets {
                for (expansion, names) in expansions.iter().zip(&mut names) {
                    let tag = |name: &str| secret.tag(name);
                    let name = expansion.name_of_secret(&secret.name, &tag, &plan.name_rules);
                    names.extend(
                        name.map_err(in_context)?
                            .map(|name| (name, secret.name.clone())),
                    );
                }
            }
            let Some(next) = page.next else {
                return Ok(names);
            };
            if paths.contains(&next) {
                let reason = "the pages of the list lead back to one another";
                return Err(in_context(vault.unexpected_response(reason)));
            }
            paths.push(next);
        }
    }

    /// The request for the token that a vault of an unknown cloud requires by its challenge, for a request to `path`.
    pub fn required_token(
        &self,
        http: &HttpClient,
        vault: &VaultClient,
        path: &str,
        targets: &str,
    ) -> Result<TokenRequest, Error> {
        let mut token_request = vault.challenge(http, path, targets)?;
        let can_switch_to = |tenant: &String| self.source.can_switch_to_tenant(tenant);
        token_request.tenant = token_request.tenant.filter(can_switch_to);
        Ok(token_request)
    }

    /// Sends a request to a vault, with an access token.
    ///
    /// The token is for the resource of the vault's cloud, or, if the cloud is unknown, for the resource and tenant in the
    /// vault's challenge. A vault that refuses the token and names another tenant gets a token of that tenant. One that
    /// rejects the token as expired, revoked or forged gets a new one, once.
    fn send(
        &self,
        http: &HttpClient,
        vault: &VaultClient,
        resource: Option<&String>,
        request: &VaultRequest<'_>,
    ) -> Result<Response, Error> {
        let can_switch_to = |tenant: &String| self.source.can_switch_to_tenant(tenant);
        let mut token_request = match resource {
            Some(resource) => TokenRequest::new(resource),
            None => self.required_token(http, vault, request.path, request.targets)?,
        };
        let send_with = |token_request: &TokenRequest| {
            let token = self.token(http, token_request)?;
            match vault.send(http, request, Some(&token)) {
                Err(error) if error.request_failure == Some(RequestFailure::TokenRejected) => {}
                result => return result,
            }
            log::debug(|| Event::new("the vault rejects the token: requesting a new one"));
            self.forget(&token);
            let token = self.token(http, token_request)?;
            vault.send(http, request, Some(&token))
        };
        let result = send_with(&token_request);
        let error = result.as_ref().err();
        let tenant = error.and_then(|error| error.get_fact("tenant").map(str::to_owned));
        let tenant = tenant.filter(can_switch_to);
        if tenant.is_none() || tenant == token_request.tenant {
            return result;
        }
        log::debug(|| {
            let tenant = tenant.as_deref().unwrap_or_default();
            Event::new(format!("the vault requires a token from tenant {tenant}"))
                .fact("tenant", tenant)
        });
        token_request.tenant = tenant;
        send_with(&token_request)
    }
}
