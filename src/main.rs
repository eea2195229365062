//! akv-init: starts a container's real process with its Azure Key Vault secrets.
//!
//! Parse the command line, run the command, report the error, exit.

mod azure;
mod commands;
mod date;
mod error;
mod http;
mod log;
mod os;
mod output;
mod request;
mod secret;
mod signals;

use std::process::ExitCode;

use crate::error::{Cause, Error};
use crate::log::Event;
use crate::request::cli::{self, Action};
use crate::request::environment::Environment;
use crate::request::{help, options};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_panic));
    let result = run();
    signals::kill_groups();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(error.cause.exit_code())
        }
    }
}

/// Runs the command. The exit code is 0, that of `check`, or COMMAND's with `--init`.
fn run() -> Result<u8, Error> {
    let env = Environment::new(os::environ());
    log::set_format(options::log_format(None, &env).unwrap_or_default());
    let action = cli::parse(std::env::args_os().skip(1).collect())?;
    if !matches!(action, Action::Help(_) | Action::Version) {
        log::set_format(options::log_format(action.log_format(), &env)?);
    }
    match action {
        Action::Check(check) => return commands::check::run(&check, &env),
        Action::Exec(exec) if exec.dry_run => commands::dry_run::exec(&exec, &env)?,
        Action::Exec(exec) => return commands::exec::run(&exec, env),
        Action::Get(get) => commands::get::run(&get, &env)?,
        Action::Help(command) => log::print(&help::help(command)),
        Action::Install(install) => commands::install::run(&install)?,
        Action::Token(token) => commands::token::run(&token, &env)?,
        Action::Version => log::print(concat!("akv-init ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Write(write) if write.dry_run => commands::dry_run::write(&write, &env)?,
        Action::Write(write) => commands::write::run(&write, &env)?,
    }
    Ok(0)
}

fn report(error: &Error) {
    let mut event = Event::new(error.to_string())
        .fact("cause", error.cause.name())
        .fact("code", error.cause.exit_code());
    for (name, value) in &error.facts {
        event = event.fact(name, value.as_str());
    }
    log::error(event, error.hint.as_deref());
}

/// A panic is a bug, in any thread. Its message is not printed: it may hold anything.
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let location = panic
        .location()
        .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let error = Error::new(Cause::Internal, format!("internal error{location}"))
        .hint("this is a bug of akv-init: please report it with this line and the version");
    report(&error);
    os::exit_at_once(Cause::Internal.exit_code().into());
}
