//! akv-init: starts a container's real process with its Azure Key Vault secrets.
//!
//! The story: read argv and the environment as values; make a plan; find COMMAND; without a reference become it at
//! once; else choose the identity, fetch every secret, build the environment, become COMMAND; with `--init` in a child
//! that is supervised. Or look at DIR, fetch, and write files; or print a secret or a token; or look at every link and
//! tell which is broken; or copy ourselves.

mod challenge;
mod check;
mod cli;
mod cloud;
mod contents;
mod date;
mod env;
mod exec;
mod failure;
mod fetch;
mod files;
mod host;
mod http;
mod identity;
mod init;
mod log;
mod memfd;
mod os;
mod plan;
mod progress;
mod reader;
mod render;
mod secret;
mod secret_ref;
mod settings;
mod tokens;
mod vault;
mod volume;

use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::{Action, Check, Exec, Write};
use crate::env::{Assignment, Content, Environment};
use crate::exec::Program;
use crate::failure::{Cause, Failure};
use crate::fetch::Fetched;
use crate::files::Order;
use crate::http::Http;
use crate::identity::Source;
use crate::init::Role;
use crate::log::Event;
use crate::memfd::Memfd;
use crate::plan::{Plan, Way};
use crate::volume::FileName;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(say_where_and_exit));
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = failure::exit_code(&error);
            let mut event = Event::new(format!("{error:#}")).fact("code", code);
            for (name, value) in failure::facts(&error) {
                event = event.fact(name, log::plain(&value));
            }
            log::error(event, failure::hint(&error));
            ExitCode::from(code)
        }
    }
}

