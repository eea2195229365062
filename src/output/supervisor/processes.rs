//! The descendants of this process, from /proc (proc_pid_stat(5)).
//!
//! Other processes of the PID namespace came in through `docker exec` or `kubectl exec` and are left alone.

use std::fs;
use std::path::Path;

use nix::unistd::getpid;

/// A process.
pub struct Process {
    /// The process id.
    pub id: i32,
    /// Its process group.
    pub group: i32,
    /// The name of its program, or the one that it has given itself.
    pub name: String,
    /// The letter that `ps` shows: `T` is stopped.
    state: char,
    parent: i32,
    /// The start time, in clock ticks since boot.
    start: u64,
}

/// Id and start time: ids alone are reused.
pub type Identity = (i32, u64);

impl Process {
    /// Id and start time.
    pub fn identity(&self) -> Identity {
        (self.id, self.start)
    }

    /// Whether it is stopped, and handles signals only after SIGCONT.
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    /// Whether it has ended and its parent has not reaped it.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// The descendants of this process. None without a /proc of this PID namespace. Zombies are included: a process whose
/// first thread has ended looks like one.
pub fn descendants() -> Option<Vec<Process>> {
    let own = getpid().as_raw();
    if fs::read_link("/proc/self").ok()? != Path::new(&own.to_string()) {
        return None;
    }
    let mut all: Vec<Process> = Vec::new();
    for entry in fs::read_dir("/proc").ok()? {
        let process = entry
            .ok()
            .and_then(|entry| parse(&fs::read(entry.path().join("stat")).ok()?));
        all.extend(process);
    }
    Some(below(own, all))
}

/// The descendants of a process, parents first. The list was not read at one moment, so it may contain a cycle, which is
/// never reached.
fn below(ancestor: i32, mut others: Vec<Process>) -> Vec<Process> {
    let mut found = Vec::new();
    let mut parents = 0;
    let mut parent = ancestor;
    loop {
        found.extend(others.extract_if(.., |process| process.parent == parent));
        match found.get(parents) {
            Some(process) => parent = process.id,
            None => return found,
        }
        parents += 1;
    }
}

/// Parses `ID (NAME) STATE PARENT GROUP …`, whose 22nd field is the start time. The name may contain parentheses and
/// blanks.
fn parse(status: &[u8]) -> Option<Process> {
    let status = String::from_utf8_lossy(status);
    let (id, rest) = status.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some(Process {
        id: id.parse().ok()?,
        name: name.to_owned(),
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        start: fields.nth(16)?.parse().ok()?,
    })
}
