//! `akv-init token`: prints an access token.

use super::shared::print_value;
use crate::error::Error;
use crate::request::cli::Token;
use crate::request::environment::Environment;
use crate::request::plan::Plan;

/// Prints the access token on standard output.
pub fn run(token: &Token, env: &Environment) -> Result<(), Error> {
    print_value(Plan::token(token, env)?, env, "the access token")
}
