//! The atomic layout, which is the kubelet's: `DIR/NAME` is a symbolic link to `..data/NAME`, and `..data` one to a
//! directory that holds a whole set of files. One rename of `..data` changes all of them
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go>).
//!
//! Links for new names are made before that rename and those for old names are removed after it: whenever this ends, a
//! name either leads to a file of the one set in force, or to nothing.

use super::dir::{Dir, TEMPORARY};
use super::inspect::EntryKind;
use super::manifest;
use super::plain::is_there;
use super::transaction::Transaction;
use super::{DATA, DATA_TMP, WriteRequest};
use crate::error::Error;
use crate::log;
use crate::request::files::{split_path, with_parents};

/// The set of files that is in force.
pub struct Current {
    /// The name of its directory.
    pub name: String,
    /// The directory.
    pub data: Dir,
}

/// The set that `..data` leads to, if there is one.
pub fn current(dir: &Dir) -> Result<Option<Current>, Error> {
    let target = match dir.kind(DATA)? {
        None => return Ok(None),
        Some(EntryKind::Link(target)) => target,
        Some(kind) => return Err(dir.in_the_way(DATA, &kind)),
    };
    let ours = target
        .to_str()
        .filter(|name| name.starts_with(TEMPORARY) && !name.contains('/'));
    let Some(name) = ours else {
        return Err(dir
            .refuse(DATA, "it is a symbolic link that akv-init did not make")
            .hint("give akv-init a directory that nothing else fills in this layout"));
    };
    // It leads to nothing where somebody has removed what is ours to remove.
    let data = dir.below(name)?;
    Ok(data.map(|data| Current {
        name: name.to_owned(),
        data,
    }))
}

/// Refuses what is not a link of ours.
pub fn check(dir: &Dir, request: &WriteRequest<'_>) -> Result<(), Error> {
    current(dir)?;
    for name in first_names(request) {
        match dir.kind(name)? {
            None => {}
            Some(EntryKind::Link(target)) if target == link_of(name).as_str() => {}
            Some(kind) => {
                let error = dir.in_the_way(name, &kind);
                return Err(match kind {
                    EntryKind::File | EntryKind::Directory => error.hint(
                        "was the directory written with --layout plain? use that again, or empty it",
                    ),
                    _ => error,
                });
            }
        }
    }
    Ok(())
}

/// Puts a new set in force, unless the one in force is the same.
pub fn write(dir: &Dir, request: &WriteRequest<'_>) -> Result<(), Error> {
    let current = current(dir)?;
    let names = first_names(request);
    let mut missing = Vec::new();
    for name in &names {
        if dir.kind(name)?.is_none() {
            missing.push(*name);
        }
    }
    let obsolete = obsolete_links(dir, &names)?;
    let mut transaction = Transaction::begin(dir);
    if let Some(current) = &current
        && missing.is_empty()
        && obsolete.is_empty()
        && is_same(&current.data, request)?
    {
        log::debug(|| "every file is as it should be".to_owned());
        let result = update_manifest(&mut transaction, current, request);
        return transaction.end(result);
    }
    let before = current.as_ref().map(|current| current.name.as_str());
    let result = put_in_force(&mut transaction, dir, request, before, &missing);
    let done = result.is_ok();
    if let (true, Some(before)) = (done, before) {
        transaction.remove_in_the_end(before);
    }
    transaction.end(result)?;
    for name in obsolete {
        log::debug(|| format!("`{name}` is no longer named: removed"));
        if let Err(error) = dir.remove(&name) {
            log::warning(format!(
                "{error}; it leads to nothing, and the next run tries again"
            ));
        }
    }
    Ok(())
}

fn put_in_force(
    transaction: &mut Transaction<'_>,
    dir: &Dir,
    request: &WriteRequest<'_>,
    before: Option<&str>,
    missing: &[&str],
) -> Result<(), Error> {
    let name = transaction.temporary_name();
    let data = dir.create_directory(&name, request.mode, &dir.path_of(DATA))?;
    fill(dir, &data, request)?;
    for name in missing {
        transaction.link(&link_of(name), name)?;
    }
    transaction.redirect(DATA, DATA_TMP, &name, before)?;
    dir.sync()?;
    transaction.is_no_longer_temporary(&name);
    Ok(())
}

fn fill(dir: &Dir, data: &Dir, request: &WriteRequest<'_>) -> Result<(), Error> {
    let mut made: Vec<&str> = Vec::new();
    for file in request.files {
        let path = file.name.as_str();
        let (parent, name) = file.name.split();
        for above in parent.into_iter().flat_map(with_parents) {
            let (parent, name) = split_path(above);
            if !made.contains(&above)
                && let Some(directory) = data.parent(parent)?
            {
                directory.create_directory(name, request.mode, &dir.path_of(above))?;
                made.push(above);
            }
        }
        if let Some(directory) = data.parent(parent)? {
            directory.create(name, file.content, request.mode, &dir.path_of(path))?;
        }
        log::debug(|| format!("wrote `{path}`"));
    }
    if let Some(manifest) = request.manifest {
        let text = manifest.to_text();
        let subject = dir.path_of(manifest::NAME);
        data.create(
            manifest::NAME,
            text.as_bytes(),
            request.manifest_mode(),
            &subject,
        )?;
    }
    for path in made {
        if let Some(directory) = data.below(path)? {
            directory.sync()?;
        }
    }
    data.sync()
}

/// The files are the same: only when they were last found to be so is new.
fn update_manifest(
    transaction: &mut Transaction<'_>,
    current: &Current,
    request: &WriteRequest<'_>,
) -> Result<(), Error> {
    match request.manifest {
        None if current.data.kind(manifest::NAME)?.is_none() => Ok(()),
        None => current.data.remove(manifest::NAME),
        Some(manifest) => {
            let text = manifest.to_text();
            let mode = request.manifest_mode();
            let parent = Some(current.name.as_str());
            let staged = transaction.stage(parent, manifest::NAME, text.as_bytes(), mode)?;
            transaction.place(&staged, parent, manifest::NAME, request.mode)?;
            current.data.sync()
        }
    }
}

fn is_same(data: &Dir, request: &WriteRequest<'_>) -> Result<bool, Error> {
    for file in request.files {
        if !is_there(data, file, request.mode) {
            return Ok(false);
        }
    }
    let names = || request.files.iter().map(|file| file.name.as_str());
    data.has_only(
        |path| path == manifest::NAME || names().any(|name| name == path),
        |path| {
            names().any(|name| {
                name.strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('/'))
            })
        },
    )
}

/// Links of ours for names that are no longer wanted. They are found by where they lead, since a run that was killed
/// has left no list of them.
fn obsolete_links(dir: &Dir, names: &[&str]) -> Result<Vec<String>, Error> {
    let obsolete = dir.names(|name| {
        let Some(name) = name.to_str().filter(|name| !names.contains(name)) else {
            return false;
        };
        matches!(dir.kind(name), Ok(Some(EntryKind::Link(target))) if target == link_of(name).as_str())
    })?;
    Ok(obsolete
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}

/// What is seen in the directory itself, each name once.
fn first_names<'a>(request: &WriteRequest<'a>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for file in request.files {
        if !names.contains(&file.name.first()) {
            names.push(file.name.first());
        }
    }
    names
}

fn link_of(name: &str) -> String {
    format!("{DATA}/{name}")
}
