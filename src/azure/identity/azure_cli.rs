//! The Azure CLI's sign-in, for use on a laptop: only if `--identity cli` or `AZURE_TOKEN_CREDENTIALS` selects it.
//!
//! <https://learn.microsoft.com/cli/azure/account#az-account-get-access-token>. `az` is started without a shell and
//! inherits the environment: `AZURE_CONFIG_DIR` and proxies apply as usual. It runs in a process group of its own, which
//! is killed at the deadline and when this process ends.

use std::cell::OnceCell;
use std::io::{self, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;

use serde_json::{Value, json};

use super::entra::configured_tenant;
use super::source::TokenSource;
use super::token::{AccessToken, TokenRequest};
use crate::error::{Cause, Error, PROCESS_LIMITS_HINT, RequestFailure};
use crate::http::retry::Deadline;
use crate::http::{HttpClient, Service};
use crate::input;
use crate::log;
use crate::request::environment::Environment;
use crate::signals;

/// The assumed lifetime of a token whose expiry `az` does not print. It is shorter than the real one, and long enough
/// to read secrets.
const ASSUMED_LIFETIME_SECONDS: i64 = 300;

/// Whether the program `az` is on the PATH.
pub fn is_on_path(env: &Environment) -> bool {
    let path = env.get("PATH").unwrap_or_default();
    std::env::split_paths(path).any(|directory| directory.join("az").is_file())
}

/// Gets access tokens from the Azure CLI.
pub struct AzureCli {
    tenant: Option<String>,
}

impl AzureCli {
    /// Builds the source; reads `AZURE_TENANT_ID`.
    pub fn build(env: &Environment) -> Result<AzureCli, Error> {
        let tenant = configured_tenant(env)?;
        Ok(AzureCli { tenant })
    }
}

impl TokenSource for AzureCli {
    fn describe(&self) -> String {
        "the Azure CLI (az account get-access-token)".to_owned()
    }

    fn attempt(
        &self,
        http: &HttpClient,
        _: &OnceCell<Service>,
        token_request: &TokenRequest,
    ) -> Result<AccessToken, Error> {
        let mut command = Command::new("az");
        command
            .args(["account", "get-access-token", "--output", "json"])
            .args(["--resource", &token_request.resource])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(tenant) = token_request.tenant.as_ref().or(self.tenant.as_ref()) {
            command.args(["--tenant", tenant]);
        }
        let output = signals::spawn_child_group(&mut command)
            .and_then(|child| wait_or_kill(child, &http.deadline))
            .map_err(|error| {
                let reason = format!("starting az: {error}");
                let mut az_error = RequestFailure::InvalidSettings.error(reason);
                match error.kind() {
                    io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => {
                        az_error.cause = Cause::Unavailable;
                        az_error.hint(PROCESS_LIMITS_HINT)
                    }
                    io::ErrorKind::NotFound => {
                        az_error.hint("install the Azure CLI, or use another --identity")
                    }
                    _ => az_error,
                }
            })?;
        // An `az` that prints more has been ended by SIGPIPE.
        if output.status.success() || output.stdout.len() as u64 == input::MAX_SIZE {
            // `az` before 2.54 has no `expires_on`, only `expiresOn` in local time.
            let body: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let mut token = json!({"expires_in": ASSUMED_LIFETIME_SECONDS});
            token["access_token"] = body["accessToken"].clone();
            token["expires_on"] = body["expires_on"].clone();
            return AccessToken::from_body(token);
        }
        if http.deadline.remaining().is_some_and(|left| left.is_zero()) {
            let reason = "az did not finish before the deadline";
            return Err(RequestFailure::DeadlineExceeded
                .error(reason)
                .hint("does az account get-access-token end when you run it yourself?"));
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let text = log::excerpt(text.trim_start().trim_start_matches("ERROR: "), &[]);
        let reason = match text.trim_end_matches('.') {
            "" => format!("az failed ({})", output.status),
            text => text.to_owned(),
        };
        let hint = match output.status.code() {
            Some(_) => "sign in with `az login`; `az account show` prints the current sign-in",
            None => "does this container have enough memory for az?",
        };
        Err(RequestFailure::CredentialRefused.error(reason).hint(hint))
    }

    fn can_switch_to_tenant(&self, tenant: &str) -> bool {
        !matches!(&self.tenant, Some(configured) if configured.eq_ignore_ascii_case(tenant))
    }
}

/// Waits until `az` ends, and returns the first [`input::MAX_SIZE`] bytes of each of its outputs. At the deadline, kills
/// the process group of `az`.
fn wait_or_kill(mut child: Child, deadline: &Deadline) -> io::Result<Output> {
    let group_id = child.id();
    if let Some(left) = deadline.remaining() {
        // Without a thread, the group is killed when this process ends.
        let _ = signals::spawn_thread(move || {
            thread::sleep(left);
            signals::kill_child_group(group_id);
        });
    }
    let stderr = Arc::new(OnceLock::new());
    let (stderr_pipe, read_stderr) = (child.stderr.take(), stderr.clone());
    let read = move || drop(read_stderr.set(read_start(stderr_pipe)));
    // Without a thread, there is no error output.
    if signals::spawn_thread(read).is_err() {
        let _ = stderr.set(Vec::new());
    }
    let stdout = read_start(child.stdout.take());
    // Before the group is forgotten: a child of `az` may hold the pipe open until the group is killed.
    let stderr = stderr.wait().clone();
    let status = child.wait();
    signals::forget_child_group(group_id);
    Ok(Output {
        status: status?,
        stdout,
        stderr,
    })
}

/// The first [`input::MAX_SIZE`] bytes of a pipe, which is closed then.
fn read_start(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = pipe.map(|pipe| pipe.take(input::MAX_SIZE).read_to_end(&mut bytes));
    bytes
}
