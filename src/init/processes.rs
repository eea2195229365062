//! Who is left: our descendants, from /proc (proc_pid_stat(5)).
//!
//! Not everyone in the PID namespace: what came in through `docker exec` or `kubectl exec` is nobody's child here.

use std::collections::BTreeMap;
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
    parent: i32,
}

/// Our descendants, or none where there is no /proc, or that of another PID namespace with other ids. Those that have
/// ended and were not yet reaped are among them: signals do nothing to them.
pub fn left() -> Option<Vec<Process>> {
    let own = getpid().as_raw();
    if fs::read_link("/proc/self").ok()? != Path::new(&own.to_string()) {
        return None;
    }
    let mut all: BTreeMap<i32, Process> = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()? {
        let process = entry
            .ok()
            .and_then(|entry| parse(&fs::read(entry.path().join("stat")).ok()?));
        if let Some(process) = process {
            all.insert(process.id, process);
        }
    }
    let ids: Vec<i32> = all.keys().copied().collect();
    let ours = ids.into_iter().filter(|id| is_below(own, *id, &all));
    let ours: Vec<i32> = ours.collect();
    Some(ours.iter().filter_map(|id| all.remove(id)).collect())
}

/// Whether a process descends from another.
fn is_below(ancestor: i32, id: i32, all: &BTreeMap<i32, Process>) -> bool {
    let mut id = id;
    // No longer a way up than there are processes: what was read is of several moments, and may hold a circle.
    for _ in 0..all.len() {
        match all.get(&id) {
            Some(process) if process.parent == ancestor => return true,
            Some(process) => id = process.parent,
            None => return false,
        }
    }
    false
}

/// `ID (NAME) STATE PARENT GROUP …`: the name may hold anything, parentheses and blanks too.
fn parse(status: &[u8]) -> Option<Process> {
    let status = String::from_utf8_lossy(status);
    let (id, rest) = status.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(1);
    Some(Process {
        id: id.parse().ok()?,
        name: name.to_owned(),
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_what_ends_a_name() {
        let process = parse(b"7 (a) S 1 2) R 5 6 7 0 -1").unwrap();
        assert_eq!(
            (
                process.id,
                process.name.as_str(),
                process.parent,
                process.group
            ),
            (7, "a) S 1 2", 5, 6)
        );
        assert!(parse(b"").is_none());
    }

    #[test]
    fn a_circle_has_an_end() {
        let lines: [&[u8]; 4] = [
            b"1 (i) S 0 1",
            b"2 (a) S 1 1",
            b"3 (b) S 4 1",
            b"4 (c) S 3 1",
        ];
        let all: BTreeMap<i32, Process> = lines
            .iter()
            .map(|line| parse(line).unwrap())
            .map(|process| (process.id, process))
            .collect();
        let below: Vec<bool> = (1..=4).map(|id| is_below(1, id, &all)).collect();
        assert_eq!(below, [false, true, false, false]);
    }
}
