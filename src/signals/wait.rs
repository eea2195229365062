//! What the process waits for: it is named in the progress lines, and in the one when a signal ends the wait.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Instant;

use crate::error::Error;
use crate::log;

/// The waits that have not ended, in the order in which they began.
static WAITS: Mutex<Vec<WaitState>> = Mutex::new(Vec::new());

fn lock_waits() -> MutexGuard<'static, Vec<WaitState>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of one wait.
#[derive(Clone)]
pub struct WaitState {
    thread: ThreadId,
    began_at: Instant,
    /// Whether the result is not needed yet. Messages then name any other wait rather than this one.
    is_early: bool,
    /// What is being done, as in "getting an access token from …".
    activity: String,
    /// The number of attempts, including the current one.
    attempts: u32,
    /// The error of the attempt before the current one; `None` during the first attempt.
    last_error: Option<Error>,
    /// What the user can do if the wait does not end.
    pub hint: Option<String>,
}

/// Marks that this thread waits for a response, so that progress lines and the message about a signal can name it, until
/// the guard is dropped.
pub struct WaitGuard {
    thread: ThreadId,
    began_at: Instant,
}

impl WaitGuard {
    /// Begins a wait. `activity` is a phrase such as "getting …" or "reading …". `hint` is printed if the deadline or
    /// a signal ends the wait.
    pub fn begin(activity: &str, hint: Option<String>) -> WaitGuard {
        WaitGuard::new(activity, hint, false)
    }

    /// Begins a wait whose result is not needed yet. Messages name it only if there is no other wait.
    pub fn begin_early(activity: &str, hint: Option<String>) -> WaitGuard {
        WaitGuard::new(activity, hint, true)
    }

    fn new(activity: &str, hint: Option<String>, is_early: bool) -> WaitGuard {
        let (thread, began_at) = (thread::current().id(), Instant::now());
        lock_waits().push(WaitState {
            thread,
            began_at,
            is_early,
            activity: activity.to_owned(),
            attempts: 1,
            last_error: None,
            hint,
        });
        WaitGuard { thread, began_at }
    }

    /// Records the number of the current attempt, and the error of the attempt before it.
    pub fn update(&mut self, attempts: u32, last_error: &Error) {
        if let Some(wait) = lock_waits().iter_mut().find(|wait| self.owns(wait)) {
            wait.attempts = attempts;
            wait.last_error = Some(last_error.clone());
        }
    }

    /// Whether this guard is the one of `wait`.
    fn owns(&self, wait: &WaitState) -> bool {
        (wait.thread, wait.began_at) == (self.thread, self.began_at)
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        lock_waits().retain(|wait| !self.owns(wait));
    }
}

/// The wait that messages name: the oldest one whose result is needed now, or else the oldest one; `None` if there is
/// no wait.
pub fn current_wait() -> Option<WaitState> {
    let waits = lock_waits();
    waits.iter().min_by_key(|wait| wait.is_early).cloned()
}

/// The error of the last failed attempt in a wait of this thread that has not ended; `None` if there is none.
pub fn last_attempt_error(thread: ThreadId) -> Option<Error> {
    let waits = lock_waits();
    let mut waits = waits.iter().filter(|wait| wait.thread == thread);
    waits.find_map(|wait| wait.last_error.clone())
}

impl fmt::Display for WaitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.attempts == 1 { "" } else { "s" };
        let activity = log::to_single_line(&self.activity);
        write!(f, "{activity} ({} attempt{plural}", self.attempts)?;
        if let Some(error) = &self.last_error {
            // Without the notes, which hold the ids of requests.
            write!(f, ", last: {}", log::to_single_line(&error.reason))?;
        }
        f.write_str(")")
    }
}
