//! `akv-init exec`: becomes COMMAND with its secrets, or supervises a child that does.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};

use super::shared::{announce, fetch, warn_of_line_end};
use crate::azure::fetch::Fetched;
use crate::error::Error;
use crate::os;
use crate::output::memfd::{self, Memfd};
use crate::output::process::{self, Program};
use crate::output::supervisor::{self, Role};
use crate::request::arguments::Arguments;
use crate::request::environment::{self, Environment};
use crate::request::plan::{Delivery, Plan};
use crate::request::supervision::Supervision;
use crate::request::value::Value;

/// Becomes COMMAND, or with `--init` supervises it to its end. The exit code is COMMAND's.
pub fn run(arguments: &Arguments<'_>) -> Result<u8, Error> {
    let supervision = Supervision::parse(arguments)?;
    let plan = Plan::exec(arguments)?;
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
    let in_memfds = plan
        .targets
        .iter()
        .filter(|target| target.delivery == Delivery::Memfd);
    memfd::preflight(in_memfds.count())?;
    let fetched = fetch(plan, env)?;
    let memfds = make_memfds(&fetched)?;
    let environment = build_environment(env, &fetched, &memfds, &program)?;
    for memfd in &memfds {
        memfd.make_inheritable()?;
    }
    program.replace_process(&environment)
}

fn make_memfds(fetched: &Fetched) -> Result<Vec<Memfd>, Error> {
    let targets = fetched.plan().targets.iter();
    let targets = targets.filter(|target| target.delivery == Delivery::Memfd);
    let memfds = targets.map(|target| {
        let content = fetched.value(target).expose().as_bytes();
        Memfd::new(&target.name.to_string_lossy(), content)
    });
    memfds.collect()
}

/// COMMAND's environment. `memfds` are those of the plan's targets that have one, in order.
fn build_environment(
    env: &Environment,
    fetched: &Fetched,
    memfds: &[Memfd],
    program: &Program,
) -> Result<Vec<CString>, Error> {
    let plan = fetched.plan();
    let paths: Vec<String> = memfds.iter().map(Memfd::path).collect();
    let mut paths = paths.iter();
    let assignments: Vec<(&OsStr, Value<'_>)> = plan
        .targets
        .iter()
        .map(|target| {
            let value = match target.delivery {
                Delivery::Memfd => Value::path(paths.next().expect("one for each such target")),
                _ => fetched.value(target),
            };
            warn_of_line_end(plan, target, &value);
            (target.name.as_os_str(), value)
        })
        .collect();
    let environment = env.child(&assignments, &plan.unset)?;
    let names: Vec<&OsStr> = plan
        .targets
        .iter()
        .map(|target| target.name.as_os_str())
        .collect();
    environment::check_total(
        program.path(),
        program.argv(),
        &environment,
        os::stack_limit(),
        &names,
    )?;
    Ok(environment)
}
