//! What is being waited for: for the line after five seconds, and for the one when a signal ends the wait.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Instant;

use crate::error::Error;
use crate::log;

/// The waits that have not ended, in the order in which they began.
static WAITS: Mutex<Vec<Waiting>> = Mutex::new(Vec::new());

fn waits() -> MutexGuard<'static, Vec<Waiting>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of one wait.
#[derive(Clone)]
pub struct Waiting {
    thread: ThreadId,
    began: Instant,
    /// Whether nothing depends on it yet, so that any other wait is named first.
    is_early: bool,
    /// As in "while getting an access token from …".
    doing: String,
    /// Attempts so far, with the present one.
    attempts: u32,
    last: Option<Error>,
    /// What to do if it never ends.
    pub hint: Option<String>,
}

/// A wait that goes on until this is dropped.
pub struct Wait {
    thread: ThreadId,
    began: Instant,
}

impl Wait {
    /// Begins to wait: "getting …", "reading …". The hint is for when it never ends.
    pub fn begin(doing: &str, hint: Option<String>) -> Wait {
        Wait::new(doing, hint, false)
    }

    /// Begins a wait for something that is only needed later. It is named only if there is no other wait.
    pub fn begin_early(doing: &str, hint: Option<String>) -> Wait {
        Wait::new(doing, hint, true)
    }

    fn new(doing: &str, hint: Option<String>, is_early: bool) -> Wait {
        let (thread, began) = (thread::current().id(), Instant::now());
        waits().push(Waiting {
            thread,
            began,
            is_early,
            doing: log::plain(doing),
            attempts: 1,
            last: None,
            hint,
        });
        Wait { thread, began }
    }

    /// Records the number of the present attempt, and the error of the one before.
    pub fn update(&mut self, attempts: u32, last: &Error) {
        if let Some(waiting) = waits().iter_mut().find(|waiting| self.is(waiting)) {
            waiting.attempts = attempts;
            waiting.last = Some(last.clone());
        }
    }

    fn is(&self, waiting: &Waiting) -> bool {
        (waiting.thread, waiting.began) == (self.thread, self.began)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        waits().retain(|waiting| !self.is(waiting));
    }
}

/// The wait that began first.
pub fn current() -> Option<Waiting> {
    let waits = waits();
    waits.iter().min_by_key(|waiting| waiting.is_early).cloned()
}

/// The error of the last attempt that a thread made at what it still waits for.
pub fn last_error(thread: ThreadId) -> Option<Error> {
    let waits = waits();
    let mut waits = waits.iter().filter(|waiting| waiting.thread == thread);
    waits.find_map(|waiting| waiting.last.clone())
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.attempts == 1 { "" } else { "s" };
        write!(f, "{} ({} attempt{plural}", self.doing, self.attempts)?;
        if let Some(last) = &self.last {
            // Without the notes, which hold the ids of requests.
            write!(f, ", last: {}", log::plain(&last.reason))?;
        }
        f.write_str(")")
    }
}
