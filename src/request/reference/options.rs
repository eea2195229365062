//! What a reference asks to be done with its secret: the options after `?`, and the field after `#`.
//!
//! The options are written in any order, and done in one: selection, decoding, trimming, encoding. Each target has its
//! own, so that two targets of one secret still are one request. Printing and parsing again gives the same options.

use crate::error::Error;
use crate::request::arguments::alternatives;
use crate::request::percent;

/// How to name a field.
pub const POINTER_HINT: &str =
    "a field is named by a JSON Pointer: `#/user/name`; in a name, `/` is `~1`, and `~` is `~0`";

/// What a target gets of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretOptions {
    /// Which part of the secret is used.
    pub selection: Selection,
    /// How the selected text is decoded (`decode`); `None` if it is not.
    pub decoding: Option<Decoding>,
    /// Whether newlines at the end of the value and a byte order mark at its start are removed (`trim`).
    pub trim: bool,
    /// How the value is encoded (`encode`); `None` if it is not.
    pub encoding: Option<Encoding>,
    /// What the target gets if the vault has no such secret, or the secret no such field.
    pub if_missing: IfMissing,
    /// Whether a variable gets the path of a file in memory with the value (`file`).
    pub in_file: bool,
}

/// What a target gets if there is no secret or field for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IfMissing {
    /// Nothing: that is an error.
    #[default]
    Fail,
    /// Nothing: the target is left out (`optional`).
    LeaveOut,
    /// This text, as it stands (`default`).
    Default(String),
}

/// The part of a secret that a target gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    #[default]
    Whole,
    /// A field of a secret that is JSON, by its JSON Pointer (RFC 6901): `/user/name`.
    Field(String),
    /// A part of a certificate with its private key, as PEM (`pem`).
    Pem(PemPart),
}

/// What of a certificate with its private key a target gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemPart {
    /// The private key, then the certificates.
    All,
    /// The certificates, the leaf first.
    Chain,
    /// The first certificate.
    Leaf,
    /// All certificates but the first.
    Ca,
    /// The private key.
    Key,
}

/// How a text is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoding {
    /// Base64 in either alphabet, with or without padding.
    Base64,
    /// Pairs of hexadecimal digits.
    Hex,
    /// `\n`, `\r`, `\t` and `\\`, two characters each.
    Escapes,
}

/// How a value is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Percent-encoded, for any part of a URL.
    Url,
    /// In quotes, for a connection string of ADO.NET.
    Ado,
    /// For the inside of a JSON string.
    Json,
    /// Base64 with padding.
    Base64,
}

/// The values of `pem`. Without a value it is the first one.
const PEM_PARTS: [(&str, PemPart); 5] = [
    ("all", PemPart::All),
    ("chain", PemPart::Chain),
    ("leaf", PemPart::Leaf),
    ("ca", PemPart::Ca),
    ("key", PemPart::Key),
];

/// The values of `decode`.
const DECODINGS: [(&str, Decoding); 3] = [
    ("base64", Decoding::Base64),
    ("hex", Decoding::Hex),
    ("escapes", Decoding::Escapes),
];

/// The values of `encode`.
const ENCODINGS: [(&str, Encoding); 4] = [
    ("url", Encoding::Url),
    ("ado", Encoding::Ado),
    ("json", Encoding::Json),
    ("base64", Encoding::Base64),
];

impl Encoding {
    /// The value of `encode`.
    pub fn name(self) -> &'static str {
        name_of(&ENCODINGS, self)
    }
}

impl SecretOptions {
    /// Parses what follows `?` and what follows `#`; `None` if there is no such character.
    pub fn parse(query: Option<&str>, fragment: Option<&str>) -> Result<SecretOptions, Error> {
        let mut options = SecretOptions::default();
        let mut set = |name: &str, value: Option<&str>| {
            match (name, value) {
                ("pem", value) => {
                    let part = choice("pem", &PEM_PARTS, value.unwrap_or("all"))?;
                    options.selection = Selection::Pem(part);
                }
                ("decode", Some(value)) => {
                    options.decoding = Some(choice("decode", &DECODINGS, value)?);
                }
                ("encode", Some(value)) => {
                    options.encoding = Some(choice("encode", &ENCODINGS, value)?);
                }
                ("trim", None) => options.trim = true,
                ("optional", None) => options.if_missing = IfMissing::LeaveOut,
                ("default", Some(value)) => {
                    options.if_missing = IfMissing::Default(decode_text(value)?);
                }
                ("file", None) => options.in_file = true,
                _ => {
                    let reason = "the options after `?` are pem, decode, trim, encode, optional, default and file";
                    let is_of_many = matches!(name, "prefix" | "tag" | "upper");
                    let hint = match is_of_many {
                        true => format!("`{name}` is for references of --from"),
                        false => POINTER_HINT.to_owned(),
                    };
                    return Err(Error::config(reason).hint(hint));
                }
            }
            Ok(())
        };
        let known = parse_options(query, &mut set)?;
        if known.contains(&"optional") && known.contains(&"default") {
            return Err(Error::config("`optional` and `default` exclude each other"));
        }
        let is_pem = options.selection != Selection::Whole;
        if is_pem && (fragment.is_some() || options.decoding.is_some()) {
            return Err(Error::config("`pem` takes no field and no `decode`"));
        }
        if let Some(pointer) = fragment {
            options.selection = Selection::Field(parse_pointer(pointer)?);
        }
        Ok(options)
    }

