//! The plain layout: each file takes the place of the one that was there.

use super::change::Change;
use super::dir::Dir;
use super::look::Kind;
use super::manifest::{self, Found, Manifest};
use super::{File, Order};
use crate::failure::Failure;
use crate::log;
use crate::volume::with_parents;

/// Refuses what cannot be replaced by a file.
pub fn check(dir: &Dir, order: &Order<'_>) -> Result<(), Failure> {
    let own = order.manifest.map(|_| (None, manifest::NAME));
    for (parent, name) in order.files.iter().map(|file| file.name.split()).chain(own) {
        let Some(directory) = dir.parent(parent)? else {
            continue;
        };
        match directory.kind(name)? {
            None | Some(Kind::File) => {}
            Some(kind) => {
                let failure = directory.in_the_way(name, &kind);
                return Err(match kind {
                    Kind::Link(target) if target == format!("{}/{name}", super::DATA).as_str() => failure
                        .hint("the directory was written with --layout atomic: use that again, or empty it"),
                    _ => failure,
                });
            }
        }
    }
    Ok(())
}

/// Writes what is not there already.
pub fn write(dir: &Dir, order: &Order<'_>) -> Result<(), Failure> {
    let mut changed = Vec::new();
    for file in order.files {
        match is_there(dir, file, order.mode) {
            true => log::debug(|| format!("`{}` is as it should be", file.name)),
            false => changed.push(file),
        }
    }
    let mut change = Change::begin(dir);
    let result = replace(&mut change, dir, order, &changed);
    change.end(result)
}

/// Whether a file is there, and all that it should be. What is in its way is no error here: it may be about to go.
pub fn is_there(dir: &Dir, file: &File<'_>, mode: u32) -> bool {
    let (parent, name) = file.name.split();
    let directory = dir.parent(parent).ok().flatten();
    directory.is_some_and(|directory| directory.is_file(name, file.content, mode))
}

fn replace(
    change: &mut Change<'_>,
    dir: &Dir,
    order: &Order<'_>,
    changed: &[&File<'_>],
) -> Result<(), Failure> {
    // While files change, no manifest may say that they are what they were.
    let found = Manifest::read(dir);
    // What we cannot read may be believed by a run that can.
    let believed = !matches!(found, Found::Unknown);
    let old = found.known();
    let mut interim = old.clone();
    let written = match order.manifest {
        Some(_) => changed,
        None => &order.files.iter().collect::<Vec<_>>(),
    };
    for file in written {
        interim.forget(file.name.as_str());
    }
    let mut wanted = interim.clone();
    if let Some(manifest) = order.manifest {
        wanted.take_over(manifest);
    }

    let stage_manifest = |change: &mut Change<'_>, manifest: &Manifest| {
        let text = manifest.to_text();
        change.stage(None, manifest::NAME, text.as_bytes(), order.manifest_mode())
    };
    let staged_interim = match interim == old && (believed || written.is_empty()) {
        true => None,
        false => Some(stage_manifest(change, &interim)?),
    };
    let mut staged = Vec::new();
    for file in changed {
        let (parent, name) = file.name.split();
        staged.push(change.stage(parent, name, file.content, order.mode)?);
    }
    let staged_wanted = match wanted == interim {
        true => None,
        false => Some(stage_manifest(change, &wanted)?),
    };

    if let Some(staged) = staged_interim {
        change.place(&staged, None, manifest::NAME, order.mode)?;
        // Before the files change, also where the power fails.
        dir.sync()?;
    }
    let mut directories = vec![None];
    for (file, staged) in changed.iter().zip(staged) {
        let (parent, name) = file.name.split();
        change.place(&staged, parent, name, order.mode)?;
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
        change.place(&staged, None, manifest::NAME, order.mode)?;
        dir.sync()?;
    }
    Ok(())
}
