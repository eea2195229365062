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
    parent: i32,
}

/// Our descendants, or none where there is no /proc, or that of another PID namespace with other ids. Those that have
/// ended and were not yet reaped are among them: signals do nothing to them.
pub fn left() -> Option<Vec<Process>> {
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
        let lines: [&[u8]; 5] = [
            b"1 (i) S 0 1",
            b"5 (d) S 2 1",
            b"2 (a) S 1 1",
            b"3 (b) S 4 1",
            b"4 (c) S 3 1",
        ];
        let all = lines.iter().map(|line| parse(line).unwrap()).collect();
        let below: Vec<i32> = below(1, all).iter().map(|process| process.id).collect();
        assert_eq!(below, [2, 5]);
    }
}
