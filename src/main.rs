//! akv-init: starts a container's real process with its Azure Key Vault secrets.
//!
//! This file parses the command line, runs the command, reports its error and sets the exit code.

#[path = "os/allocator.rs"]
mod allocator;
mod azure;
mod commands;
mod date;
mod der;
mod error;
mod http;
mod input;
mod log;
mod os;
mod output;
mod request;
mod secret;
mod signals;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::log::{Event, LineFormat};
use crate::request::arguments::Arguments;
use crate::request::cli::{self, Invocation};
use crate::request::environment::Environment;
use crate::request::files::parse_dir;
use crate::request::help;
use crate::request::plan::Plan;

fn main() -> ExitCode {
    allocator::set_failure_hook(report_out_of_memory);
    os::restore_fault_signals();
    std::panic::set_hook(Box::new(report_panic));
    let code = run().unwrap_or_else(|error| {
        report(&error);
        error.cause.exit_code()
    });
    signals::kill_child_groups();
    ExitCode::from(code)
}

/// Runs the command. Returns the exit code: that of the report for `check`, that of COMMAND with `--init`, and
/// otherwise 0.
fn run() -> Result<u8, Error> {
    let env = Environment::new(os::environ());
    set_log_format_of_environment(&env);
    let arguments = match cli::parse(std::env::args_os().skip(1).collect(), &env)? {
        Invocation::Command(arguments) => arguments,
        Invocation::Help(command) => {
            log::print(&help::help(command))?;
            return Ok(0);
        }
        Invocation::Version => {
            log::print(concat!("akv-init ", env!("AKV_INIT_VERSION"), "\n"))?;
            return Ok(0);
        }
    };
    set_log_format(&arguments)?;
    if arguments.flag("--quiet")? {
        log::set_quiet();
    }
    let lives_on = match arguments.command {
        "check" => true,
        "exec" => arguments.is_set("--init"),
        _ => arguments.has("--every"),
    };
    if lives_on {
        allocator::disable_arenas();
    }
    match (arguments.command, arguments.has("--dry-run")) {
        ("check", _) => return commands::check::run(&arguments),
        ("exec", false) => return commands::exec::run(&arguments),
        ("exec", true) => commands::dry_run::exec(&arguments)?,
        ("get", _) => commands::print_value(Plan::for_get(&arguments)?, &env, "the secret")?,
        ("install", _) => output::directory::install(&parse_dir(&arguments)?)?,
        ("token", _) => {
            commands::print_value(Plan::for_token(&arguments)?, &env, "the access token")?
        }
        (_, false) if arguments.has("--every") => return commands::every::run(&arguments),
        (_, false) => commands::write::run(&arguments)?,
        (_, true) => commands::dry_run::write(&arguments)?,
    }
    Ok(0)
}

/// Sets the log format that `AKV_INIT_LOG_FORMAT` names, for errors in the command line. A malformed value is ignored
/// here: [`set_log_format`] reports it, unless `--log-format` is given.
fn set_log_format_of_environment(env: &Environment) {
    let name = env.setting("AKV_INIT_LOG_FORMAT").ok().flatten();
    let format = LineFormat::CHOICES
        .iter()
        .find(|(known, _)| Some(*known) == name);
    if let Some((_, format)) = format {
        log::set_format(*format);
    }
}

/// Sets the format that `--log-format` or its variable names, otherwise the default.
fn set_log_format(arguments: &Arguments<'_>) -> Result<(), Error> {
    let format = arguments.choice("--log-format", &LineFormat::CHOICES)?;
    log::set_format(format.unwrap_or_default());
    Ok(())
}

/// Writes the error that the command has failed with.
fn report(error: &Error) {
    let event = Event::about(error, error.to_string());
    log::error(event, error.hint.as_deref());
}

/// Reports a panic of any thread, which is a bug, and ends the process. The panic's message is not printed: it may
/// contain a secret.
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let location = panic.location().map_or_else(String::new, |location| {
        format!(" at {}:{}", location.file(), location.line())
    });
    let error = Error::new(Cause::Internal, format!("internal error{location}"))
        .hint("this is a bug of akv-init: please report it with this line and the version");
    report(&error);
    exit_in_any_thread(Cause::Internal)
}

/// Reports that there is no memory, and ends the process. A limit on the address space (ulimit -v) leads here; that of a
/// container leads to the kernel's OOM killer. Not by [`report`]: an [`Error`] takes memory.
fn report_out_of_memory() -> ! {
    static IS_REPORTED: AtomicBool = AtomicBool::new(false);
    // Several threads run out of memory at once. The first one is about to end the process.
    while IS_REPORTED.swap(true, Ordering::Relaxed) {
        thread::sleep(Duration::MAX);
    }
    log::error_without_memory(
        Cause::Unavailable,
        "out of memory",
        "raise the limit on memory: the container's, or that on the address space (ulimit -v)",
    );
    exit_in_any_thread(Cause::Unavailable)
}

/// Ends the process, whatever its threads do and whichever locks they hold.
fn exit_in_any_thread(cause: Cause) -> ! {
    signals::try_kill_child_groups();
    os::exit_at_once(cause.exit_code().into())
}
