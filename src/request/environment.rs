//! The environment as a value: the caller's, and the environment of COMMAND that is built from it.
//!
//! The caller's environment is read once, as bytes, and never changed. `std::env::vars_os` would drop an entry without
//! `=`, but the application may need that one, too.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::Error;
use crate::secret::SecretBytes;

/// The prefix of the variables with settings of akv-init. COMMAND does not get these variables.
pub const SETTINGS_PREFIX: &str = "AKV_INIT_";

/// The maximum size of one `NAME=VALUE` in bytes, with its NUL: 32 pages (MAX_ARG_STRLEN, execve(2)).
const MAX_STRING_SIZE: usize = 131_072;

/// Variables that decide which code runs. All that start with `LD_` do so too.
const CODE_VARIABLES: [&str; 5] = ["PATH", "BASH_ENV", "ENV", "IFS", "GLIBC_TUNABLES"];

/// Variables of systemd that name the process for which others are meant.
const PID_VARIABLES: [&str; 3] = ["LISTEN_PID", "SYSTEMD_EXEC_PID", "WATCHDOG_PID"];

/// The caller's environment.
pub struct Environment {
    entries: Vec<OsString>,
}

impl Environment {
    /// An environment with these entries, which are in the form of `environ`.
    pub fn new(entries: Vec<OsString>) -> Self {
        Environment { entries }
    }

    /// A copy for COMMAND as a child: variables of systemd that name the process `old_pid` name `new_pid` instead, so
    /// that COMMAND gets the sockets, the watchdog and the journal (sd_listen_fds(3), sd_watchdog_enabled(3)). If the
    /// sockets are for `old_pid`, `LISTEN_PIDFDID` is removed, since it names that process by its pidfd.
    pub fn with_pid_replaced(&self, old_pid: i32, new_pid: u32) -> Self {
        let has_sockets = self
            .entries
            .contains(&format!("LISTEN_PID={old_pid}").into());
        let is_pidfd_id = |entry: &OsString| entry.as_bytes().starts_with(b"LISTEN_PIDFDID=");
        let kept_entries = self.entries.iter();
        let kept_entries = kept_entries.filter(|entry| !(has_sockets && is_pidfd_id(entry)));
        let entries = kept_entries.map(|entry| {
            let is_pid = |name: &&&str| *entry == *format!("{name}={old_pid}");
            match PID_VARIABLES.iter().find(is_pid) {
                Some(name) => format!("{name}={new_pid}").into(),
                None => entry.clone(),
            }
        });
        Environment::new(entries.collect())
    }

    /// The name and the value of each entry; entries without a name are left out.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.entries.iter().filter_map(|entry| split_entry(entry))
    }

    /// The value of a variable; `None` if it is not set. Of several entries the first one counts, as in getenv(3).
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// The value of a variable that configures akv-init, as [`unquoted`]; `None` if it is not set or empty. Fails if it is
    /// not UTF-8.
    pub fn setting(&self, name: &str) -> Result<Option<&str>, Error> {
        let value = self.secret_setting(name)?.map(unquoted);
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Like [`Environment::setting`], but only white space is removed: quotes may belong to a secret.
    pub fn secret_setting(&self, name: &str) -> Result<Option<&str>, Error> {
        let value = self.get(name).unwrap_or_default();
        let not_utf8_error = || Error::config("the value is not UTF-8").context(name);
        let value = value.to_str().ok_or_else(not_utf8_error)?.trim();
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// The entries of COMMAND's environment: those of the caller in their order, without the variables in `unset` and
    /// those that start with `AKV_INIT_`. Each assignment replaces the variable of its name, or is added at the end.
    pub fn for_command(
        &self,
        assignments: &[(&OsStr, &SecretBytes)],
        unset: &[OsString],
    ) -> Result<Vec<CString>, Error> {
        let mut remaining: Vec<_> = assignments.iter().collect();
        let mut entries = Vec::with_capacity(self.entries.len() + assignments.len());
        for entry in &self.entries {
            let name = split_entry(entry).map_or(OsStr::new(""), |(name, _)| name);
            let is_assigned = |(assigned, _): &(&OsStr, &SecretBytes)| *assigned == name;
            if let Some(index) = remaining
                .iter()
                .position(|assignment| is_assigned(assignment))
            {
                let (name, value) = remaining.remove(index);
                entries.push(build_entry(name, value)?);
            } else if !name.as_bytes().starts_with(SETTINGS_PREFIX.as_bytes())
                && !unset.iter().any(|unset| unset == name)
                && !assignments.iter().any(is_assigned)
            {
                entries.push(to_c_string(entry.as_bytes()));
            }
        }
        for (name, value) in remaining {
            entries.push(build_entry(name, value)?);
        }
        Ok(entries)
    }
}

/// A setting without the white space and the quotes around it, which no setting has: `echo` adds a newline, and
/// `docker run --env-file` keeps quotes.
pub fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(text).trim()
}

