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

use crate::error::{Cause, Error, PROCESS_LIMITS_HINT};
use crate::input;
use crate::os;
use crate::request::environment::Environment;
use crate::signals;

/// The first bytes of a program in the ELF format (elf(5)).
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// How many files execve(2) opens at most: scripts, each the interpreter of the one before, a program and its loader.
const MAX_FILES: usize = 7;
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

/// A file that execve(2) refuses: COMMAND, or a file that it needs.
struct Fault {
    file: PathBuf,
    /// The file that needs it, and what it is to that one; `None` for COMMAND itself.
    needed_by: Option<(PathBuf, &'static str)>,
    errno: Errno,
}

/// Finds the program of COMMAND. Fails if there is none, or if execve(2) is certain to refuse it. Called before any
/// request, so that a typo in COMMAND costs no request.
pub fn find_program(command: &[OsString], env: &Environment) -> Result<Program, Error> {
    let name = &command[0];
    let path = match name.as_bytes().contains(&b'/') {
        true => Ok(PathBuf::from(name)),
        false => find_on_path(name, env),
    };
    // The kernel may execute it all the same: binfmt_misc, a 32-bit program, a file system mounted nosuid, a copy that
    // is complete by then.
    let is_certain =
        |fault: &Fault| !matches!(fault.errno, Errno::ENOEXEC | Errno::EPERM | Errno::ETXTBSY);
    let path = path.and_then(|path| match Fault::find(&path).filter(is_certain) {
        Some(fault) => Err(fault.error(&path)),
        None => Ok(path),
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
    /// Fails if execve(2) would, as far as that can be known beforehand.
    pub fn check_executable(&self) -> Result<(), Error> {
        Fault::find(&self.path).map_or(Ok(()), |fault| Err(fault.error(&self.path)))
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
        let found = Fault::find(&self.path).filter(|fault| fault.errno == errno);
        let fault = found.unwrap_or_else(|| Fault::of(&self.path, errno));
        let error = fault.error(&self.path);
        Err(error.fact("command", self.argv[0].to_string_lossy()))
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

impl Fault {
    /// The first file that execve(2) refuses, as far as that can be known without executing it: COMMAND, the
    /// interpreter of a script, which may be a script as well, or the dynamic loader of a program.
    fn find(command: &Path) -> Option<Fault> {
        let mut fault = Fault::of(command, Errno::ELOOP);
        for _ in 0..MAX_FILES {
            match find_needed_file(&fault.file) {
                Ok(needed) => {
                    let (noun, needed) = needed?;
                    let file = std::mem::replace(&mut fault.file, needed);
                    fault.needed_by = Some((file, noun));
                }
                Err(errno) => return Some(Fault { errno, ..fault }),
            }
        }
        Some(Fault::of(command, Errno::ELOOP))
    }

    /// A fault of COMMAND itself.
    fn of(command: &Path, errno: Errno) -> Fault {
        Fault {
            file: command.to_owned(),
            needed_by: None,
            errno,
        }
    }

    /// The error about this fault of COMMAND.
    fn error(&self, command: &Path) -> Error {
        let file = &self.file;
        let irregular_type = irregular_type(file);
        let (cause, reason) = match (self.errno, irregular_type) {
            (Errno::ENOENT | Errno::ENOTDIR, _) => (Cause::CommandNotFound, "not found".to_owned()),
            (_, Some(irregular_type)) => (Cause::NotExecutable, irregular_type.to_owned()),
            (errno, None) => {
                let cause = match errno {
                    Errno::EAGAIN | Errno::ENOMEM => Cause::Unavailable,
                    _ => Cause::NotExecutable,
                };
                (cause, format!("it cannot be executed: {}", errno.desc()))
            }
        };
        let hint = match (self.errno, &self.needed_by) {
            (Errno::ENOENT | Errno::ENOTDIR, Some((path, _))) => {
                Some(missing_interpreter_hint(path))
            }
            (Errno::ENOENT | Errno::ENOTDIR, None) => {
                let hint = blanks_hint(file.as_os_str());
                Some(hint.unwrap_or("is it in this image, at this path?").to_owned())
            }
            _ if irregular_type.is_some() => None,
            (Errno::ENOEXEC, _) => Some(exec_format_error_hint(file)),
            (Errno::EACCES, _) => Some(no_access_hint(file)),
            (Errno::EPERM | Errno::ENOSYS, _) => {
                let hint = "does a sandbox (seccomp) or a security module (AppArmor, SELinux) forbid it?";
                missing_capabilities_hint(file).or(Some(hint.to_owned()))
            }
            (Errno::EAGAIN | Errno::ENOMEM, _) => Some(PROCESS_LIMITS_HINT.to_owned()),
            (Errno::ETXTBSY, _) => Some(
                "a process has it open for writing: start COMMAND when it has been copied completely"
                    .to_owned(),
            ),
            (Errno::E2BIG, _) => Some(
                "pass fewer or shorter arguments and variables, or raise the stack limit (ulimit -s)"
                    .to_owned(),
            ),
            _ => None,
        };
        let mut error = Error::new(cause, reason).set_hint(hint);
        if let Some((_, noun)) = self.needed_by {
            error = error.context(format!("its {noun} `{}`", file.display()));
        }
        error.context(format!("COMMAND `{}`", command.display()))
    }
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

/// The hint for a file whose interpreter or dynamic loader does not exist.
fn missing_interpreter_hint(path: &Path) -> String {
    let first_bytes = read_first_bytes(path).unwrap_or_default();
    let path = path.display();
    let Some(line) = first_bytes.strip_prefix(b"#!") else {
        return format!(
            "is `{path}` a program for glibc in a musl or scratch image? link it statically, or use another base image"
        );
    };
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
    let interpreter = String::from_utf8_lossy(line.trim_ascii());
    match line.ends_with(b"\r") {
        true => format!(
            "the first line of `{path}` ends in a carriage return, so the kernel looks for `{interpreter}\\r`; convert \
             the file to Unix line endings"
        ),
        false => format!(
            "the first line of `{path}` names `{interpreter}`; install that in the image, or change the line"
        ),
    }
}

/// The hint for ENOEXEC, which strerror(3) calls "Exec format error".
fn exec_format_error_hint(path: &Path) -> String {
    match read_first_bytes(path) {
        Some(bytes) if bytes.starts_with(ELF_MAGIC) => {
            "it was built for another architecture; build the image for the architecture of this node".to_owned()
        }
        Some(bytes) if bytes.is_empty() => "the file is empty; was it copied completely?".to_owned(),
        Some(bytes) if bytes.starts_with(b"\xef\xbb\xbf#!") => {
            "a byte order mark is before its `#!`, so the kernel does not recognize it; save it without one".to_owned()
        }
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

/// The file that execve(2) needs besides this one, with what it is called: the interpreter of a script, or the dynamic
/// loader of an ELF program. `None` if it needs no other. Fails with the errno of execve(2) if this file itself is
/// refused.
fn find_needed_file(path: &Path) -> Result<Option<(&'static str, PathBuf)>, Errno> {
    access(path, AccessFlags::X_OK)?;
    if irregular_type(path).is_some() {
        return Err(Errno::EACCES);
    }
    if missing_capabilities_hint(path).is_some() {
        return Err(Errno::EPERM);
    }
    // Closed at once, and with it the lease, since a writer would wait for its end.
    if input::open(path).is_ok_and(|file| os::is_open_for_writing(&file)) {
        return Err(Errno::ETXTBSY);
    }
    // A program may be executable but not readable.
    let Some(first_bytes) = read_first_bytes(path) else {
        return Ok(None);
    };
    let to_path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if let Some(line) = first_bytes.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut words = line.split(|byte| matches!(byte, b' ' | b'\t'));
        let interpreter = words.find(|word| !word.is_empty()).ok_or(Errno::ENOEXEC)?;
        return Ok(Some(("interpreter", to_path(interpreter))));
    }
    let has_architecture_of = |akv_init: Vec<u8>| {
        let is_same = |range: Range<usize>| first_bytes.get(range.clone()) == akv_init.get(range);
        // The class and the byte order, then the machine.
        is_same(4..6) && is_same(18..20)
    };
    if !first_bytes.starts_with(ELF_MAGIC)
        || !read_first_bytes(Path::new("/proc/self/exe")).is_none_or(has_architecture_of)
    {
        return Err(Errno::ENOEXEC);
    }
    let loader = find_loader(path, &first_bytes);
    Ok(loader.map(|loader| ("dynamic loader", to_path(&loader))))
}

/// The path of the dynamic loader that a 64-bit ELF program names; `None` if it names none. One of the program headers
/// may be for the segment with this path (PT_INTERP, 3).
fn find_loader(path: &Path, first_bytes: &[u8]) -> Option<Vec<u8>> {
    let file = input::open(path).ok()?;
    let table_offset = read_little_endian(first_bytes, 32..40)?;
    let (header_size, header_count) = (
        read_little_endian(first_bytes, 54..56)?,
        read_little_endian(first_bytes, 56..58)?,
    );
    for index in 0..header_count {
        let mut header = [0; 56];
        file.read_exact_at(&mut header, table_offset + index * header_size)
            .ok()?;
        if read_little_endian(&header, 0..4)? == 3 {
            let length = usize::try_from(read_little_endian(&header, 32..40)?).ok()?;
            let mut loader = vec![0; length.min(4_096)];
            let offset = read_little_endian(&header, 8..16)?;
            file.read_exact_at(&mut loader, offset).ok()?;
            loader.truncate(loader.iter().position(|byte| *byte == 0)?);
            return Some(loader);
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
