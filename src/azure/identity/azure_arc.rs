//! The key file of Azure Arc's agent, and the check that its token is for the selected identity.
//!
//! The agent responds to the first request with the path of a file that only a privileged local process can read; the
//! file's content authorizes the second request. Another process in the agent's place could name any file, so its
//! directory, extension and size are checked first.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::token::is_header_value;
use crate::error::{Error, RequestFailure};
use crate::http::Response;
use crate::input;
use crate::secret::Secret;

/// The path of the Arc agent's program.
pub const AGENT_PATH: &str = "/opt/azcmagent/bin/himds";
/// The hint for an identity that the Arc agent does not have.
pub const OMIT_ID_HINT: &str =
    "leave out the client, object or resource id to use the machine's own identity";

/// The only directory in which a key file is accepted.
const KEY_DIRECTORY: &str = "/var/opt/azcmagent/tokens";
/// The maximum size of a key file, in bytes.
const MAX_KEY_SIZE: u64 = 4096;

/// Reads the key file that a challenge names.
pub fn read_key_file(challenge: &Response) -> Result<Secret, Error> {
    let path = key_path(challenge)?;
    let key_error = |why: &str| {
        let reason = format!("reading the agent's key `{}`: {why}", path.display());
        RequestFailure::InvalidSettings.error(reason)
    };
    let key = input::read(&path, MAX_KEY_SIZE).map_err(|error| {
        key_error(&error.to_string()).hint(format!(
            "mount the host's {KEY_DIRECTORY} into the container, and run the container with the group id of the \
             host's group himds"
        ))
    })?;
    match String::from_utf8(key) {
        Ok(key) if is_header_value(&key) => Ok(Secret::new(key)),
        _ => {
            let why = "the file is empty, or has characters that are not valid in a header";
            Err(key_error(why).hint(format!("is the host's {KEY_DIRECTORY} mounted there?")))
        }
    }
}

/// The path in the challenge `Basic realm=PATH`. Fails unless it is a key file of the agent.
pub fn key_path(challenge: &Response) -> Result<PathBuf, Error> {
    let challenge_error =
        |reason: &str| challenge.error(RequestFailure::UnexpectedResponse, "", reason);
    let path = challenge
        .header("www-authenticate")
        .and_then(|header| header.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, rest)| rest.trim().split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("realm"))
        .map(|(_, path)| path.trim().trim_matches('"'))
        .filter(|path| !path.is_empty())
        .ok_or_else(|| challenge_error("expected a challenge that names a key file"))?;
    let path = PathBuf::from(path);
    if path.parent() != Some(Path::new(KEY_DIRECTORY)) {
        return Err(challenge_error(&format!(
            "the agent's challenge names a file outside {KEY_DIRECTORY}"
        )));
    }
    if path.extension().is_none_or(|extension| extension != "key") {
        return Err(challenge_error(
            "the agent's challenge names a file without the extension .key",
        ));
    }
    Ok(path)
}

/// Fails unless the response confirms that the token is for the identity with this id. Agents before 2026 ignore the
/// id and send a token of the system-assigned identity; newer ones repeat the id in the body, as the value of
/// `parameter`.
pub fn check_identity(body: &Value, parameter: &str, id: &str) -> Result<(), Error> {
    let mut echoes = [parameter, "mi_res_id"]
        .map(|name| body[name].as_str())
        .into_iter()
        .flatten();
    if echoes.any(|echo| echo.eq_ignore_ascii_case(id)) {
        return Ok(());
    }
    Err(RequestFailure::IdentityNotFound
        .error("the agent did not confirm that the token is for the selected identity")
        .hint(format!("update the Azure Arc agent, or {OMIT_ID_HINT}")))
}
