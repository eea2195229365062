//! The value that a target gets from its secret.

use crate::secret::Secret;

/// A secret as one target gets it, or the path of a file that holds it. It cannot be displayed.
pub struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// The secret, with `trim` without the newlines at its end: secrets are often uploaded from files.
    pub fn new(secret: &'a Secret, trim: bool) -> Self {
        match trim {
            true => Value(secret.expose().trim_end_matches(['\r', '\n'])),
            false => Value(secret.expose()),
        }
    }

    /// The path of a file that holds the secret.
    pub fn path(path: &'a str) -> Self {
        Value(path)
    }

    /// The value itself.
    pub fn expose(&self) -> &'a str {
        self.0
    }

    /// Whether the value ends in a newline.
    pub fn ends_in_newline(&self) -> bool {
        self.0.ends_with(['\r', '\n'])
    }
}
