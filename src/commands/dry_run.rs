//! `--dry-run`: prints the plan, without any request or change.

use super::shared::enable_verbose_and_warn;
use crate::azure::identity;
use crate::error::Error;
use crate::log;
use crate::output::process;
use crate::request::arguments::Arguments;
use crate::request::environment::Environment;
use crate::request::expansion::Expansion;
use crate::request::files::{Output, WriteOptions};
use crate::request::format::FileFormat;
use crate::request::plan::Plan;
use crate::request::supervision::Supervision;

/// Does `exec --dry-run`: finds COMMAND but does not start it.
pub fn exec(arguments: &Arguments<'_>) -> Result<(), Error> {
    let supervision = Supervision::parse(arguments)?;
    let plan = Plan::for_exec(arguments, &mut Err)?;
    enable_verbose_and_warn(&plan);
    let program = process::find_program(&arguments.operands, arguments.env)?;
    let path = program.path.display();
    let last_line = match supervision {
        None => format!("exec      {path}"),
        Some(supervision) => format!("start     {path} ({supervision})"),
    };
    print_plan(&plan, arguments.env, vec![last_line])
}

/// Does `write --dry-run`. DIR is not opened, since the plan may be for another machine.
pub fn write(arguments: &Arguments<'_>) -> Result<(), Error> {
    let options = WriteOptions::parse(arguments)?;
    let (plan, files) = Plan::for_write(arguments)?;
    enable_verbose_and_warn(&plan);
    let mut last_lines = Vec::new();
    if let Some(interval) = options.every {
        let seconds = interval.as_secs();
        last_lines.push(format!("every     {seconds} s, 10 % more or less"));
        last_lines.extend(plan.pinned_targets().map(|name| {
            format!("note      {name} never changes: a version in a reference is always the same")
        }));
    }
    let mut paths: Vec<(String, Option<FileFormat>)> = Vec::new();
    paths.extend(files.into_iter().map(|file| (file.path, file.format)));
    if plan.name_rules.outputs.contains(&Output::Files) {
        let prefixes = plan.expansions.iter().map(Expansion::prefix);
        paths.extend(prefixes.map(|prefix| (format!("{prefix}…"), None)));
    }
    last_lines.extend(paths.into_iter().map(|(path, format)| {
        let path = options.dir.join(path);
        let format = format.map_or("the secret value only", FileFormat::name);
        let mode = options.mode;
        format!("write     {} ({format}, {mode:04o})", path.display())
    }));
    print_plan(&plan, arguments.env, last_lines)
}

/// Prints the identity and the plan, and then what the command would do.
fn print_plan(plan: &Plan, env: &Environment, last_lines: Vec<String>) -> Result<(), Error> {
    let mut lines = Vec::new();
    if !plan.items.is_empty() {
        let source = identity::select(env, &plan.settings)?.source;
        lines.push(format!("identity  {}", source.describe()));
    }
    lines.extend(plan.lines());
    lines.extend(last_lines);
    log::print_lines(&lines)
}
