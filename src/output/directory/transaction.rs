//! A transaction of a directory that can be taken back: all steps are done, or it is as it was.

use std::ffi::OsStr;
use std::ops::Deref;

use nix::errno::Errno;

use super::DATA;
use super::dir::Dir;
use super::inspect::EntryKind;
use crate::error::Error;
use crate::log;
use crate::request::files::{split_path, with_parents};

/// The largest file, in bytes, that is copied for the case that a transaction is taken back; any is linked.
const LARGEST_COPY: usize = 16 * 1024 * 1024;

/// What has been done so far.
pub struct Transaction<'a> {
    dir: &'a Dir,
    done: Vec<Step>,
    /// Names in the directory that are of no use when this is over.
    temporary: Vec<String>,
}

/// One step that was done.
struct Step {
    /// Where: a path below the directory, or the directory itself.
    parent: Option<String>,
    name: String,
    undo: Undo,
}

/// How a step is taken back.
enum Undo {
    /// Something took the place of what is now called this: a file, or the link to a set of files.
    Restore(String),
    /// There is a file or a link that was not there.
    Remove,
    /// There is a directory that was not there.
    RemoveDirectory,
}

/// The directory itself, or one below it.
pub enum Parent<'a> {
    /// The directory.
    Root(&'a Dir),
    /// One below it.
    Below(Dir),
}

impl Deref for Parent<'_> {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        match self {
            Parent::Root(dir) => dir,
            Parent::Below(dir) => dir,
        }
    }
}

impl Dir {
    /// The directory at a path below this one, or this one; none where there is no such path.
    pub fn parent(&self, path: Option<&str>) -> Result<Option<Parent<'_>>, Error> {
        match path {
            None => Ok(Some(Parent::Root(self))),
            Some(path) => Ok(self.below(path)?.map(Parent::Below)),
        }
    }
}

impl<'a> Transaction<'a> {
    /// Nothing has been done yet.
    pub fn begin(dir: &'a Dir) -> Self {
        Transaction {
            dir,
            done: Vec::new(),
            temporary: Vec::new(),
        }
    }

    /// A name for something that will be removed in the end, unless it is renamed.
    pub fn temporary_name(&mut self) -> String {
        let name = Dir::temporary_name();
        self.temporary.push(name.clone());
        name
    }

    /// The same for a name that is given.
    pub fn remove_in_the_end(&mut self, name: &str) {
        self.temporary.push(name.to_owned());
    }

    /// Something temporary has come to stay.
    pub fn is_no_longer_temporary(&mut self, name: &str) {
        self.temporary.retain(|temporary| temporary != name);
    }

    /// Writes a file under a temporary name, which is the result. `parent` and `name` are where it will be.
    pub fn stage(
        &mut self,
        parent: Option<&str>,
        name: &str,
        content: &[u8],
        mode: u32,
    ) -> Result<String, Error> {
        let temporary = self.temporary_name();
        let subject = match parent {
            None => self.dir.path_of(name),
            Some(parent) => self.dir.path_of(parent).join(name),
        };
        self.dir.create(&temporary, content, mode, &subject)?;
        Ok(temporary)
    }

    /// Puts a staged file where it belongs; directories that are not there are made for files of this mode.
    pub fn place(
        &mut self,
        staged: &str,
        parent: Option<&str>,
        name: &str,
        mode: u32,
    ) -> Result<(), Error> {
        if let Some(path) = parent {
            self.make_directories(path, mode)?;
        }
        let Some(directory) = self.dir.parent(parent)? else {
            let path = parent.unwrap_or_default();
            return Err(self.dir.refuse(path, Errno::ENOENT.desc()));
        };
        let undo = match directory.kind(name)? {
            None => Undo::Remove,
            Some(EntryKind::File) => Undo::Restore(self.back_up(&directory, name)?),
            Some(kind) => return Err(directory.in_the_way(name, &kind)),
        };
        self.dir.rename(staged, &directory, name)?;
        self.is_no_longer_temporary(staged);
        self.did(parent, name, undo);
        Ok(())
    }

