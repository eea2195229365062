//! Where values go: into a process's environment, into files in memory, into a directory.

pub mod directory;
pub mod formats;
pub mod memfd;
pub mod process;
pub mod supervisor;
