//! The environment as a value.
//!
//! The caller's environment is taken once, entry by entry, as the bytes that it is; nothing here changes the process's
//! own. [`Environment::child`] makes the environment of COMMAND from it: a function of values, so that there is either
//! all of it or an error. `std::env::vars_os` would drop an entry without `=`, which belongs to the application too.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::error::{Cause, Error};
use crate::secret::Value;

/// Our own settings, none of which COMMAND sees.
pub const OWN_PREFIX: &str = "AKV_INIT_";

/// The kernel's limit for one `NAME=VALUE` with its NUL: 32 pages (execve(2), MAX_ARG_STRLEN).
const STRING_LIMIT: usize = 131_072;

/// Variables that decide which code runs: a secret has no business in them, and a typo there is an attack.
const RESERVED: [&str; 5] = ["PATH", "BASH_ENV", "ENV", "IFS", "GLIBC_TUNABLES"];

/// Variables that say which process they are meant for.
const MEANT_FOR: &[&str] = &["LISTEN_PID", "SYSTEMD_EXEC_PID", "WATCHDOG_PID"];

/// The caller's environment.
pub struct Environment {
    entries: Vec<OsString>,
}

/// A variable that COMMAND gets.
pub struct Assignment<'a> {
    /// The variable.
    pub name: &'a OsStr,
    /// What it gets.
    pub content: Content<'a>,
}

/// What a variable gets.
pub enum Content<'a> {
    /// A secret.
    Secret(Value<'a>),
    /// Where a secret can be read.
    Path(String),
}

impl Environment {
    /// Takes the entries of an `environ` block.
    pub fn new(entries: Vec<OsString>) -> Self {
        Environment { entries }
    }

    /// The same for another process: sockets, a watchdog and a journal that systemd meant for one process are meant for
    /// that one (sd_listen_fds(3), sd_watchdog_enabled(3)). What names the process in yet another way says nothing then.
    pub fn handed_on(mut self, from: i32, to: u32) -> Self {
        let mut is_ours = false;
        for name in MEANT_FOR {
            let old = OsString::from(format!("{name}={from}"));
            for entry in self.entries.iter_mut().filter(|entry| **entry == old) {
                *entry = format!("{name}={to}").into();
                is_ours |= *name == "LISTEN_PID";
            }
        }
        if is_ours {
            let stale = |entry: &OsString| entry.as_bytes().starts_with(b"LISTEN_PIDFDID=");
            self.entries.retain(|entry| !stale(entry));
        }
        self
    }

    /// Every entry that has a name, in order: the name, then the value.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.entries.iter().filter_map(|entry| split(entry))
    }

    /// The value of a variable; the first one counts, as with getenv(3).
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// A setting: set, not empty, and text. What is not UTF-8 cannot be one of Azure's or ours.
    pub fn setting(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => match value.to_str() {
                Some(value) => Ok(Some(value)),
                None => Err(Error::new(
                    Cause::Config,
                    format!("{name}: the value is not UTF-8"),
                )),
            },
        }
    }

    /// COMMAND's environment: the caller's in its order, without our own settings and `unset`, with each assignment
    /// in the place of the variable that it replaces, or at the end.
    pub fn child(
        &self,
        assignments: &[Assignment<'_>],
        unset: &[OsString],
    ) -> Result<Vec<CString>, Error> {
        let mut waiting: Vec<&Assignment<'_>> = assignments.iter().collect();
        let mut child = Vec::with_capacity(self.entries.len() + assignments.len());
        for entry in &self.entries {
            let Some((name, _)) = split(entry) else {
                child.push(to_c_string(entry.as_bytes()));
                continue;
            };
            if name.as_bytes().starts_with(OWN_PREFIX.as_bytes())
                || unset.iter().any(|unset| unset == name)
            {
                continue;
            }
            if !assignments.iter().any(|assignment| assignment.name == name) {
                child.push(to_c_string(entry.as_bytes()));
            } else if let Some(at) = waiting
                .iter()
                .position(|assignment| assignment.name == name)
            {
                child.push(assign(waiting.remove(at))?);
            }
        }
        for assignment in waiting {
            child.push(assign(assignment)?);
        }
        Ok(child)
    }
}

