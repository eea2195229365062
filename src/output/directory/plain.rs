//! The plain layout: each file is renamed over the old one.
//!
//! A manifest must not claim that a file is from a reference when it is not, even if the run is killed between two
//! renames. So the old manifest goes before the first file changes, and the new one comes after the last.

use nix::errno::Errno;

use super::atomic::is_own_link;
use super::dir::{Dir, EntryKind, File};
use super::manifest::{self, Manifest};
use super::request::{WriteRequest, directories};
use super::transaction::Transaction;
use crate::error::Error;
use crate::log;
use crate::request::files::split_path;

/// Rejects what a file cannot replace.
pub fn check(dir: &Dir, paths: &[&str], has_manifest: bool) -> Result<(), Error> {
    let manifest = has_manifest.then_some(&manifest::NAME);
    let (volume, _) = dir.id()?;
    for path in paths.iter().chain(manifest) {
        let (parent, name) = split_path(path);
        let Some(directory) = dir.subdirectory(parent)? else {
            continue;
        };
        if directory.id()?.0 != volume {
            return Err(directory.failed(name)(Errno::EXDEV));
        }
        directory.check_writable(name)?;
        if let Some(kind) = directory.kind(name)?
            && kind != EntryKind::File
        {
            let is_atomic = is_own_link(&kind, name);
            return Err(directory.cannot_replace(name, &kind, is_atomic.then_some("atomic")));
        }
    }
    Ok(())
}

/// Writes the files that differ.
pub fn write(transaction: &mut Transaction<'_>, request: &WriteRequest<'_>) -> Result<(), Error> {
    let dir = transaction.dir;
    let mode = request.options.mode;
    let (same, changed): (Vec<&File>, Vec<&File>) =
        request.files.iter().partition(|file| dir.holds(file));
    for file in same {
        log::debug(|| format!("`{}` is up to date", file.path));
    }
    let has_manifest = dir.kind(manifest::NAME)? == Some(EntryKind::File);
    let old = Manifest::read(dir);
    let mut new = old.clone();
    match request.manifest {
        Some(manifest) => new.files.extend(manifest.files.clone()),
        None => {
            for file in request.files {
                new.files.remove(file.path);
            }
        }
    }
    let set_aside = has_manifest && (!changed.is_empty() || new.files.is_empty());

    let mut staged = Vec::new();
    for file in &changed {
        staged.push(dir.stage(file)?);
    }
    let staged_manifest = match !new.files.is_empty() && (set_aside || new != old) {
        true => Some(dir.stage(&Manifest::file(&new.to_text(), mode))?),
        false => None,
    };
    let directories = directories(changed.iter().copied());
    for path in &directories {
        transaction.make_directory(path, mode)?;
    }

    if set_aside {
        transaction.set_aside(manifest::NAME)?;
        // Before a file changes, also if the power fails.
        dir.sync()?;
    }
    for (file, staged) in changed.iter().zip(staged) {
        transaction.place(&staged, file.path)?;
        log::debug(|| format!("wrote `{}`", file.path));
    }
    for path in directories {
        dir.existing_subdirectory(path)?.sync()?;
    }
    dir.sync()?;
    if let Some(staged) = staged_manifest {
        transaction.place(&staged, manifest::NAME)?;
        dir.sync()?;
    }
    Ok(())
}
