//! A secret value: what leaves a vault's or a token endpoint's JSON.
//!
//! It cannot be displayed, cloned or serialised: it does not even implement `Debug`. It is read by [`Secret::expose`]
//! alone, so that every use can be found by that word.
//!
//! It is not wiped from memory: `execve` replaces the whole address space, and the value is then in COMMAND's environment.

/// A secret's value, an access token or an assertion.
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
