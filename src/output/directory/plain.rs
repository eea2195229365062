//! The plain layout: each file is renamed over the old one.
//!
//! The manifest must not name a reference that a file was not written from, even if the run is killed between two
//! renames. So the old manifest is set aside before the first file changes, and the new one is written after the last.

use nix::errno::Errno;

use super::atomic::is_atomic_link;
use super::dir::{Dir, EntryKind, OutputFile};
use super::manifest::{self, Manifest};
use super::request::{WriteRequest, Written, parent_directories};
use super::transaction::Transaction;
use crate::error::Error;
use crate::log;
use crate::request::files::split_path;

/// Fails if there is something other than a file at one of these paths, or if a directory in a path is on another
/// volume.
pub fn check_names(dir: &Dir, paths: &[&str], writes_manifest: bool) -> Result<(), Error> {
    let manifest = writes_manifest.then_some(&manifest::NAME);
    let (device, _) = dir.id()?;
    for path in paths.iter().chain(manifest) {
        let (parent, name) = split_path(path);
        let Some(directory) = dir.open_subdirectory(parent)? else {
            continue;
        };
        if directory.id()?.0 != device {
            return Err(directory.call_error(name)(Errno::EXDEV));
        }
        directory.check_writable(name)?;
        if let Some(kind) = directory.entry_kind(name)?
            && kind != EntryKind::File
        {
            let is_atomic = is_atomic_link(&kind, name);
            return Err(directory.replace_error(name, &kind, is_atomic.then_some("atomic")));
        }
    }
    Ok(())
}

/// The files for which there is no secret any more. A file that has changed since an earlier run wrote it, or that none
/// wrote, is left, with a warning.
fn removable_files<'a>(
    dir: &Dir,
    request: &WriteRequest<'a>,
    manifest: &Manifest,
) -> Result<Vec<&'a str>, Error> {
    // The manifest is newer than the files that it names.
    let written = dir.modified(manifest::NAME)?;
    let mut removable = Vec::new();
    for path in request.missing.iter().copied() {
        let Some(modified) = dir.modified(path)? else {
            continue;
        };
        let is_own = manifest.files.contains_key(path) && !manifest.is_missing(path);
        if is_own && written.is_some_and(|written| modified <= written) {
            removable.push(path);
        } else {
            log::warning(format!(
                "`{}`: there is no secret for this file, which akv-init has not written or which was changed since: remove it",
                dir.path_of(path).display()
            ));
        }
    }
    Ok(removable)
}

/// Writes those files whose content or mode has changed, and returns their number.
pub fn write(
    transaction: &mut Transaction<'_>,
    request: &WriteRequest<'_>,
) -> Result<Written, Error> {
    let dir = transaction.dir;
    let mode = request.options.mode;
    let (unchanged, changed): (Vec<&OutputFile>, Vec<&OutputFile>) =
        request.files.iter().partition(|file| dir.holds(file));
    for file in unchanged {
        log::debug(|| format!("`{}` is up to date", file.path));
    }
    let has_manifest = dir.entry_kind(manifest::NAME)? == Some(EntryKind::File);
    let old_manifest = Manifest::read(dir);
    // Where case is ignored, a file of an earlier run may be overwritten under another name.
    let paths = request.files.iter().map(|file| file.path.to_lowercase());
    let mut paths: Vec<String> = paths.collect();
    paths.sort_unstable();
    let is_replaced = |name: &str| paths.binary_search(&name.to_lowercase()).is_ok();
    let old_entries = old_manifest.files.iter();
    let kept_entries = old_entries.filter(|(name, _)| !is_replaced(name));
    let new_entries = request.manifest.into_iter().flat_map(|new| &new.files);
    let entries = kept_entries.chain(new_entries);
    let entries = entries.map(|(name, entry)| (name.clone(), entry.clone()));
    let mut new_manifest = Manifest::default();
    new_manifest.files.extend(entries);
    let removed = removable_files(dir, request, &old_manifest)?;
    let is_changed = !changed.is_empty() || !removed.is_empty();
    let must_set_aside_manifest = has_manifest && (is_changed || new_manifest.files.is_empty());

    let mut staged_files = Vec::new();
    for file in &changed {
        staged_files.push(dir.stage(file)?);
    }
    // A round that changes nothing must not wake up a program that watches the directory.
    let is_refreshed = request.options.every.is_some() && request.is_confirmed_by(&old_manifest);
    let staged_manifest = match !new_manifest.files.is_empty()
        && (must_set_aside_manifest || new_manifest != old_manifest && !is_refreshed)
    {
        true => Some(dir.stage(&Manifest::file(&new_manifest.to_text(), mode))?),
        false => None,
    };
    let directories = parent_directories(changed.iter().copied());
    for path in &directories {
        transaction.ensure_directory(path, mode)?;
    }

    if must_set_aside_manifest {
        transaction.set_aside(manifest::NAME)?;
        // On the disk too, the manifest has to be gone before a file changes: the power may fail.
        dir.sync()?;
    }
    for (file, staged) in changed.iter().zip(staged_files) {
        transaction.rename_into_place(&staged, file.path)?;
        log::debug(|| format!("wrote `{}`", file.path));
    }
    let removed_count = removed.len();
    for path in removed {
        transaction.set_aside(path)?;
        log::debug(|| format!("removed `{path}`"));
    }
    for path in directories {
        dir.open_existing_subdirectory(path)?.sync()?;
    }
    dir.sync()?;
    if let Some(staged) = staged_manifest {
        transaction.rename_into_place(&staged, manifest::NAME)?;
        dir.sync()?;
    }
    Ok(Written {
        written: changed.len(),
        removed: removed_count,
    })
}
