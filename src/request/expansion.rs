//! `--from` in a plan: targets whose names are known only from the answer of a vault, and the rules for these names.
//!
//! An expansion is a function of an answer, and is checked in full before anything is started or written. The names of
//! a secret's fields are a part of the secret: no message holds one that the manifest does not hold, too.

use std::ffi::OsString;

use crate::error::Error;
use crate::request::environment::{check_not_reserved, check_value};
use crate::request::files::{Output, check_file_name};
use crate::request::format::{FileFormat, is_identifier};
use crate::request::host::strip_prefix_ignore_case;
use crate::request::many::{ManyRef, ManySource};
use crate::request::reference::options::{IfMissing, SecretOptions, Selection};
use crate::request::reserved::check_not_reserved_for_vault;
use crate::request::secret_id::SecretId;
use crate::request::target::{Origin, Target, TargetPart};
use crate::secret::SecretBytes;

/// A reference of `--from` whose names are not known yet.
#[derive(Clone)]
pub struct Expansion {
    /// The secret that has the fields, or the list of the vault's secrets, as an index into the plan's items.
    pub item_index: usize,
    /// The reference, with the host of the vault.
    pub reference: ManyRef,
}

/// Which names the targets of a plan may have.
#[derive(Clone, Default)]
pub struct NameRules {
    /// The files to write; empty if the targets are variables.
    pub outputs: Vec<Output>,
    /// The variables that have a value which no expansion may replace.
    pub with_value: Vec<OsString>,
    /// The variables that are given to `--unset` or `--literal`.
    pub skipped: Vec<OsString>,
}

impl NameRules {
    /// Fails if a name that the manifest has cannot be that of a file or key of every output.
    pub fn check_output_name(&self, name: &str) -> Result<(), Error> {
        self.check_outputs(name, |name| {
            check_not_reserved(name).map_err(|error| error.context(name))
        })
    }

    fn check_outputs(
        &self,
        name: &str,
        check_not_reserved: fn(&str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.outputs.iter().try_for_each(|output| match output {
            Output::Files => check_file_name(name),
            Output::Combined(format, _) => {
                format.check_key(name)?;
                match format {
                    FileFormat::Json => Ok(()),
                    _ => check_not_reserved(name),
                }
            }
        })
    }

    /// Fails if a name that a vault has chosen cannot be that of a target, whatever the other targets are. The error
    /// says the name only if it is reserved.
    fn check_name(&self, name: &str) -> Result<(), Error> {
        if self.outputs.is_empty() {
            return match is_identifier(name) {
                true => check_not_reserved_for_vault(name),
                false => Err(self.name_error()),
            };
        }
        let checked = self.check_outputs(name, |_| Ok(()));
        checked.map_err(|_| self.name_error())?;
        self.check_outputs(name, check_not_reserved_for_vault)
    }

    fn name_error(&self) -> Error {
        let (noun, hint) = match self.outputs.is_empty() {
            true => (
                "variable",
                "give it to `write`, or name each variable in the manifest",
            ),
            false => (
                "file or key",
                "choose another --output, or name each file in the manifest",
            ),
        };
        Error::config(format!("no {noun} can have this name")).hint(hint)
    }

    /// Fails if two targets have one name, or if a variable of an expansion has a value already. `new` are the targets
    /// of expansions.
    pub fn check_distinct(&self, known: &[Target], new: &[Target]) -> Result<(), Error> {
        let mut all: Vec<&Target> = known.iter().chain(new).collect();
        // Targets of one name stay in this order.
        all.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some(&[other, target]) = all.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let reason = format!("two sources: {}, and {}", other.origin, target.origin);
            let hint = "write another `prefix=`, or leave one of them out";
            // The manifest may hold the name of a field, too.
            let shown = match other.origin.is_expansion() {
                true => target.shown_name(),
                false => other.shown_name(),
            };
            return Err(Error::config(reason).context(shown).hint(hint));
        }
        for target in new {
            if self.skipped.contains(&target.name) {
                let reason =
                    "cannot be set from a secret and also be given to --unset or --literal";
                return Err(Error::config(reason).context(target.name.to_string_lossy()));
            }
            if self.with_value.contains(&target.name) {
                let hint = "write another `prefix=`, or add --override (AKV_INIT_OVERRIDE=true) to replace it";
                return Err(Error::config("the variable already has a value")
                    .context(target.name.to_string_lossy())
                    .hint(hint));
            }
        }
        Ok(())
    }
}

