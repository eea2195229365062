//! Steps that several commands share.

use crate::azure::fetch::{self, FetchedPlan, FetchedValue};
use crate::azure::identity::{self, KnownTokens};
use crate::error::{Cause, Error};
use crate::http::HttpClient;
use crate::log;
use crate::os;
use crate::request::environment::Environment;
use crate::request::plan::Plan;
use crate::request::target::Target;
use crate::secret::SecretBytes;
use crate::signals;

/// Turns debug lines on if `--verbose` is set, and warns of settings that have no effect.
pub fn enable_verbose_and_warn(plan: &Plan) {
    if plan.settings.verbose {
        log::set_verbose();
    }
    for (setting, reason) in &plan.ignored {
        log::warning(format!("{setting}: {reason}"));
    }
    for (variable, note) in &plan.passed_on {
        log::debug(|| format!("{variable} is passed on as it is: {note}"));
    }
}

/// Selects the identity and fetches every item of the plan. From now on a signal ends the process.
pub fn fetch(plan: Plan, env: &Environment) -> Result<FetchedPlan, Error> {
    fetch_with_tokens(plan, env, Vec::new())
}

/// The same with access tokens of an earlier fetch.
pub fn fetch_with_tokens(
    plan: Plan,
    env: &Environment,
    tokens: KnownTokens,
) -> Result<FetchedPlan, Error> {
    os::forbid_memory_access();
    signals::start_reading()?;
    let source = identity::select(env, &plan.settings)?.source;
    let http = HttpClient::build(env, &plan.settings)?;
    let fetched = fetch::fetch(plan, http, source, tokens)?;
    for note in &fetched.notes {
        log::info(note.clone());
    }
    Ok(fetched)
}

/// Prints the only value of a plan on standard output, for `get` and `token`. Errors call the value `value_noun`.
pub fn print_value(plan: Plan, env: &Environment, value_noun: &str) -> Result<(), Error> {
    enable_verbose_and_warn(&plan);
    let fetched = fetch(plan, env)?;
    let FetchedValue { value, note, .. } = &fetched.values[0];
    if let Some(note) = note {
        log::info(note.clone());
    }
    let Some(value) = value.as_ref().map(SecretBytes::expose) else {
        return Ok(());
    };
    let to_error = |reason: String| {
        Error::new(Cause::CannotCreate, reason)
            .context(format!("writing {value_noun} to standard output"))
    };
    if log::is_stdout_terminal() && str::from_utf8(value).is_err() {
        let reason = "it is a terminal, and the value is not UTF-8";
        return Err(to_error(reason.to_owned()).hint("send the value into a file or a pipe"));
    }
    log::print_value(value).map_err(|error| to_error(error.to_string()))
}

/// Writes why a target is left out or has a default, and the warnings about its value: for example, about a newline at
/// the end of a password. There is none about a newline at the end of a file (`is_file`).
pub fn warn_of_value(target: &Target, fetched: &FetchedValue, is_file: bool) {
    if let Some(note) = &fetched.note {
        log::info(note.clone());
    }
    let warnings = fetched.warnings.iter();
    for warning in warnings.filter(|warning| !(is_file && warning.is_newline)) {
        log::warning(format!("{}: {}", target.shown_name(), warning.text));
    }
}
