//! Changes to a directory that are rolled back if one of them fails.

use nix::unistd::UnlinkatFlags;

use super::dir::{Dir, EntryKind};
use super::manifest;
use crate::error::Error;
use crate::log;
use crate::request::files::split_path;

/// The steps so far.
pub struct Transaction<'a> {
    dir: &'a Dir,
    steps: Vec<Step>,
    /// Names in the directory to remove when the transaction ends.
    temporary: Vec<String>,
}

struct Step {
    /// What was changed: a path below the directory.
    path: String,
    undo: Undo,
}

enum Undo {
    /// The old file or link now has this name in the directory.
    Restore(String),
    /// There was nothing before.
    Remove,
    /// There was no directory before.
    RemoveDirectory,
    /// There was no directory before; everything in it is new as well.
    RemoveTree,
    /// The old file is gone, since this file system has no hard links.
    Impossible,
}

impl<'a> Transaction<'a> {
    /// A transaction without steps.
    pub fn begin(dir: &'a Dir) -> Self {
        Transaction {
            dir,
            steps: Vec::new(),
            temporary: Vec::new(),
        }
    }

    /// Removes this when the transaction ends, unless it is renamed.
    pub fn remove_at_end(&mut self, name: &str) {
        self.temporary.push(name.to_owned());
    }

    fn temporary_name(&mut self) -> String {
        let name = Dir::temporary_name();
        self.remove_at_end(&name);
        name
    }

    fn did(&mut self, path: &str, undo: Undo) {
        self.steps.push(Step {
            path: path.to_owned(),
            undo,
        });
    }

    /// Writes a file under a temporary name, which is the result. `path` is where it will be.
    pub fn stage(&mut self, path: &str, content: &[u8], mode: u32) -> Result<String, Error> {
        let temporary = self.temporary_name();
        let subject = self.dir.path_of(path);
        self.dir.create(&temporary, content, mode, &subject)?;
        Ok(temporary)
    }

    /// Renames a staged file to its path.
    pub fn place(&mut self, staged: &str, path: &str) -> Result<(), Error> {
        let (parent, name) = split_path(path);
        let directory = self.dir.existing(parent)?;
        let undo = match directory.kind(name)? {
            None => Undo::Remove,
            Some(EntryKind::File) => {
                let backup = self.temporary_name();
                match directory.link(name, self.dir, &backup) {
                    Ok(()) => Undo::Restore(backup),
                    // Nor can another user's file have one (protected_hardlinks, proc_sys_fs(5)).
                    Err(_) => Undo::Impossible,
                }
            }
            Some(kind) => return Err(directory.in_the_way(name, &kind)),
        };
        self.rename(staged, &directory, name)?;
        self.did(path, undo);
        Ok(())
    }

    fn rename(&mut self, temporary: &str, directory: &Dir, name: &str) -> Result<(), Error> {
        self.dir.rename(temporary, directory, name)?;
        self.temporary.retain(|other| other != temporary);
        Ok(())
    }

    /// Takes a file out of the way.
    pub fn set_aside(&mut self, name: &str) -> Result<(), Error> {
        let backup = self.temporary_name();
        self.dir.rename(name, self.dir, &backup)?;
        self.did(name, Undo::Restore(backup));
        Ok(())
    }

    /// Makes a directory for files of this mode, unless it exists.
    pub fn make_directory(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        if self.dir.below(path)?.is_some() {
            return Ok(());
        }
        let (parent, name) = split_path(path);
        let directory = self.dir.existing(parent)?;
        // Under another name first, so that it never exists with fewer permissions.
        let temporary = self.temporary_name();
        let subject = self.dir.path_of(path);
        self.dir.create_directory(&temporary, mode, &subject)?;
        self.rename(&temporary, &directory, name)?;
        self.did(path, Undo::RemoveDirectory);
        Ok(())
    }

    /// A new directory in the directory, for files of this mode.
    pub fn new_directory(&mut self, mode: u32, subject: &str) -> Result<(String, Dir), Error> {
        let name = Dir::temporary_name();
        self.did(&name, Undo::RemoveTree);
        let subject = self.dir.path_of(subject);
        let directory = self.dir.create_directory(&name, mode, &subject)?;
        Ok((name, directory))
    }

    /// Makes a symbolic link in the directory.
    pub fn link(&mut self, target: &str, name: &str) -> Result<(), Error> {
        self.dir.symlink(target, name)?;
        self.did(name, Undo::Remove);
        Ok(())
    }

    /// Makes a symbolic link lead elsewhere, in one step; `before` is where it led.
    pub fn redirect(
        &mut self,
        name: &str,
        temporary: &str,
        target: &str,
        before: Option<&str>,
    ) -> Result<(), Error> {
        let undo = match before {
            None => Undo::Remove,
            Some(before) => {
                // Made now: rolling back must not need room on a full disk.
                let backup = self.temporary_name();
                self.dir.symlink(before, &backup)?;
                Undo::Restore(backup)
            }
        };
        self.remove_at_end(temporary);
        self.dir.symlink(target, temporary)?;
        self.rename(temporary, self.dir, name)?;
        self.did(name, undo);
        Ok(())
    }

    /// Ends the transaction: on an error everything is rolled back.
    pub fn end(mut self, result: Result<(), Error>) -> Result<(), Error> {
        let result = result.map_err(|error| self.roll_back(error));
        for name in &self.temporary {
            // A name may have been chosen for something that was never made.
            let exists = !matches!(self.dir.kind(name), Ok(None));
            if exists && let Err(error) = self.dir.remove_temporary(name) {
                log::warning(format!("{error}; the next run will try again"));
            }
        }
        result
    }

    /// Undoes the steps, the last one first. Where one cannot be undone, those before it stay, too: the manifest, which
    /// is set aside first, must not come back beside new files, nor a link disappear that leads to the set in force.
    fn roll_back(&mut self, mut error: Error) -> Error {
        while let Some(step) = self.steps.pop() {
            match self.undo(&step) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(second) => error = error.note(format!("rolling back failed: {second}")),
            }
            self.steps.push(step);
            let is_file = |step: &&Step| match step.undo {
                Undo::RemoveDirectory | Undo::RemoveTree => false,
                _ => !step.path.ends_with(manifest::NAME),
            };
            let written = self.steps.iter().filter(is_file);
            let written: Vec<String> = written.map(|step| format!("`{}`", step.path)).collect();
            return match written.is_empty() {
                true => error,
                false => error.note(format!("already written: {}", written.join(", "))),
            };
        }
        error
    }

    /// Undoes a step; whether that is possible.
    fn undo(&mut self, step: &Step) -> Result<bool, Error> {
        let (parent, name) = split_path(&step.path);
        let Some(directory) = self.dir.below(parent)? else {
            // It is gone with its directory.
            return Ok(true);
        };
        match &step.undo {
            Undo::Restore(backup) => self.dir.rename(backup, &directory, name)?,
            Undo::Remove => directory.remove(name, UnlinkatFlags::NoRemoveDir)?,
            Undo::RemoveDirectory => directory.remove(name, UnlinkatFlags::RemoveDir)?,
            Undo::RemoveTree => self.remove_at_end(name),
            Undo::Impossible => return Ok(false),
        }
        Ok(true)
    }
}
