//! References behind `--from`, which name many values at once: the fields of one secret, or the secrets of a vault.

use std::fmt;

use crate::error::Error;
use crate::request::host::{VaultName, strip_prefix_ignore_case};
use crate::request::percent;
use crate::request::reference::options::{
    IfMissing, SecretOptions, Selection, decode_text, parse_options,
};
use crate::request::reference::{
    AKV_PREFIX, SecretRef, check_secret_name, error_context, parse_path_and_vault, split_at_first,
};

/// A reference behind `--from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManyRef {
    /// Where the names and the values come from.
    pub source: ManySource,
    /// The text before each name (`prefix`); `None` if the option is not given.
    pub prefix: Option<String>,
}

/// What a reference behind `--from` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManySource {
    /// Each field of a secret that is a JSON object, or of an object in it. Of the options it has only the field that
    /// holds the object, and `optional`.
    Fields(SecretRef),
    /// The secrets of a vault.
    Secrets(SecretFilter),
}

/// Which secrets of a vault are meant, and what they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFilter {
    /// The vault; `None` means the default vault.
    pub vault: Option<VaultName>,
    /// How their names begin, whatever the case; empty for all. It is not a part of the variable's name.
    pub name_start: String,
    /// The name of a tag that they have, and its value if that matters; `None` for all.
    pub tag: Option<(String, Option<String>)>,
    /// Whether letters become capitals (`upper`).
    pub upper: bool,
}

impl ManyRef {
    /// Parses a reference.
    pub fn parse(text: &str) -> Result<ManyRef, Error> {
        let Some(rest) = strip_prefix_ignore_case(text, AKV_PREFIX) else {
            return Err(Error::config("expected akv:// at the start"));
        };
        ManyRef::parse_akv(rest).map_err(|error| error.context(error_context(text)))
    }

    /// Parses what follows `akv://`.
    fn parse_akv(rest: &str) -> Result<ManyRef, Error> {
        let (rest, fragment) = split_at_first(rest, '#');
        let (path, query) = split_at_first(rest, '?');
        let (mut prefix, mut tag) = (None, None);
        let mut set = |name: &str, value: Option<&str>| {
            match (name, value) {
                ("prefix", Some(text)) => prefix = Some(decode_text(text)?),
                ("tag", Some(text)) => tag = Some(parse_tag(text)?),
                ("upper" | "optional", None) => {}
                _ => {
                    let reason = "the options of --from are prefix, and optional, or behind `*` tag and upper";
                    return Err(Error::config(reason));
                }
            }
            Ok(())
        };
        let given = parse_options(query, &mut set)?;
        let source = match path.strip_suffix('*') {
            None => {
                if let Some(option) = ["tag", "upper"].iter().find(|name| given.contains(name)) {
                    let reason = format!("`{option}` is for many secrets, as in akv://VAULT/*");
                    return Err(Error::config(reason));
                }
                let mut secret = parse_path_and_vault(path)?;
                secret.options = SecretOptions::parse(None, fragment)?;
                if given.contains(&"optional") {
                    secret.options.if_missing = IfMissing::LeaveOut;
                }
                ManySource::Fields(secret)
            }
            Some(_) if fragment.is_some() || given.contains(&"optional") => {
                let reason = "many secrets take no field and no `optional`";
                return Err(Error::config(reason));
            }
            Some(path) => {
                let Some((vault, name_start)) = path.split_once('/') else {
                    let reason = "expected the name of one vault before `/*`";
                    return Err(Error::config(reason));
                };
                if !name_start.is_empty() {
                    check_secret_name(name_start)?;
                }
                let vault = match vault {
                    "" => None,
                    vault => Some(VaultName::parse(vault)?),
                };
                ManySource::Secrets(SecretFilter {
                    vault,
                    name_start: name_start.to_owned(),
                    tag,
                    upper: given.contains(&"upper"),
                })
            }
        };
        Ok(ManyRef { source, prefix })
    }
}

/// Parses `NAME` or `NAME=VALUE`, each percent-encoded.
fn parse_tag(text: &str) -> Result<(String, Option<String>), Error> {
    let (name, value) = split_at_first(text, '=');
    if name.is_empty() {
        return Err(Error::config("`tag` is NAME or NAME=VALUE"));
    }
    Ok((decode_text(name)?, value.map(decode_text).transpose()?))
}

/// The reference as `akv://…`: one text for each meaning.
impl fmt::Display for ManyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        if let Some(prefix) = &self.prefix {
            options.push(format!("prefix={}", percent::encode(prefix)));
        }
        let mut pointer = None;
        match &self.source {
            ManySource::Fields(secret) => {
                let whole = SecretRef {
                    options: SecretOptions::default(),
                    ..secret.clone()
                };
                write!(f, "{whole}")?;
                if secret.options.if_missing == IfMissing::LeaveOut {
                    options.push("optional".to_owned());
                }
                if let Selection::Field(field) = &secret.options.selection {
                    pointer = Some(percent::encode_path(field));
                }
            }
            ManySource::Secrets(filter) => {
                f.write_str(AKV_PREFIX)?;
                if let Some(vault) = &filter.vault {
                    write!(f, "{vault}")?;
                }
                write!(f, "/{}*", filter.name_start)?;
                match &filter.tag {
                    None => {}
                    Some((name, None)) => options.push(format!("tag={}", percent::encode(name))),
                    Some((name, Some(value))) => {
                        let [name, value] = [name, value].map(percent::encode);
                        options.push(format!("tag={name}={value}"));
                    }
                }
                if filter.upper {
                    options.push("upper".to_owned());
                }
            }
        }
        if !options.is_empty() {
            write!(f, "?{}", options.join("&"))?;
        }
        match pointer {
            None => Ok(()),
            Some(pointer) => write!(f, "#{pointer}"),
        }
    }
}
