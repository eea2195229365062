//! `akv-init write`: puts secrets into the files of a directory.

use super::shared::{announce, fetch, warn_of_newline};
use crate::azure::fetch::FetchedPlan;
use crate::date;
use crate::error::Error;
use crate::output::directory::{self, Manifest, WriteRequest};
use crate::output::formats;
use crate::request::arguments::Arguments;
use crate::request::files::{PlannedFile, WriteOptions};
use crate::request::plan::Plan;
use crate::secret::Secret;

/// Fetches the secrets and writes the files, or keeps those of an earlier run while Azure cannot be reached.
pub fn run(arguments: &Arguments<'_>) -> Result<(), Error> {
    let options = WriteOptions::parse(arguments)?;
    let (plan, files) = Plan::write(arguments)?;
    announce(&plan);
    let paths: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let preflighted = directory::preflight(&options, &paths)?;
    let manifest = options.keep.and_then(|_| describe(&plan, &files));
    let fetched = match fetch(plan, arguments.env) {
        Ok(fetched) => fetched,
        Err(error) => return directory::keep(&options, manifest.as_ref(), error),
    };
    let contents = render(&files, &fetched)?;
    let files: Vec<directory::File<'_>> = paths
        .into_iter()
        .zip(&contents)
        .map(|(path, content)| directory::File {
            path,
            content: content.expose().as_bytes(),
            mode: options.mode,
        })
        .collect();
    let request = WriteRequest {
        options: &options,
        files: &files,
        manifest: manifest.as_ref(),
    };
    directory::write(&preflighted, &request)
}

/// What each file will hold.
fn render(files: &[PlannedFile], fetched: &FetchedPlan) -> Result<Vec<Secret>, Error> {
    let plan = fetched.plan();
    let mut contents = Vec::new();
    for file in files {
        let targets = file.targets.iter().map(|index| &plan.targets[*index]);
        let entries = targets.map(|target| {
            let name = target.name.to_str().unwrap_or_default();
            (name, fetched.value(target).expose())
        });
        let entries: Vec<(&str, &str)> = entries.collect();
        contents.push(match file.format {
            None => Secret::new(entries.iter().map(|(_, value)| *value).collect()),
            Some(format) => formats::render(format, &entries)
                .map_err(|error| error.context(format!("`{}`", file.name)))?,
        });
    }
    // After rendering, so that a refused value gets no warning. A file of its own gets none either: programs that read
    // a secret from a file remove a newline.
    if files.iter().any(|file| file.format.is_some()) {
        for target in &plan.targets {
            warn_of_newline(plan, target, &fetched.value(target));
        }
    }
    Ok(contents)
}

/// What a later run has to know to keep these files; none where one of them holds an access token, which ends.
fn describe(plan: &Plan, files: &[PlannedFile]) -> Option<Manifest> {
    let mut manifest = Manifest::default();
    for file in files {
        let mut references = Vec::new();
        for index in &file.targets {
            let target = &plan.targets[*index];
            let name = target.name.to_string_lossy().into_owned();
            references.push((name, plan.reference_of(target)?));
        }
        let format = file.format.map_or("file", |format| format.name());
        manifest.insert(&file.name, format, references, date::now());
    }
    Some(manifest)
}
