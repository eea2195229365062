//! The atomic layout, which is the kubelet's: `DIR/NAME` is a symbolic link to `..data/NAME`, and `..data` one to a
//! directory that holds a whole set of files. One rename of `..data` changes all of them
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go>).
//!
//! Links for new names are made before that rename and those for old names are removed after it: whenever the process
//! ends, a name leads either to a file of the one set in force, or to nothing.

use std::collections::BTreeSet;

use nix::unistd::UnlinkatFlags;

use super::dir::{Dir, EntryKind, TEMPORARY};
use super::manifest;
use super::request::{WriteRequest, directories};
use super::transaction::Transaction;
use crate::error::Error;
use crate::log;
use crate::request::files::{FileName, split_path};

/// The link that leads to the set of files in force.
pub const DATA: &str = "..data";

/// The name of the directory that `..data` leads to, and that directory, if there is one.
pub fn current(dir: &Dir) -> Result<Option<(String, Dir)>, Error> {
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
            .hint("use a directory that no other program writes to"));
    };
    // None where another program has removed it.
    let data = dir.below(name)?;
    Ok(data.map(|data| (name.to_owned(), data)))
}

/// Refuses a name that is not a link of this layout.
pub fn check(dir: &Dir, names: &[&FileName]) -> Result<(), Error> {
    current(dir)?;
    for name in names.iter().map(|name| name.first()) {
        match dir.kind(name)? {
            None => {}
            Some(EntryKind::Link(target)) if target == link_of(name).as_str() => {}
            Some(kind) => {
                let error = dir.in_the_way(name, &kind);
                return Err(match kind {
                    EntryKind::File | EntryKind::Directory => error.hint(
                        "use --layout plain again if the directory was written with it, or empty the directory",
                    ),
                    _ => error,
                });
            }
        }
    }
    Ok(())
}

/// Puts a new set in force, unless the one in force is the same.
pub fn write(transaction: &mut Transaction<'_>, request: &WriteRequest<'_>) -> Result<(), Error> {
    let dir = transaction.dir;
    let names: BTreeSet<&str> = request.files.iter().map(|file| file.name.first()).collect();
    let mut missing = Vec::new();
    for name in &names {
        if dir.kind(name)?.is_none() {
            missing.push(*name);
        }
    }
    let obsolete = obsolete_links(dir, &names)?;
    if let Some((name, data)) = current(dir)?
        && missing.is_empty()
        && obsolete.is_empty()
        && is_same(&data, request)?
    {
        log::debug(|| "every file is up to date".to_owned());
        return update_manifest(transaction, &name, &data, request);
    }
    let name = Dir::temporary_name();
    let mode = request.options.mode;
    let data = dir.create_directory(&name, mode, &dir.path_of(DATA))?;
    fill(dir, &data, request)?;
    for name in missing {
        transaction.link(&link_of(name), name)?;
    }
    let temporary = Dir::temporary_name();
    dir.symlink(&name, &temporary, DATA)?;
    transaction.place(&temporary, DATA)?;
    dir.sync()?;
    for name in obsolete {
        log::debug(|| format!("removed `{name}`: no longer requested"));
        if let Err(error) = dir.remove(&name, UnlinkatFlags::NoRemoveDir) {
            log::warning(format!(
                "{error}; it leads nowhere, and the next run will try again"
            ));
        }
    }
    Ok(())
}

fn fill(dir: &Dir, data: &Dir, request: &WriteRequest<'_>) -> Result<(), Error> {
    let directories = directories(request.files);
    for path in &directories {
        let (parent, name) = split_path(path);
        let parent = data.existing(parent)?;
        parent.create_directory(name, request.options.mode, &dir.path_of(path))?;
    }
    for file in request.files {
        let (parent, name) = file.name.split();
        let subject = dir.path_of(file.name.as_str());
        let parent = data.existing(parent)?;
        parent.create(name, file.content, request.options.mode, &subject)?;
        log::debug(|| format!("wrote `{}`", file.name));
    }
    if let Some(manifest) = request.manifest {
        let (text, subject) = (manifest.to_text(), dir.path_of(manifest::NAME));
        let mode = request.manifest_mode();
        data.create(manifest::NAME, text.as_bytes(), mode, &subject)?;
    }
    for path in directories {
        data.existing(path)?.sync()?;
    }
    data.sync()
}

/// The files are the same; the manifest gets the time at which they were last found to be.
fn update_manifest(
    transaction: &mut Transaction<'_>,
    set: &str,
    data: &Dir,
    request: &WriteRequest<'_>,
) -> Result<(), Error> {
    match request.manifest {
        None if data.kind(manifest::NAME)?.is_none() => Ok(()),
        None => data.remove(manifest::NAME, UnlinkatFlags::NoRemoveDir),
        Some(manifest) => {
            let path = format!("{set}/{}", manifest::NAME);
            let text = manifest.to_text();
            let staged = transaction
                .dir
                .stage(&path, text.as_bytes(), request.manifest_mode())?;
            transaction.place(&staged, &path)?;
            data.sync()
        }
    }
}

/// Whether the set in force consists of these files.
fn is_same(data: &Dir, request: &WriteRequest<'_>) -> Result<bool, Error> {
    let mut files = request.files.iter();
    if !files.all(|file| file.is_in(data, request.options.mode)) {
        return Ok(false);
    }
    let directories = directories(request.files);
    let has_manifest = data.kind(manifest::NAME)? == Some(EntryKind::File);
    let expected = request.files.len() + directories.len() + usize::from(has_manifest);
    let mut found = data.names(|_| true)?.len();
    for path in directories {
        found += data.existing(path)?.names(|_| true)?.len();
    }
    Ok(found == expected)
}

/// Links of this layout for names that are not written any more. They are recognized by their targets, since a killed
/// run has left no list of them.
fn obsolete_links(dir: &Dir, names: &BTreeSet<&str>) -> Result<Vec<String>, Error> {
    dir.names(|name| {
        let kind = |name| dir.kind(name).ok().flatten();
        !names.contains(name)
            && matches!(kind(name), Some(EntryKind::Link(target)) if target == link_of(name).as_str())
    })
}

/// Where the link of a name leads.
pub fn link_of(name: &str) -> String {
    format!("{DATA}/{name}")
}
