//! Makes the values of targets from the items that were fetched.
//!
//! Exactly two answers mean that there is nothing for a target: the vault's own 404 with the code `SecretNotFound`, and
//! a field that is missing or `null`. A secret that was disabled, for example, is there.

use crate::error::{Cause, Error, RequestFailure};
use crate::request::plan::{Plan, PlanItem, Target, TargetPart};
use crate::request::reference::options::{IfMissing, Selection};
use crate::request::value::{self, StoredSecret, ValueWarning};
use crate::secret::{Secret, SecretBytes};

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

/// Makes the value of each part that is made of an item: the result for each of [`Plan::parts_of`]. `read` is the item's
/// value, or why it was not read. Fails with that error unless the item is missing, and all parts allow that.
pub fn make_parts(
    plan: &Plan,
    item_index: usize,
    read: Result<StoredSecret, Error>,
) -> Result<Vec<PartResult>, Error> {
    let item = &plan.items[item_index];
    let may_be_missing = |part: &TargetPart| part.options.if_missing != IfMissing::Fail;
    let value = match read {
        Ok(value) => Some(value),
        Err(error) => {
            let mut parts = plan.parts_of(item_index).map(|(_, part)| part);
            if !is_missing(&error) {
                return Err(match parts.any(may_be_missing) {
                    true => with_role_hint(error),
                    false => error,
                });
            }
            if !parts.all(may_be_missing) {
                return Err(error);
            }
            None
        }
    };
    let parts = plan.parts_of(item_index);
    let results = parts.map(|(target, part)| {
        let made = make_part(item, target, part, value.as_ref());
        made.map_err(|error| with_context(item, target, error))
    });
    Ok(results.collect())
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
    let shown = secret.name_and_version();
    let missing = match (&part.options.selection, is_there) {
        (Selection::Field(pointer), true) => format!(
            "the secret `{shown}` in {} has no field `{pointer}`",
            secret.host
        ),
        _ => format!("there is no secret `{shown}` in {}", secret.host),
    };
    Ok(FetchedValue {
        value: value.map(|text| Secret::new(text.clone().into_bytes())),
        note: Some(format!(
            "{}: {missing}; {consequence}",
            target.name.to_string_lossy()
        )),
        warnings: Vec::new(),
    })
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
fn with_context(item: &PlanItem, target: &Target, error: Error) -> Error {
    let PlanItem::Secret(secret) = item else {
        return error;
    };
    let target = target.name.to_string_lossy().into_owned();
    error
        .context(secret.operation(&target))
        .fact("vault", secret.host.to_string())
        .fact("for", target)
        .fact("secret", secret.name_and_version())
}

/// The errors of an item: its own, or those of the parts that are made of it.
pub fn errors(result: &Result<Vec<PartResult>, Error>) -> impl Iterator<Item = &Error> {
    let parts = result.as_ref().into_iter().flatten();
    let part_errors = parts.filter_map(|part| part.as_ref().err());
    result.as_ref().err().into_iter().chain(part_errors)
}

/// The value of each target, in the order of the plan; `None` if an item has no result, or an error.
pub fn assemble(
    plan: &Plan,
    results: Vec<Option<Result<Vec<PartResult>, Error>>>,
) -> Option<Vec<FetchedValue>> {
    let parts = results
        .into_iter()
        .map(|result| Some(result?.ok()?.into_iter()));
    let mut parts = parts.collect::<Option<Vec<_>>>()?;
    let targets = plan.targets.iter().map(|target| {
        if !target.is_composed() {
            return parts[target.parts[0].item_index].next()?.ok();
        }
        let (mut value, mut warnings, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for part in &target.parts {
            let made = parts[part.item_index].next()?.ok()?;
            value.extend_from_slice(&part.text_before);
            value.extend_from_slice(made.value?.expose());
            warnings.extend(made.warnings);
            notes.extend(made.note);
        }
        value.extend_from_slice(&target.text_after);
        Some(FetchedValue {
            value: Some(Secret::new(value)),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
            warnings,
        })
    });
    targets.collect()
}
