//! `--dry-run`: prints the plan, without any request or change.

use super::shared::enable_verbose_and_warn;
use crate::azure::identity;
use crate::error::Error;
use crate::log;
use crate::output::process;
use crate::request::arguments::Arguments;
use crate::request::environment::Environment;
use crate::request::files::WriteOptions;
use crate::request::format::FileFormat;
use crate::request::plan::Plan;
use crate::request::supervision::Supervision;

/// Does `exec --dry-run`: finds COMMAND but does not start it.
pub fn exec(arguments: &Arguments<'_>) -> Result<(), Error> {
    let supervision = Supervision::parse(arguments)?;
    let plan = Plan::for_exec(arguments, &mut Err)?;
    enable_verbose_and_warn(&plan);
    let program = process::find_program(&arguments.operands, arguments.env)?;
    let path = log::to_single_line(&program.path.display().to_string());
    let last_line = match supervision {
        None => format!("exec      {path}\n"),
        Some(supervision) => format!("start     {path} ({supervision})\n"),
    };
    print_plan(&plan, arguments.env, &last_line)
}

/// Does `write --dry-run`. DIR is not opened, since the plan may be for another machine.
pub fn write(arguments: &Arguments<'_>) -> Result<(), Error> {
    let options = WriteOptions::parse(arguments)?;
    let (plan, files) = Plan::for_write(arguments)?;
    enable_verbose_and_warn(&plan);
    let mut last_lines = String::new();
    for file in &files {
        let path = options.dir.join(&file.path);
        let path = log::to_single_line(&path.display().to_string());
        let format = file
            .format
            .map_or("the secret value only", FileFormat::name);
        let mode = options.mode;
        last_lines.push_str(&format!("write     {path} ({format}, {mode:04o})\n"));
    }
    print_plan(&plan, arguments.env, &last_lines)
}

/// Prints the identity and the plan, and then what the command would do.
fn print_plan(plan: &Plan, env: &Environment, last_lines: &str) -> Result<(), Error> {
    let mut text = String::new();
    if !plan.targets.is_empty() {
        let source = identity::select(env, &plan.settings)?.source;
        text.push_str(&format!("identity  {}\n", source.describe()));
    }
    text.push_str(&plan.to_string());
    text.push_str(last_lines);
    log::print(&text);
    Ok(())
}
