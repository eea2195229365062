//! The files of `write`: what `--secret` names, with `--from-env` the references of the environment; then what each
//! `--output` makes of them.

use super::{Delivery, Plan, references_of};
use crate::error::{Cause, Error};
use crate::request::cli::Write;
use crate::request::environment::{Environment, check_reserved};
use crate::request::files::{FileName, Output, PlannedFile, check_collisions};
use crate::request::format::Format;

use super::vaults::Vaults;

/// Adds their secrets to the plan; the files, or why one of them cannot be.
pub fn add(
    plan: &mut Plan,
    write: &Write,
    env: &Environment,
    vaults: &Vaults,
) -> Result<Vec<PlannedFile>, Error> {
    plan.note_literals(&write.literal, env);
    if write.from_env {
        for (name, reference) in references_of(env, &|name| {
            write.literal.iter().any(|literal| literal == name)
        })? {
            let shown = name.to_string_lossy().into_owned();
            // What is not UTF-8 is not the name of a file that anybody could ask for.
            let name = name.into_string().map_err(|_| {
                Error::new(Cause::Config, "the name is not UTF-8").context(shown.as_str())
            })?;
            plan.add(name.into(), Delivery::File, &reference, vaults)
                .map_err(|error| error.context(shown.as_str()).fact("for", &shown))?;
        }
    }
    for (name, reference) in &write.common.secrets {
        if plan.has(name) {
            return Err(Error::new(
                Cause::Config,
                format!("{name}: it is given twice"),
            ));
        }
        plan.add(name.into(), Delivery::File, reference, vaults)
            .map_err(|error| error.context(name))?;
    }
    if plan.targets.is_empty() {
        return Err(Error::new(
            Cause::Config,
            "--from-env: no variable of the environment is a reference",
        )
        .hint("set one in the manifest, such as DB_PASSWORD: akv://VAULT/NAME, or name files with --secret"));
    }
    let files = files_of(plan, &write.outputs)?;
    check_collisions(&files)?;
    Ok(files)
}

fn files_of(plan: &Plan, outputs: &[Output]) -> Result<Vec<PlannedFile>, Error> {
    let names = plan
        .targets
        .iter()
        .map(|target| target.name.to_string_lossy());
    let mut files = Vec::new();
    for output in outputs {
        match output {
            Output::Files => {
                for (index, name) in names.clone().enumerate() {
                    files.push(PlannedFile {
                        name: FileName::parse(&name)?,
                        format: None,
                        targets: vec![index],
                    });
                }
            }
            Output::Bundle(format, file) => {
                for name in names.clone() {
                    format.check_name(&name)?;
                    if *format != Format::Json {
                        check_reserved(&name)?;
                    }
                }
                files.push(PlannedFile {
                    name: file.clone(),
                    format: Some(*format),
                    targets: (0..plan.targets.len()).collect(),
                });
            }
        }
    }
    Ok(files)
}
