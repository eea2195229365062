//! Steps that several commands share.

use crate::azure::fetch::{self, FetchedPlan};
use crate::azure::identity;
use crate::error::{Cause, Error};
use crate::http::HttpClient;
use crate::log;
use crate::os;
use crate::request::environment::Environment;
use crate::request::plan::{Plan, PlanItem, Target};
use crate::request::value::TargetValue;
use crate::signals;

/// Turns debug lines on if `--verbose` is set, and warns of settings that have no effect.
pub fn enable_verbose_and_warn(plan: &Plan) {
    if plan.settings.verbose {
        log::set_verbose();
    }
    for (setting, reason) in &plan.ignored {
        log::warning(format!("{setting}: {reason}"));
    }
}

/// Selects the identity and fetches every item of the plan. From now on a signal ends the process.
pub fn fetch(plan: Plan, env: &Environment) -> Result<FetchedPlan, Error> {
    os::forbid_memory_access();
    signals::start_reading()?;
    let source = identity::select(env, &plan.settings)?.source;
    let http = HttpClient::build(env, &plan.settings)?;
    fetch::fetch(plan, http, source)
}

/// Prints the only value of a plan on standard output, for `get` and `token`. Errors call the value `value_noun`.
pub fn print_value(plan: Plan, env: &Environment, value_noun: &str) -> Result<(), Error> {
    enable_verbose_and_warn(&plan);
    let fetched = fetch(plan, env)?;
    let value = match fetched.plan().targets.first() {
        Some(target) => fetched.value(target).expose(),
        None => fetched.values[0].expose(),
    };
    log::print_value(value).map_err(|error| {
        Error::new(Cause::CannotCreate, error.to_string())
            .context(format!("writing {value_noun} to standard output"))
    })
}

/// Warnings about the value for a target, which say how to change it: for example, about a newline at the end of a
/// password. There is none about a newline at the end of a file (`is_file`): programs that read a file remove that.
pub fn value_warnings(
    plan: &Plan,
    target: &Target,
    value: &TargetValue<'_>,
    is_file: bool,
) -> Vec<String> {
    let PlanItem::Secret(secret) = &plan.items[target.item_index] else {
        return Vec::new();
    };
    let removable = |problem: &str| {
        let reference = secret.reference(true);
        format!(
            "the secret {problem}, which becomes part of the value; to remove it, write {reference}"
        )
    };
    let mut warnings = Vec::new();
    if value.has_byte_order_mark() {
        warnings.push(removable("begins with a byte order mark"));
    }
    if value.ends_in_newline() && !is_file {
        warnings.push(removable("ends in a newline"));
    }
    if value.is_escaped_pem() {
        let problem = "the secret is a PEM text that has the two characters `\\n` in place of newlines: store it anew";
        warnings.push(problem.to_owned());
    }
    warnings
}

/// Writes the warnings of [`value_warnings`].
pub fn warn_of_value(plan: &Plan, target: &Target, value: &TargetValue<'_>, is_file: bool) {
    for warning in value_warnings(plan, target, value, is_file) {
        log::warning(format!("{}: {warning}", target.name.display()));
    }
}
