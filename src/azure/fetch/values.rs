//! Makes the values of targets from the items that were fetched.
//!
//! Exactly two answers mean that there is nothing for a target: the vault's own 404 with the code `SecretNotFound`, and
//! a field that is missing or `null`. A secret that was disabled, for example, is there.

use std::sync::Arc;

use crate::azure::identity::KnownTokens;
use crate::error::{Cause, Error, RequestFailure};
use crate::request::expansion::{Expansion, NameRules};
use crate::request::many::ManySource;
use crate::request::plan::{Plan, PlanItem};
use crate::request::reference::options::{IfMissing, Selection};
use crate::request::secret_id::SecretId;
use crate::request::target::{Target, TargetPart};
use crate::request::value::{self, StoredSecret, ValueWarning};
use crate::secret::{Secret, SecretBytes};

/// A plan with the value of every target.
pub struct FetchedPlan {
    /// The plan that was fetched, with the targets that its answers have named.
    pub plan: Arc<Plan>,
    /// The value of each target, in the order of [`Plan::targets`].
    pub values: Vec<FetchedValue>,
    /// For each secret without fields why there are none: it is missing, and optional.
    pub notes: Vec<String>,
    /// The access tokens that were used, each with the request for it.
    pub tokens: KnownTokens,
}

/// The value of a target, or of a part of it.
pub struct FetchedValue {
    /// The value itself; `None` if the target is left out.
    pub value: Option<SecretBytes>,
    /// Why the target is left out, or gets a default.
    pub note: Option<String>,
    /// What the user should know about it.
    pub warnings: Vec<ValueWarning>,
}

/// The value of a part of a target, or why the item has none for it.
pub type PartResult = Result<FetchedValue, Error>;

/// What the targets get of an item.
#[derive(Default)]
pub struct ItemValues {
    /// The result for each of [`Plan::parts_of`].
    pub parts: Vec<PartResult>,
    /// The result for each of [`Plan::expansions_of`].
    pub expansions: Vec<Result<Expanded, Error>>,
}

/// The targets that an answer has named.
pub enum Expanded {
    /// Those of the fields of a secret, each with its value; and why there are none, if there is no such secret.
    Fields(Vec<(Target, FetchedValue)>, Option<String>),
    /// Those of the secrets of a vault, each with the name of its secret.
    Secrets(Vec<(String, String)>),
}

/// Makes the value of each part and expansion that is made of an item. `read` is the item's value, or why it was not
/// read. Fails with that error unless the item is missing, and all of them allow that.
pub fn make_values(
    plan: &Plan,
    item_index: usize,
    read: Result<StoredSecret, Error>,
) -> Result<ItemValues, Error> {
    let item = &plan.items[item_index];
    let value = match read {
        Ok(value) => Some(value),
        Err(error) => {
            let parts = plan.parts_of(item_index);
            let parts = parts.map(|(_, part)| part.options.if_missing != IfMissing::Fail);
            let expansions = plan.expansions_of(item_index).map(Expansion::is_optional);
            let mut may_be_missing = parts.chain(expansions);
            if !is_missing(&error) {
                return Err(match may_be_missing.any(|it| it) {
                    true => with_role_hint(error),
                    false => error,
                });
            }
            if !may_be_missing.all(|it| it) {
                return Err(error);
            }
            None
        }
    };
    let expansions = plan.expansions_of(item_index).map(|expansion| {
        let made = make_fields(item, expansion, value.as_ref(), &plan.name_rules);
        made.map_err(|error| with_context(item, expansion.label(), error))
    });
    let parts = plan.parts_of(item_index);
    let results = parts.map(|(target, part)| {
        let made = make_part(item, target, part, value.as_ref());
        made.map_err(|error| with_context(item, target.shown_name().into_owned(), error))
    });
    Ok(ItemValues {
        parts: results.collect(),
        expansions: expansions.collect(),
    })
}

/// Makes the targets of the fields of a secret. `value` is the secret; `None` if the vault has no such secret.
fn make_fields(
    item: &PlanItem,
    expansion: &Expansion,
    value: Option<&StoredSecret>,
    rules: &NameRules,
) -> Result<Expanded, Error> {
    let (PlanItem::Secret(secret), ManySource::Fields(reference)) =
        (item, &expansion.reference.source)
    else {
        return Ok(Expanded::Fields(Vec::new(), None));
    };
    let fields = match value {
        None => None,
        Some(value) => value::make_fields(value, &reference.options)?,
    };
    let note = fields.is_none().then(|| {
        let missing = describe_missing(secret, &reference.options.selection, value.is_some());
        let label = expansion.label();
        format!("{label}: {missing}; it is optional and left out")
    });
    let targets = expansion.field_targets(secret, fields.unwrap_or_default(), rules)?;
    let targets = targets.into_iter().map(|(target, value)| {
        let value = FetchedValue {
            value: Some(value),
            note: None,
            warnings: Vec::new(),
        };
        (target, value)
    });
    Ok(Expanded::Fields(targets.collect(), note))
}

