//! A variable or file that gets a secret or a token, and what its value is made of.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;

use crate::request::reference::options::{IfMissing, SecretOptions};

/// What names a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A reference in the environment.
    Environment,
    /// An option with its name.
    Option,
    /// A field of this secret. Its name is for no message.
    Field(String),
    /// This secret, in the list of a vault.
    Secret(String),
}

impl Origin {
    /// Whether the name is known only from an answer.
    pub fn is_expansion(&self) -> bool {
        matches!(self, Origin::Field(_) | Origin::Secret(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Environment => f.write_str("a reference in the environment"),
            Origin::Option => f.write_str("an option"),
            Origin::Field(secret) => write!(f, "a field of `{secret}`"),
            Origin::Secret(secret) => write!(f, "the secret `{secret}`"),
        }
    }
}

/// A variable or file that gets a secret or a token.
#[derive(Clone)]
pub struct Target {
    /// The name of the variable, or the path of the file below DIR.
    pub name: OsString,
    /// What the value consists of, in order. There is at least one part.
    pub parts: Vec<TargetPart>,
    /// The literal text after the last part.
    pub text_after: Vec<u8>,
    /// What names the target.
    pub origin: Origin,
    /// Whether the value is put into a file in memory (memfd), whose path the variable gets.
    pub in_memfd: bool,
}

/// What the value of a target is made of, for the manifest of files.
pub enum TargetSource {
    /// A reference.
    Reference(String),
    /// A text with references, or one with a default. It may hold what is no secret of a vault, and is one nonetheless.
    Text(Vec<u8>),
}

impl Target {
    /// Whether the value is more than what is made of one item.
    pub fn is_composed(&self) -> bool {
        self.parts.len() > 1 || self.has_literals()
    }

    /// Whether the value has literal parts.
    fn has_literals(&self) -> bool {
        let texts = self.parts.iter().map(|part| &part.text_before);
        texts.chain([&self.text_after]).any(|text| !text.is_empty())
    }

    /// Whether the value has a secret between `://` and `@`, where a URL has a password, that is not encoded.
    pub fn has_unencoded_password(&self) -> bool {
        let texts = self.parts.iter().skip(1).map(|part| &part.text_before);
        let texts_after = texts.chain([&self.text_after]);
        let mut before = String::new();
        self.parts.iter().zip(texts_after).any(|(part, after)| {
            before.push_str(&String::from_utf8_lossy(&part.text_before));
            let authority = before.rsplit_once("://").map(|(_, authority)| authority);
            let ends_authority = ['/', '?', '#', '@'];
            let is_in_authority = authority.is_some_and(|text| !text.contains(ends_authority));
            let end = after.iter().find(|byte| b"/?#@".contains(byte));
            part.options.encoding.is_none() && is_in_authority && end == Some(&b'@')
        })
    }

    /// Whether the target is left out if there is no secret for it.
    pub fn is_optional(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| part.options.if_missing == IfMissing::LeaveOut)
    }

    /// What messages call the target.
    pub fn shown_name(&self) -> Cow<'_, str> {
        match self.origin {
            Origin::Field(_) => self.origin.to_string().into(),
            _ => self.name.to_string_lossy(),
        }
    }
}

/// A part of the value of a target: a literal text, and what is made of an item.
#[derive(Clone)]
pub struct TargetPart {
    /// The literal text before the item.
    pub text_before: Vec<u8>,
    /// The item that the part is made of, as an index into [`Plan::items`].
    pub item_index: usize,
    /// What is made of the item.
    pub options: SecretOptions,
}
