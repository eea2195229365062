//! Changes to a directory that are rolled back if one of them fails. The caller removes what they leave under temporary
//! names.

use nix::unistd::UnlinkatFlags;

use super::dir::Dir;
use super::manifest;
use crate::error::Error;
use crate::request::files::split_path;

/// The changes of one run so far, which can be undone.
pub struct Transaction<'a> {
    /// The directory DIR.
    pub dir: &'a Dir,
    /// The changes, the oldest first. For each: the path of what was changed, relative to DIR, and how to undo the
    /// change.
    steps: Vec<(String, Undo)>,
}

/// How to undo a change.
enum Undo {
    /// By renaming the old file or link back. It now has this name in DIR.
    Restore(String),
    /// By removing the new entry, with these flags (unlinkat(2)).
    Remove(UnlinkatFlags),
    /// Not at all: the old file is gone, because no hard link to it could be made.
    Impossible,
}

impl<'a> Transaction<'a> {
    /// A transaction without changes.
    pub fn begin(dir: &'a Dir) -> Self {
        Transaction {
            dir,
            steps: Vec::new(),
        }
    }

    /// Renames a file or link from its temporary name to its path.
    pub fn rename_into_place(&mut self, temporary: &str, path: &str) -> Result<(), Error> {
        let (parent, name) = split_path(path);
        let directory = self.dir.open_existing_subdirectory(parent)?;
        let undo = match directory.entry_kind(name)? {
            None => Undo::Remove(UnlinkatFlags::NoRemoveDir),
            Some(_) => {
                let backup = Dir::temporary_name();
                match directory.hard_link(name, self.dir, &backup) {
                    Ok(()) => Undo::Restore(backup),
                    // There are no hard links here, or not to another user's file (protected_hardlinks,
                    // proc_sys_fs(5)).
                    Err(_) => Undo::Impossible,
                }
            }
        };
        self.dir.rename(temporary, &directory, name)?;
        self.steps.push((path.to_owned(), undo));
        Ok(())
    }

    /// Renames a file to a temporary name.
    pub fn set_aside(&mut self, path: &str) -> Result<(), Error> {
        let (parent, name) = split_path(path);
        let directory = self.dir.open_existing_subdirectory(parent)?;
        let backup = Dir::temporary_name();
        directory.rename(name, self.dir, &backup)?;
        self.steps.push((path.to_owned(), Undo::Restore(backup)));
        Ok(())
    }

    /// Creates a directory for files with this mode, unless it exists.
    pub fn ensure_directory(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        if self.dir.open_subdirectory(path)?.is_some() {
            return Ok(());
        }
        let (parent, name) = split_path(path);
        let directory = self.dir.open_existing_subdirectory(parent)?;
        // Under another name first, so that it never exists with fewer permissions.
        let temporary = Dir::temporary_name();
        let subject = self.dir.path_of(path);
        self.dir.create_directory(&temporary, mode, &subject)?;
        self.dir.rename(&temporary, &directory, name)?;
        let undo = Undo::Remove(UnlinkatFlags::RemoveDir);
        self.steps.push((path.to_owned(), undo));
        Ok(())
    }

    /// Makes a symbolic link in the directory.
    pub fn make_symlink(&mut self, target: &str, name: &str) -> Result<(), Error> {
        self.dir.symlink(target, name, name)?;
        let undo = Undo::Remove(UnlinkatFlags::NoRemoveDir);
        self.steps.push((name.to_owned(), undo));
        Ok(())
    }

    /// Undoes the changes, the latest first, and returns `error`. If a change cannot be undone, the earlier ones stay
    /// as well, and notes in the error say so. Otherwise the manifest, which is set aside first, could come back
    /// beside new files, and the link to the current set could disappear.
    pub fn roll_back(mut self, mut error: Error) -> Error {
        while let Some((path, undo)) = self.steps.pop() {
            match self.undo(&path, &undo) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(undo_error) => error = error.note(format!("rolling back failed: {undo_error}")),
            }
            self.steps.push((path, undo));
            let files = self.steps.iter().filter(|(path, undo)| {
                !matches!(undo, Undo::Remove(UnlinkatFlags::RemoveDir))
                    && !path.ends_with(manifest::NAME)
            });
            let written: Vec<String> = files.map(|(path, _)| format!("`{path}`")).collect();
            return match written.is_empty() {
                true => error,
                false => error.note(format!("already written: {}", written.join(", "))),
            };
        }
        error
    }

    /// Undoes one change. Returns `false` if that is impossible, and an error if it fails.
    fn undo(&self, path: &str, undo: &Undo) -> Result<bool, Error> {
        let (parent, name) = split_path(path);
        let Some(directory) = self.dir.open_subdirectory(parent)? else {
            // The file was removed with its directory.
            return Ok(true);
        };
        match undo {
            Undo::Restore(backup) => self.dir.rename(backup, &directory, name)?,
            Undo::Remove(flags) => directory.remove(name, *flags)?,
            Undo::Impossible => return Ok(false),
        }
        Ok(true)
    }
}
