//! `akv-init exec`: becomes COMMAND with its secrets, or supervises a child that does.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};

use super::shared::{announce, fetch, warn_of_newline};
use crate::error::Error;
use crate::os;
use crate::output::memfd;
use crate::output::process;
use crate::output::supervisor::{self, Role};
use crate::request::arguments::Arguments;
use crate::request::environment::{self, Environment};
use crate::request::plan::Plan;
use crate::request::supervision::Supervision;
use crate::request::value::Value;

/// Becomes COMMAND, or with `--init` supervises it to its end. The exit code is COMMAND's.
pub fn run(arguments: &Arguments<'_>) -> Result<u8, Error> {
    let supervision = Supervision::parse(arguments)?;
    let plan = Plan::exec(arguments, &mut Err)?;
    let Some(supervision) = supervision else {
        match become_command(plan, &arguments.words, arguments.env)? {}
    };
    match supervisor::supervise(supervision)? {
        Role::Parent(code) => Ok(code),
        Role::Child { parent } => {
            let env = arguments.env.handed_on(parent, std::process::id());
            match become_command(plan, &arguments.words, &env)? {}
        }
    }
}

/// Becomes COMMAND, with its secrets.
fn become_command(
    plan: Plan,
    command: &[OsString],
    env: &Environment,
) -> Result<Infallible, Error> {
    announce(&plan);
    let program = process::find(command, env)?;
    if plan.targets.is_empty() {
        return program.replace_process(&env.child(&[], &plan.unset)?);
    }
    let in_memfds = plan.targets.iter().filter(|target| target.in_memfd);
    memfd::preflight(in_memfds.count())?;
    let fetched = fetch(plan, env)?;
    let plan = fetched.plan();
    let paths = plan.targets.iter().map(|target| match target.in_memfd {
        true => {
            let content = fetched.value(target).expose().as_bytes();
            memfd::create(&target.name.to_string_lossy(), content).map(Some)
        }
        false => Ok(None),
    });
    let paths: Vec<Option<String>> = paths.collect::<Result<_, Error>>()?;
    let targets = plan.targets.iter().zip(&paths);
    let assignments = targets.map(|(target, path)| {
        let value = match path {
            Some(path) => Value::path(path),
            None => fetched.value(target),
        };
        warn_of_newline(plan, target, &value);
        (target.name.as_os_str(), value)
    });
    let assignments: Vec<(&OsStr, Value<'_>)> = assignments.collect();
    let environment = env.child(&assignments, &plan.unset)?;
    let (path, argv, stack) = (&program.path, &program.argv, os::stack_limit());
    environment::check_total(path, argv, &environment, stack, &assignments)?;
    program.replace_process(&environment)
}
