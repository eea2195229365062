//! `akv-init write`: writes secrets to files in a directory.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::shared::{enable_verbose_and_warn, fetch_with_tokens, warn_of_value};
use crate::azure::fetch::FetchedPlan;
use crate::azure::identity::KnownTokens;
use crate::date;
use crate::error::Error;
use crate::log::{self, Event};
use crate::output::directory::{self, Manifest, WriteRequest, Written};
use crate::output::formats;
use crate::request::arguments::Arguments;
use crate::request::environment::Environment;
use crate::request::files::{PlannedFile, WriteOptions};
use crate::request::plan::Plan;
use crate::request::target::Target;
use crate::secret::{Secret, SecretBytes};
use crate::signals;

/// Fetches the secrets and writes the files. With `--keep-existing`, leaves the files of an earlier run as they are if
/// Azure cannot be reached.
pub fn run(arguments: &Arguments<'_>) -> Result<(), Error> {
    if let Some(done) = WriteJob::parse(arguments)?.run(Vec::new())? {
        log::outcome(done.summary);
    }
    Ok(())
}

/// What to fetch, and the files to write.
pub struct WriteJob<'a> {
    /// Where the files are, and how they are written.
    pub options: WriteOptions,
    plan: Plan,
    files: Vec<PlannedFile>,
    env: &'a Environment,
}

/// What a [`WriteJob`] has done.
pub struct Done {
    /// The number of files, of those that were not up to date, and of those that were removed.
    pub summary: Event,
    /// Whether a file was written or removed.
    pub is_change: bool,
    /// The access tokens that were used.
    pub tokens: KnownTokens,
}

impl<'a> WriteJob<'a> {
    /// Parses the options of `write`, and warns of what is in them.
    pub fn parse(arguments: &Arguments<'a>) -> Result<WriteJob<'a>, Error> {
        let options = WriteOptions::parse(arguments)?;
        let (plan, files) = Plan::for_write(arguments)?;
        enable_verbose_and_warn(&plan);
        Ok(WriteJob {
            options,
            plan,
            files,
            env: arguments.env,
        })
    }

    /// When, in Unix seconds, an earlier run has written all the files from the same references; `None` if none has, or if
    /// only the vault knows which files these are.
    pub fn written_at(&self) -> Option<i64> {
        if !self.plan.expansions.is_empty() {
            return None;
        }
        let manifest = build_manifest(&self.plan, &self.files);
        directory::oldest_written(&self.options, &manifest).ok()?
    }

    /// Does the job. `tokens` are access tokens of an earlier one. With `--keep-existing`, `None` if the files of an
    /// earlier run stay as they are, since Azure cannot be reached.
    pub fn run(self, tokens: KnownTokens) -> Result<Option<Done>, Error> {
        let WriteJob {
            options,
            plan,
            files,
            env,
        } = self;
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let dir_id = directory::check_before_fetch(&options, &paths)?;
        // Tokens expire, so files that contain one are not kept.
        let may_keep = options.every.is_some() || !plan.has_tokens();
        // To remove the file of a secret that was deleted, a later run has to know which files are its own.
        let has_optional = plan.targets.iter().any(Target::is_optional);
        let is_needed = has_optional || may_keep && options.keeps_manifest();
        let mut manifest = is_needed.then(|| build_manifest(&plan, &files));
        let fetched = match fetch_with_tokens(plan, env, tokens) {
            Ok(fetched) => fetched,
            Err(error) => {
                let expected = manifest.as_ref().filter(|_| may_keep);
                directory::keep_existing(&options, expected, error)?;
                return Ok(None);
            }
        };
        // With those that the answers have named.
        let planned_files = fetched.plan.files();
        if !fetched.plan.expansions.is_empty() {
            manifest = manifest.map(|_| build_manifest(&fetched.plan, &planned_files));
        }
        let contents = render_files(&planned_files, &fetched)?;
        let mut missing = Vec::new();
        let mut files = Vec::new();
        for (file, content) in planned_files.iter().zip(&contents) {
            match content {
                None => missing.push(file.path.as_str()),
                Some(content) => files.push(directory::OutputFile {
                    path: &file.path,
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
        let summary = summary(&request, &written);
        // The summary looks at a file of DIR, and a signal may have arrived by then.
        signals::exit_if_pending();
        Ok(Some(Done {
            summary,
            is_change: written.written + written.removed > 0,
            tokens: fetched.tokens,
        }))
    }
}

/// What was done, with the mode and the owner that the first file has by now.
fn summary(request: &WriteRequest<'_>, done: &Written) -> Event {
    let dir = &request.options.dir;
    let count = request.files.len();
    let noun = if count == 1 { "file" } else { "files" };
    let shown = dir.display();
    let Written { written, removed } = *done;
    let mut text = match written {
        0 => format!("unchanged: {count} {noun} in {shown}"),
        _ if written == count => format!("wrote {count} {noun} to {shown}"),
        _ => format!("wrote {written} of {count} {noun} to {shown}"),
    };
    if removed > 0 {
        text.push_str(&format!(", removed {removed}"));
    }
    let first = request.files.first().map(|file| dir.join(file.path));
    let file = first.and_then(|path| fs::metadata(path).ok());
    let owner = file.map(|file| {
        let mode = format!("{:04o}", file.mode() & 0o7777);
        (mode, file.uid(), file.gid())
    });
    if let Some((mode, uid, gid)) = &owner {
        text.push_str(&format!(" (mode {mode}, {uid}:{gid})"));
    }
    let mut event = Event::new(text)
        .fact("dir", dir.to_string_lossy())
        .fact("files", count)
        .fact("written", written);
    if removed > 0 {
        event = event.fact("removed", removed);
    }
    match owner {
        Some((mode, uid, gid)) => event.fact("mode", mode).fact("uid", uid).fact("gid", gid),
        None => event,
    }
}

/// The content of each file, in the order of `files`; `None` if there is no secret for it.
fn render_files(
    files: &[PlannedFile],
    fetched: &FetchedPlan,
) -> Result<Vec<Option<SecretBytes>>, Error> {
    let plan = &fetched.plan;
    let mut contents = Vec::new();
    for file in files {
        let entries = file.target_indices.iter().filter_map(|index| {
            let target = &plan.targets[*index];
            let name = target.name.to_str().unwrap_or_default();
            let value = fetched.values[*index].value.as_ref()?.expose();
            Some((target, (name, value)))
        });
        let (targets, entries): (Vec<&Target>, Vec<(&str, &[u8])>) = entries.unzip();
        contents.push(match file.format {
            None => entries
                .first()
                .map(|(_, value)| Secret::new(value.to_vec())),
            Some(format) => {
                let rendered = formats::render(format, &entries).map_err(|(index, error)| {
                    let error = error.context(targets[index].shown_name());
                    error.context(format!("`{}`", file.path))
                });
                Some(rendered?)
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

/// What a later run needs to know about these files.
fn build_manifest(plan: &Plan, files: &[PlannedFile]) -> Manifest {
    let mut manifest = Manifest::default();
    for file in files {
        let references = file.target_indices.iter().map(|index| {
            let target = &plan.targets[*index];
            (
                target.name.to_string_lossy().into_owned(),
                plan.source_of(target),
            )
        });
        let format = file.format.map_or("file", |format| format.name());
        manifest.insert(&file.path, format, references.collect(), date::unix_now());
    }
    manifest
}
