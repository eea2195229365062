//! `akv-init install`: copies akv-init into a directory.

use crate::error::Error;
use crate::output::directory;
use crate::request::arguments::Arguments;
use crate::request::files::parse_dir;

/// Copies our own file into DIR.
pub fn run(arguments: &Arguments<'_>) -> Result<(), Error> {
    directory::install(&parse_dir(arguments)?)
}
