//! The atomic layout, which is the kubelet's: `DIR/NAME` is a symbolic link to `..data/NAME`, and `..data` is one to a
//! directory with a whole set of files. One rename of `..data` changes all of them
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go>).
//!
//! Links for new names are made before that rename and those for old names are removed after it: whenever the process
//! ends, a name leads either to a file of the current set, or to nothing.

use nix::unistd::UnlinkatFlags;

use super::dir::{Dir, EntryKind, TEMPORARY_PREFIX};
use super::manifest::{self, Manifest};
use super::request::{WriteRequest, Written, parent_directories};
use super::transaction::Transaction;
use crate::error::Error;
use crate::log;
use crate::request::files::{distinct, first_component, split_path};

/// The name of the symbolic link in DIR that leads to the current set of files.
pub const DATA_LINK: &str = "..data";

/// Opens the directory with the current set of files, to which `..data` leads. Returns its name and the directory, or
/// `None` if there is no current set.
pub fn open_current_set(dir: &Dir) -> Result<Option<(String, Dir)>, Error> {
    let target = match dir.entry_kind(DATA_LINK)? {
        None => return Ok(None),
        Some(EntryKind::Link(target)) => target,
        Some(kind) => return Err(dir.replace_error(DATA_LINK, &kind, None)),
    };
    let set_name = target
        .to_str()
        .filter(|name| name.starts_with(TEMPORARY_PREFIX) && !name.contains('/'));
    let Some(set_name) = set_name else {
        return Err(dir
            .write_error(
                DATA_LINK,
                "it is a symbolic link that akv-init did not make",
            )
            .hint("use a directory that no other program writes to"));
    };
    // `None` if another program has removed it.
    let set = dir.open_subdirectory(set_name)?;
    Ok(set.map(|set| (set_name.to_owned(), set)))
}

/// Fails if DIR has something other than a link of this layout at a name where such a link is needed.
pub fn check_names(dir: &Dir, paths: &[&str]) -> Result<(), Error> {
    open_current_set(dir)?;
    for name in paths.iter().map(|path| first_component(path)) {
        if let Some(kind) = dir.entry_kind(name)?
            && !is_atomic_link(&kind, name)
        {
            let is_plain = matches!(kind, EntryKind::File | EntryKind::Directory);
            return Err(dir.replace_error(name, &kind, is_plain.then_some("plain")));
        }
    }
    Ok(())
}

/// Writes a new set of files and makes it the current one, unless the current set has the same files already. Returns
/// the number of files that were written.
pub fn write(
    transaction: &mut Transaction<'_>,
    request: &WriteRequest<'_>,
) -> Result<Written, Error> {
    let dir = transaction.dir;
    let link_names = distinct(request.files.iter().map(|file| first_component(file.path)));
    let mut missing_links = Vec::new();
    for name in &link_names {
        if dir.entry_kind(name)?.is_none() {
            missing_links.push(*name);
        }
    }
    let obsolete_links = find_obsolete_links(dir, &link_names)?;
    let current = open_current_set(dir)?;
    let removed = match &current {
        Some((_, set)) => count_existing(set, request.missing)?,
        None => 0,
    };
    let manifest_text = request.manifest.map(Manifest::to_text);
    let mode = request.options.mode;
    let manifest = manifest_text
        .as_ref()
        .map(|text| Manifest::file(text, mode));
    if let Some((set_name, set)) = current
        && missing_links.is_empty()
        && obsolete_links.is_empty()
        && is_up_to_date(&set, request)?
    {
        log::debug(|| "every file is up to date".to_owned());
        if let Some(mut manifest) = manifest
            // A round that changes nothing must not wake up a program that watches the directory.
            && !(request.options.every.is_some() && request.is_confirmed_by(&Manifest::read(&set)))
        {
            // It holds the time at which the files were last confirmed.
            let path = format!("{set_name}/{}", manifest::NAME);
            manifest.path = &path;
            let staged = dir.stage(&manifest)?;
            transaction.rename_into_place(&staged, &path)?;
            set.sync()?;
        }
        return Ok(Written {
            written: 0,
            removed,
        });
    }
    let set_name = Dir::temporary_name();
    let set = dir.create_directory(&set_name, mode, &dir.path_of(DATA_LINK))?;
    let directories = parent_directories(request.files);
    for path in &directories {
        let (parent, name) = split_path(path);
        let parent = set.open_existing_subdirectory(parent)?;
        parent.create_directory(name, mode, &dir.path_of(path))?;
    }
    for file in request.files.iter().chain(&manifest) {
        let (parent, name) = split_path(file.path);
        set.open_existing_subdirectory(parent)?
            .create_file(name, file, &dir.path_of(file.path))?;
        log::debug(|| format!("wrote `{}`", file.path));
    }
    for path in directories {
        set.open_existing_subdirectory(path)?.sync()?;
    }
    set.sync()?;
    for name in missing_links {
        transaction.make_symlink(&link_target(name), name)?;
    }
    let temporary_link = Dir::temporary_name();
    dir.symlink(&set_name, &temporary_link, DATA_LINK)?;
    transaction.rename_into_place(&temporary_link, DATA_LINK)?;
    dir.sync()?;
    for name in obsolete_links {
        log::debug(|| format!("removed the file `{name}`, which is no longer requested"));
        if let Err(error) = dir.remove(&name, UnlinkatFlags::NoRemoveDir) {
            log::warning(format!(
                "{error}; it leads nowhere, and the next run will try again"
            ));
        }
    }
    Ok(Written {
        written: request.files.len(),
        removed,
    })
}

/// The number of files that exist at these paths.
fn count_existing(set: &Dir, paths: &[&str]) -> Result<usize, Error> {
    let mut count = 0;
    for path in paths {
        count += usize::from(set.modified(path)?.is_some());
    }
    Ok(count)
}

/// Whether a set consists of exactly the requested files.
fn is_up_to_date(set: &Dir, request: &WriteRequest<'_>) -> Result<bool, Error> {
    let has_manifest = set.entry_kind(manifest::NAME)? == Some(EntryKind::File);
    if has_manifest != request.manifest.is_some()
        || !request.files.iter().all(|file| set.holds(file))
    {
        return Ok(false);
    }
    let directories = parent_directories(request.files);
    let expected_count = request.files.len() + directories.len() + usize::from(has_manifest);
    let mut count = set.entry_names(|_| true)?.len();
    for path in directories {
        count += set
            .open_existing_subdirectory(path)?
            .entry_names(|_| true)?
            .len();
    }
    Ok(count == expected_count)
}

/// The names of this layout's links to files that are no longer requested. Links are recognized by their targets: a
/// run that was killed left no list of them.
fn find_obsolete_links(dir: &Dir, link_names: &[&str]) -> Result<Vec<String>, Error> {
    dir.entry_names(|name| {
        let kind = dir.entry_kind(name).ok().flatten();
        link_names.binary_search(&name).is_err()
            && kind.is_some_and(|kind| is_atomic_link(&kind, name))
    })
}

/// The target of the link in DIR that has this name.
fn link_target(name: &str) -> String {
    format!("{DATA_LINK}/{name}")
}

/// Whether an entry of this kind and name is a link that this layout makes.
pub fn is_atomic_link(kind: &EntryKind, name: &str) -> bool {
    *kind == EntryKind::Link(link_target(name).into())
}
