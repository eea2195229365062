//! The system calls that touch the volume, as text.

use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::sys::ptrace;
use nix::unistd::Pid;

use super::tracer::Stop;

/// A call that touches the volume.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number after the second opening of DIR; none before that.
    pub index: Option<usize>,
    pub stop: Stop,
    /// Its name and paths: `mkdirat d`, `create ..akv-init-*`. An empty path is DIR.
    pub text: String,
    /// Its result; 0 before it.
    pub result: i64,
}

impl Call {
    /// Its name.
    pub fn name(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// Whether it may change the volume.
    pub fn changes(&self) -> bool {
        const READING: [&str; 12] = [
            "faccessat",
            "faccessat2",
            "flock",
            "fstat",
            "fstatat",
            "fstatfs",
            "fsync",
            "getdents64",
            "openat",
            "read",
            "readlinkat",
            "statx",
        ];
        !READING.contains(&self.name())
    }
}

/// The kinds of the arguments that matter.
enum Shape {
    /// A descriptor.
    File,
    /// A target, a directory, a name.
    Link,
    /// A directory and a name.
    Name,
    /// The same and flags.
    Open,
    /// A directory and a name, which may be nothing.
    Status,
    /// Two directories and two names.
    TwoNames,
}

/// All calls that read or change a volume, by directory and name or by descriptor.
const CALLS: [(libc::c_long, &str, Shape); 28] = [
    (libc::SYS_faccessat, "faccessat", Shape::Name),
    (libc::SYS_faccessat2, "faccessat2", Shape::Name),
    (libc::SYS_fchmod, "fchmod", Shape::File),
    (libc::SYS_fchmodat, "fchmodat", Shape::Name),
    (libc::SYS_fchown, "fchown", Shape::File),
    (libc::SYS_fchownat, "fchownat", Shape::Name),
    (libc::SYS_fdatasync, "fdatasync", Shape::File),
    (libc::SYS_flock, "flock", Shape::File),
    (libc::SYS_fstat, "fstat", Shape::File),
    (libc::SYS_fstatfs, "fstatfs", Shape::File),
    (libc::SYS_fsync, "fsync", Shape::File),
    (libc::SYS_ftruncate, "ftruncate", Shape::File),
    (libc::SYS_getdents64, "getdents64", Shape::File),
    (libc::SYS_linkat, "linkat", Shape::TwoNames),
    (libc::SYS_mkdirat, "mkdirat", Shape::Name),
    (libc::SYS_mknodat, "mknodat", Shape::Name),
    (libc::SYS_newfstatat, "fstatat", Shape::Status),
    (libc::SYS_openat, "openat", Shape::Open),
    (libc::SYS_pwrite64, "pwrite64", Shape::File),
    (libc::SYS_read, "read", Shape::File),
    (libc::SYS_readlinkat, "readlinkat", Shape::Name),
    (libc::SYS_renameat, "renameat", Shape::TwoNames),
    (libc::SYS_renameat2, "renameat2", Shape::TwoNames),
    (libc::SYS_statx, "statx", Shape::Name),
    (libc::SYS_symlinkat, "symlinkat", Shape::Link),
    (libc::SYS_unlinkat, "unlinkat", Shape::Name),
    (libc::SYS_write, "write", Shape::File),
    (libc::SYS_writev, "writev", Shape::File),
];

/// A process that has stopped at a call.
pub struct Words<'a> {
    pub pid: Pid,
    pub dir: &'a Path,
}

impl Words<'_> {
    /// The call as text, if it touches the volume; and whether it opens DIR itself, by its path.
    pub fn of(&self, number: libc::c_long, args: &[u64; 6]) -> Option<(String, bool)> {
        let mut calls = CALLS.iter();
        let (_, name, shape) = calls.find(|(known, ..)| *known == number)?;
        let mut name = *name;
        let mut opens = false;
        let mut words = Vec::new();
        match shape {
            Shape::File => words.push(self.inside(&self.path_of(args[0])?)?),
            Shape::Link => {
                words.push(in_general(Path::new(&self.text_at(args[0])))?);
                words.push(self.inside(&self.path_at(args[1], args[2])?)?);
            }
            Shape::Name => words.push(self.inside(&self.path_at(args[0], args[1])?)?),
            Shape::Open => {
                let path = self.path_at(args[0], args[1])?;
                opens = path == self.dir && args[0] as i32 == libc::AT_FDCWD;
                if args[2] as i32 & libc::O_CREAT != 0 {
                    name = "create";
                }
                words.push(self.inside(&path)?);
            }
            Shape::Status => {
                // The status of an open file; C libraries differ in the call.
                if self.text_at(args[1]).is_empty() {
                    name = "fstat";
                }
                words.push(self.inside(&self.path_at(args[0], args[1])?)?);
            }
            Shape::TwoNames => {
                words.push(self.inside(&self.path_at(args[0], args[1])?)?);
                words.push(self.inside(&self.path_at(args[2], args[3])?)?);
            }
        }
        words.insert(0, name.to_owned());
        Some((words.join(" ").trim_end().to_owned(), opens))
    }

    /// A path below DIR, relative to it.
    fn inside(&self, path: &Path) -> Option<String> {
        in_general(path.strip_prefix(self.dir).ok()?)
    }

    fn path_at(&self, directory: u64, path: u64) -> Option<PathBuf> {
        // The kernel uses 32 bits of it.
        let base = match directory as i32 {
            libc::AT_FDCWD => PathBuf::new(),
            _ => self.path_of(directory)?,
        };
        Some(base.join(self.text_at(path)).components().collect())
    }

    fn path_of(&self, descriptor: u64) -> Option<PathBuf> {
        let link = format!("/proc/{}/fd/{}", self.pid, descriptor as i32);
        fs::read_link(link).ok()
    }

    /// A text in the memory of the process, up to its NUL.
    fn text_at(&self, address: u64) -> String {
        let mut bytes = Vec::new();
        let mut address = address as usize;
        // Some calls may have a null pointer for a path.
        while let Ok(word) = ptrace::read(self.pid, address as ptrace::AddressType) {
            let word = word.to_ne_bytes();
            let end = word.iter().position(|byte| *byte == 0);
            bytes.extend(&word[..end.unwrap_or(word.len())]);
            if end.is_some() {
                break;
            }
            address += word.len();
        }
        String::from_utf8(bytes).expect("all names of these tests are text")
    }
}

/// A path as text, with `*` for what is random; none where it leads up.
fn in_general(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        let Component::Normal(name) = component else {
            return None;
        };
        let name = name.to_str()?;
        parts.push(match name.starts_with("..akv-init-") {
            true => "..akv-init-*",
            false => name,
        });
    }
    Some(parts.join("/"))
}
