//! Finds COMMAND, and becomes it.
//!
//! The search is the shell's: a name with a slash is a path, any other is searched for in the caller's `PATH`, never in
//! one that a secret may have changed. std's `Command::exec` is not used: it searches the new `PATH`, and it resets
//! SIGPIPE. Failures are 126 and 127 as in a shell, with a hint
//! (<https://man7.org/linux/man-pages/man2/execve.2.html>, section ERRORS).

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, access, execve};

use crate::error::{Cause, Error};
use crate::os;
use crate::request::environment::Environment;
use crate::signals;

/// What a shell searches without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// A program that was found.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// COMMAND as typed, and its arguments.
    argv: Vec<CString>,
}

/// Finds COMMAND, before any request: a typo costs none.
pub fn find(command: &[OsString], env: &Environment) -> Result<Program, Error> {
    let name = &command[0];
    let path = match name.as_bytes().contains(&b'/') {
        true => Ok(PathBuf::from(name)),
        false => search(name, env),
    };
    let path = path.and_then(|path| check(&path).map(|()| path));
    let path = path.map_err(|error| error.fact("command", name.to_string_lossy()))?;
    let argv = command
        .iter()
        .map(|word| CString::new(word.as_bytes()).expect("argv holds no NUL"))
        .collect();
    Ok(Program { path, argv })
}

impl Program {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its argv.
    pub fn argv(&self) -> &[CString] {
        &self.argv
    }

    /// Checks what execve would refuse: the format of another architecture, a missing loader or interpreter, a capability
    /// that cannot be granted (elf(5), execve(2)).
    pub fn check_format(&self) -> Result<(), Error> {
        let refuse = |errno| Err(explain(&self.path, errno));
        let head = head(&self.path);
        if head.starts_with(b"\x7fELF") {
            let own = self::head(Path::new("/proc/self/exe"));
            // Class and byte order, and the machine.
            let differs = |range: Range<usize>| head.get(range.clone()) != own.get(range);
            if !own.is_empty() && (differs(4..6) || differs(18..20)) {
                return refuse(Errno::ENOEXEC);
            }
        } else if !head.starts_with(b"#!") && (!head.is_empty() || is_empty(&self.path)) {
            return refuse(Errno::ENOEXEC);
        }
        if interpreter(&self.path, &head).is_some_and(|file| !file.exists()) {
            return refuse(Errno::ENOENT);
        }
        match missing_capability(&self.path) {
            Some(_) => refuse(Errno::EPERM),
            None => Ok(()),
        }
    }

    /// Becomes the program. Returns only on failure.
    pub fn replace_process(&self, environment: &[CString]) -> Result<Infallible, Error> {
        let path = CString::new(self.path.as_os_str().as_bytes())
            .expect("a path that was found holds no NUL");
        signals::end_if_pending();
        os::restore_for_exec();
        let Err(errno) = execve(&path, &self.argv, environment);
        // A standard error without a reader must not end this process by SIGPIPE: the exit code would be lost.
        os::ignore(Signal::SIGPIPE);
        Err(explain(&self.path, errno).fact("command", self.argv[0].to_string_lossy()))
    }
}

fn search(name: &OsStr, env: &Environment) -> Result<PathBuf, Error> {
    let path = env.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut candidate = None;
    for directory in path.as_bytes().split(|b| *b == b':') {
        // An empty element is the working directory (POSIX, "PATH").
        let directory = match directory {
            b"" => b".",
            directory => directory,
        };
        let file = Path::new(OsStr::from_bytes(directory)).join(name);
        if file.is_file() {
            if access(&file, AccessFlags::X_OK).is_ok() {
                return Ok(file);
            }
            candidate.get_or_insert(file);
        }
    }
    // As in a shell, "not executable" about a file that exists is more helpful than "not found".
    candidate.ok_or_else(|| {
        Error::new(Cause::CommandNotFound, "not found on PATH")
            .context(format!("COMMAND `{}`", name.display()))
            .hint(match env.get("PATH") {
                _ if has_blank(name) => not_found(name).to_owned(),
                Some(path) => format!(
                    "is it in this image? PATH is {}; otherwise give its full path",
                    path.display()
                ),
                None => {
                    format!("PATH is not set, so {DEFAULT_PATH} was searched; give its full path")
                }
            })
    })
}

/// Checks what can be known before the fetch. [`explain`] has all that execve may refuse.
fn check(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            Err(explain(path, errno))
        }
        Ok(file) if file.is_dir() => Err(explain(path, Errno::EISDIR)),
        Ok(_) => access(path, AccessFlags::X_OK).map_err(|errno| explain(path, errno)),
    }
}

/// The error for what execve refuses.
fn explain(path: &Path, errno: Errno) -> Error {
    let exists = path.exists();
    let cause = match errno {
        Errno::ENOENT | Errno::ENOTDIR => Cause::CommandNotFound,
        _ => Cause::NotExecutable,
    };
    let reason = match errno {
        Errno::EISDIR => "it is a directory".to_owned(),
        Errno::ENOENT if !exists => "not found".to_owned(),
        Errno::ENOTDIR => "not found".to_owned(),
        Errno::ENOENT => "its interpreter or dynamic loader was not found".to_owned(),
        errno => format!("it cannot be executed: {}", errno.desc()),
    };
    let hint = match errno {
        Errno::ENOENT if exists => missing_interpreter(path),
        Errno::ENOENT | Errno::ENOTDIR => Some(not_found(path.as_os_str()).to_owned()),
        Errno::ENOEXEC => Some(wrong_format(path)),
        Errno::EACCES => Some(no_access(path)),
        Errno::EPERM => missing_capability(path),
        Errno::E2BIG => Some(
            "pass fewer or shorter arguments and variables, or raise the stack limit (ulimit -s)"
                .to_owned(),
        ),
        _ => None,
    };
    Error::new(cause, reason)
        .context(format!("COMMAND `{}`", path.display()))
        .maybe_hint(hint)
}

