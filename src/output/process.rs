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

/// The first bytes of an ELF program (elf(5)).
const ELF: &[u8] = b"\x7fELF";
/// What a shell searches without a `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
/// The names of the capabilities in Kubernetes and Docker, in the order of their numbers (capabilities(7)).
const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,DAC_READ_SEARCH,FOWNER,FSETID,KILL,SETGID,SETUID,SETPCAP,\
    LINUX_IMMUTABLE,NET_BIND_SERVICE,NET_BROADCAST,NET_ADMIN,NET_RAW,IPC_LOCK,IPC_OWNER,SYS_MODULE,SYS_RAWIO,\
    SYS_CHROOT,SYS_PTRACE,SYS_PACCT,SYS_ADMIN,SYS_BOOT,SYS_NICE,SYS_RESOURCE,SYS_TIME,SYS_TTY_CONFIG,MKNOD,LEASE,\
    AUDIT_WRITE,AUDIT_CONTROL,SETFCAP,MAC_OVERRIDE,MAC_ADMIN,SYSLOG,WAKE_ALARM,BLOCK_SUSPEND,AUDIT_READ,PERFMON,BPF,\
    CHECKPOINT_RESTORE";

/// A program that was found.
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// COMMAND as typed, and its arguments.
    pub argv: Vec<CString>,
}

/// Finds COMMAND, before any request: a typo costs none.
pub fn find(command: &[OsString], env: &Environment) -> Result<Program, Error> {
    let name = &command[0];
    let path = match name.as_bytes().contains(&b'/') {
        true => Ok(PathBuf::from(name)),
        false => search(name, env),
    };
    let path = path.and_then(|path| match access(&path, AccessFlags::X_OK) {
        Ok(()) if path.is_dir() => Err(explain(&path, Errno::EISDIR)),
        Ok(()) => Ok(path),
        Err(errno) => Err(explain(&path, errno)),
    });
    let argv = command
        .iter()
        .map(|word| CString::new(word.as_bytes()).expect("argv holds no NUL"))
        .collect();
    match path {
        Ok(path) => Ok(Program { path, argv }),
        Err(error) => Err(error.fact("command", name.to_string_lossy())),
    }
}

impl Program {
    /// Checks what execve would refuse: the format of another architecture, a missing loader or interpreter, a capability
    /// that cannot be granted (elf(5), execve(2)).
    pub fn check_format(&self) -> Result<(), Error> {
        let refuse = |errno| Err(explain(&self.path, errno));
        if missing_capabilities(&self.path).is_some() {
            return refuse(Errno::EPERM);
        }
        // A program may be executable and not readable.
        let Some(head) = read_head(&self.path) else {
            return Ok(());
        };
        // Class and byte order, and the machine.
        let is_like = |own: Vec<u8>| {
            let is_same = |range: Range<usize>| head.get(range.clone()) == own.get(range);
            is_same(4..6) && is_same(18..20)
        };
        let is_executable = match head.starts_with(ELF) {
            true => read_head(Path::new("/proc/self/exe")).is_none_or(is_like),
            false => head.starts_with(b"#!"),
        };
        if !is_executable {
            return refuse(Errno::ENOEXEC);
        }
        match interpreter(&self.path, &head) {
            Some(file) if !file.exists() => refuse(Errno::ENOENT),
            _ => Ok(()),
        }
    }

    /// Becomes the program. Returns only on failure.
    pub fn replace_process(&self, environment: &[CString]) -> Result<Infallible, Error> {
        let path = CString::new(self.path.as_os_str().as_bytes())
            .expect("a path that was found holds no NUL");
        signals::exit_if_pending();
        os::restore_for_exec();
        let Err(errno) = execve(&path, &self.argv, environment);
        // A standard error without a reader must not end this process by SIGPIPE: the exit code would be lost.
        os::set_ignored(Signal::SIGPIPE, true);
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
        let hint = format!(
            "is it in this image? {} was searched; for a program elsewhere give its full path",
            path.display()
        );
        Error::new(Cause::CommandNotFound, "not found on PATH")
            .context(format!("COMMAND `{}`", name.display()))
            .hint(blanks(name).map_or(hint, str::to_owned))
    })
}

