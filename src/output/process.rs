//! Finds COMMAND, and replaces this process with it (execve(2)).
//!
//! The search is like a shell's: a name with a slash is a path, and any other name is searched for in the caller's
//! `PATH`, never in one that a secret may have changed. std's `Command::exec` is not used: it searches the new `PATH`,
//! and it resets SIGPIPE. Failures have the exit codes 126 and 127 as in a shell, and a hint
//! (<https://man7.org/linux/man-pages/man2/execve.2.html>, section ERRORS).

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::{AccessFlags, access, execve};

use crate::error::{Cause, Error};
use crate::input;
use crate::os;
use crate::request::environment::Environment;
use crate::signals;

/// The first bytes of a program in the ELF format (elf(5)).
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// The directories that are searched if `PATH` is not set; shells search similar ones.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
/// The names of the capabilities in Kubernetes and Docker, in the order of their numbers from 0 (capabilities(7)).
const CAPABILITIES: &str = "CHOWN,DAC_OVERRIDE,DAC_READ_SEARCH,FOWNER,FSETID,KILL,SETGID,SETUID,SETPCAP,\
    LINUX_IMMUTABLE,NET_BIND_SERVICE,NET_BROADCAST,NET_ADMIN,NET_RAW,IPC_LOCK,IPC_OWNER,SYS_MODULE,SYS_RAWIO,\
    SYS_CHROOT,SYS_PTRACE,SYS_PACCT,SYS_ADMIN,SYS_BOOT,SYS_NICE,SYS_RESOURCE,SYS_TIME,SYS_TTY_CONFIG,MKNOD,LEASE,\
    AUDIT_WRITE,AUDIT_CONTROL,SETFCAP,MAC_OVERRIDE,MAC_ADMIN,SYSLOG,WAKE_ALARM,BLOCK_SUSPEND,AUDIT_READ,PERFMON,BPF,\
    CHECKPOINT_RESTORE";

/// The program that COMMAND names.
pub struct Program {
    /// The path of the program's executable file.
    pub path: PathBuf,
    /// COMMAND as typed, and its arguments.
    pub argv: Vec<CString>,
}

/// Finds the program of COMMAND. Fails if there is none, or if it is not executable. Called before any request, so
/// that a typo in COMMAND costs no request.
pub fn find_program(command: &[OsString], env: &Environment) -> Result<Program, Error> {
    let name = &command[0];
    let path = match name.as_bytes().contains(&b'/') {
        true => Ok(PathBuf::from(name)),
        false => find_on_path(name, env),
    };
    let path = path.and_then(|path| match access(&path, AccessFlags::X_OK) {
        Ok(()) if irregular_type(&path).is_some() => Err(exec_error(&path, Errno::EACCES)),
        Ok(()) => Ok(path),
        Err(errno) => Err(exec_error(&path, errno)),
    });
    let argv = command
        .iter()
        .map(|arg| CString::new(arg.as_bytes()).expect("argv holds no NUL"))
        .collect();
    match path {
        Ok(path) => Ok(Program { path, argv }),
        Err(error) => Err(error.fact("command", name.to_string_lossy())),
    }
}

impl Program {
    /// Fails if execve(2) would: for a program of another architecture, a missing loader or interpreter, or file
    /// capabilities that cannot be granted (elf(5)).
    pub fn check_executable(&self) -> Result<(), Error> {
        let exec_failure = |errno| Err(exec_error(&self.path, errno));
        if missing_capabilities_hint(&self.path).is_some() {
            return exec_failure(Errno::EPERM);
        }
        // A program may be executable but not readable.
        let Some(first_bytes) = read_first_bytes(&self.path) else {
            return Ok(());
        };
        let has_architecture_of = |akv_init: Vec<u8>| {
            let is_same =
                |range: Range<usize>| first_bytes.get(range.clone()) == akv_init.get(range);
            // The class and the byte order, then the machine.
            is_same(4..6) && is_same(18..20)
        };
        let is_executable = match first_bytes.starts_with(ELF_MAGIC) {
            true => read_first_bytes(Path::new("/proc/self/exe")).is_none_or(has_architecture_of),
            false => first_bytes.starts_with(b"#!"),
        };
        if !is_executable {
            return exec_failure(Errno::ENOEXEC);
        }
        match find_interpreter(&self.path, &first_bytes) {
            Some(file) if !file.exists() => exec_failure(Errno::ENOENT),
            _ => Ok(()),
        }
    }

    /// Replaces this process with the program (execve). Returns only on failure.
    pub fn replace_process(&self, environment: &[CString]) -> Result<Infallible, Error> {
        let path = CString::new(self.path.as_os_str().as_bytes())
            .expect("a path that was found holds no NUL");
        signals::exit_if_pending();
        os::restore_for_exec();
        let Err(errno) = execve(&path, &self.argv, environment);
        // A standard error without a reader must not end this process by SIGPIPE: the exit code would be lost.
        os::set_ignored(Signal::SIGPIPE, true);
        Err(exec_error(&self.path, errno).fact("command", self.argv[0].to_string_lossy()))
    }
}

/// Searches the directories of `PATH` for an executable file. If there is none, returns the first file of this name
/// that is not executable; without one, fails.
fn find_on_path(name: &OsStr, env: &Environment) -> Result<PathBuf, Error> {
    let path = env.get("PATH").unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut non_executable = None;
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
            non_executable.get_or_insert(file);
        }
    }
    // As in a shell: if a file exists, "not executable" is more helpful than "not found".
    non_executable.ok_or_else(|| {
        let hint = format!(
            "is it in this image? {} was searched; for a program elsewhere give its full path",
            path.display()
        );
        Error::new(Cause::CommandNotFound, "not found on PATH")
            .context(format!("COMMAND `{}`", name.display()))
            .hint(blanks_hint(name).map_or(hint, str::to_owned))
    })
}

