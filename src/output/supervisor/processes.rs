//! The descendants of this process, from /proc (proc_pid_stat(5)).
//!
//! Other processes of the PID namespace have been started by `docker exec` or `kubectl exec`, and are left alone.

use std::fs;
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::getpid;

/// A process, as /proc shows it.
pub struct Process {
    /// The process id.
    pub id: i32,
    /// The id of the process group that the process is in.
    pub group_id: i32,
    /// The name of the program, or the name that the process has given itself.
    pub name: String,
    /// The state as the letter that `ps` shows, such as `T` for stopped.
    state: char,
    parent_id: i32,
    /// When the process started, in clock ticks since boot.
    start_time: u64,
}

/// What identifies a process: its id and its start time, since an id may be reused.
pub type ProcessKey = (i32, u64);

impl Process {
    /// What identifies this process.
    pub fn key(&self) -> ProcessKey {
        (self.id, self.start_time)
    }

    /// Whether the process is stopped. A stopped process handles signals only after SIGCONT.
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    /// Whether the process has ended, and its parent has not reaped it yet.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// The descendants of this process; `None` if there is no /proc for this PID namespace. Zombies are included: a
/// process whose main thread has ended looks like a zombie while its other threads run.
pub fn descendants() -> Option<Vec<Process>> {
    let this_pid = getpid().as_raw();
    if fs::read_link("/proc/self").ok()? != Path::new(&this_pid.to_string()) {
        return None;
    }
    let mut processes: Vec<Process> = Vec::new();
    // Not by std's read_dir, which panics if a sandbox refuses to close the directory.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::open("/proc", flags, Mode::empty()).ok()?;
    for entry in listing.iter() {
        let name = entry.ok()?.file_name().to_string_lossy().into_owned();
        let stat = fs::read(format!("/proc/{name}/stat"));
        processes.extend(stat.ok().and_then(|stat| parse_stat(&stat)));
    }
    Some(descendants_of(this_pid, processes))
}

/// Those of the processes `others` that descend from `ancestor`, parents first. The processes were not all read at the
/// same moment, so some may form a cycle of parents; but a descendant is never part of a cycle.
fn descendants_of(ancestor: i32, mut others: Vec<Process>) -> Vec<Process> {
    let mut found = Vec::new();
    let mut next_parent_index = 0;
    let mut parent_id = ancestor;
    loop {
        found.extend(others.extract_if(.., |process| process.parent_id == parent_id));
        match found.get(next_parent_index) {
            Some(process) => parent_id = process.id,
            None => return found,
        }
        next_parent_index += 1;
    }
}

/// Parses /proc/ID/stat: `ID (NAME) STATE PARENT GROUP …`, where field 22 is the start time. The name may contain
/// parentheses and blanks. `None` if the text is malformed.
pub fn parse_stat(stat: &[u8]) -> Option<Process> {
    let stat = String::from_utf8_lossy(stat);
    let (id, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some(Process {
        id: id.parse().ok()?,
        name: name.to_owned(),
        state: fields.next()?.chars().next()?,
        parent_id: fields.next()?.parse().ok()?,
        group_id: fields.next()?.parse().ok()?,
        start_time: fields.nth(16)?.parse().ok()?,
    })
}
