//! The commands: one file for each, and the steps that several of them share.

pub mod check;
pub mod dry_run;
pub mod exec;
pub mod get;
pub mod install;
mod shared;
pub mod token;
pub mod write;
