//! `--keep-existing`: the files of an earlier run, while Azure cannot be reached.

use super::atomic;
use super::dir::Dir;
use super::manifest::Manifest;
use crate::date;
use crate::error::{Cause, Error};
use crate::log;
use crate::request::files::{Layout, WriteOptions, first_component, self_and_parents, split_path};

/// The fallback of `--keep-existing` after a failed fetch: succeeds if DIR has all files from the same references,
/// none of them too old. Otherwise returns `error`, the error of the fetch, with a note that says why the files cannot
/// be kept.
pub fn keep_existing(
    options: &WriteOptions,
    expected: Option<&Manifest>,
    error: Error,
) -> Result<(), Error> {
    let (Some(max_age), Cause::Unavailable) = (options.keep_existing, error.cause) else {
        return Err(error);
    };
    let dir = options.dir.display();
    let Some(expected) = expected else {
        return Err(error.note("files with an access token are never kept"));
    };
    let Some(written) = oldest_written(options, expected)? else {
        return Err(error.note(format!(
            "no files to keep: `{dir}` has no complete set of files from these references that belong to this user or \
             to root"
        )));
    };
    let time = date::format(written);
    let now = date::unix_now();
    if written > now {
        return Err(error.note(format!(
            "the files in `{dir}` are dated {time}, which is in the future"
        )));
    }
    if max_age.is_some_and(|max_age| now.abs_diff(written) > max_age.as_secs()) {
        return Err(error.note(format!(
            "the files in `{dir}`, from {time}, are older than the limit of --keep-existing"
        )));
    }
    log::warning(format!("{error}; kept the files in `{dir}` from {time}"));
    Ok(())
}

/// When, in Unix seconds, the oldest of the `expected` files was written to DIR; `None` if a file is missing, was
/// written from another reference, or may be another user's.
pub fn oldest_written(options: &WriteOptions, expected: &Manifest) -> Result<Option<i64>, Error> {
    let dir = Dir::open(&options.dir, options.allow_loose_mode)?;
    let set = match options.layout {
        Layout::Plain => dir.open_subdirectory("")?,
        Layout::Atomic => atomic::open_current_set(&dir)?
            .filter(|(name, _)| dir.has_trusted(name, None))
            .map(|(_, set)| set),
    };
    let Some(set) = set else {
        return Ok(None);
    };
    let manifest = Manifest::read(&set);
    let paths = expected.files.keys();
    for path in paths.filter(|path| !manifest.is_missing(path)) {
        // In the atomic layout, this entry is the link to the file.
        if dir.entry_kind(first_component(path))?.is_none() {
            return Ok(None);
        }
        for part in self_and_parents(path) {
            let (parent, name) = split_path(part);
            let Ok(Some(directory)) = set.open_subdirectory(parent) else {
                return Ok(None);
            };
            let mode = (part == path).then_some(options.mode);
            if !directory.has_trusted(name, mode) {
                return Ok(None);
            }
        }
    }
    Ok(manifest.oldest_written(expected))
}