    /// Gives a file a second, temporary name. Where there are no hard links, or none to a file of somebody else
    /// (proc(5), protected_hardlinks), it is copied.
    fn back_up(&mut self, directory: &Dir, name: &str) -> Result<String, Error> {
        let backup = self.temporary_name();
        let Err(errno) = directory.link(name, self.dir, &backup) else {
            return Ok(backup);
        };
        let Some((mode, content)) = directory.read(name, LARGEST_COPY) else {
            return Err(directory.failed(name)(errno)
                .note("it cannot be kept for the case that something else fails")
                .hint("run akv-init as the user whose file it is, or remove the file"));
        };
        let subject = directory.path_of(name);
        self.dir.create(&backup, &content, mode, &subject)?;
        Ok(backup)
    }

    fn make_directories(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        for path in with_parents(path) {
            if self.dir.below(path)?.is_some() {
                continue;
            }
            let (parent, name) = split_path(path);
            let Some(directory) = self.dir.parent(parent)? else {
                return Err(self.dir.refuse(path, Errno::ENOENT.desc()));
            };
            // Under another name first, so that it never stands there with less than its permissions.
            let temporary = self.temporary_name();
            let subject = directory.path_of(name);
            self.dir.create_directory(&temporary, mode, &subject)?;
            self.dir.rename(&temporary, &directory, name)?;
            self.is_no_longer_temporary(&temporary);
            self.did(parent, name, Undo::RemoveDirectory);
        }
        Ok(())
    }

    /// Makes a symbolic link in the directory.
    pub fn link(&mut self, target: &str, name: &str) -> Result<(), Error> {
        self.dir.symlink(target, name)?;
        self.did(None, name, Undo::Remove);
        Ok(())
    }

    /// Lets a symbolic link lead elsewhere, in one step; `before` is where it led.
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
                // Made now, while there is room: on a full disk the way back must need none.
                let backup = self.temporary_name();
                if self.dir.link(name, self.dir, &backup).is_err() {
                    self.dir.symlink(before, &backup)?;
                }
                Undo::Restore(backup)
            }
        };
        self.remove_in_the_end(temporary);
        self.dir.symlink(target, temporary)?;
        self.dir.rename(temporary, self.dir, name)?;
        self.is_no_longer_temporary(temporary);
        self.did(None, name, undo);
        Ok(())
    }

    fn did(&mut self, parent: Option<&str>, name: &str, undo: Undo) {
        self.done.push(Step {
            parent: parent.map(str::to_owned),
            name: name.to_owned(),
            undo,
        });
    }

    /// Ends the transaction: with an error everything is taken back, without one it stays.
    pub fn end(mut self, result: Result<(), Error>) -> Result<(), Error> {
        let result = result.map_err(|mut error| {
            for step in std::mem::take(&mut self.done).into_iter().rev() {
                if let Err(second) = self.roll_back(step) {
                    error = error.note(format!("and it is not as it was before: {second}"));
                    // What came before belongs to what could not be taken back: half of the way is the worst place.
                    break;
                }
            }
            error
        });
        let in_force = match self.dir.kind(DATA) {
            Ok(Some(EntryKind::Link(target))) => Some(target),
            Ok(_) => None,
            Err(error) => {
                // Not known, so that nothing is removed.
                log::warning(format!(
                    "{error}; the next run removes what this one leaves"
                ));
                return result;
            }
        };
        for name in self.temporary.iter().map(OsStr::new) {
            // Not what could not be taken back; and a name may have been chosen for what was never made.
            let exists = !matches!(self.dir.kind(&name.to_string_lossy()), Ok(None));
            if in_force.as_deref() != Some(name)
                && exists
                && let Err(error) = self.dir.remove_made(name)
            {
                log::warning(format!("{error}; the next run tries again"));
            }
        }
        result
    }

    fn roll_back(&mut self, step: Step) -> Result<(), Error> {
        let Some(directory) = self.dir.parent(step.parent.as_deref())? else {
            // What was new in a directory is gone with it.
            return Ok(());
        };
        match step.undo {
            Undo::Restore(backup) => self.dir.rename(&backup, &directory, &step.name),
            Undo::Remove => directory.remove(&step.name),
            Undo::RemoveDirectory => directory.remove_directory(&step.name),
        }
    }
}