/// The error for what execve refuses.
fn explain(path: &Path, errno: Errno) -> Error {
    let not_executable = format!("it cannot be executed: {}", errno.desc());
    let (cause, reason, hint) = match errno {
        Errno::ENOENT if path.exists() => (
            Cause::CommandNotFound,
            "its interpreter or dynamic loader was not found",
            Some(missing_interpreter(path)),
        ),
        Errno::ENOENT | Errno::ENOTDIR => {
            let hint = blanks(path.as_os_str()).unwrap_or("is it in this image, at this path?");
            (Cause::CommandNotFound, "not found", Some(hint.to_owned()))
        }
        _ if path.is_dir() => (Cause::NotExecutable, "it is a directory", None),
        _ => {
            let hint = match errno {
                Errno::ENOEXEC => Some(wrong_format(path)),
                Errno::EACCES => Some(no_access(path)),
                Errno::EPERM => missing_capabilities(path),
                Errno::E2BIG => Some(
                    "pass fewer or shorter arguments and variables, or raise the stack limit (ulimit -s)"
                        .to_owned(),
                ),
                _ => None,
            };
            (Cause::NotExecutable, not_executable.as_str(), hint)
        }
    };
    Error::new(cause, reason)
        .context(format!("COMMAND `{}`", path.display()))
        .set_hint(hint)
}

/// The hint for a name with blanks.
fn blanks(name: &OsStr) -> Option<&'static str> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    name.as_bytes().iter().any(is_blank).then_some(
        "it contains blanks; give each word as a separate argument, since no shell splits them",
    )
}

fn missing_interpreter(path: &Path) -> String {
    let head = read_head(path).unwrap_or_default();
    let Some(line) = head.strip_prefix(b"#!") else {
        return "is it a program for glibc in a musl or scratch image? link it statically, or use another base image"
            .to_owned();
    };
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
    let interpreter = String::from_utf8_lossy(line.trim_ascii());
    match line.ends_with(b"\r") {
        true => format!(
            "its first line ends in a carriage return, so the kernel looks for `{interpreter}\\r`; convert the file \
             to Unix line endings"
        ),
        false => {
            format!(
                "its first line names `{interpreter}`; install that in the image, or change the line"
            )
        }
    }
}

fn wrong_format(path: &Path) -> String {
    match read_head(path) {
        Some(head) if head.starts_with(ELF) => {
            "it was built for another architecture; build the image for the architecture of this node".to_owned()
        }
        Some(head) if head.is_empty() => "the file is empty; was it copied completely?".to_owned(),
        _ => format!(
            "if it is a script, begin it with a line such as `#!/bin/sh`, or start its shell: akv-init exec -- /bin/sh {}",
            path.display()
        ),
    }
}

fn no_access(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            "it has no execute permission; use COPY --chmod=0755 or chmod +x in the image"
                .to_owned()
        }
        _ => "make it executable for this user, directories included; is its file system mounted noexec?"
            .to_owned(),
    }
}

/// The hint for a file with capabilities that cannot be granted, which execve(2) refuses with EPERM. The attribute is a
/// `struct vfs_cap_data`, little-endian: a word with the revision and, in bit 0, "effective"; permitted 0–31, inheritable
/// 0–31, permitted 32–63, inheritable 32–63.
fn missing_capabilities(path: &Path) -> Option<String> {
    let attribute = os::file_capabilities(path)?;
    let high = little_endian(&attribute, 12..16).unwrap_or(0);
    let permitted = little_endian(&attribute, 4..8)? | high << 32;
    let missing = CAPABILITIES.split(',').zip(0..).filter_map(|(name, bit)| {
        let is_missing = permitted & (1 << bit) != 0 && !os::is_in_bounding_set(bit);
        is_missing.then_some(name)
    });
    let missing = missing.collect::<Vec<&str>>().join(", ");
    (!missing.is_empty()).then(|| {
        format!(
            "the file has a capability that this container lacks: add {missing} to securityContext.capabilities.add, \
             or with --cap-add"
        )
    })
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

/// The first bytes of a file, as many as the kernel checks (BINPRM_BUF_SIZE). None if it cannot be read.
fn read_head(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let file = File::open(path).ok()?;
    file.take(256).read_to_end(&mut head).ok()?;
    Some(head)
}
