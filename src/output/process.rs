//! Find COMMAND, and become it.
//!
//! The search is the shell's: a name with a slash is a path, any other is looked for in the caller's `PATH`, never in
//! one that a secret could have changed. std's `Command::exec` is not used: it searches the new `PATH`, and it resets
//! SIGPIPE. Failures are 126 and 127 as a shell has them, with what to do
//! (<https://man7.org/linux/man-pages/man2/execve.2.html>, section ERRORS).

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, access, execve};

use crate::error::{Cause, Error};
use crate::os;
use crate::request::environment::Environment;

/// Where a shell looks when there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// A program that was found.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// COMMAND as typed, and its arguments.
    argv: Vec<CString>,
}

/// Looks COMMAND up, before anything is asked of anyone: a typo costs no request.
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

    /// argv as the program will get it.
    pub fn argv(&self) -> &[CString] {
        &self.argv
    }

    /// Looks for what execve would refuse: another machine's format, a loader or an interpreter that is not there, a
    /// capability that cannot be had (elf(5), execve(2)).
    pub fn look_inside(&self) -> Result<(), Error> {
        let refuse = |errno| Err(explain(&self.path, errno));
        let head = head(&self.path);
        if head.starts_with(b"\x7fELF") {
            let own = self::head(Path::new("/proc/self/exe"));
            // Class and byte order, and the machine.
            let same = |range: std::ops::Range<usize>| {
                own.is_empty() || head.get(range.clone()) == own.get(range)
            };
            if !same(4..6) || !same(18..20) {
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

    /// Becomes the program. Only comes back if that failed.
    pub fn replace_process(&self, environment: &[CString]) -> Result<Infallible, Error> {
        let path = CString::new(self.path.as_os_str().as_bytes())
            .expect("a path that was found holds no NUL");
        os::undo_std_for_exec();
        let Err(errno) = execve(&path, &self.argv, environment);
        // A standard error without a reader must not end us before the exit code is given.
        os::ignore(Signal::SIGPIPE);
        Err(explain(&self.path, errno).fact("command", self.argv[0].to_string_lossy()))
    }
}

fn search(name: &OsStr, env: &Environment) -> Result<PathBuf, Error> {
    let path = env.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut candidate = None;
    for directory in path.as_bytes().split(|b| *b == b':') {
        // An empty element is the working directory (POSIX, "PATH").
        let directory = if directory.is_empty() {
            b".".as_slice()
        } else {
            directory
        };
        let file = Path::new(OsStr::from_bytes(directory)).join(name);
        if file.is_file() {
            if access(&file, AccessFlags::X_OK).is_ok() {
                return Ok(file);
            }
            candidate.get_or_insert(file);
        }
    }
    // A file that is there and not executable is a better answer than "not found", as in a shell.
    candidate.ok_or_else(|| {
        Error::new(
            Cause::CommandNotFound,
            "not found on PATH",
        )
        .context(format!("COMMAND `{}`", name.display()))
        .hint(match env.get("PATH") {
            _ if has_blank(name) => not_found(name).to_owned(),
            Some(path) => format!(
                "PATH is {}; an image without a shell needs the program's full path",
                path.display()
            ),
            None => format!(
                "PATH is not set, so only {DEFAULT_PATH} was searched; give the program's full path"
            ),
        })
    })
}

/// What can be known before the fetch; whatever else execve objects to comes out of [`explain`].
fn check(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Err(error) => Err(explain(
            path,
            Errno::from_raw(error.raw_os_error().unwrap_or_default()),
        )),
        Ok(file) if file.is_dir() => Err(explain(path, Errno::EISDIR)),
        Ok(_) => access(path, AccessFlags::X_OK).map_err(|errno| explain(path, errno)),
    }
}

fn explain(path: &Path, errno: Errno) -> Error {
    let exists = path.exists();
    let cause = match errno {
        Errno::ENOENT | Errno::ENOTDIR => Cause::CommandNotFound,
        _ => Cause::NotExecutable,
    };
    let why = match errno {
        Errno::EISDIR => "is a directory".to_owned(),
        Errno::ENOENT if !exists => "not found".to_owned(),
        Errno::ENOTDIR => "not found".to_owned(),
        Errno::ENOENT => "its interpreter or dynamic loader is not found".to_owned(),
        errno => format!("cannot be executed: {}", errno.desc()),
    };
    let hint = match errno {
        Errno::ENOENT if exists => missing_interpreter(path),
        Errno::ENOENT | Errno::ENOTDIR => Some(not_found(path.as_os_str()).to_owned()),
        Errno::ENOEXEC => Some(wrong_format(path)),
        Errno::EACCES => Some(no_access(path)),
        Errno::EPERM => missing_capability(path),
        Errno::E2BIG => {
            Some("give it fewer or shorter arguments and variables, or raise the stack limit (ulimit -s)".to_owned())
        }
        _ => None,
    };
    Error::new(cause, why)
        .context(format!("COMMAND `{}`", path.display()))
        .maybe_hint(hint)
}

/// What to do about a path that leads nowhere.
fn not_found(name: &OsStr) -> &'static str {
    match has_blank(name) {
        true => "it has blanks in it: give each word by itself, there is no shell to split them",
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
                "its first line ends in a carriage return, which the kernel takes for a part of the name \
                 `{interpreter}`: give the file Unix line ends"
            ),
            false => format!("its first line names `{interpreter}`, which is not in this image"),
        });
    }
    Some(
        "it is linked dynamically and its loader is not in this image: a program for glibc in a musl or scratch image?"
            .to_owned(),
    )
}