impl Expansion {
    /// Fails if no name can follow the prefix.
    pub fn check_prefix(&self, rules: &NameRules) -> Result<(), Error> {
        let prefix = self.prefix();
        if prefix.is_empty() {
            return Ok(());
        }
        if rules.outputs.is_empty() && !is_identifier(prefix) {
            let reason = "`prefix` takes letters, digits and `_`, and no digit first";
            return Err(Error::config(reason));
        }
        rules.check_outputs(&format!("{prefix}x"), |_| Ok(()))
    }

    /// The text before each name; may be empty.
    pub fn prefix(&self) -> &str {
        self.reference.prefix.as_deref().unwrap_or_default()
    }

    /// What messages call the targets: `APP_…`, or `--from` without a prefix.
    pub fn label(&self) -> String {
        match self.prefix() {
            "" => "--from".to_owned(),
            prefix => format!("{prefix}…"),
        }
    }

    /// Which of the fields or secrets are meant, for `--dry-run`; empty for all.
    pub fn condition(&self) -> String {
        let filter = match &self.reference.source {
            ManySource::Secrets(filter) => filter,
            ManySource::Fields(secret) => {
                return match &secret.options.selection {
                    Selection::Field(pointer) => format!(" at {pointer}"),
                    _ => String::new(),
                };
            }
        };
        let mut conditions = Vec::new();
        if !filter.name_start.is_empty() {
            conditions.push(format!("begins with {}", filter.name_start));
        }
        conditions.extend(filter.tag.as_ref().map(|(name, value)| match value {
            None => format!("has the tag {name}"),
            Some(value) => format!("has the tag {name}={value}"),
        }));
        match conditions.is_empty() {
            true => String::new(),
            false => format!(" that {}", conditions.join(" and ")),
        }
    }

    /// Whether it is left out if there is no secret or field for it.
    pub fn is_optional(&self) -> bool {
        let ManySource::Fields(secret) = &self.reference.source else {
            return false;
        };
        secret.options.if_missing != IfMissing::Fail
    }

    /// The targets of the fields of a secret, each with its value.
    pub fn field_targets(
        &self,
        secret: &SecretId,
        fields: Vec<(String, SecretBytes)>,
        rules: &NameRules,
    ) -> Result<Vec<(Target, SecretBytes)>, Error> {
        let ManySource::Fields(reference) = &self.reference.source else {
            return Ok(Vec::new());
        };
        let object = match &reference.options.selection {
            Selection::Field(pointer) => pointer.as_str(),
            _ => "",
        };
        let targets = fields.into_iter().map(|(field, value)| {
            let name = format!("{}{field}", self.prefix());
            rules.check_name(&name)?;
            if rules.outputs.is_empty() {
                check_value(name.len(), &value)?;
            }
            let field = field.replace('~', "~0").replace('/', "~1");
            let options = SecretOptions {
                selection: Selection::Field(format!("{object}/{field}")),
                ..SecretOptions::default()
            };
            let origin = Origin::Field(secret.name_and_version());
            Ok((target(name, self.item_index, options, origin), value))
        });
        let targets: Result<Vec<_>, Error> = targets.collect();
        targets.map_err(|error| error.context("a field of the secret"))
    }

    /// The name of the target for a secret with this name; `None` if the secret is not meant. `tag` returns the value of
    /// its tag with a name.
    pub fn name_of_secret(
        &self,
        secret: &str,
        tag: &dyn Fn(&str) -> Option<String>,
        rules: &NameRules,
    ) -> Result<Option<String>, Error> {
        let ManySource::Secrets(filter) = &self.reference.source else {
            return Ok(None);
        };
        let Some(rest) = strip_prefix_ignore_case(secret, &filter.name_start) else {
            return Ok(None);
        };
        let has_tag = filter.tag.as_ref().is_none_or(|(name, value)| {
            let found = tag(name);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| *value == found))
        });
        if !has_tag {
            return Ok(None);
        }
        let mut rest = rest.replace('-', "_");
        if filter.upper {
            rest.make_ascii_uppercase();
        }
        let name = format!("{}{rest}", self.prefix());
        match rules.check_name(&name) {
            Ok(()) => Ok(Some(name)),
            Err(error) => Err(error.context(format!("the secret `{secret}`"))),
        }
    }
}

/// The target of a listed secret, which is the item with this index.
pub fn secret_target(name: String, item_index: usize, secret: &str) -> Target {
    let origin = Origin::Secret(secret.to_owned());
    target(name, item_index, SecretOptions::default(), origin)
}

fn target(name: String, item_index: usize, options: SecretOptions, origin: Origin) -> Target {
    Target {
        name: name.into(),
        parts: vec![TargetPart {
            text_before: Vec::new(),
            item_index,
            options,
        }],
        text_after: Vec::new(),
        origin,
        in_memfd: false,
    }
}
