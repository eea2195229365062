//! The atomic layout, which is the kubelet's: `DIR/NAME` is a symbolic link to `..data/NAME`, and `..data` one to a
//! directory that holds a whole set of files. One rename of `..data` changes all of them
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go>).
//!
//! Links for new names are made before that rename and those for old names are removed after it: whenever the process
//! ends, a name leads either to a file of the one set in force, or to nothing.

use super::dir::{Dir, EntryKind, TEMPORARY};
use super::manifest;
use super::request::WriteRequest;
use super::transaction::Transaction;
use crate::error::Error;
use crate::log;
use crate::request::files::{is_below, split_path, with_parents};

/// The link that leads to the set of files in force.
pub const DATA: &str = "..data";
/// The new link, before it is renamed to [`DATA`].
pub const DATA_TMP: &str = "..data_tmp";

/// The set of files in force.
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
    let own = target
        .to_str()
        .filter(|name| name.starts_with(TEMPORARY) && !name.contains('/'));
    let Some(name) = own else {
        return Err(dir
            .refuse(DATA, "it is a symbolic link that akv-init did not make")
            .hint("give akv-init a directory that no other program fills in this layout"));
    };
    // None where another program has removed it.
    let data = dir.below(name)?;
    Ok(data.map(|data| Current {
        name: name.to_owned(),
        data,
    }))
}

/// Refuses a name that is not a link of this layout.
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
        log::debug(|| "every file is up to date".to_owned());
        let result = update_manifest(&mut transaction, current, request);
        return transaction.end(result);
    }
    let before = current.as_ref().map(|current| current.name.as_str());
    let result = put_in_force(&mut transaction, dir, request, before, &missing);
    if let (Ok(()), Some(before)) = (&result, before) {
        transaction.remove_at_end(before);
    }
    transaction.end(result)?;
    for name in obsolete {
        log::debug(|| format!("removed `{name}`, which is no longer named"));
        if let Err(error) = dir.remove(&name) {
            log::warning(format!(
                "{error}; it leads nowhere, and the next run will try again"
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
    let (name, data) = transaction.new_directory(request.mode, DATA)?;
    fill(dir, &data, request)?;
    for name in missing {
        transaction.link(&link_of(name), name)?;
    }
    transaction.redirect(DATA, DATA_TMP, &name, before)?;
    dir.sync()
}

fn fill(dir: &Dir, data: &Dir, request: &WriteRequest<'_>) -> Result<(), Error> {
    let mut made: Vec<&str> = Vec::new();
    let create = |path: &str, content: &[u8], mode| -> Result<(), Error> {
        let (parent, name) = split_path(path);
        data.existing(parent)?
            .create(name, content, mode, &dir.path_of(path))
    };
    for file in request.files {
        let (parent, _) = file.name.split();
        for path in with_parents(parent) {
            let (parent, name) = split_path(path);
            if !made.contains(&path) {
                let directory = data.existing(parent)?;
                directory.create_directory(name, request.mode, &dir.path_of(path))?;
                made.push(path);
            }
        }
        create(file.name.as_str(), file.content, request.mode)?;
        log::debug(|| format!("wrote `{}`", file.name));
    }
    if let Some(manifest) = request.manifest {
        let text = manifest.to_text();
        create(manifest::NAME, text.as_bytes(), request.manifest_mode())?;
    }
    for path in made {
        data.existing(path)?.sync()?;
    }
    data.sync()
}

/// The files are the same; the manifest gets the time at which they were last found to be.
fn update_manifest(
    transaction: &mut Transaction<'_>,
    current: &Current,
    request: &WriteRequest<'_>,
) -> Result<(), Error> {
    match request.manifest {
        None if current.data.kind(manifest::NAME)?.is_none() => Ok(()),
        None => current.data.remove(manifest::NAME),
        Some(manifest) => {
            let path = format!("{}/{}", current.name, manifest::NAME);
            let text = manifest.to_text();
            let staged = transaction.stage(&path, text.as_bytes(), request.manifest_mode())?;
            transaction.place(&staged, &path)?;
            current.data.sync()
        }
    }
}

fn is_same(data: &Dir, request: &WriteRequest<'_>) -> Result<bool, Error> {
    if !request
        .files
        .iter()
        .all(|file| file.is_in(data, request.mode))
    {
        return Ok(false);
    }
    data.contains_only(|path, kind| {
        let mut names = request.files.iter().map(|file| file.name.as_str());
        match kind {
            EntryKind::File => path == manifest::NAME || names.any(|name| name == path),
            EntryKind::Directory => names.any(|name| is_below(name, path)),
            _ => false,
        }
    })
}

/// Links of this layout for names that are not written any more. They are recognized by their targets, since a killed
/// run has left no list of them.
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

/// The names in the directory itself, each once.
fn first_names<'a>(request: &WriteRequest<'a>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for file in request.files {
        if !names.contains(&file.name.first()) {
            names.push(file.name.first());
        }
    }
    names
}

/// Where the link of a name leads.
pub fn link_of(name: &str) -> String {
    format!("{DATA}/{name}")
}
