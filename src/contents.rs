//! From what was fetched to what the files hold, and what a later run may know of it.

use crate::failure::Failure;
use crate::fetch::Fetched;
use crate::files::Manifest;
use crate::plan::{Item, Plan, Target};
use crate::secret::{Secret, Value};
use crate::volume::PlannedFile;
use crate::{date, log};

/// What each file will hold.
pub fn render(files: &[PlannedFile], fetched: &Fetched) -> Result<Vec<Secret>, Failure> {
    let plan = fetched.plan();
    let mut contents = Vec::new();
    for file in files {
        let targets = file.targets.iter().map(|index| &plan.targets[*index]);
        let values: Vec<(&str, Value<'_>)> = targets
            .map(|target| {
                let name = target.name.to_str().unwrap_or_default();
                (name, fetched.value(target))
            })
            .collect();
        contents.push(match file.format {
            None => Secret::new(values.iter().map(|(_, value)| value.expose()).collect()),
            Some(format) => {
                let entries: Vec<(&str, &str)> = values
                    .iter()
                    .map(|(name, value)| (*name, value.expose()))
                    .collect();
                format
                    .render(&entries)
                    .map_err(|failure| failure.about(&format!("`{}`", file.name)))?
            }
        });
    }
    // Not before: of a value that was refused, nothing is said. A file of its own usually ends in a line end, and those
    // who read one take that off.
    if files.iter().any(|file| file.format.is_some()) {
        for target in &plan.targets {
            warn_of_line_end(plan, target, &fetched.value(target));
        }
    }
    Ok(contents)
}

/// What a later run has to know to keep these files; none where one of them holds an access token, which ends.
pub fn describe(plan: &Plan, files: &[PlannedFile]) -> Option<Manifest> {
    let mut manifest = Manifest::default();
    for file in files {
        let mut references = Vec::new();
        for index in &file.targets {
            let target = &plan.targets[*index];
            let name = target.name.to_string_lossy().into_owned();
            references.push((name, plan.reference_of(target)?));
        }
        let format = file.format.map_or("file", |format| format.name());
        manifest.put(file.name.as_str(), format, references, date::now());
    }
    Some(manifest)
}

/// A line end at the end of a password is hardly ever meant.
pub fn warn_of_line_end(plan: &Plan, target: &Target, value: &Value<'_>) {
    if value.ends_in_line_end()
        && let Item::Secret(secret) = &plan.items[target.item]
    {
        let mut reference = secret.reference();
        reference.trim = true;
        log::warning(format!(
            "{}: the secret ends in a line end, which becomes part of the value; to drop it, write {reference}",
            target.name.display()
        ));
    }
}
