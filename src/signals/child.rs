//! Child processes that must not outlive this one.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::Signal;

use crate::os;

/// The ids of the process groups of running children. The lock is held while a child starts, so that no group is
/// missed.
static CHILD_GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn lock_groups() -> MutexGuard<'static, Vec<u32>> {
    CHILD_GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child with the signal mask that this process inherited, in a new process group, which [`kill_child_groups`]
/// can kill.
pub fn spawn_child_group(command: &mut Command) -> io::Result<Child> {
    let mut groups = lock_groups();
    // A child that has started must not be missed for lack of memory.
    groups.reserve(1);
    let child = os::with_caller_state(command).process_group(0).spawn()?;
    groups.push(child.id());
    Ok(child)
}

/// Kills a child's process group, unless the child has been reaped.
pub fn kill_child_group(group_id: u32) {
    if forget_child_group(group_id) {
        os::send_signal(-group_id.cast_signed(), Signal::SIGKILL as i32);
    }
}

/// Forgets the process group of a child that has been reaped: its id may be given to another process. Returns whether
/// the group was known.
pub fn forget_child_group(group_id: u32) -> bool {
    let mut groups = lock_groups();
    let old_count = groups.len();
    groups.retain(|other| *other != group_id);
    groups.len() < old_count
}

/// Kills the process groups of all running children, before this process ends. The lock stays held, so that no more
/// children can start.
pub fn kill_child_groups() {
    kill_groups(lock_groups());
}

/// The same for a thread that may hold the lock itself, since it has failed in the middle of anything: if the lock is
/// held, kills none.
pub fn try_kill_child_groups() {
    if let Ok(groups) = CHILD_GROUPS.try_lock() {
        kill_groups(groups);
    }
}

fn kill_groups(groups: MutexGuard<'_, Vec<u32>>) {
    for group_id in groups.iter() {
        os::send_signal(-group_id.cast_signed(), Signal::SIGKILL as i32);
    }
    std::mem::forget(groups);
}
