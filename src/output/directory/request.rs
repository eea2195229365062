//! What is to be written to a directory.

use std::collections::BTreeSet;

use super::dir::File;
use super::manifest::Manifest;
use crate::request::files::{WriteOptions, self_and_parents, split_path};

/// The files to write.
pub struct WriteRequest<'a> {
    /// Where and how.
    pub options: &'a WriteOptions,
    /// The files.
    pub files: &'a [File<'a>],
    /// What a later run needs to know to keep them; none where it may not.
    pub manifest: Option<&'a Manifest>,
}

/// The directories that files need, each after the one that it is in.
pub fn directories<'a>(files: impl IntoIterator<Item = &'a File<'a>>) -> BTreeSet<&'a str> {
    let parents = files.into_iter().map(|file| split_path(file.path).0);
    parents.flat_map(self_and_parents).collect()
}
