//! `akv-init token`: prints an access token.

use super::shared::print_value;
use crate::error::Error;
use crate::request::arguments::Arguments;
use crate::request::plan::Plan;

/// Prints the access token on standard output.
pub fn run(arguments: &Arguments<'_>) -> Result<(), Error> {
    print_value(Plan::token(arguments)?, arguments.env, "the access token")
}
