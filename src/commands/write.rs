//! `akv-init write`: writes secrets to files in a directory.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::shared::{enable_verbose_and_warn, fetch, warn_of_value};
use crate::azure::fetch::FetchedPlan;
use crate::date;
use crate::error::Error;
use crate::log::{self, Event};
use crate::output::directory::{self, Manifest, WriteRequest};
use crate::output::formats;
use crate::request::arguments::Arguments;
use crate::request::files::{PlannedFile, WriteOptions};
use crate::request::plan::{Plan, Target};
use crate::secret::{Secret, SecretBytes};
use crate::signals;

/// Fetches the secrets and writes the files. With `--keep-existing`, leaves the files of an earlier run as they are if
/// Azure cannot be reached.
pub fn run(arguments: &Arguments<'_>) -> Result<(), Error> {
    let options = WriteOptions::parse(arguments)?;
    let (plan, files) = Plan::for_write(arguments)?;
    enable_verbose_and_warn(&plan);
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let dir_id = directory::check_before_fetch(&options, &paths)?;
    // To remove the file of a secret that was deleted, a later run has to know which files are its own.
    let has_optional = plan.targets.iter().any(Target::is_optional);
    let mut manifest = match options.keep_existing.is_some() || has_optional {
        true => build_manifest(&plan, &files),
        false => None,
    };
    let fetched = match fetch(plan, arguments.env) {
        Ok(fetched) => fetched,
        Err(error) => return directory::keep_existing(&options, manifest.as_ref(), error),
    };
    let contents = render_files(&files, &fetched)?;
    let mut missing = Vec::new();
    let mut files = Vec::new();
    for (path, content) in paths.into_iter().zip(&contents) {
        match content {
            None => missing.push(path),
            Some(content) => files.push(directory::OutputFile {
                path,
                content: content.expose(),
                mode: options.mode,
            }),
        }
    }
    if let Some(manifest) = &mut manifest {
        missing.iter().for_each(|path| manifest.set_missing(path));
    }
    let request = WriteRequest {
        options: &options,
        files: &files,
        missing: &missing,
        manifest: manifest.as_ref(),
    };
    let written = directory::write(&dir_id, &request)?;
    let summary = summary(&request, written);
    // The summary looks at a file of DIR, and a signal may have arrived by then.
    signals::exit_if_pending();
    log::info(summary);
    Ok(())
}

/// What was done, with the mode and the owner that the first file has by now. `written` is the number of files that
/// were not up to date.
fn summary(request: &WriteRequest<'_>, written: usize) -> Event {
    let dir = &request.options.dir;
    let count = request.files.len();
    let noun = if count == 1 { "file" } else { "files" };
    let shown = dir.display();
    let text = match written {
        0 => format!("unchanged: {count} {noun} in {shown}"),
        _ if written == count => format!("wrote {count} {noun} to {shown}"),
        _ => format!("wrote {written} of {count} {noun} to {shown}"),
    };
    let first = request.files.first().map(|file| dir.join(file.path));
    let Some(file) = first.and_then(|path| fs::metadata(path).ok()) else {
        return Event::new(text);
    };
    let (mode, uid, gid) = (
        format!("{:04o}", file.mode() & 0o7777),
        file.uid(),
        file.gid(),
    );
    Event::new(format!("{text} (mode {mode}, {uid}:{gid})"))
        .fact("dir", dir.to_string_lossy())
        .fact("files", count)
        .fact("written", written)
        .fact("mode", mode)
        .fact("uid", uid)
        .fact("gid", gid)
}

/// The content of each file, in the order of `files`; `None` if there is no secret for it.
fn render_files(
    files: &[PlannedFile],
    fetched: &FetchedPlan,
) -> Result<Vec<Option<SecretBytes>>, Error> {
    let plan = fetched.plan();
    let mut contents = Vec::new();
    for file in files {
        let entries = file.target_indices.iter().filter_map(|index| {
            let name = plan.targets[*index].name.to_str().unwrap_or_default();
            Some((name, fetched.values[*index].value.as_ref()?.expose()))
        });
        let entries: Vec<(&str, &[u8])> = entries.collect();
        contents.push(match file.format {
            None => entries
                .first()
                .map(|(_, value)| Secret::new(value.to_vec())),
            Some(format) => {
                let rendered = formats::render(format, &entries);
                Some(rendered.map_err(|error| error.context(format!("`{}`", file.path)))?)
            }
        });
    }
    // After rendering, so that a refused value gets no warning.
    let are_plain = files.iter().all(|file| file.format.is_none());
    for (target, value) in plan.targets.iter().zip(&fetched.values) {
        warn_of_value(target, value, are_plain);
    }
    Ok(contents)
}

/// What a later run needs to know to keep these files if Azure cannot be reached; `None` if one of them contains an
/// access token: tokens expire, so such files are not kept.
fn build_manifest(plan: &Plan, files: &[PlannedFile]) -> Option<Manifest> {
    let mut manifest = Manifest::default();
    for file in files {
        let mut references = Vec::new();
        for index in &file.target_indices {
            let target = &plan.targets[*index];
            let name = target.name.to_string_lossy().into_owned();
            references.push((name, plan.source_of(target)?));
        }
        let format = file.format.map_or("file", |format| format.name());
        manifest.insert(&file.path, format, references, date::unix_now());
    }
    Some(manifest)
}
