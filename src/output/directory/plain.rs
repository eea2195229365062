//! The plain layout: each file is renamed over the old one.
//!
//! A manifest must not claim that a file is from a reference when it is not, even if the run is killed between two
//! renames. So the old manifest goes before the first file changes, and the new one comes after the last.

use nix::errno::Errno;

use super::atomic::link_of;
use super::dir::{Dir, EntryKind};
use super::manifest::{self, Manifest};
use super::request::{File, WriteRequest, directories};
use super::transaction::Transaction;
use crate::error::Error;
use crate::log;
use crate::request::files::FileName;

/// Refuses what a file cannot replace.
pub fn check(dir: &Dir, names: &[&FileName], has_manifest: bool) -> Result<(), Error> {
    let own = has_manifest.then_some(("", manifest::NAME));
    let volume = dir.id()?.device;
    for (parent, name) in names.iter().map(|name| name.split()).chain(own) {
        let Some(directory) = dir.below(parent)? else {
            continue;
        };
        if directory.id()?.device != volume {
            return Err(directory.failed(name)(Errno::EXDEV));
        }
        directory.check_writable(name)?;
        match directory.kind(name)? {
            None | Some(EntryKind::File) => {}
            Some(kind) => {
                let error = directory.in_the_way(name, &kind);
                return Err(match kind {
                    EntryKind::Link(target) if target == link_of(name).as_str() => error.hint(
                        "use --layout atomic again if the directory was written with it, or empty the directory",
                    ),
                    _ => error,
                });
            }
        }
    }
    Ok(())
}

/// Writes the files that differ.
pub fn write(transaction: &mut Transaction<'_>, request: &WriteRequest<'_>) -> Result<(), Error> {
    let dir = transaction.dir;
    let mode = request.options.mode;
    let (same, changed): (Vec<&File>, Vec<&File>) =
        request.files.iter().partition(|file| file.is_in(dir, mode));
    for file in same {
        log::debug(|| format!("`{}` is up to date", file.name));
    }
    let has_manifest = dir.kind(manifest::NAME)? == Some(EntryKind::File);
    let old = Manifest::read(dir);
    let mut new = old.clone();
    match request.manifest {
        Some(manifest) => new.extend(manifest),
        None => {
            for file in request.files {
                new.remove(file.name.as_str());
            }
        }
    }
    let set_aside = has_manifest && (!changed.is_empty() || new.is_empty());

    let mut staged = Vec::new();
    for file in &changed {
        staged.push(dir.stage(file.name.as_str(), file.content, mode)?);
    }
    let staged_manifest = match !new.is_empty() && (set_aside || new != old) {
        true => Some(dir.stage(
            manifest::NAME,
            new.to_text().as_bytes(),
            request.manifest_mode(),
        )?),
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
        transaction.place(&staged, file.name.as_str())?;
        log::debug(|| format!("wrote `{}`", file.name));
    }
    for path in directories {
        dir.existing(path)?.sync()?;
    }
    dir.sync()?;
    if let Some(staged) = staged_manifest {
        transaction.place(&staged, manifest::NAME)?;
        dir.sync()?;
    }
    Ok(())
}
