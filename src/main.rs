//! akv-init: starts a container's real process with its Azure Key Vault secrets.
//!
//! The story: read argv and the environment as values; make a plan; find COMMAND; without a reference become it at
//! once; else choose the identity, fetch every secret, build the environment, become COMMAND. Or print a token.

mod challenge;
mod cli;
mod cloud;
mod date;
mod env;
mod exec;
mod failure;
mod fetch;
mod host;
mod http;
mod identity;
mod log;
mod os;
mod plan;
mod progress;
mod secret;
mod secret_ref;
mod settings;
mod tokens;
mod vault;

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::{Action, Exec, Token};
use crate::env::{Assignment, Environment};
use crate::exec::Program;
use crate::failure::{Cause, Failure};
use crate::fetch::Fetched;
use crate::http::Http;
use crate::identity::Source;
use crate::plan::{Item, Plan};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(say_where_and_exit));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error(&format!("{error:#}"));
            if let Some(hint) = failure::hint(&error) {
                log::hint(hint);
            }
            ExitCode::from(failure::exit_code(&error))
        }
    }
}

fn run() -> Result<()> {
    let env = Environment::new(os::environ());
    match cli::parse(std::env::args_os().skip(1).collect())? {
        Action::Help => log::print(cli::HELP),
        Action::Version => log::print(concat!("akv-init ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Token(token) => print_token(&token, &env)?,
        Action::Exec(exec) if exec.dry_run => show(&exec, &env)?,
        Action::Exec(exec) => match start(&exec, &env)? {},
    }
    Ok(())
}

/// Becomes COMMAND, with its secrets.
fn start(exec: &Exec, env: &Environment) -> Result<Infallible> {
    let plan = Plan::exec(exec, env)?;
    let program = exec::find(&exec.command, env)?;
    if plan.settings.verbose {
        log::set_verbose();
    }
    warn_of_unknown_settings(&plan);
    if plan.targets.is_empty() {
        return Ok(program.replace_process(&env.child(&[], &plan.unset)?)?);
    }
    let fetched = obtain(plan, env)?;
    let environment = build_environment(env, &fetched, &program)?;
    Ok(program.replace_process(&environment)?)
}

/// Proves who we are and fetches all that the plan names; from here on a signal ends the wait.
fn obtain(plan: Plan, env: &Environment) -> Result<Fetched> {
    progress::start().context("installing signal handlers")?;
    let source = Source::select(env, &plan.settings)?;
    let http = Http::build(env, &plan.settings)?;
    Ok(fetch::fetch(plan, http, source)?)
}

fn build_environment(
    env: &Environment,
    fetched: &Fetched,
    program: &Program,
) -> Result<Vec<CString>> {
    let plan = fetched.plan();
    let assignments: Vec<Assignment<'_>> = plan
        .targets
        .iter()
        .map(|target| Assignment {
            name: &target.name,
            value: &fetched.values[target.item],
            trim: target.trim,
        })
        .collect();
    for (assignment, target) in assignments.iter().zip(&plan.targets) {
        if assignment.ends_in_line_end()
            && let Item::Secret(secret) = &plan.items[target.item]
        {
            let mut reference = secret.reference();
            reference.trim = true;
            log::warning(&format!(
                "{}: the secret ends in a line end, which becomes part of the value; to drop it, write {reference}",
                assignment.name.display()
            ));
        }
    }
    let environment = env.child(&assignments, &plan.unset)?;
    let names: Vec<&OsStr> = plan
        .targets
        .iter()
        .map(|target| target.name.as_os_str())
        .collect();
    env::check_total(
        program.path(),
        program.argv(),
        &environment,
        os::stack_limit(),
        &names,
    )?;
    Ok(environment)
}

/// `token`: an access token on standard output, with a line end only for somebody who looks at it.
fn print_token(token: &Token, env: &Environment) -> Result<()> {
    let plan = Plan::token(token, env)?;
    if plan.settings.verbose {
        log::set_verbose();
    }
    for value in &obtain(plan, env)?.values {
        log::hand_over(value.expose()).map_err(|error| {
            Failure::new(
                Cause::CannotCreate,
                format!("writing the access token to standard output: {error}"),
            )
        })?;
    }
    Ok(())
}

fn warn_of_unknown_settings(plan: &Plan) {
    for name in &plan.unknown {
        log::warning(&format!(
            "{name} is not a setting of akv-init; COMMAND does not get it"
        ));
    }
}

/// `--dry-run`: the plan, and who would be asked for what.
fn show(exec: &Exec, env: &Environment) -> Result<()> {
    let plan = Plan::exec(exec, env)?;
    warn_of_unknown_settings(&plan);
    let program = exec::find(&exec.command, env)?;
    let mut text = String::new();
    if !plan.targets.is_empty() {
        text.push_str(&format!(
            "identity  {}\n",
            Source::select(env, &plan.settings)?.describe()
        ));
    }
    text.push_str(&plan.to_string());
    let path = program.path().display().to_string();
    text.push_str(&format!("become    {}\n", log::plain(&path)));
    log::print(&text);
    Ok(())
}

/// A panic is a bug of ours, also in a thread. Its message is not printed: it may hold anything.
fn say_where_and_exit(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    log::error(&format!("internal error{place}"));
    log::hint("this is a bug of akv-init: please report it with this line and the version");
    os::exit_at_once(failure::INTERNAL.into());
}
