//! Child processes that must not outlive this one.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::Signal;

use crate::os;

/// The ids of the running children's process groups. It stays locked while a child starts, so that no group is missed.
static CHILD_GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn lock_groups() -> MutexGuard<'static, Vec<u32>> {
    CHILD_GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child with the caller's signal mask, in a new process group, which [`kill_child_groups`] ends.
pub fn spawn_child_group(command: &mut Command) -> io::Result<Child> {
    let mut groups = lock_groups();
    let child = os::with_caller_state(command).process_group(0).spawn()?;
    groups.push(child.id());
    Ok(child)
}

/// Kills a group, unless its child has been reaped.
pub fn kill_child_group(group_id: u32) {
    if forget_child_group(group_id) {
        os::send_signal(-group_id.cast_signed(), Signal::SIGKILL as i32);
    }
}

/// Forgets the group of a child that has been reaped, since another process can get its id. Returns whether it was
/// known.
pub fn forget_child_group(group_id: u32) -> bool {
    let mut groups = lock_groups();
    let old_count = groups.len();
    groups.retain(|other| *other != group_id);
    groups.len() < old_count
}

/// Kills every remaining group, before this process ends. The list stays locked, so that no child can start afterwards.
pub fn kill_child_groups() {
    let groups = lock_groups();
    for group_id in groups.iter() {
        os::send_signal(-group_id.cast_signed(), Signal::SIGKILL as i32);
    }
    std::mem::forget(groups);
}
