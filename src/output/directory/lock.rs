//! The lock that keeps two runs from writing to one directory at the same time.

use std::fs::TryLockError;
use std::time::{Duration, Instant};

use super::dir::Dir;
use super::error::shorten_path;
use crate::error::Error;
use crate::log;
use crate::signals::{self, WaitGuard};

/// How long to wait for the lock while another process holds it, which should only be while that process writes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often to try to take the lock: flock(2) itself would wait without a limit.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Waits for the lock on DIR, which is released when `dir` is dropped. If the file system has no locks, warns and goes
/// on without one.
pub fn lock(dir: &Dir) -> Result<(), Error> {
    let path = shorten_path(&dir.path_of(""));
    let mut wait = None;
    let start = Instant::now();
    loop {
        match dir.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_TIMEOUT => {
                wait.get_or_insert_with(|| {
                    WaitGuard::begin(&format!("waiting for the lock of `{path}`"), None)
                });
                signals::wait_until(Some(Instant::now() + LOCK_INTERVAL));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(dir
                    .write_error("", "another process has held its lock (flock) for 30 s")
                    .hint("is another akv-init stopped while it writes there?"));
            }
            Err(TryLockError::Error(error)) => {
                log::warning(format!("cannot lock `{path}`: {error}"));
                return Ok(());
            }
        }
    }
}
