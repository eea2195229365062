//! The descendants of this process, from /proc (proc_pid_stat(5)).
//!
//! Other processes of the PID namespace have been started by `docker exec` or `kubectl exec`, and are left alone.

use std::fs;
use std::path::Path;

use nix::unistd::getpid;

/// A process.
pub struct Process {
    /// The process id.
    pub id: i32,
    /// The id of its process group.
    pub group_id: i32,
    /// The name of its program, or the name that it has given itself.
    pub name: String,
    /// The letter that `ps` shows, such as `T` for stopped.
    state: char,
    parent_id: i32,
    /// The start time, in clock ticks since boot.
    start_time: u64,
}

/// The id and the start time of a process: an id alone may be reused.
pub type ProcessKey = (i32, u64);

impl Process {
    /// What tells this process from every other one.
    pub fn key(&self) -> ProcessKey {
        (self.id, self.start_time)
    }

    /// Whether it is stopped. A stopped process handles signals only after SIGCONT.
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    /// Whether it has ended, but its parent has not reaped it.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// The descendants of this process. `None` if there is no /proc of this PID namespace. Zombies are included: a process
/// whose main thread has ended looks like one while its other threads run.
pub fn descendants() -> Option<Vec<Process>> {
    let this_pid = getpid().as_raw();
    if fs::read_link("/proc/self").ok()? != Path::new(&this_pid.to_string()) {
        return None;
    }
    let mut processes: Vec<Process> = Vec::new();
    for entry in fs::read_dir("/proc").ok()? {
        let process = entry
            .ok()
            .and_then(|entry| parse_stat(&fs::read(entry.path().join("stat")).ok()?));
        processes.extend(process);
    }
    Some(descendants_of(this_pid, processes))
}

/// The descendants of a process, parents first. The processes were not read all at the same moment, so there may be a
/// cycle of parents among `others`, but no descendant is part of one.
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

/// Parses `ID (NAME) STATE PARENT GROUP …`, whose 22nd field is the start time. The name may contain parentheses and
/// blanks.
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