/// The hint for a path that does not exist.
fn not_found(name: &OsStr) -> &'static str {
    match has_blank(name) {
        true => {
            "it contains blanks; give each word as a separate argument, since no shell splits them"
        }
        false => "is it in this image, at this path?",
    }
}

fn has_blank(name: &OsStr) -> bool {
    name.as_bytes().iter().any(u8::is_ascii_whitespace)
}

fn is_empty(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() == 0)
}

fn missing_interpreter(path: &Path) -> Option<String> {
    let head = head(path);
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
        let interpreter = String::from_utf8_lossy(line).trim().to_owned();
        return Some(match line.ends_with(b"\r") {
            true => format!(
                "its first line ends in a carriage return, which becomes a part of the name `{interpreter}`; give \
                 the file Unix line ends"
            ),
            false => format!(
                "its first line names `{interpreter}`; install that in the image, or change the line"
            ),
        });
    }
    Some(
        "is it a program for glibc in a musl or scratch image? link it statically, or use another base image"
            .to_owned(),
    )
}

fn wrong_format(path: &Path) -> String {
    let head = head(path);
    if head.starts_with(b"\x7fELF") {
        return "it is a program for another architecture; build the image for this node's"
            .to_owned();
    }
    if head.is_empty() {
        return "the file is empty; was it copied completely?".to_owned();
    }
    format!(
        "if it is a script, begin it with a line such as `#!/bin/sh`, or start its shell: akv-init exec -- /bin/sh {}",
        path.display()
    )
}

fn no_access(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            "it has no execute permission; use COPY --chmod=0755 or chmod +x in the image"
                .to_owned()
        }
        _ => "may this user execute it and enter its directory? is its file system mounted noexec?"
            .to_owned(),
    }
}

/// The hint for a file with a capability that cannot be granted, which execve(2) refuses with EPERM. The attribute is a
/// `struct vfs_cap_data`, little-endian: a word with the revision and, in bit 0, "effective"; permitted 0–31, inheritable
/// 0–31, permitted 32–63, inheritable 32–63.
fn missing_capability(path: &Path) -> Option<String> {
    let attribute = os::file_capabilities(path)?;
    let high = little_endian(&attribute, 12..16).unwrap_or(0);
    let permitted = little_endian(&attribute, 4..8)? | high << 32;
    let missing: Vec<String> = (0..64)
        .filter(|bit| permitted & (1 << bit) != 0 && !os::is_in_bounding_set(*bit))
        .map(capability_name)
        .collect();
    if missing.is_empty() {
        return None;
    }
    let missing = missing.join(", ");
    Some(format!(
        "the file has a capability that this container lacks; add it: securityContext.capabilities.add: [{missing}], \
         or --cap-add {missing}"
    ))
}

/// A capability's name in Kubernetes and Docker: those that server programs have; any other by its number.
fn capability_name(number: u32) -> String {
    match number {
        1 => "DAC_OVERRIDE".to_owned(),
        2 => "DAC_READ_SEARCH".to_owned(),
        6 => "SETGID".to_owned(),
        7 => "SETUID".to_owned(),
        10 => "NET_BIND_SERVICE".to_owned(),
        12 => "NET_ADMIN".to_owned(),
        13 => "NET_RAW".to_owned(),
        14 => "IPC_LOCK".to_owned(),
        19 => "SYS_PTRACE".to_owned(),
        21 => "SYS_ADMIN".to_owned(),
        23 => "SYS_NICE".to_owned(),
        24 => "SYS_RESOURCE".to_owned(),
        other => format!("capability {other} of capabilities(7)"),
    }
}

/// The file that the kernel starts as well: a script's interpreter, a program's dynamic loader.
fn interpreter(path: &Path, head: &[u8]) -> Option<PathBuf> {
    let path_of = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii_start();
        return line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .next()
            .map(path_of);
    }
    // A 64-bit program's table of segments, of which one may name the loader (PT_INTERP, 3).
    let table = little_endian(head, 32..40)?;
    let (size, count) = (little_endian(head, 54..56)?, little_endian(head, 56..58)?);
    let file = File::open(path).ok()?;
    for index in 0..count {
        let mut segment = [0; 56];
        file.read_exact_at(&mut segment, table + index * size)
            .ok()?;
        if little_endian(&segment, 0..4)? == 3 {
            let length = usize::try_from(little_endian(&segment, 32..40)?).ok()?;
            let mut name = vec![0; length.min(4_096)];
            let offset = little_endian(&segment, 8..16)?;
            file.read_exact_at(&mut name, offset).ok()?;
            return name.split(|byte| *byte == 0).next().map(path_of);
        }
    }
    None
}

/// A number of up to 8 bytes.
fn little_endian(bytes: &[u8], range: Range<usize>) -> Option<u64> {
    let bytes = bytes.get(range)?.iter().rev();
    Some(bytes.fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// The first bytes of a file, as many as the kernel checks (BINPRM_BUF_SIZE). Empty if it cannot be read.
fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    if let Ok(file) = File::open(path) {
        let _ = file.take(256).read_to_end(&mut head);
    }
    head
}
