//! A secret value, such as one from the response of a vault or of a token endpoint.
//!
//! It cannot be displayed, cloned or serialised: it does not even implement `Debug`. Only [`Secret::expose`] reads it,
//! so that every use can be found by that word.
//!
//! It is not wiped from memory: `execve` replaces the whole address space, and the value is then in COMMAND's
//! environment.

/// The value of a secret, an access token or an assertion. It has no `Display` and no `Debug`.
pub struct Secret(String);

impl Secret {
    /// Takes the value; the caller keeps no copy.
    pub fn new(value: String) -> Self {
        Secret(value)
    }

    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
