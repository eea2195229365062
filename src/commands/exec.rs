//! `akv-init exec`: replaces this process, or with `--init` a child, with COMMAND, which gets the secrets.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};

use super::shared::{enable_verbose_and_warn, fetch, warn_of_value};
use crate::error::Error;
use crate::log;
use crate::os;
use crate::output::memfd;
use crate::output::process;
use crate::output::supervisor::{self, Role};
use crate::request::arguments::Arguments;
use crate::request::environment::{self, Environment};
use crate::request::plan::Plan;
use crate::request::supervision::Supervision;
use crate::secret::{Secret, SecretBytes};

/// Replaces this process with COMMAND; with `--init`, supervises COMMAND until its last process has ended, and returns
/// the exit code of COMMAND.
pub fn run(arguments: &Arguments<'_>) -> Result<u8, Error> {
    let supervision = Supervision::parse(arguments)?;
    let plan = Plan::for_exec(arguments, &mut Err)?;
    let Some(supervision) = supervision else {
        match replace_with_command(plan, &arguments.operands, arguments.env)? {}
    };
    match supervisor::supervise(supervision)? {
        Role::Supervisor { exit_code } => Ok(exit_code),
        Role::Child { parent_pid } => {
            let env = arguments
                .env
                .with_pid_replaced(parent_pid, std::process::id());
            match replace_with_command(plan, &arguments.operands, &env)? {}
        }
    }
}

/// Fetches the secrets and replaces this process with COMMAND.
fn replace_with_command(
    plan: Plan,
    command: &[OsString],
    env: &Environment,
) -> Result<Infallible, Error> {
    enable_verbose_and_warn(&plan);
    let program = process::find_program(command, env)?;
    if plan.items.is_empty() {
        log::debug(|| "no references: COMMAND is started without secrets".to_owned());
        return program.replace_process(&env.for_command(&[], &plan.unset)?);
    }
    memfd::check_before_fetch(plan.memfd_count())?;
    let fetched = fetch(plan, env)?;
    let plan = &fetched.plan;
    let targets = || plan.targets.iter().zip(&fetched.values);
    let memfd_paths = targets().map(|(target, fetched)| match &fetched.value {
        Some(value) if target.in_memfd => {
            let name = target.name.to_string_lossy();
            let path = memfd::create(&name, value.expose(), plan.memfd_mode)?;
            Ok(Some(Secret::new(path.into_bytes())))
        }
        _ => Ok(None),
    });
    let memfd_paths: Vec<Option<SecretBytes>> = memfd_paths.collect::<Result<_, Error>>()?;
    let assignments = targets().zip(&memfd_paths);
    // The variable of a target that is left out holds a reference, which must not become a password.
    let mut unset = plan.unset.clone();
    let assignments = assignments.filter_map(|((target, fetched), memfd_path)| {
        warn_of_value(target, fetched, target.in_memfd);
        let value = memfd_path.as_ref().or(fetched.value.as_ref());
        if value.is_none() {
            unset.push(target.name.clone());
        }
        Some((target.name.as_os_str(), value?))
    });
    let assignments: Vec<(&OsStr, &SecretBytes)> = assignments.collect();
    let environment = env.for_command(&assignments, &unset)?;
    let (path, argv, stack_limit) = (&program.path, &program.argv, os::stack_limit());
    let targets = plan.all_target_names();
    environment::check_exec_size(path, argv, &environment, stack_limit, &targets)?;
    program.replace_process(&environment)
}
