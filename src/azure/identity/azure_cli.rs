//! The Azure CLI's sign-in, for trying something on a laptop. Only where it is named: `--identity cli`.
//!
//! <https://learn.microsoft.com/cli/azure/account#az-account-get-access-token>. `az` is started directly, without a shell,
//! and inherits the environment, so that `AZURE_CONFIG_DIR` and proxies work as they do by hand.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{AccessToken, TokenRequest};
use crate::azure::tenant::is_tenant;
use crate::date;
use crate::error::{Cause, Error};
use crate::http::Http;
use crate::log;
use crate::secret::Secret;
use crate::signals::Wait;

/// The source.
#[derive(Debug)]
pub struct AzureCli {
    tenant: Option<String>,
}

impl AzureCli {
    /// With `AZURE_TENANT_ID`, where that is set: it becomes a word of az's command line.
    pub fn build(tenant: Option<String>) -> Result<AzureCli, Error> {
        if let Some(tenant) = tenant.as_deref().filter(|tenant| !is_tenant(tenant)) {
            return Err(Error::new(
                Cause::Config,
                format!("AZURE_TENANT_ID: `{tenant}` is neither a GUID nor a domain"),
            ));
        }
        Ok(AzureCli { tenant })
    }

    pub(super) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    pub(super) fn describe(&self) -> String {
        "the Azure CLI (az account get-access-token)".to_owned()
    }

    pub(super) fn token(
        &self,
        _http: &Http,
        token_request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Error> {
        let doing = format!("getting an access token from {}", self.describe());
        let _wait = Wait::begin(&doing, None);
        let mut command = Command::new("az");
        command.args([
            "account",
            "get-access-token",
            "--output",
            "json",
            "--resource",
            token_request.resource,
        ]);
        if let Some(tenant) = token_request.tenant.or(self.tenant.as_deref()) {
            command.args(["--tenant", tenant]);
        }
        let output = command.stdin(Stdio::null()).output().map_err(|error| {
            let hint = "install the Azure CLI, or choose another --identity".to_owned();
            Error::new(Cause::Config, format!("starting az: {error}"))
                .maybe_hint((error.kind() == io::ErrorKind::NotFound).then_some(hint))
                .context(doing.as_str())
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = log::excerpt(said.trim_start().trim_start_matches("ERROR: "), &[]);
            let message = match said.trim_end_matches('.') {
                "" => match (output.status.code(), output.status.signal()) {
                    (Some(code), _) => format!("az ended with exit code {code}"),
                    (None, signal) => {
                        format!("az was ended by signal {}", signal.unwrap_or_default())
                    }
                },
                said => said.to_owned(),
            };
            return Err(Error::new(Cause::Denied, message)
                .hint("sign in by az login; az account show says whose sign-in there is")
                .context(doing.as_str()));
        }
        read(&output.stdout).ok_or_else(|| {
            Error::new(Cause::Protocol, "az printed no access token").context(doing.as_str())
        })
    }
}

/// `accessToken` and `expires_on`, which az has since 2.54. Before, there is only `expiresOn` in local time: then the
/// token is taken to be good for five minutes, which is more than we need.
fn read(stdout: &[u8]) -> Option<AccessToken> {
    let mut body: Value = serde_json::from_slice(stdout).ok()?;
    let Some(Value::String(token)) = body.get_mut("accessToken").map(Value::take) else {
        return None;
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    Some(AccessToken {
        token: Secret::new(token),
        expires_on: body["expires_on"]
            .as_i64()
            .unwrap_or_else(|| date::now() + 300),
    })
}
