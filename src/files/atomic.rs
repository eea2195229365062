//! The atomic layout, which is the kubelet's: `DIR/NAME` is a symbolic link to `..data/NAME`, and `..data` one to a
//! directory that holds a whole set of files. One rename of `..data` changes all of them
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/atomic_writer.go>).
//!
//! Links for new names are made before that rename and those for old names are removed after it: whenever this ends, a
//! name either leads to a file of the one set in force, or to nothing.

use super::change::Change;
use super::dir::{Dir, TEMPORARY};
use super::look::Kind;
use super::manifest;
use super::plain::is_there;
use super::{DATA, DATA_TMP, Order};
use crate::failure::Failure;
use crate::log;
use crate::volume::{split_path, with_parents};

/// The set of files that is in force.
pub struct Current {
    /// The name of its directory.
    pub name: String,
    /// The directory.
    pub data: Dir,
}

/// The set that `..data` leads to, if there is one.
pub fn current(dir: &Dir) -> Result<Option<Current>, Failure> {
    let target = match dir.kind(DATA)? {
        None => return Ok(None),
        Some(Kind::Link(target)) => target,
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
pub fn check(dir: &Dir, order: &Order<'_>) -> Result<(), Failure> {
    current(dir)?;
    for name in first_names(order) {
        match dir.kind(name)? {
            None => {}
            Some(Kind::Link(target)) if target == link_of(name).as_str() => {}
            Some(kind) => {
                let failure = dir.in_the_way(name, &kind);
                return Err(match kind {
                    Kind::File | Kind::Directory => failure.hint(
                        "was the directory written with --layout plain? use that again, or empty it",
                    ),
                    _ => failure,
                });
            }
        }
    }
    Ok(())
}

/// Puts a new set in force, unless the one in force is the same.
pub fn write(dir: &Dir, order: &Order<'_>) -> Result<(), Failure> {
    let current = current(dir)?;
    let names = first_names(order);
    let mut missing = Vec::new();
    for name in &names {
        if dir.kind(name)?.is_none() {
            missing.push(*name);
        }
    }
    let obsolete = obsolete_links(dir, &names)?;
    let mut change = Change::begin(dir);
    if let Some(current) = &current
        && missing.is_empty()
        && obsolete.is_empty()
        && is_same(&current.data, order)?
    {
        log::debug(|| "every file is as it should be".to_owned());
        let result = update_manifest(&mut change, current, order);
        return change.end(result);
    }
    let before = current.as_ref().map(|current| current.name.as_str());
    let result = put_in_force(&mut change, dir, order, before, &missing);
    let done = result.is_ok();
    if let (true, Some(before)) = (done, before) {
        change.remove_in_the_end(before);
    }
    change.end(result)?;
    for name in obsolete {
        log::debug(|| format!("`{name}` is no longer named: removed"));
        if let Err(failure) = dir.remove(&name) {
            log::warning(format!(
                "{failure}; it leads to nothing, and the next run tries again"
            ));
        }
    }
    Ok(())
}

fn put_in_force(
    change: &mut Change<'_>,
    dir: &Dir,
    order: &Order<'_>,
    before: Option<&str>,
    missing: &[&str],
) -> Result<(), Failure> {
    let name = change.temporary_name();
    let data = dir.create_directory(&name, order.mode, &dir.path_of(DATA))?;
    fill(dir, &data, order)?;
    for name in missing {
        change.link(&link_of(name), name)?;
    }
    change.redirect(DATA, DATA_TMP, &name, before)?;
    dir.sync()?;
    change.is_no_longer_temporary(&name);
    Ok(())
}

fn fill(dir: &Dir, data: &Dir, order: &Order<'_>) -> Result<(), Failure> {
    let mut made: Vec<&str> = Vec::new();
    for file in order.files {
        let path = file.name.as_str();
        let (parent, name) = file.name.split();
        for above in parent.into_iter().flat_map(with_parents) {
            let (parent, name) = split_path(above);
            if !made.contains(&above)
                && let Some(directory) = data.parent(parent)?
            {
                directory.create_directory(name, order.mode, &dir.path_of(above))?;
                made.push(above);
            }
        }
        if let Some(directory) = data.parent(parent)? {
            directory.create(name, file.content, order.mode, &dir.path_of(path))?;
        }
        log::debug(|| format!("wrote `{path}`"));
    }
    if let Some(manifest) = order.manifest {
        let text = manifest.to_text();
        let subject = dir.path_of(manifest::NAME);
        data.create(
            manifest::NAME,
            text.as_bytes(),
            order.manifest_mode(),
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
    change: &mut Change<'_>,
    current: &Current,
    order: &Order<'_>,
) -> Result<(), Failure> {
    match order.manifest {
        None if current.data.kind(manifest::NAME)?.is_none() => Ok(()),
        None => current.data.remove(manifest::NAME),
        Some(manifest) => {
            let text = manifest.to_text();
            let mode = order.manifest_mode();
            let parent = Some(current.name.as_str());
            let staged = change.stage(parent, manifest::NAME, text.as_bytes(), mode)?;
            change.place(&staged, parent, manifest::NAME, order.mode)?;
            current.data.sync()
        }
    }
}

fn is_same(data: &Dir, order: &Order<'_>) -> Result<bool, Failure> {
    for file in order.files {
        if !is_there(data, file, order.mode) {
            return Ok(false);
        }
    }
    let names = || order.files.iter().map(|file| file.name.as_str());
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
fn obsolete_links(dir: &Dir, names: &[&str]) -> Result<Vec<String>, Failure> {
    let obsolete = dir.names(|name| {
        let Some(name) = name.to_str().filter(|name| !names.contains(name)) else {
            return false;
        };
        matches!(dir.kind(name), Ok(Some(Kind::Link(target))) if target == link_of(name).as_str())
    })?;
    Ok(obsolete
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .collect())
}

/// What is seen in the directory itself, each name once.
fn first_names<'a>(order: &Order<'a>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for file in order.files {
        if !names.contains(&file.name.first()) {
            names.push(file.name.first());
        }
    }
    names
}

fn link_of(name: &str) -> String {
    format!("{DATA}/{name}")
}
