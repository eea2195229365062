//! Child processes that must not outlive this one.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::Signal;

use crate::os;

/// The process groups of the running children. Locked while one starts, so that none is missed.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn groups() -> MutexGuard<'static, Vec<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child with the caller's signal mask, in a process group of its own that [`kill_groups`] ends.
pub fn spawn_group(command: &mut Command) -> io::Result<Child> {
    let mut groups = groups();
    let child = os::with_caller_mask(command).process_group(0).spawn()?;
    groups.push(child.id());
    Ok(child)
}

/// Kills a group, unless it has ended.
pub fn kill_group(group: u32) {
    if forget_group(group) {
        os::send_signal(-group.cast_signed(), Signal::SIGKILL as i32);
    }
}

/// The child has ended: other processes can get its id. Whether the group was running.
pub fn forget_group(group: u32) -> bool {
    let mut groups = groups();
    let before = groups.len();
    groups.retain(|other| *other != group);
    groups.len() < before
}

/// Kills the groups that have not ended, before this process ends. None can start afterwards.
pub fn kill_groups() {
    let groups = groups();
    for group in groups.iter() {
        os::send_signal(-group.cast_signed(), Signal::SIGKILL as i32);
    }
    std::mem::forget(groups);
}