/// The exit code where nothing went wrong of our own: what `check` found, or COMMAND's.
fn run() -> Result<u8> {
    let env = Environment::new(os::environ());
    log::set_format(settings::log_format(None, &env).unwrap_or_default());
    let action = cli::parse(std::env::args_os().skip(1).collect())?;
    if !matches!(action, Action::Help(_) | Action::Version) {
        log::set_format(settings::log_format(action.log_format(), &env)?);
    }
    match action {
        Action::Help(command) => log::print(&cli::help(command)),
        Action::Check(check) => return look_at_every_link(&check, &env),
        Action::Get(get) => hand_over(Plan::get(&get, &env)?, &env, "the secret")?,
        Action::Version => log::print(concat!("akv-init ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Token(token) => hand_over(Plan::token(&token, &env)?, &env, "the access token")?,
        Action::Write(write) if write.dry_run => show_write(&write, &env)?,
        Action::Write(write) => fill(&write, &env)?,
        Action::Install(install) => files::install(&install.dir)?,
        Action::Exec(exec) if exec.dry_run => show_exec(&exec, &env)?,
        Action::Exec(exec) => return start(&exec, env),
    }
    Ok(0)
}

/// `check`: what it found on standard output, and the exit code that `exec` would have.
fn look_at_every_link(check: &Check, env: &Environment) -> Result<u8> {
    // A bad value is the check's to tell.
    if check.exec.shared.verbose || settings::truth(env, "AKV_INIT_VERBOSE").unwrap_or(false) {
        log::set_verbose();
    }
    progress::start().context("installing signal handlers")?;
    let report = check::check(check, env);
    log::print(&report.to_text(check.format));
    Ok(report.exit_code())
}

/// Becomes COMMAND, or lets a child become it and supervises that.
fn start(exec: &Exec, env: Environment) -> Result<u8> {
    let Some(supervision) = exec.supervision else {
        match become_command(exec, &env)? {}
    };
    match init::supervise(supervision)? {
        Role::Parent(code) => Ok(code),
        Role::Child { parent } => {
            let env = env.handed_on(parent, std::process::id());
            match become_command(exec, &env)? {}
        }
    }
}

/// Becomes COMMAND, with its secrets.
fn become_command(exec: &Exec, env: &Environment) -> Result<Infallible> {
    let plan = Plan::exec(exec, env)?;
    let program = exec::find(&exec.command, env)?;
    begin(&plan);
    if plan.targets.is_empty() {
        return Ok(program.replace_process(&env.child(&[], &plan.unset)?)?);
    }
    memfd::check(
        plan.targets
            .iter()
            .filter(|target| target.way == Way::Memfd)
            .count(),
    )?;
    let fetched = obtain(plan, env)?;
    let memfds = make_memfds(&fetched)?;
    let environment = build_environment(env, &fetched, &memfds, &program)?;
    for memfd in &memfds {
        memfd.hand_over()?;
    }
    Ok(program.replace_process(&environment)?)
}

/// Puts secrets into the files of a directory.
fn fill(write: &Write, env: &Environment) -> Result<()> {
    let (plan, files) = Plan::write(write, env)?;
    begin(&plan);
    let names: Vec<&FileName> = files.iter().map(|file| &file.name).collect();
    let checked = files::check(&write.rules, &names)?;
    let manifest = write
        .rules
        .keep
        .and_then(|_| contents::describe(&plan, &files));
    let fetched = match obtain(plan, env) {
        Ok(fetched) => fetched,
        Err(error) => {
            let failure = error.downcast::<Failure>()?;
            return Ok(files::keep(&write.rules, manifest.as_ref(), failure)?);
        }
    };
    let contents = contents::render(&files, &fetched)?;
    let files: Vec<files::File<'_>> = names
        .into_iter()
        .zip(&contents)
        .map(|(name, content)| files::File {
            name,
            content: content.expose().as_bytes(),
        })
        .collect();
    let order = Order {
        files: &files,
        mode: write.rules.mode,
        manifest: manifest.as_ref(),
    };
    Ok(files::write(&write.rules, &checked, &order)?)
}

/// Proves who we are and fetches all that the plan names; from here on a signal ends the wait.
fn obtain(plan: Plan, env: &Environment) -> Result<Fetched> {
    progress::start().context("installing signal handlers")?;
    let source = Source::select(env, &plan.settings)?;
    let http = Http::build(env, &plan.settings)?;
    Ok(fetch::fetch(plan, http, source)?)
}

fn make_memfds(fetched: &Fetched) -> Result<Vec<Memfd>> {
    let targets = fetched.plan().targets.iter();
    let targets = targets.filter(|target| target.way == Way::Memfd);
    let memfds = targets.map(|target| {
        let content = fetched.value(target).expose().as_bytes();
        Memfd::new(&target.name.to_string_lossy(), content)
    });
    Ok(memfds.collect::<Result<_, _>>()?)
}

/// COMMAND's environment. `memfds` are those of the plan's targets that have one, in order.
fn build_environment(
    env: &Environment,
    fetched: &Fetched,
    memfds: &[Memfd],
    program: &Program,
) -> Result<Vec<CString>> {
    let plan = fetched.plan();
    let mut memfds = memfds.iter();
    let mut assignments = Vec::new();
    for target in &plan.targets {
        let content = match (target.way, memfds.as_slice()) {
            (Way::Memfd, [memfd, ..]) => {
                memfds.next();
                Content::Path(memfd.path())
            }
            _ => {
                let value = fetched.value(target);
                contents::warn_of_line_end(plan, target, &value);
                Content::Secret(value)
            }
        };
        assignments.push(Assignment {
            name: &target.name,
            content,
        });
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

/// `get` and `token`: a value on standard output, with a line end only for somebody who looks at it.
fn hand_over(plan: Plan, env: &Environment, what: &str) -> Result<()> {
    begin(&plan);
    let fetched = obtain(plan, env)?;
    let print = |value: &str| {
        log::hand_over(value).map_err(|error| {
            let message = format!("writing {what} to standard output: {error}");
            Failure::new(Cause::CannotCreate, message)
        })
    };
    match fetched.plan().targets.first() {
        Some(target) => print(fetched.value(target).expose())?,
        None => fetched
            .values
            .iter()
            .try_for_each(|value| print(value.expose()))?,
    }
    Ok(())
}

/// What is said before anything is done.
fn begin(plan: &Plan) {
    if plan.settings.verbose {
        log::set_verbose();
    }
    for name in &plan.unknown {
        log::warning(format!("{name} is not a setting of akv-init"));
    }
    for (setting, why) in &plan.idle {
        log::warning(format!("{setting}: {why}"));
    }
}

/// `exec --dry-run`: the plan, and who would be asked for what.
fn show_exec(exec: &Exec, env: &Environment) -> Result<()> {
    let plan = Plan::exec(exec, env)?;
    begin(&plan);
    let program = exec::find(&exec.command, env)?;
    let path = program.path().display().to_string();
    let path = log::plain(&path);
    let end = match exec.supervision {
        None => format!("become    {path}\n"),
        Some(supervision) => format!("start     {path} ({supervision})\n"),
    };
    show(&plan, env, &end)
}

/// `write --dry-run`: the same. DIR is not looked at: it may be another machine's.
fn show_write(write: &Write, env: &Environment) -> Result<()> {
    let (plan, files) = Plan::write(write, env)?;
    begin(&plan);
    let mut text = String::new();
    for file in &files {
        let path = write.rules.dir.join(Path::new(file.name.as_str()));
        let format = file
            .format
            .map_or("the secret itself", |format| format.name());
        let path = log::plain(&path.display().to_string());
        text.push_str(&format!(
            "write     {path} ({format}, {:04o})\n",
            write.rules.mode
        ));
    }
    show(&plan, env, &text)
}

fn show(plan: &Plan, env: &Environment, end: &str) -> Result<()> {
    let mut text = String::new();
    if !plan.targets.is_empty() {
        let source = Source::select(env, &plan.settings)?;
        text.push_str(&format!("identity  {}\n", source.describe()));
    }
    text.push_str(&plan.to_string());
    text.push_str(end);
    log::print(&text);
    Ok(())
}

/// A panic is a bug of ours, also in a thread. Its message is not printed: it may hold anything.
fn say_where_and_exit(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    log::error(
        Event::new(format!("internal error{place}"))
            .fact("cause", failure::INTERNAL_NAME)
            .fact("code", failure::INTERNAL),
        Some("this is a bug of akv-init: please report it with this line and the version"),
    );
    os::exit_at_once(failure::INTERNAL.into());
}
