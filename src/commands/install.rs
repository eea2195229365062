//! `akv-init install`: copies akv-init into a directory.

use crate::error::Error;
use crate::output::directory;
use crate::request::cli::Install;

/// Copies our own file into DIR.
pub fn run(install: &Install) -> Result<(), Error> {
    directory::install(&install.dir)
}
