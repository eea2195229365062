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

/// Applies `--verbose`, and warns of settings without effect.
pub fn enable_verbose_and_warn(plan: &Plan) {
    if plan.settings.verbose {
        log::set_verbose();
    }
    for (setting, reason) in &plan.ignored {
        log::warning(format!("{setting}: {reason}"));
    }
}

/// Selects the identity and fetches every item of the plan. From here on a signal ends the process.
pub fn fetch(plan: Plan, env: &Environment) -> Result<FetchedPlan, Error> {
    os::forbid_memory_access();
    signals::start_reading()?;
    let source = identity::select(env, &plan.settings)?.source;
    let http = HttpClient::build(env, &plan.settings)?;
    fetch::fetch(plan, http, source)
}

/// `get` and `token`: prints the one value of a plan on standard output. An error calls it `value_noun`.
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

/// Warns of a newline at the end of a secret: it is rarely meant to be part of a password.
pub fn warn_of_newline(plan: &Plan, target: &Target, value: &TargetValue<'_>) {
    if value.ends_in_newline()
        && let PlanItem::Secret(secret) = &plan.items[target.item_index]
    {
        let reference = secret.reference(true);
        log::warning(format!(
            "{}: the secret ends in a newline, which becomes part of the value; to remove it, write {reference}",
            target.name.display()
        ));
    }
}