fn wrong_format(path: &Path) -> String {
    let head = head(path);
    if head.starts_with(b"\x7fELF") {
        return "it is a program for another kind of machine: build the image for this node's architecture".to_owned();
    }
    if head.is_empty() {
        return "the file is empty".to_owned();
    }
    format!(
        "a script needs a first line such as `#!/bin/sh`; or start it with its shell: akv-init exec -- /bin/sh {}",
        path.display()
    )
}

fn no_access(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            "it has no execute permission: COPY --chmod=0755 it, or chmod +x in the image".to_owned()
        }
        _ => "this user may not execute it or enter its directory, or its file system is mounted noexec".to_owned(),
    }
}

/// execve(2) refuses with EPERM a file whose effective capabilities cannot all be granted. Layout of the attribute:
/// `struct vfs_cap_data`, little-endian: a word with the revision and, in bit 0, "effective"; permitted 0–31,
/// inheritable 0–31, permitted 32–63, inheritable 32–63.
fn missing_capability(path: &Path) -> Option<String> {
    let attribute = os::file_capabilities(path)?;
    let word = |at: usize| {
        attribute
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)
    };
    let permitted = u64::from(word(4)?) | u64::from(word(12).unwrap_or(0)) << 32;
    let missing: Vec<String> = (0..64)
        .filter(|bit| permitted & (1 << bit) != 0 && !os::is_in_bounding_set(*bit))
        .map(capability_name)
        .collect();
    if missing.is_empty() {
        return None;
    }
    let missing = missing.join(", ");
    Some(format!(
        "the file has a capability that this container may not have: {missing}; add it: \
         securityContext.capabilities.add: [{missing}], or --cap-add {missing}"
    ))
}

/// A capability as Kubernetes and Docker write it. Those that server programs carry; any other by its number.
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

/// What the kernel starts in the file's place, or beside it: a script's interpreter, a program's dynamic loader.
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
    let word = |at: usize, size: usize| -> Option<u64> {
        let bytes = head.get(at..at + size)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    };
    let (table, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
    let file = File::open(path).ok()?;
    for index in 0..count {
        let mut segment = [0; 56];
        file.read_exact_at(&mut segment, table + index * size)
            .ok()?;
        let field =
            |at: usize| u64::from_le_bytes(segment[at..at + 8].try_into().unwrap_or_default());
        if segment[..4] == [3, 0, 0, 0] {
            let mut name = vec![0; usize::try_from(field(32)).ok()?.min(4_096)];
            file.read_exact_at(&mut name, field(8)).ok()?;
            return name.split(|byte| *byte == 0).next().map(path_of);
        }
    }
    None
}

/// The first bytes of a file: as many as the kernel looks at (BINPRM_BUF_SIZE). Empty if it cannot be read.
fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    if let Ok(file) = File::open(path) {
        let _ = file.take(256).read_to_end(&mut head);
    }
    head
}
