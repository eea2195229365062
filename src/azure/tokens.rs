//! Access tokens that several threads want: one for each resource and tenant, got by whoever asks first.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::azure::identity::{AccessToken, Source, TokenRequest};
use crate::date;
use crate::error::Error;
use crate::http::Http;
use crate::log;
use crate::log::Event;

/// The tokens, there or on their way.
#[derive(Default)]
pub struct Tokens {
    promises: Mutex<Vec<(Key, Arc<Promise>)>>,
}

/// The resource, and the tenant where a vault named one.
type Key = (String, Option<String>);

/// A token that may not be there yet.
type Promise = OnceLock<Arc<AccessToken>>;

impl Tokens {
    /// One that somebody else got.
    pub fn put(&self, resource: &str, token: Arc<AccessToken>) {
        let (promise, _) = self.promise((resource.to_owned(), None));
        let _ = promise.set(token);
    }

    /// The promise of a token, and whether it is new, so that somebody has to keep it.
    fn promise(&self, key: Key) -> (Arc<Promise>, bool) {
        let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, promise)) = promises.iter().find(|(known, _)| *known == key) {
            return (promise.clone(), false);
        }
        let promise = Arc::<Promise>::default();
        promises.push((key, promise.clone()));
        (promise, true)
    }

    /// The token for a resource. There is no way back from a error: those who wait for the same token end with the
    /// process.
    pub fn get(
        &self,
        http: &Http,
        source: &Source,
        token_request: &TokenRequest<'_>,
    ) -> Result<Arc<AccessToken>, Error> {
        let key = (
            token_request.resource.to_owned(),
            token_request.tenant.map(str::to_owned),
        );
        let (promise, is_mine) = self.promise(key);
        if !is_mine {
            return Ok(promise.wait().clone());
        }
        let (resource, from) = (token_request.resource, source.describe());
        let token = source.token(http, token_request).map_err(|error| {
            error
                .fact("resource", resource)
                .fact("identity", from.as_str())
        });
        let token = Arc::new(token?);
        log::debug(|| {
            let until = date::format(token.expires_on);
            let text =
                format!("got an access token for {resource} from {from}, good until {until}");
            Event::new(text)
                .fact("resource", resource)
                .fact("identity", from.as_str())
                .fact("expires", until)
        });
        let _ = promise.set(token.clone());
        Ok(token)
    }
}
