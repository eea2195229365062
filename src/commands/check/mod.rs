//! `check`: every link of the chain from a reference to its value, each checked once.
//!
//! The probes use the client, the tokens and the reader of `exec`, with one attempt of 3 seconds each. No link holds
//! anything of a secret's value.

mod clock;
mod describe;
mod probes;
mod report;

use std::time::Duration;

use crate::azure::identity::{self, Selection};
use crate::error::{Cause, Error};
use crate::http::Http;
use crate::log::{self, Format};
use crate::output::process;
use crate::request::arguments::Arguments;
use crate::request::plan::{Item, Plan, Target};
use crate::request::supervision::Supervision;
use crate::signals;
use report::{Link, Phase, Report};

/// The deadline without `--timeout`, or with 0, which is one attempt each in any case.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks every link and prints the report. Returns the exit code that `exec` would have.
pub fn run(arguments: &Arguments<'_>) -> Result<u8, Error> {
    let format = arguments.choice("--format", &Format::NAMES)?;
    Supervision::parse(arguments)?;
    // A malformed value is reported as a failed link.
    if arguments.flag("--verbose").unwrap_or(false) {
        log::set_verbose();
    }
    signals::start()?;
    let mut report = Report::new(format.unwrap_or_default(), arguments.env);
    let plan = plan(arguments, &mut report)?;
    if let Some(plan) = &plan {
        if plan.targets.is_empty() && !report.has_failed() {
            let link = Link::passed("references", "", "");
            report.add(link.warn("no references: exec starts COMMAND without secrets", None));
        }
        for target in &plan.targets {
            report.add(reference(plan, target));
        }
    }
    if !arguments.words.is_empty() {
        report.add(command(arguments));
    }
    if let Some(plan) = plan {
        add_network(arguments, plan, &mut report);
    }
    Ok(report.finish())
}

/// The plan without the variables that cannot get their secret, each of which is reported.
fn plan(arguments: &Arguments<'_>, report: &mut Report) -> Result<Option<Plan>, Error> {
    let mut on_error = |mut error: Error| {
        let variable = error.context.remove(0);
        report.add(Link::failed("reference", variable, &error));
        Ok(())
    };
    match Plan::exec(arguments, &mut on_error) {
        Ok(plan) => Ok(Some(plan)),
        Err(error) if error.cause == Cause::Usage => Err(error),
        Err(error) => {
            report.add(Link::failed("references", "", &error));
            Ok(None)
        }
    }
}

/// Where a reference comes from, and what it resolves to.
fn reference(plan: &Plan, target: &Target) -> Link {
    let place = match target.by_option {
        true => "an option",
        false => "the environment",
    };
    let to = match &plan.items[target.item] {
        Item::Token(resource) => format!("an access token for {resource}"),
        Item::Secret(_) => plan.reference_of(target).unwrap_or_default(),
    };
    let name = target.name.to_string_lossy();
    Link::passed("reference", name, format!("{to}, from {place}"))
        .fact("reference", to)
        .fact("place", place)
}

fn command(arguments: &Arguments<'_>) -> Link {
    let typed = arguments.words[0].to_string_lossy();
    let failed = |mut error: Error, phase| {
        error.context.clear();
        Link::failed("command", typed.as_ref(), &error).at(phase, 0)
    };
    let program = match process::find(&arguments.words, arguments.env) {
        Ok(program) => program,
        Err(error) => return failed(error, Phase::Before),
    };
    if let Err(error) = program.check_format() {
        return failed(error, Phase::Execve);
    }
    let path = program.path.display().to_string();
    let text = match path == typed {
        true => "",
        false => path.as_str(),
    };
    Link::passed("command", typed, text).fact("path", path)
}

/// Adds the settings, the identity, and the links that need the network.
fn add_network(arguments: &Arguments<'_>, plan: Plan, report: &mut Report) {
    for (setting, reason) in &plan.ignored {
        let link = Link::passed("setting", setting.as_str(), "");
        report.add(link.warn(reason, None));
    }
    if plan.targets.is_empty() {
        return;
    }
    let selection = match identity::select(arguments.env, &plan.settings) {
        Ok(selection) => selection,
        Err(mut error) => {
            let hint = "set the missing variables, or select an identity with --identity";
            error.hint.get_or_insert(hint.to_owned());
            return report.add(Link::failed("identity", "", &error));
        }
    };
    report.add(selected(&selection));
    match Http::build(arguments.env, &plan.settings) {
        Ok(http) => {
            let timeout = match plan.settings.timeout {
                timeout if arguments.has("--timeout") && !timeout.is_zero() => timeout,
                _ => DEFAULT_TIMEOUT,
            };
            probes::run(plan, http, selection.source, timeout, report);
        }
        Err(error) => report.add(Link::failed("trust", "", &error)),
    }
}

/// The identity, and the reason for it.
fn selected(selection: &Selection) -> Link {
    let described = selection.source.describe();
    let ignored = Some(selection.ignored.join(", ")).filter(|ignored| !ignored.is_empty());
    Link::passed("identity", "", described.as_str())
        .fact("source", described)
        .labeled("because", "since ", Some(selection.reason.clone()))
        .labeled("ignored", "ignored: ", ignored)
}
