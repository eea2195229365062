//! A secret value, such as one from the response of a vault or of a token endpoint.
//!
//! It cannot be displayed, cloned or serialised: it does not even implement `Debug`. Only [`Secret::expose`] reads it,
//! so that every use can be found by that word.
//!
//! It is not wiped from memory: `execve` replaces the whole address space, and the value is then in COMMAND's
//! environment.

use std::ops::Deref;

/// The value of an access token, a credential or an assertion, which is text; or, as [`SecretBytes`], of a secret. It
/// has no `Display` and no `Debug`.
pub struct Secret<T = String>(T);

/// The value of a secret. A vault holds text, but what a reference makes of it may be any bytes.
pub type SecretBytes = Secret<Vec<u8>>;

impl<T: Deref> Secret<T> {
    /// Takes the value; the caller keeps no copy.
    pub fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value itself.
    pub fn expose(&self) -> &T::Target {
        &self.0
    }
}
