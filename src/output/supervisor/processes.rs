//! Who is left: our descendants, from /proc (proc_pid_stat(5)).
//!
//! Not everyone in the PID namespace: what came in through `docker exec` or `kubectl exec` is nobody's child here.

use std::fs;
use std::path::Path;

use nix::unistd::getpid;

/// A process.
pub struct Process {
    /// Its id.
    pub id: i32,
    /// Its process group.
    pub group: i32,
    /// The name of its program, or what it calls itself.
    pub name: String,
    /// As `ps` shows it: `T` is stopped.
    state: char,
    parent: i32,
    /// Since the machine's start, in clock ticks.
    start: u64,
}

/// Which process it is: ids are given again.
pub type Identity = (i32, u64);

impl Process {
    /// Which process it is.
    pub fn identity(&self) -> Identity {
        (self.id, self.start)
    }

    /// Whether it is stopped, and takes no signal before it goes on.
    pub fn is_stopped(&self) -> bool {
        self.state == 'T'
    }

    /// Whether it has ended, and its parent has not asked yet how.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Our descendants, or none where there is no /proc, or that of another PID namespace with other ids. Zombies are among
/// them: of a program with several threads the first one may have ended.
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

/// Those that descend from a process, parents first. What was read is of several moments and may hold a circle, to which
/// no way leads.
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

/// `ID (NAME) STATE PARENT GROUP …`, the start is the 22nd: the name may hold anything, parentheses and blanks too.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn process(fields: &str, start: u64) -> Process {
        let status = format!("{fields} 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 {start} 9 9\n");
        parse(status.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_may_hold_what_ends_a_name() {
        let process = process("7 (a) S 1 2) T 5 6", 12);
        assert_eq!((process.identity(), process.parent), ((7, 12), 5));
        assert_eq!((process.name.as_str(), process.group), ("a) S 1 2", 6));
        assert!(process.is_stopped() && !process.is_zombie());
        assert!(parse(b"").is_none());
    }

    #[test]
    fn the_fields_are_those_of_this_kernel() {
        let own = parse(&fs::read("/proc/self/stat").unwrap()).unwrap();
        assert_eq!(own.id, getpid().as_raw());
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: u64 = uptime.split('.').next().unwrap().parse().unwrap();
        assert!((1..=(seconds + 1) * 100).contains(&own.start));
    }

    #[test]
    fn a_circle_has_an_end() {
        let all = [
            "1 (i) S 0 1",
            "5 (d) S 2 1",
            "2 (a) S 1 1",
            "3 (b) S 4 1",
            "4 (c) S 3 1",
        ];
        let all = all.iter().map(|fields| process(fields, 0)).collect();
        let below: Vec<i32> = below(1, all).iter().map(|process| process.id).collect();
        assert_eq!(below, [2, 5]);
    }
}
