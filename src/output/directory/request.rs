//! What is to be in a directory.

use std::collections::BTreeSet;

use super::dir::Dir;
use super::manifest::Manifest;
use crate::request::files::{FileName, WriteOptions, with_parents};

/// A file and its bytes.
pub struct File<'a> {
    /// Its path below the directory.
    pub name: &'a FileName,
    /// Its bytes.
    pub content: &'a [u8],
}

impl File<'_> {
    /// Whether the directory holds this file already. Anything else under its name is not an error here: it may be about
    /// to be replaced.
    pub fn is_in(&self, dir: &Dir, mode: u32) -> bool {
        let (parent, name) = self.name.split();
        let directory = dir.below(parent).ok().flatten();
        directory.is_some_and(|directory| directory.has_content(name, self.content, mode))
    }
}

/// The directories that files need, each after the one that it is in.
pub fn directories<'a>(files: impl IntoIterator<Item = &'a File<'a>>) -> BTreeSet<&'a str> {
    let parents = files.into_iter().map(|file| file.name.split().0);
    parents.flat_map(with_parents).collect()
}

/// The files to write.
pub struct WriteRequest<'a> {
    /// Where and how.
    pub options: &'a WriteOptions,
    /// The files.
    pub files: &'a [File<'a>],
    /// What a later run may know about them; with none, it may not keep them.
    pub manifest: Option<&'a Manifest>,
}

impl WriteRequest<'_> {
    /// The manifest's permissions: the next run has to be able to read it.
    pub fn manifest_mode(&self) -> u32 {
        self.options.mode | 0o400
    }
}
