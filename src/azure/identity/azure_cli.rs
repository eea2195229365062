//! The Azure CLI's sign-in, for use on a laptop. Only where `--identity cli` or `AZURE_TOKEN_CREDENTIALS` names it.
//!
//! <https://learn.microsoft.com/cli/azure/account#az-account-get-access-token>. `az` is started without a shell and
//! inherits the environment: `AZURE_CONFIG_DIR` and proxies apply as usual. It runs in a process group of its own, which
//! ends at the deadline and with this process.

use std::cell::OnceCell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};

use serde_json::Value;

use super::entra::configured_tenant;
use super::source::Source;
use super::token::{AccessToken, TokenRequest, is_header_value};
use crate::date;
use crate::error::Error;
use crate::http::error::AttemptError;
use crate::http::retry::{Deadline, ErrorKind};
use crate::http::{Http, Service};
use crate::log;
use crate::request::environment::Environment;
use crate::secret::Secret;
use crate::signals;

/// Seconds: the lifetime of a token whose end `az` does not print. Key Vault is read within less.
const SHORTEST_LIFETIME: i64 = 300;

/// The source.
pub struct AzureCli {
    tenant: Option<String>,
}

impl AzureCli {
    /// Reads `AZURE_TENANT_ID`.
    pub fn build(env: &Environment) -> Result<AzureCli, Error> {
        let tenant = configured_tenant(env)?;
        Ok(AzureCli { tenant })
    }
}

impl Source for AzureCli {
    fn describe(&self) -> String {
        "the Azure CLI (az account get-access-token)".to_owned()
    }

    fn attempt(
        &self,
        http: &Http,
        _: &OnceCell<Service>,
        token_request: &TokenRequest,
    ) -> Result<AccessToken, AttemptError> {
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
        let output = signals::spawn_group(&mut command)
            .and_then(|child| wait(child, &http.deadline))
            .map_err(|error| {
                let hint = "install the Azure CLI, or use another --identity".to_owned();
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                AttemptError::new(ErrorKind::InvalidSettings, format!("starting az: {error}"))
                    .hint_for(|_| is_missing.then(|| hint.clone()))
            })?;
        if output.status.success() {
            let unexpected =
                AttemptError::new(ErrorKind::UnexpectedResponse, "az printed no access token");
            return read(&output.stdout).ok_or(unexpected);
        }
        if http.deadline.remaining().is_some_and(|left| left.is_zero()) {
            let reason = "az did not finish before the deadline";
            return Err(AttemptError::new(ErrorKind::DeadlineExceeded, reason));
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let text = log::excerpt(text.trim_start().trim_start_matches("ERROR: "), &[]);
        let reason = match (text.trim_end_matches('.'), output.status.code()) {
            ("", Some(code)) => format!("az exited with code {code}"),
            ("", None) => {
                let signal = output.status.signal().unwrap_or_default();
                let reason = format!("az was killed by signal {signal}");
                return Err(AttemptError::new(ErrorKind::CredentialRefused, reason)
                    .hint("does this container have enough memory for az?"));
            }
            (text, _) => text.to_owned(),
        };
        Err(AttemptError::new(ErrorKind::CredentialRefused, reason))
    }

    fn hint(&self, kind: ErrorKind) -> Option<String> {
        let hint = match kind {
            ErrorKind::CredentialRefused => {
                "sign in with `az login`; `az account show` prints the current sign-in"
            }
            ErrorKind::DeadlineExceeded => {
                "does az account get-access-token end when you run it yourself?"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn is_other_tenant(&self, tenant: &str) -> bool {
        !matches!(&self.tenant, Some(own) if own.eq_ignore_ascii_case(tenant))
    }
}

/// Waits for the end of `az`, and kills its process group at the deadline.
fn wait(child: Child, deadline: &Deadline) -> io::Result<Output> {
    let group = child.id();
    let (_ended, timer) = mpsc::channel::<()>();
    if let Some(left) = deadline.remaining() {
        // Without a thread, the group is killed when this process ends.
        let _ = signals::spawn(move || {
            if timer.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                signals::kill_group(group);
            }
        });
    }
    let output = child.wait_with_output();
    signals::forget_group(group);
    output
}

/// `accessToken` and `expires_on`. `az` before 2.54 has only `expiresOn`, in local time.
fn read(stdout: &[u8]) -> Option<AccessToken> {
    let mut body: Value = serde_json::from_slice(stdout).ok()?;
    let expires_on = body["expires_on"].as_i64();
    match body.get_mut("accessToken")?.take() {
        Value::String(token) if is_header_value(&token) => Some(AccessToken {
            token: Secret::new(token),
            expires_on: expires_on.unwrap_or_else(|| date::now() + SHORTEST_LIFETIME),
        }),
        _ => None,
    }
}
