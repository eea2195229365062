//! One file for each command that takes more than one call, and the steps that several commands share.

pub mod check;
pub mod dry_run;
pub mod every;
pub mod exec;
mod shared;
pub mod write;

pub use shared::print_value;