/// Makes the value of a part. `value` is the item's; `None` if the vault has no such secret.
fn make_part(
    item: &PlanItem,
    target: &Target,
    part: &TargetPart,
    value: Option<&StoredSecret>,
) -> PartResult {
    let is_there = value.is_some();
    let made = match value {
        Some(value) => value::make(value, &part.options)?,
        None => None,
    };
    let PlanItem::Secret(secret) = item else {
        return Ok(FetchedValue {
            value: made,
            note: None,
            warnings: Vec::new(),
        });
    };
    if let Some(value) = made {
        return Ok(FetchedValue {
            warnings: value::warnings(secret, &part.options, &value),
            value: Some(value),
            note: None,
        });
    }
    let (value, consequence) = match &part.options.if_missing {
        IfMissing::Default(text) => (Some(text), "its default is used"),
        _ => (None, "it is optional and left out"),
    };
    let missing = describe_missing(secret, &part.options.selection, is_there);
    Ok(FetchedValue {
        value: value.map(|text| Secret::new(text.clone().into_bytes())),
        note: Some(format!("{}: {missing}; {consequence}", target.shown_name())),
        warnings: Vec::new(),
    })
}

/// What is missing: the secret, or if that `is_there`, the selected field.
fn describe_missing(secret: &SecretId, selection: &Selection, is_there: bool) -> String {
    let (shown, host) = (secret.name_and_version(), &secret.host);
    match selection {
        Selection::Field(pointer) if is_there => {
            format!("the secret `{shown}` in {host} has no field `{pointer}`")
        }
        _ => format!("there is no secret `{shown}` in {host}"),
    }
}

/// Whether an error means that the vault has no such secret or version.
fn is_missing(error: &Error) -> bool {
    error.cause == Cause::NotFound && error.get_fact("refusal") == Some("SecretNotFound")
}

/// Adds to the hint of a denied request why a secret that may be missing needs another role.
fn with_role_hint(error: Error) -> Error {
    if error.request_failure != Some(RequestFailure::MissingPermission) {
        return error;
    }
    let hint = error.hint.clone().unwrap_or_default();
    error.hint(format!(
        "{hint}; access is checked before existence: for a secret that may be missing, grant the role at the vault"
    ))
}

/// Adds to an error which secret it is about, and which target.
fn with_context(item: &PlanItem, target: String, error: Error) -> Error {
    let PlanItem::Secret(secret) = item else {
        return error;
    };
    error
        .context(secret.operation(&target))
        .fact("vault", secret.host.to_string())
        .fact("for", target)
        .fact("secret", secret.name_and_version())
}

/// The errors of an item: its own, or those of what is made of it.
pub fn errors(result: &Result<ItemValues, Error>) -> impl Iterator<Item = &Error> {
    let values = result.as_ref().into_iter();
    let made = values.flat_map(|values| {
        let parts = values.parts.iter().filter_map(|part| part.as_ref().err());
        let expansions = values.expansions.iter();
        parts.chain(expansions.filter_map(|expansion| expansion.as_ref().err()))
    });
    result.as_ref().err().into_iter().chain(made)
}

/// Puts the values of the items together, which have no error: the value of each target in the order of the plan, after
/// the targets of the fields of secrets were added to it. Fails if a name is not free.
pub fn assemble(
    mut plan: Arc<Plan>,
    items: Vec<ItemValues>,
    tokens: KnownTokens,
) -> Result<FetchedPlan, Error> {
    let (mut parts, mut expanded, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        parts.push(item.parts.into_iter());
        for expansion in item.expansions {
            if let Expanded::Fields(targets, note) = expansion? {
                expanded.extend(targets);
                notes.extend(note);
            }
        }
    }
    let mut next_part = |index: usize| parts[index].next().expect("one for each part");
    let targets = plan.targets.iter().map(|target| {
        if !target.is_composed() {
            return next_part(target.parts[0].item_index);
        }
        let (mut value, mut warnings, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for part in &target.parts {
            let made = next_part(part.item_index)?;
            value.extend_from_slice(&part.text_before);
            if let Some(made) = &made.value {
                value.extend_from_slice(made.expose());
            }
            warnings.extend(made.warnings);
            notes.extend(made.note);
        }
        value.extend_from_slice(&target.text_after);
        Ok(FetchedValue {
            value: Some(Secret::new(value)),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            warnings,
        })
    });
    let mut values = targets.collect::<Result<Vec<_>, Error>>()?;
    if !expanded.is_empty() {
        let (targets, field_values): (Vec<_>, Vec<_>) = expanded.into_iter().unzip();
        values.extend(field_values);
        // Threads that are about to end may have the plan, too.
        Arc::make_mut(&mut plan).add_expanded(targets)?;
    }
    Ok(FetchedPlan {
        plan,
        values,
        notes,
        tokens,
    })
}
