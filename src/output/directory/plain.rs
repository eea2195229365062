//! The plain layout: each file takes the place of the one that was there.

use super::dir::Dir;
use super::inspect::EntryKind;
use super::manifest::{self, Found, Manifest};
use super::transaction::Transaction;
use super::{File, WriteRequest};
use crate::error::Error;
use crate::log;
use crate::request::files::with_parents;

/// Refuses what cannot be replaced by a file.
pub fn check(dir: &Dir, request: &WriteRequest<'_>) -> Result<(), Error> {
    let own = request.manifest.map(|_| (None, manifest::NAME));
    for (parent, name) in request
        .files
        .iter()
        .map(|file| file.name.split())
        .chain(own)
    {
        let Some(directory) = dir.parent(parent)? else {
            continue;
        };
        match directory.kind(name)? {
            None | Some(EntryKind::File) => {}
            Some(kind) => {
                let error = directory.in_the_way(name, &kind);
                return Err(match kind {
                    EntryKind::Link(target) if target == format!("{}/{name}", super::DATA).as_str() => error
                        .hint("the directory was written with --layout atomic: use that again, or empty it"),
                    _ => error,
                });
            }
        }
    }
    Ok(())
}

/// Writes what is not there already.
pub fn write(dir: &Dir, request: &WriteRequest<'_>) -> Result<(), Error> {
    let mut changed = Vec::new();
    for file in request.files {
        match is_there(dir, file, request.mode) {
            true => log::debug(|| format!("`{}` is as it should be", file.name)),
            false => changed.push(file),
        }
    }
    let mut transaction = Transaction::begin(dir);
    let result = replace(&mut transaction, dir, request, &changed);
    transaction.end(result)
}

/// Whether a file is there, and all that it should be. What is in its way is no error here: it may be about to go.
pub fn is_there(dir: &Dir, file: &File<'_>, mode: u32) -> bool {
    let (parent, name) = file.name.split();
    let directory = dir.parent(parent).ok().flatten();
    directory.is_some_and(|directory| directory.is_file(name, file.content, mode))
}

fn replace(
    transaction: &mut Transaction<'_>,
    dir: &Dir,
    request: &WriteRequest<'_>,
    changed: &[&File<'_>],
) -> Result<(), Error> {
    // While files transaction, no manifest may say that they are what they were.
    let found = Manifest::read(dir);
    // What we cannot read may be believed by a run that can.
    let believed = !matches!(found, Found::Unknown);
    let old = found.known();
    let mut interim = old.clone();
    let written = match request.manifest {
        Some(_) => changed,
        None => &request.files.iter().collect::<Vec<_>>(),
    };
    for file in written {
        interim.forget(file.name.as_str());
    }
    let mut wanted = interim.clone();
    if let Some(manifest) = request.manifest {
        wanted.take_over(manifest);
    }

    let stage_manifest = |transaction: &mut Transaction<'_>, manifest: &Manifest| {
        let text = manifest.to_text();
        transaction.stage(
            None,
            manifest::NAME,
            text.as_bytes(),
            request.manifest_mode(),
        )
    };
    let staged_interim = match interim == old && (believed || written.is_empty()) {
        true => None,
        false => Some(stage_manifest(transaction, &interim)?),
    };
    let mut staged = Vec::new();
    for file in changed {
        let (parent, name) = file.name.split();
        staged.push(transaction.stage(parent, name, file.content, request.mode)?);
    }
    let staged_wanted = match wanted == interim {
        true => None,
        false => Some(stage_manifest(transaction, &wanted)?),
    };

    if let Some(staged) = staged_interim {
        transaction.place(&staged, None, manifest::NAME, request.mode)?;
        // Before the files transaction, also where the power fails.
        dir.sync()?;
    }
    let mut directories = vec![None];
    for (file, staged) in changed.iter().zip(staged) {
        let (parent, name) = file.name.split();
        transaction.place(&staged, parent, name, request.mode)?;
        // Each may have been made just now, and then stands in the one above it.
        for above in parent.into_iter().flat_map(with_parents) {
            if !directories.contains(&Some(above)) {
                directories.push(Some(above));
            }
        }
        log::debug(|| format!("wrote `{}`", file.name));
    }
    for path in directories {
        if let Some(directory) = dir.parent(path)? {
            directory.sync()?;
        }
    }
    if let Some(staged) = staged_wanted {
        transaction.place(&staged, None, manifest::NAME, request.mode)?;
        dir.sync()?;
    }
    Ok(())
}
