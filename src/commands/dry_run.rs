//! `--dry-run`: prints the plan, without any request or change.

use std::path::Path;

use super::shared::announce;
use crate::azure::identity;
use crate::error::Error;
use crate::log;
use crate::output::process;
use crate::request::cli::{Exec, Write};
use crate::request::environment::Environment;
use crate::request::plan::Plan;

/// `exec --dry-run`.
pub fn exec(exec: &Exec, env: &Environment) -> Result<(), Error> {
    let plan = Plan::exec(exec, env)?;
    announce(&plan);
    let program = process::find(&exec.command, env)?;
    let path = log::plain(&program.path().display().to_string());
    let end = match exec.supervision {
        None => format!("become    {path}\n"),
        Some(supervision) => format!("start     {path} ({supervision})\n"),
    };
    show(&plan, env, &end)
}

/// `write --dry-run`. DIR is not opened: it may be another machine's.
pub fn write(write: &Write, env: &Environment) -> Result<(), Error> {
    let (plan, files) = Plan::write(write, env)?;
    announce(&plan);
    let mut text = String::new();
    for file in &files {
        let path = write.options.dir.join(Path::new(file.name.as_str()));
        let format = file
            .format
            .map_or("the secret itself", |format| format.name());
        let path = log::plain(&path.display().to_string());
        text.push_str(&format!(
            "write     {path} ({format}, {:04o})\n",
            write.options.mode
        ));
    }
    show(&plan, env, &text)
}

fn show(plan: &Plan, env: &Environment, end: &str) -> Result<(), Error> {
    let mut text = String::new();
    if !plan.targets.is_empty() {
        let source = identity::select(env, &plan.settings)?.source;
        text.push_str(&format!("identity  {}\n", source.describe()));
    }
    text.push_str(&plan.to_string());
    text.push_str(end);
    log::print(&text);
    Ok(())
}