/// Refuses a name that cannot be the target of `--secret`.
pub fn check_target(name: &str) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::new(Cause::Config, why).context(name));
    let mut bytes = name.bytes();
    let identifier = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !identifier {
        return refuse(
            "a variable's name has letters, digits and `_`, and does not start with a digit",
        );
    }
    check_reserved(name)
}

/// Refuses a variable that a secret must never be put into, wherever the name came from.
pub fn check_reserved(name: &str) -> Result<(), Error> {
    let why = if RESERVED.contains(&name) || name.starts_with("LD_") {
        "this variable decides which code runs; a secret may not set it"
    } else if name.starts_with(OWN_PREFIX) {
        "names that start with AKV_INIT_ are akv-init's own settings"
    } else {
        return Ok(());
    };
    Err(Error::new(Cause::Config, why).context(name))
}

/// Refuses what execve(2) would refuse with E2BIG, while it is still known which target is to blame. `stack` is the
/// soft limit of the stack in bytes: a quarter of it, and at most 6 MiB, holds argv, the environment, a pointer to each
/// string and what the kernel adds: the path of the program, for a script once more, and its interpreter.
pub fn check_total(
    path: &Path,
    argv: &[CString],
    environment: &[CString],
    stack: u64,
    targets: &[&OsStr],
) -> Result<(), Error> {
    const POINTER: usize = size_of::<usize>();
    /// The longest first line of a script (BINPRM_BUF_SIZE).
    const INTERPRETER: usize = 256;
    let limit = (stack / 4).clamp(STRING_LIMIT as u64, 6 * 1024 * 1024);
    let strings = argv.iter().chain(environment);
    let ours: usize = strings
        .map(|string| string.as_bytes_with_nul().len() + POINTER)
        .sum();
    let total = ours + 2 * (path.as_os_str().len() + 1) + INTERPRETER + POINTER;
    if total as u64 <= limit {
        return Ok(());
    }
    let targets: Vec<String> = targets
        .iter()
        .map(|name| name.display().to_string())
        .collect();
    Err(Error::new(
        Cause::Config,
        format!(
            "{}: arguments and environment would be {total} bytes together; the kernel's limit is {limit}",
            targets.join(", ")
        ),
    )
    .hint("raise the stack limit (ulimit -s), or give the process fewer variables"))
}

fn split(entry: &OsString) -> Option<(&OsStr, &OsStr)> {
    let bytes = entry.as_bytes();
    // From the second byte on, as in std: a name may start with `=`, but it may not be empty.
    let at = 1 + bytes.get(1..)?.iter().position(|b| *b == b'=')?;
    Some((
        OsStr::from_bytes(&bytes[..at]),
        OsStr::from_bytes(&bytes[at + 1..]),
    ))
}

fn assign(assignment: &Assignment<'_>) -> Result<CString, Error> {
    let name = assignment.name.display();
    let value = match &assignment.content {
        Content::Secret(value) => value.expose(),
        Content::Path(path) => path,
    };
    if value.contains('\0') {
        return Err(Error::new(
            Cause::Config,
            format!("{name}: the secret holds a NUL character, which no environment variable can"),
        )
        .hint("store it as base64, or as text"));
    }
    if assignment.name.len() + 1 + value.len() + 1 > STRING_LIMIT {
        return Err(Error::new(
            Cause::Config,
            format!(
                "{name}: with the secret it would be over the kernel's limit of {STRING_LIMIT} bytes for one variable"
            ),
        ));
    }
    let mut entry = assignment.name.to_owned().into_vec();
    entry.push(b'=');
    entry.extend_from_slice(value.as_bytes());
    Ok(to_c_string(&entry))
}

/// Entries come from `environ` or were checked above: none holds a NUL.
fn to_c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).expect("no NUL inside an environment entry")
}
