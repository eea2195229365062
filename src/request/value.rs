//! The value that a target gets from its secret.

use crate::secret::Secret;

/// The secret, or the path of a file in memory that holds it. It cannot be displayed.
pub struct TargetValue<'a>(&'a str);

impl<'a> TargetValue<'a> {
    /// The secret; with `trim`, without its trailing newlines: a secret that was uploaded from a file often ends in one.
    pub fn new(secret: &'a Secret, trim: bool) -> Self {
        match trim {
            true => TargetValue(secret.expose().trim_end_matches(['\r', '\n'])),
            false => TargetValue(secret.expose()),
        }
    }

    /// The path of a file in memory that holds the secret.
    pub fn from_path(path: &'a str) -> Self {
        TargetValue(path)
    }

    /// The text, to hand it over to its target.
    pub fn expose(&self) -> &'a str {
        self.0
    }

    /// Whether the value ends in a newline.
    pub fn ends_in_newline(&self) -> bool {
        self.0.ends_with(['\r', '\n'])
    }
}
