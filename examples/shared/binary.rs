//! The binary that the examples run.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Has cargo build the binary, of the profile that this example was built with, and asks it where it is.
pub fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    let mut command = Command::new(cargo);
    command.args(["build", "--bin", "akv-init", "--profile", profile]);
    command.args(["--quiet", "--message-format", "json-render-diagnostics"]);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit());
    // `cargo run` tells us about our package in these; build scripts that look at them would run again each time.
    let about_us = |name: &str| {
        name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(about_us)) {
        command.env_remove(name);
    }
    let output = command.output().context("starting cargo")?;
    ensure!(output.status.success(), "akv-init does not build");
    let messages = String::from_utf8(output.stdout).context("reading what cargo built")?;
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables =
        messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    executables
        .next_back()
        .context("cargo did not say where the binary is")
}