/// The error for a program that execve refused with this errno.
fn exec_error(path: &Path, errno: Errno) -> Error {
    let not_executable = format!("it cannot be executed: {}", errno.desc());
    let irregular_type = irregular_type(path);
    let (cause, reason, hint) = match errno {
        Errno::ENOENT if path.exists() => (
            Cause::CommandNotFound,
            "its interpreter or dynamic loader was not found",
            Some(missing_interpreter_hint(path)),
        ),
        Errno::ENOENT | Errno::ENOTDIR => {
            let hint =
                blanks_hint(path.as_os_str()).unwrap_or("is it in this image, at this path?");
            (Cause::CommandNotFound, "not found", Some(hint.to_owned()))
        }
        _ if irregular_type.is_some() => (
            Cause::NotExecutable,
            irregular_type.unwrap_or_default(),
            None,
        ),
        _ => {
            let hint = match errno {
                Errno::ENOEXEC => Some(exec_format_error_hint(path)),
                Errno::EACCES => Some(no_access_hint(path)),
                Errno::EPERM => missing_capabilities_hint(path),
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

/// Why a path cannot be executed, if it leads to something other than a regular file, as in "it is a directory";
/// `None` for a regular file, or if nothing is there.
fn irregular_type(path: &Path) -> Option<&'static str> {
    input::type_error(&fs::metadata(path).ok()?)
}

/// The hint for a COMMAND whose name contains blanks; `None` if it contains none.
fn blanks_hint(name: &OsStr) -> Option<&'static str> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace();
    name.as_bytes().iter().any(is_blank).then_some(
        "it contains blanks; give each word as a separate argument, since no shell splits them",
    )
}

/// The hint for ENOENT although the program exists: the interpreter of a script, or the loader of a program, is
/// missing.
fn missing_interpreter_hint(path: &Path) -> String {
    let first_bytes = read_first_bytes(path).unwrap_or_default();
    let Some(line) = first_bytes.strip_prefix(b"#!") else {
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

/// The hint for ENOEXEC, which strerror(3) calls "Exec format error".
fn exec_format_error_hint(path: &Path) -> String {
    match read_first_bytes(path) {
        Some(bytes) if bytes.starts_with(ELF_MAGIC) => {
            "it was built for another architecture; build the image for the architecture of this node".to_owned()
        }
        Some(bytes) if bytes.is_empty() => "the file is empty; was it copied completely?".to_owned(),
        _ => format!(
            "if it is a script, begin it with a line such as `#!/bin/sh`, or start its shell: akv-init exec -- /bin/sh {}",
            path.display()
        ),
    }
}

/// The hint for EACCES: the program has no execute permission, or not for this user.
fn no_access_hint(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(file) if file.permissions().mode() & 0o111 == 0 => {
            "it has no execute permission; use COPY --chmod=0755 or chmod +x in the image"
                .to_owned()
        }
        _ => "make it executable for this user, directories included; is its file system mounted noexec?"
            .to_owned(),
    }
}

/// The hint for a file whose capabilities cannot all be granted, so that execve(2) fails with EPERM; `None` if they
/// can. The attribute `security.capability` is a `struct vfs_cap_data` of little-endian 32-bit words: the revision
/// and, in bit 0, "effective"; permitted 0–31; inheritable 0–31; permitted 32–63; inheritable 32–63.
fn missing_capabilities_hint(path: &Path) -> Option<String> {
    let attribute = os::file_capabilities(path)?;
    let permitted_high = read_little_endian(&attribute, 12..16).unwrap_or(0);
    let permitted = read_little_endian(&attribute, 4..8)? | permitted_high << 32;
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

/// The other file that execve(2) needs: the interpreter of a script, or the dynamic loader of an ELF program. `None`
/// if it needs no other file.
fn find_interpreter(path: &Path, first_bytes: &[u8]) -> Option<PathBuf> {
    let to_path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if let Some(line) = first_bytes.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii_start();
        return line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .next()
            .map(to_path);
    }
    // The program headers of a 64-bit program. One of them may be for the segment that names the loader (PT_INTERP, 3).
    let table_offset = read_little_endian(first_bytes, 32..40)?;
    let (header_size, header_count) = (
        read_little_endian(first_bytes, 54..56)?,
        read_little_endian(first_bytes, 56..58)?,
    );
    let file = input::open(path).ok()?;
    for index in 0..header_count {
        let mut header = [0; 56];
        file.read_exact_at(&mut header, table_offset + index * header_size)
            .ok()?;
        if read_little_endian(&header, 0..4)? == 3 {
            let length = usize::try_from(read_little_endian(&header, 32..40)?).ok()?;
            let mut loader = vec![0; length.min(4_096)];
            let offset = read_little_endian(&header, 8..16)?;
            file.read_exact_at(&mut loader, offset).ok()?;
            return loader.split(|byte| *byte == 0).next().map(to_path);
        }
    }
    None
}

/// The little-endian number in a range of up to 8 bytes. `None` if the range is not in `bytes`.
fn read_little_endian(bytes: &[u8], range: Range<usize>) -> Option<u64> {
    let bytes = bytes.get(range)?.iter().rev();
    Some(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The first 256 bytes of a file, which is how many the kernel reads to find out its format (BINPRM_BUF_SIZE); `None`
/// if the file cannot be read.
fn read_first_bytes(path: &Path) -> Option<Vec<u8>> {
    let mut first_bytes = Vec::new();
    let file = input::open(path).ok()?;
    file.take(256).read_to_end(&mut first_bytes).ok()?;
    Some(first_bytes)
}
