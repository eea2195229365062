//! What is to be written to a directory.

use super::dir::OutputFile;
use super::manifest::Manifest;
use crate::request::files::{WriteOptions, distinct, self_and_parents, split_path};

/// What to write, where, and how.
pub struct WriteRequest<'a> {
    /// The directory, the layout, and the mode of files.
    pub options: &'a WriteOptions,
    /// All files to write.
    pub files: &'a [OutputFile<'a>],
    /// The paths of files for which there is no secret. Those that an earlier run wrote are removed.
    pub missing: &'a [&'a str],
    /// What a later run needs to know to keep these files if Azure cannot be reached; `None` if it must not keep them.
    pub manifest: Option<&'a Manifest>,
}

impl WriteRequest<'_> {
    /// Whether an old manifest differs from the new one in its times at most.
    pub fn is_confirmed_by(&self, old: &Manifest) -> bool {
        self.manifest.is_some_and(|new| old.confirms(new))
    }
}

/// What was done in a directory.
pub struct Written {
    /// The number of files that were not up to date.
    pub written: usize,
    /// The number of files that were removed, since there is no secret for them any more.
    pub removed: usize,
}

/// The paths of all directories that the files are in, each after its parent.
pub fn parent_directories<'a>(files: impl IntoIterator<Item = &'a OutputFile<'a>>) -> Vec<&'a str> {
    let parents = files.into_iter().map(|file| split_path(file.path).0);
    distinct(parents.flat_map(self_and_parents))
}
