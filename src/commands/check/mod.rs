//! `akv-init check`: checks each thing that `exec` needs on the way from a reference to its value.
//!
//! The requests are those of `exec`, made by the same code, but with one attempt of 3 seconds each. No check contains
//! any part of a secret's value.

mod clock;
mod describe;
mod probes;
mod report;

use std::time::Duration;

use crate::azure::identity::{self, Selection};
use crate::error::{Cause, Error};
use crate::http::HttpClient;
use crate::log::{self, LineFormat};
use crate::os;
use crate::output::{memfd, process};
use crate::request::arguments::Arguments;
use crate::request::plan::{Plan, PlanItem};
use crate::request::supervision::Supervision;
use crate::request::target::{Origin, Target};
use crate::signals;
use report::{Check, Phase, Report};

/// The time for all checks if `--timeout` is 0 or missing. Each request has only one attempt anyway.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes every check and prints the report. Returns the exit code that `exec` would have.
pub fn run(arguments: &Arguments<'_>) -> Result<u8, Error> {
    let format = arguments.choice("--format", &LineFormat::CHOICES)?;
    // A malformed value fails the plan below, which is reported.
    if arguments.flag("--verbose").unwrap_or(false) {
        log::set_verbose();
    }
    os::forbid_memory_access();
    signals::start_reading()?;
    let mut report = Report::new(format.unwrap_or_default(), arguments.env);
    let plan = build_plan(arguments, &mut report)?;
    if let Some(plan) = &plan {
        if plan.items.is_empty() && !report.has_failed() {
            let check = Check::passed("references", "", "");
            report.add(check.warn("no references: exec starts COMMAND without secrets", None));
        }
        for target in &plan.targets {
            report.add(reference_check(plan, target));
        }
        for expansion in &plan.expansions {
            let reference = expansion.reference.to_string();
            let check = Check::passed("reference", expansion.label(), reference.as_str());
            report.add(
                check
                    .fact("reference", reference)
                    .fact("place", "an option"),
            );
        }
        for (variable, note) in &plan.passed_on {
            let text = format!("passed on as it is: {note}");
            report.add(Check::passed("reference", variable.as_str(), text));
        }
    }
    if !arguments.operands.is_empty() {
        report.add(command_check(arguments));
    }
    if let Some(plan) = &plan
        && let Err(error) = memfd::check_before_fetch(plan.memfd_count())
    {
        report.add(Check::failed("command", "", &error));
    }
    if let Some(plan) = plan {
        add_network_checks(arguments, plan, &mut report);
    }
    report.finish()
}

/// Builds the plan without the variables whose reference is malformed, and reports each of those as a failed check.
/// `Ok(None)` if the settings allow no plan, which is reported as a failed check too. `Err` is for a usage error.
fn build_plan(arguments: &Arguments<'_>, report: &mut Report) -> Result<Option<Plan>, Error> {
    let mut on_error = |mut error: Error| {
        let variable = error.context.remove(0);
        report.add(Check::failed("reference", variable, &error));
        Ok(())
    };
    let plan = Supervision::parse(arguments).and_then(|_| Plan::for_exec(arguments, &mut on_error));
    match plan {
        Ok(plan) => Ok(Some(plan)),
        Err(error) if error.cause == Cause::Usage => Err(error),
        Err(error) => {
            report.add(Check::failed("references", "", &error));
            Ok(None)
        }
    }
}

/// The check of a reference: what it resolves to, and whether an option or the environment has it.
fn reference_check(plan: &Plan, target: &Target) -> Check {
    let origin = match target.origin {
        Origin::Environment => "the environment",
        _ => "an option",
    };
    let resolves_to = match &plan.items[target.parts[0].item_index] {
        PlanItem::Token(resource) if !target.is_composed() => {
            format!("an access token for {resource}")
        }
        _ => plan.references_of(target, false).join(", "),
    };
    let text = match target.is_composed() {
        true => format!("a text with {resolves_to}"),
        false => resolves_to.clone(),
    };
    let name = target.name.to_string_lossy();
    let check = Check::passed("reference", name, format!("{text}, from {origin}"))
        .fact("reference", resolves_to)
        .fact("place", origin);
    let note = "a password in a URL is percent-encoded: add `?encode=url`, unless it is stored so";
    let note = target.has_unencoded_password().then(|| note.to_owned());
    check.labeled("note", "note: ", note)
}

/// The check that COMMAND can be found and executed.
fn command_check(arguments: &Arguments<'_>) -> Check {
    let command_name = arguments.operands[0].to_string_lossy();
    let failed_check = |mut error: Error, phase| {
        error.context.remove(0);
        Check::failed("command", command_name.as_ref(), &error).needed_in(phase, 0)
    };
    let program = match process::find_program(&arguments.operands, arguments.env) {
        Ok(program) => program,
        Err(error) => return failed_check(error, Phase::BeforeRequests),
    };
    if let Err(error) = program.check_executable() {
        return failed_check(error, Phase::Execve);
    }
    let path = program.path.display().to_string();
    let text = match path == command_name {
        true => "",
        false => path.as_str(),
    };
    Check::passed("command", command_name, text).fact("path", path)
}

/// Adds the checks of the settings and the identity, and all checks that use the network.
fn add_network_checks(arguments: &Arguments<'_>, plan: Plan, report: &mut Report) {
    for (setting, reason) in &plan.ignored {
        let check = Check::passed("setting", setting.as_str(), "");
        report.add(check.warn(reason, None));
    }
    if plan.items.is_empty() {
        return;
    }
    let selection = match identity::select(arguments.env, &plan.settings) {
        Ok(selection) => selection,
        Err(error) => return report.add(Check::failed("identity", "", &error)),
    };
    report.add(identity_check(&selection));
    match HttpClient::build(arguments.env, &plan.settings) {
        Ok(http) => {
            let timeout = match plan.settings.timeout {
                timeout if arguments.has("--timeout") && !timeout.is_zero() => timeout,
                _ => DEFAULT_TIMEOUT,
            };
            probes::run(plan, http, selection.source, timeout, report);
        }
        Err(error) => report.add(Check::failed("trust", "", &error)),
    }
}

/// The check of the identity: which one is selected, and why.
fn identity_check(selection: &Selection) -> Check {
    let source = selection.source.describe();
    let ignored = Some(selection.ignored.join(", ")).filter(|ignored| !ignored.is_empty());
    Check::passed("identity", "", source.as_str())
        .fact("source", source)
        .labeled("because", "since ", Some(selection.reason.clone()))
        .labeled("ignored", "ignored: ", ignored)
}
