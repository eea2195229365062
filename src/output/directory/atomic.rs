//! The atomic layout, which is the kubelet's: `DIR/NAME` is a symbolic link to `..data/NAME`, and `..data` one to a
//! directory that holds a whole set of files. One rename of `..data` changes all of them
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go>).
//!
//! Links for new names are made before that rename and those for old names are removed after it: whenever the process
//! ends, a name leads either to a file of the current set, or to nothing.

use std::collections::BTreeSet;

use nix::unistd::UnlinkatFlags;

use super::dir::{Dir, EntryKind, TEMPORARY_PREFIX};
use super::manifest::{self, Manifest};
use super::request::{WriteRequest, directories};
use super::transaction::Transaction;
use crate::error::Error;
use crate::log;
use crate::request::files::{first_component, split_path};

/// The link to the current set of files.
pub const DATA: &str = "..data";

/// The name of the directory that `..data` leads to, and that directory, if there is one.
pub fn current_set(dir: &Dir) -> Result<Option<(String, Dir)>, Error> {
    let target = match dir.kind(DATA)? {
        None => return Ok(None),
        Some(EntryKind::Link(target)) => target,
        Some(kind) => return Err(dir.cannot_replace(DATA, &kind, None)),
    };
    let own = target
        .to_str()
        .filter(|name| name.starts_with(TEMPORARY_PREFIX) && !name.contains('/'));
    let Some(name) = own else {
        return Err(dir
            .cannot_write(DATA, "it is a symbolic link that akv-init did not make")
            .hint("use a directory that no other program writes to"));
    };
    // None where another program has removed it.
    let data = dir.subdirectory(name)?;
    Ok(data.map(|data| (name.to_owned(), data)))
}

/// Rejects a file whose name in DIR is taken by something other than its link.
pub fn check(dir: &Dir, paths: &[&str]) -> Result<(), Error> {
    current_set(dir)?;
    for name in paths.iter().map(|path| first_component(path)) {
        if let Some(kind) = dir.kind(name)?
            && !is_own_link(&kind, name)
        {
            let is_plain = matches!(kind, EntryKind::File | EntryKind::Directory);
            return Err(dir.cannot_replace(name, &kind, is_plain.then_some("plain")));
        }
    }
    Ok(())
}

/// Makes a new set of files the current one, unless the current one is the same.
pub fn write(transaction: &mut Transaction<'_>, request: &WriteRequest<'_>) -> Result<(), Error> {
    let dir = transaction.dir;
    let names = request.files.iter().map(|file| first_component(file.path));
    let names: BTreeSet<&str> = names.collect();
    let mut missing = Vec::new();
    for name in &names {
        if dir.kind(name)?.is_none() {
            missing.push(*name);
        }
    }
    let obsolete = obsolete_links(dir, &names)?;
    let text = request.manifest.map(Manifest::to_text);
    let mode = request.options.mode;
    let manifest = text.as_ref().map(|text| Manifest::file(text, mode));
    if let Some((name, data)) = current_set(dir)?
        && missing.is_empty()
        && obsolete.is_empty()
        && is_same(&data, request)?
    {
        log::debug(|| "every file is up to date".to_owned());
        if let Some(mut manifest) = manifest {
            // With the time at which the files were last found to be right.
            let path = format!("{name}/{}", manifest::NAME);
            manifest.path = &path;
            let staged = dir.stage(&manifest)?;
            transaction.place(&staged, &path)?;
            data.sync()?;
        }
        return Ok(());
    }
    let name = Dir::temporary_name();
    let data = dir.create_directory(&name, mode, &dir.path_of(DATA))?;
    let directories = directories(request.files);
    for path in &directories {
        let (parent, name) = split_path(path);
        let parent = data.existing_subdirectory(parent)?;
        parent.create_directory(name, mode, &dir.path_of(path))?;
    }
    for file in request.files.iter().chain(&manifest) {
        let (parent, name) = split_path(file.path);
        data.existing_subdirectory(parent)?
            .create(name, file, &dir.path_of(file.path))?;
        log::debug(|| format!("wrote `{}`", file.path));
    }
    for path in directories {
        data.existing_subdirectory(path)?.sync()?;
    }
    data.sync()?;
    for name in missing {
        transaction.link(&link_target(name), name)?;
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

/// Whether the current set consists of exactly these files.
fn is_same(data: &Dir, request: &WriteRequest<'_>) -> Result<bool, Error> {
    let has_manifest = data.kind(manifest::NAME)? == Some(EntryKind::File);
    if has_manifest != request.manifest.is_some()
        || !request.files.iter().all(|file| data.holds(file))
    {
        return Ok(false);
    }
    let directories = directories(request.files);
    let expected = request.files.len() + directories.len() + usize::from(has_manifest);
    let mut found = data.names(|_| true)?.len();
    for path in directories {
        found += data.existing_subdirectory(path)?.names(|_| true)?.len();
    }
    Ok(found == expected)
}

/// Links of this layout for names that are not written any more. They are recognized by their targets, since a killed
/// run has left no list of them.
fn obsolete_links(dir: &Dir, names: &BTreeSet<&str>) -> Result<Vec<String>, Error> {
    dir.names(|name| {
        let kind = dir.kind(name).ok().flatten();
        !names.contains(name) && kind.is_some_and(|kind| is_own_link(&kind, name))
    })
}

/// Where the link of a name leads.
fn link_target(name: &str) -> String {
    format!("{DATA}/{name}")
}

/// Whether this is the link that the layout has for a name.
pub fn is_own_link(kind: &EntryKind, name: &str) -> bool {
    *kind == EntryKind::Link(link_target(name).into())
}
