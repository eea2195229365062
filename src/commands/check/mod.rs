//! `check`: every link of the chain, from the references to the vault's answers, each looked at once and each told.
//!
//! What does not depend on one another is looked at together: one thread for who we are, one for each vault. Each try
//! has three seconds; what has not answered when time is up is broken. No connection that looks at a certificate ever
//! carries a token, and nothing that is told comes from a secret's value.

mod clock;
mod describe;
mod network;
mod reachability;
mod report;
mod tokens;

use std::time::Duration;

use crate::azure::identity::{self, Selection};
use crate::error::Error;
use crate::http::Http;
use crate::log;
use crate::output::process;
use crate::request::cli::{Check, Exec};
use crate::request::environment::Environment;
use crate::request::options;
use crate::request::plan::{Item, Plan, Target};
use crate::signals;

pub use report::Report;
use report::{Link, Phase};

/// The deadline without `--timeout`, or where that is 0: one try each is what is made anyway.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks every link and prints the report. The exit code is the one that `exec` would have.
pub fn run(check: &Check, env: &Environment) -> Result<u8, Error> {
    // A bad value is reported as a broken link.
    if check.exec.common.verbose || options::truth(env, "AKV_INIT_VERBOSE").unwrap_or(false) {
        log::set_verbose();
    }
    signals::start()?;
    let report = report(check, env);
    log::print(&report.to_text(check.format));
    Ok(report.exit_code())
}

fn report(check: &Check, env: &Environment) -> Report {
    let mut report = Report::default();
    let plan = plan(&check.exec, env, &mut report);
    if let Some(plan) = &plan {
        let is_whole = report.links.is_empty();
        report.links.extend(references(plan, &check.exec, is_whole));
    }
    let command = (!check.exec.command.is_empty()).then(|| command(check, env));
    // What only execve refuses is the last that `exec` comes to.
    let (command, last) = match command {
        Some(link) if link.turn.0 == Phase::Becoming => (None, Some(link)),
        other => (other, None),
    };
    report.links.extend(command);
    if let Some(plan) = plan {
        look_further(check, env, plan, &mut report);
    }
    report.links.extend(last);
    report
}

/// The plan of what can be planned. A variable with a malformed reference is told and then left as it is, or what is
/// wrong with another one would be told at the next start only.
fn plan(exec: &Exec, env: &Environment, report: &mut Report) -> Option<Plan> {
    let mut told: Vec<String> = Vec::new();
    loop {
        let error = match Plan::exec_without(&told, exec, env) {
            Ok(plan) => return Some(plan),
            Err(error) => error,
        };
        let variable = error.get_fact("for").map(str::to_owned);
        let Some(name) = variable.filter(|name| !told.contains(name)) else {
            report.links.push(Link::failed("references", "", &error));
            return None;
        };
        let mut error = error;
        if error.context.first() == Some(&name) {
            error.context.remove(0);
        }
        report
            .links
            .push(Link::failed("reference", name.as_str(), &error));
        told.push(name);
    }
}

fn look_further(check: &Check, env: &Environment, plan: Plan, report: &mut Report) {
    for (setting, reason) in &plan.ignored {
        let link = Link::good("setting", setting.as_str(), "");
        report.links.push(link.warn(reason.as_str(), None));
    }
    if plan.targets.is_empty() {
        return;
    }
    let selection = match identity::select(env, &plan.settings) {
        Ok(selection) => selection,
        Err(error) => {
            let complete = "set what is missing, or name the identity that is meant: --identity";
            report
                .links
                .push(Link::failed("identity", "", &error).or_hint(complete));
            return;
        }
    };
    report.links.push(selected(&selection));
    match Http::build(env, &plan.settings) {
        Ok(http) => {
            let within = check.exec.common.timeout.filter(|time| !time.is_zero());
            let links = network::look(plan, http, selection.source, within.unwrap_or(PATIENCE));
            report.links.extend(links);
        }
        Err(error) => report.links.push(Link::failed("trust", "", &error)),
    }
}

/// Where each reference is, and what it leads to.
fn references(plan: &Plan, exec: &Exec, is_whole: bool) -> Vec<Link> {
    if plan.targets.is_empty() && is_whole {
        let link = Link::good("references", "", "");
        return vec![link.warn("there are none: COMMAND is started as it is", None)];
    }
    let link = |target: &Target| {
        let name = target.name.to_string_lossy();
        let mut options = exec.common.secrets.iter().chain(&exec.memfds);
        let place = match options.any(|(name, _)| target.name == name.as_str()) {
            true => "an option",
            false => "the environment",
        };
        let to = match &plan.items[target.item] {
            Item::Token(resource) => format!("an access token for {resource}"),
            Item::Secret(_) => plan.reference_of(target).unwrap_or_default(),
        };
        Link::good("reference", name, format!("{to}, by {place}"))
            .fact("reference", to)
            .fact("place", place)
    };
    plan.targets.iter().map(link).collect()
}

fn command(check: &Check, env: &Environment) -> Link {
    let typed = check.exec.command[0].to_string_lossy();
    let failed = |mut error: Error, turn| {
        error.context.clear();
        Link::failed("command", typed.as_ref(), &error).at((turn, 0))
    };
    match process::find(&check.exec.command, env) {
        Err(error) => failed(error, Phase::Before),
        Ok(program) => match program.check_format() {
            Err(error) => failed(error, Phase::Becoming),
            Ok(()) => {
                let path = program.path().display().to_string();
                let text = match path == typed {
                    true => "",
                    false => path.as_str(),
                };
                Link::good("command", typed, text).fact("path", path)
            }
        },
    }
}

/// The identity, and the reason for it.
fn selected(selection: &Selection) -> Link {
    let described = selection.source.describe();
    let text = format!("{described}, since {}", selection.because);
    let mut link = Link::good("identity", "", text)
        .fact("source", described)
        .fact("because", selection.because.as_str());
    if !selection.ignored.is_empty() {
        let ignored = selection.ignored.join(", ");
        link.text = format!("{}; set and not used: {ignored}", link.text);
        link = link.fact("ignored", ignored);
    }
    link
}