    /// What is done to the secret, for `--dry-run`; trimming is not listed.
    pub fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        match &self.selection {
            Selection::Whole => {}
            Selection::Field(pointer) => steps.push(format!("field {pointer}")),
            Selection::Pem(part) => steps.push(format!("pem ({})", name_of(&PEM_PARTS, *part))),
        }
        if let Some(decoding) = self.decoding {
            steps.push(format!("decoded ({})", name_of(&DECODINGS, decoding)));
        }
        if let Some(encoding) = self.encoding {
            steps.push(format!("encoded ({})", encoding.name()));
        }
        steps
    }

    /// The same options for a message, which does not show the text of `default`.
    pub fn shown(&self) -> SecretOptions {
        let mut options = self.clone();
        if let IfMissing::Default(text) = &mut options.if_missing {
            *text = "...".to_owned();
        }
        options
    }

    /// The options as they follow a reference: each in its place, then the field. Empty without options.
    pub fn to_text(&self) -> String {
        let mut words = Vec::new();
        match self.selection {
            Selection::Pem(PemPart::All) => words.push("pem".to_owned()),
            Selection::Pem(part) => words.push(format!("pem={}", name_of(&PEM_PARTS, part))),
            Selection::Whole | Selection::Field(_) => {}
        }
        if let Some(decoding) = self.decoding {
            words.push(format!("decode={}", name_of(&DECODINGS, decoding)));
        }
        if self.trim {
            words.push("trim".to_owned());
        }
        if let Some(encoding) = self.encoding {
            words.push(format!("encode={}", encoding.name()));
        }
        match &self.if_missing {
            IfMissing::Fail => {}
            IfMissing::LeaveOut => words.push("optional".to_owned()),
            IfMissing::Default(text) => words.push(format!("default={}", percent::encode(text))),
        }
        if self.in_file {
            words.push("file".to_owned());
        }
        let mut text = match words.is_empty() {
            true => String::new(),
            false => format!("?{}", words.join("&")),
        };
        if let Selection::Field(pointer) = &self.selection {
            text.push_str(&format!("#{}", percent::encode_path(pointer)));
        }
        text
    }
}

/// Sets an option, by its name and its value.
type SetOption<'a> = &'a mut dyn FnMut(&str, Option<&str>) -> Result<(), Error>;

/// Splits what follows `?` into options, and calls the function with the name and the value of each. Returns the names.
/// Fails if one is given twice.
pub fn parse_options<'a>(
    query: Option<&'a str>,
    set: SetOption<'_>,
) -> Result<Vec<&'a str>, Error> {
    let mut known: Vec<&str> = Vec::new();
    for option in query.into_iter().flat_map(|query| query.split('&')) {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        set(name, value)?;
        if known.contains(&name) {
            return Err(Error::config(format!("`{name}` is given twice")));
        }
        known.push(name);
    }
    Ok(known)
}

/// The value of an option that has only these.
fn choice<T: Copy>(option: &str, choices: &[(&str, T)], value: &str) -> Result<T, Error> {
    let found = choices.iter().find(|(name, _)| *name == value);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Error::config(format!("`{option}` is {}", alternatives(&names)))
    })
}

/// The name of a choice.
fn name_of<T: Copy + PartialEq>(choices: &[(&'static str, T)], value: T) -> &'static str {
    let found = choices.iter().find(|(_, choice)| *choice == value);
    found.map_or("", |(name, _)| name)
}

/// Parses a JSON Pointer in a fragment (RFC 6901, 6).
fn parse_pointer(fragment: &str) -> Result<String, Error> {
    if !fragment.starts_with('/') {
        return Err(Error::config("a field begins with `#/`").hint(POINTER_HINT));
    }
    let pointer = decode_text(fragment)?;
    let mut escapes = pointer.split('~').skip(1);
    match escapes.all(|rest| rest.starts_with(['0', '1'])) {
        true => Ok(pointer),
        false => Err(Error::config("in a field, a `~` is written `~0`").hint(POINTER_HINT)),
    }
}

/// Percent-decodes a text. Fails if it contains white space, control characters, or what ends or begins a reference.
pub fn decode_text(text: &str) -> Result<String, Error> {
    let is_reserved = |c: char| c.is_whitespace() || c.is_control() || "#{}".contains(c);
    if text.contains(is_reserved) {
        let reason = "white space, `#`, `{`, `}` and, in an option, `&` are written as `%` and two hexadecimal digits";
        return Err(Error::config(reason));
    }
    percent::decode(text)
}
