//! The commands that are more than one call, each in a file, and the steps that several of them share.

pub mod check;
pub mod dry_run;
pub mod exec;
mod shared;
pub mod write;

pub use shared::print_value;
