//! What the command line can ask for: one struct for each command.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::log::Format;
use crate::request::files::{Output, WriteOptions};
use crate::request::options::Shared;
use crate::request::reference::Reference;
use crate::request::supervision::Supervision;

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Look at every link.
    Check(Box<Check>),
    /// Become COMMAND with its secrets.
    Exec(Box<Exec>),
    /// Print a secret.
    Get(Box<Get>),
    /// Print the help, of one command or of all.
    Help(Option<&'static str>),
    /// Copy our own file into this directory.
    Install(Install),
    /// Print an access token.
    Token(Box<Token>),
    /// Print the version.
    Version,
    /// Put secrets into files.
    Write(Box<Write>),
}

impl Action {
    /// `--log-format`.
    pub fn log_format(&self) -> Option<Format> {
        match self {
            Action::Check(check) => check.exec.shared.log_format,
            Action::Exec(exec) => exec.shared.log_format,
            Action::Get(get) => get.shared.log_format,
            Action::Install(install) => install.log_format,
            Action::Token(token) => token.shared.log_format,
            Action::Write(write) => write.shared.log_format,
            Action::Help(_) | Action::Version => None,
        }
    }
}

/// `akv-init exec`.
#[derive(Debug)]
pub struct Exec {
    /// Options that several commands share.
    pub shared: Shared,
    /// `--memfd NAME=REF`.
    pub memfds: Vec<(String, Reference)>,
    /// `--override`.
    pub overwrite: bool,
    /// `--literal NAME`: variables that are passed on as they are.
    pub literal: Vec<OsString>,
    /// `--unset NAME`: variables that COMMAND does not get.
    pub unset: Vec<OsString>,
    /// `--init` and `--drain`; none is to become COMMAND.
    pub supervision: Option<Supervision>,
    /// `--dry-run`.
    pub dry_run: bool,
    /// COMMAND and its arguments; never empty.
    pub command: Vec<OsString>,
}

/// `akv-init write`.
#[derive(Debug)]
pub struct Write {
    /// Options that several commands share.
    pub shared: Shared,
    /// `--from-env`.
    pub from_env: bool,
    /// `--literal NAME`: variables that are no references, whatever they look like.
    pub literal: Vec<OsString>,
    /// `--output`; never empty.
    pub outputs: Vec<Output>,
    /// DIR, `--mode`, `--layout`, `--require-tmpfs`, `--keep-existing`.
    pub options: WriteOptions,
    /// `--dry-run`.
    pub dry_run: bool,
}

/// `akv-init check`.
#[derive(Debug)]
pub struct Check {
    /// What `exec` would be asked for; without a COMMAND none is looked for.
    pub exec: Exec,
    /// `--format`.
    pub format: Format,
}

/// `akv-init get`.
#[derive(Debug)]
pub struct Get {
    /// Options that several commands share.
    pub shared: Shared,
    /// REF.
    pub reference: Reference,
}

/// `akv-init install`.
#[derive(Debug)]
pub struct Install {
    /// `--log-format`.
    pub log_format: Option<Format>,
    /// DIR.
    pub dir: PathBuf,
}

/// `akv-init token`.
#[derive(Debug)]
pub struct Token {
    /// Options that several commands share.
    pub shared: Shared,
    /// RESOURCE, or `--scope` without `/.default`; none is Key Vault's.
    pub resource: Option<String>,
}
