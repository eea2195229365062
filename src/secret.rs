//! A secret value: what leaves a vault's or a token endpoint's JSON.
//!
//! It cannot be displayed, cloned or serialised, and its `Debug` shows nothing, not even a length. It is read by
//! [`Secret::expose`] alone, so that every use can be found by that word.
//!
//! It is not wiped from memory: `execve` replaces the whole address space, and the value is then in COMMAND's environment.

use std::fmt;

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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_value() {
        assert_eq!(
            format!("{:?}", Secret::new("hunter2".to_owned())),
            "Secret(…)"
        );
    }
}
