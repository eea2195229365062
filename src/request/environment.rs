//! The environment as a value: the caller's, and from it the environment of COMMAND, complete or an error.
//!
//! The caller's environment is read once, as bytes, and never changed. `std::env::vars_os` would drop an entry without
//! `=`, which belongs to the application, too.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::Error;
use crate::request::format::is_identifier;
use crate::request::value::Value;

/// The prefix of akv-init's own settings, which COMMAND does not get.
pub const OWN_PREFIX: &str = "AKV_INIT_";

/// The kernel's limit for one `NAME=VALUE` with its NUL: 32 pages (MAX_ARG_STRLEN, execve(2)).
const STRING_LIMIT: usize = 131_072;

/// Variables that control which code runs; besides these, all that start with `LD_`.
const RESERVED: [&str; 5] = ["PATH", "BASH_ENV", "ENV", "IFS", "GLIBC_TUNABLES"];

/// Variables that hold the id of the process that they are meant for.
const PID_VARIABLES: [&str; 3] = ["LISTEN_PID", "SYSTEMD_EXEC_PID", "WATCHDOG_PID"];

/// The caller's environment.
pub struct Environment {
    entries: Vec<OsString>,
}

impl Environment {
    /// Takes the entries of an `environ` block.
    pub fn new(entries: Vec<OsString>) -> Self {
        Environment { entries }
    }

    /// The environment of a process that takes over from this one: the sockets, the watchdog and the journal that
    /// systemd passed to this process id are passed to the other one (sd_listen_fds(3), sd_watchdog_enabled(3)).
    /// `LISTEN_PIDFDID` identifies this process in another form, and is removed.
    pub fn handed_on(&self, from: i32, to: u32) -> Self {
        let has_sockets = self.entries.contains(&format!("LISTEN_PID={from}").into());
        let is_stale = |entry: &OsString| entry.as_bytes().starts_with(b"LISTEN_PIDFDID=");
        let kept = self.entries.iter();
        let kept = kept.filter(|entry| !(has_sockets && is_stale(entry)));
        let entries = kept.map(|entry| {
            let is_pid = |name: &&&str| *entry == *format!("{name}={from}");
            match PID_VARIABLES.iter().find(is_pid) {
                Some(name) => format!("{name}={to}").into(),
                None => entry.clone(),
            }
        });
        Environment::new(entries.collect())
    }

    /// Each entry that has a name: the name and the value.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.entries.iter().filter_map(|entry| split(entry))
    }

    /// The value of a variable; the first one counts, as with getenv(3).
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// The value of a setting; empty is unset, and must be UTF-8.
    pub fn setting(&self, name: &str) -> Result<Option<&str>, Error> {
        let value = self.get(name).filter(|value| !value.is_empty());
        let not_utf8 = || Error::config("the value is not UTF-8").context(name);
        value
            .map(|value| value.to_str().ok_or_else(not_utf8))
            .transpose()
    }

    /// The environment of COMMAND: the caller's in its order, without `AKV_INIT_…` and `unset`. Each assignment replaces
    /// the variable of its name, or is added at the end.
    pub fn child(
        &self,
        assignments: &[(&OsStr, Value<'_>)],
        unset: &[OsString],
    ) -> Result<Vec<CString>, Error> {
        let mut waiting: Vec<_> = assignments.iter().collect();
        let mut child = Vec::with_capacity(self.entries.len() + assignments.len());
        for entry in &self.entries {
            let name = split(entry).map_or(OsStr::new(""), |(name, _)| name);
            let is_assigned = |(assigned, _): &(&OsStr, Value<'_>)| *assigned == name;
            if let Some(at) = waiting
                .iter()
                .position(|assignment| is_assigned(assignment))
            {
                let (name, value) = waiting.remove(at);
                child.push(assign(name, value)?);
            } else if !name.as_bytes().starts_with(OWN_PREFIX.as_bytes())
                && !unset.iter().any(|unset| unset == name)
                && !assignments.iter().any(is_assigned)
            {
                child.push(to_c_string(entry.as_bytes()));
            }
        }
        for (name, value) in waiting {
            child.push(assign(name, value)?);
        }
        Ok(child)
    }
}

/// Rejects a name that cannot be the variable of `--secret`.
pub fn check_variable_name(name: &str) -> Result<(), Error> {
    if !is_identifier(name) {
        let reason = "a variable name may contain only letters, digits and `_`, and may not start with a digit";
        return Err(Error::config(reason));
    }
    check_reserved(name)
}

/// Rejects a variable that a secret must never be put into.
pub fn check_reserved(name: &str) -> Result<(), Error> {
    let reason = if RESERVED.contains(&name) || name.starts_with("LD_") {
        "cannot be set from a secret: the variable controls which code runs"
    } else if name.starts_with(OWN_PREFIX) {
        "cannot be set from a secret: names that start with AKV_INIT_ are reserved for settings"
    } else {
        return Ok(());
    };
    Err(Error::config(reason))
}

/// Rejects what execve(2) would reject with E2BIG, with the names of the targets. `stack` is the soft limit of the stack
/// in bytes. A quarter of it, and at most 6 MiB, holds argv, the environment, a pointer to each string, the path of the
/// program (twice for a script) and its interpreter.
pub fn check_total(
    path: &Path,
    argv: &[CString],
    environment: &[CString],
    stack: u64,
    assignments: &[(&OsStr, Value<'_>)],
) -> Result<(), Error> {
    const POINTER: usize = size_of::<usize>();
    /// The longest first line of a script (BINPRM_BUF_SIZE).
    const INTERPRETER: usize = 256;
    let limit = (stack / 4).clamp(STRING_LIMIT as u64, 6 * 1024 * 1024);
    let strings = argv.iter().chain(environment);
    let known: usize = strings
        .map(|string| string.as_bytes_with_nul().len() + POINTER)
        .sum();
    let total = known + 2 * (path.as_os_str().len() + 1) + INTERPRETER + POINTER;
    if total as u64 <= limit {
        return Ok(());
    }
    let targets = assignments.iter();
    let targets: Vec<_> = targets.map(|(name, _)| name.to_string_lossy()).collect();
    let reason = format!(
        "arguments and environment would be {total} bytes together, over the kernel's limit of {limit}"
    );
    Err(Error::config(reason)
        .context(targets.join(", "))
        .hint("raise the stack limit (ulimit -s), or give the process fewer variables"))
}

fn split(entry: &OsString) -> Option<(&OsStr, &OsStr)> {
    let bytes = entry.as_bytes();
    // From the second byte on, as in std: a name can start with `=`, but it cannot be empty.
    let at = 1 + bytes.get(1..)?.iter().position(|b| *b == b'=')?;
    Some((
        OsStr::from_bytes(&bytes[..at]),
        OsStr::from_bytes(&bytes[at + 1..]),
    ))
}

fn assign(name: &OsStr, value: &Value<'_>) -> Result<CString, Error> {
    let value = value.expose();
    let refuse = |reason: String| Error::config(reason).context(name.to_string_lossy());
    if value.contains('\0') {
        let reason =
            "the secret contains a NUL character, which an environment variable cannot hold";
        return Err(refuse(reason.to_owned()).hint("store it base64-encoded"));
    }
    if name.len() + 1 + value.len() + 1 > STRING_LIMIT {
        return Err(refuse(format!(
            "the secret is too long for a variable: the kernel's limit is {STRING_LIMIT} bytes with the name"
        )));
    }
    let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
    Ok(to_c_string(&entry))
}

/// An entry is from `environ` or was checked by [`assign`]: it has no NUL.
fn to_c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("no NUL inside an environment entry")
}
