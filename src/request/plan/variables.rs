//! The variables of `exec`: references of the environment, then `--secret` and `--memfd`.

use std::ffi::OsStr;

use super::{Delivery, Plan, references_of};
use crate::error::{Cause, Error};
use crate::request::cli::Exec;
use crate::request::environment::{Environment, check_reserved, check_target};
use crate::request::options::truth;

use super::vaults::Vaults;

/// Adds them, or says which of them cannot be one. `told` are left out, as messages have their names.
pub fn add(
    plan: &mut Plan,
    exec: &Exec,
    told: &[String],
    env: &Environment,
    vaults: &Vaults,
) -> Result<(), Error> {
    let overwrite = exec.overwrite || truth(env, "AKV_INIT_OVERRIDE")?;
    let is_option = |name: &OsStr| {
        let mut options = exec.common.secrets.iter().chain(&exec.memfds);
        options.any(|(option, _)| name == option.as_str())
    };
    let is_told = |name: &OsStr| told.iter().any(|told| *told == name.to_string_lossy());
    let is_passed = |name: &OsStr| {
        let mut named = exec.literal.iter().chain(&exec.unset);
        named.any(|other| other == name) || (overwrite && is_option(name)) || is_told(name)
    };
    for (name, reference) in references_of(env, &is_passed)? {
        let shown = name.to_string_lossy().into_owned();
        check_reserved(&shown)
            .and_then(|()| {
                plan.add(name, Delivery::Variable, &reference, vaults)
                    .map_err(|error| error.context(shown.as_str()))
            })
            .map_err(|error| error.fact("for", &shown))?;
    }
    plan.note_literals(&exec.literal, env);
    let references = plan.targets.len();
    let secrets = exec
        .common
        .secrets
        .iter()
        .zip(std::iter::repeat(Delivery::Variable));
    let memfds = exec.memfds.iter().zip(std::iter::repeat(Delivery::Memfd));
    for ((name, reference), delivery) in secrets.chain(memfds) {
        if told.contains(name) {
            continue;
        }
        let config = |why: &str| Error::new(Cause::Config, why).context(name);
        check_target(name)?;
        if exec.unset.iter().any(|unset| unset == name.as_str()) {
            return Err(config("it is also named by --unset"));
        }
        if exec.literal.iter().any(|literal| literal == name.as_str()) {
            return Err(config("it is also named by --literal"));
        }
        if let Some(at) = plan
            .targets
            .iter()
            .position(|target| target.name == name.as_str())
        {
            return Err(match at < references {
                true => config("two sources: the variable is a reference already")
                    .hint("remove the variable from the environment, or let the option win with --override"),
                false => config("it is given twice"),
            });
        }
        let has_value =
            |(other, value): (&OsStr, &OsStr)| other == name.as_str() && !value.is_empty();
        if !overwrite && env.variables().any(has_value) {
            return Err(config("the variable has a value already")
                .hint("remove it from the environment, or let the secret win with --override"));
        }
        plan.add(name.into(), delivery, reference, vaults)
            .map_err(|error| error.context(name))?;
    }
    Ok(())
}
