//! What the user asked for, from the command line and the environment. Pure: no clock, no file, no network.

pub mod arguments;
pub mod cli;
pub mod cloud;
pub mod environment;
pub mod expansion;
pub mod files;
pub mod format;
pub mod help;
pub mod host;
pub mod many;
mod option_table;
pub mod pem;
pub mod percent;
pub mod pfx;
pub mod plan;
pub mod reference;
mod reserved;
pub mod secret_id;
pub mod settings;
mod suggestion;
pub mod supervision;
pub mod target;
pub mod template;
pub mod value;
