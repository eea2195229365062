//! Makes the values of targets from the items that were fetched.

use crate::error::Error;
use crate::request::plan::{Plan, PlanItem, Target, TargetPart};
use crate::request::value::{self, ValueWarning};
use crate::secret::{Secret, SecretBytes};

/// The value of a target, or of a part of it.
pub struct FetchedValue {
    /// The value itself.
    pub value: SecretBytes,
    /// What the user should know about it.
    pub warnings: Vec<ValueWarning>,
}

/// The value of a part of a target, or why the item has none for it.
pub type PartResult = Result<FetchedValue, Error>;

/// Makes the value of each part that is made of an item: the result for each of [`Plan::parts_of`].
pub fn make_parts(plan: &Plan, item_index: usize, value: &SecretBytes) -> Vec<PartResult> {
    let item = &plan.items[item_index];
    let parts = plan.parts_of(item_index);
    let results = parts.map(|(target, part)| {
        make_part(item, part, value).map_err(|error| with_context(item, target, error))
    });
    results.collect()
}

/// Makes the value of a part.
fn make_part(item: &PlanItem, part: &TargetPart, value: &SecretBytes) -> PartResult {
    let value = value::make(value, &part.options)?;
    let warnings = match item {
        PlanItem::Secret(secret) => value::warnings(secret, &part.options, &value),
        PlanItem::Token(_) => Vec::new(),
    };
    Ok(FetchedValue { value, warnings })
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
        let (mut value, mut warnings) = (Vec::new(), Vec::new());
        for part in &target.parts {
            let made = parts[part.item_index].next()?.ok()?;
            value.extend_from_slice(&part.text_before);
            value.extend_from_slice(made.value.expose());
            warnings.extend(made.warnings);
        }
        value.extend_from_slice(&target.text_after);
        let value = Secret::new(value);
        Some(FetchedValue { value, warnings })
    });
    targets.collect()
}
