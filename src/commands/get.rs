//! `akv-init get`: prints a secret.

use super::shared::print_value;
use crate::error::Error;
use crate::request::cli::Get;
use crate::request::environment::Environment;
use crate::request::plan::Plan;

/// Prints the secret on standard output.
pub fn run(get: &Get, env: &Environment) -> Result<(), Error> {
    print_value(Plan::get(get, env)?, env, "the secret")
}