/// Fails if `--secret` and `--memfd` cannot set a variable of this name. Shells know fewer names, but .NET and Spring
/// read `ConnectionStrings:Main` and `my-app.key`. A name with another character is rather a reference without NAME.
pub fn check_variable_name(name: &str) -> Result<(), Error> {
    let is_valid = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    if name.is_empty() || !name.bytes().all(is_valid) {
        let reason = "a variable name may contain only letters, digits, `_`, `-`, `.` and `:`";
        return Err(Error::config(reason));
    }
    check_not_reserved(name)
}

/// Fails if a secret must never be put into the variable of this name.
pub fn check_not_reserved(name: &str) -> Result<(), Error> {
    let reason = if CODE_VARIABLES.contains(&name) || name.starts_with("LD_") {
        "cannot be set from a secret: the variable controls which code runs"
    } else if name.starts_with(SETTINGS_PREFIX) {
        "cannot be set from a secret: names that start with AKV_INIT_ are reserved for settings"
    } else {
        return Ok(());
    };
    Err(Error::config(reason))
}

/// Fails if execve(2) would fail with E2BIG; `targets` names the targets, for the error. `stack_limit` is the soft
/// limit on the stack's size in bytes. A quarter of it, but at most 6 MiB, must hold argv, the environment, a pointer
/// to each string, the path of the program (twice for a script), and the first line of a script.
pub fn check_exec_size(
    path: &Path,
    argv: &[CString],
    environment: &[CString],
    stack_limit: u64,
    targets: &str,
) -> Result<(), Error> {
    const POINTER_SIZE: usize = size_of::<usize>();
    /// The maximum length of the first line of a script, in bytes (BINPRM_BUF_SIZE).
    const MAX_INTERPRETER_LINE: usize = 256;
    let limit = (stack_limit / 4).clamp(MAX_STRING_SIZE as u64, 6 * 1024 * 1024);
    let strings = argv.iter().chain(environment);
    let strings_size: usize = strings
        .map(|string| string.as_bytes_with_nul().len() + POINTER_SIZE)
        .sum();
    let total =
        strings_size + 2 * (path.as_os_str().len() + 1) + MAX_INTERPRETER_LINE + POINTER_SIZE;
    if total as u64 <= limit {
        return Ok(());
    }
    let reason = format!(
        "arguments and environment would be {total} bytes together, over the kernel's limit of {limit}"
    );
    Err(Error::config(reason)
        .context(targets)
        .hint("raise the stack limit (ulimit -s), or give the process fewer variables"))
}

/// Splits `NAME=VALUE`; `None` if there is no name.
fn split_entry(entry: &OsString) -> Option<(&OsStr, &OsStr)> {
    let bytes = entry.as_bytes();
    // Searched from the second byte on, as std does: a name can start with `=`, but it cannot be empty.
    let equals_sign = 1 + bytes.get(1..)?.iter().position(|b| *b == b'=')?;
    Some((
        OsStr::from_bytes(&bytes[..equals_sign]),
        OsStr::from_bytes(&bytes[equals_sign + 1..]),
    ))
}

/// Builds `NAME=VALUE` for a target. Fails if the value contains a NUL or is too long.
fn build_entry(name: &OsStr, value: &SecretBytes) -> Result<CString, Error> {
    check_value(name.len(), value).map_err(|error| error.context(name.to_string_lossy()))?;
    let entry = [name.as_bytes(), b"=", value.expose()].concat();
    Ok(to_c_string(&entry))
}

/// Fails if a variable cannot hold the value. `name_len` is the length of its name in bytes.
pub fn check_value(name_len: usize, value: &SecretBytes) -> Result<(), Error> {
    let value = value.expose();
    if value.contains(&0) {
        let reason =
            "the value contains a NUL character, which an environment variable cannot hold";
        return Err(Error::config(reason)
            .hint("hand it over in a file, with `?file`, --memfd or `akv-init write`"));
    }
    if name_len + 1 + value.len() + 1 > MAX_STRING_SIZE {
        return Err(Error::config(format!(
            "the secret is too long for a variable: the kernel's limit is {MAX_STRING_SIZE} bytes with the name"
        )));
    }
    Ok(())
}

/// Converts bytes without NUL: those from `environ`, or those that [`check_value`] has checked.
fn to_c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("no NUL inside an environment entry")
}
