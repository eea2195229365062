//! `akv-init get`: prints a secret.

use super::shared::print_value;
use crate::error::Error;
use crate::request::arguments::Arguments;
use crate::request::plan::Plan;

/// Prints the secret on standard output.
pub fn run(arguments: &Arguments<'_>) -> Result<(), Error> {
    print_value(Plan::get(arguments)?, arguments.env, "the secret")
}
