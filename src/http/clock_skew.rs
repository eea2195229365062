//! What the servers' clocks said beside their answers: for those who look whether ours is right.

use std::sync::{Mutex, PoisonError};

use super::response::Response;
use crate::date;

/// What servers' clocks said: of each origin how far it is ahead of ours, in seconds.
#[derive(Default)]
pub struct Clocks(Mutex<Vec<(String, i64)>>);

impl Clocks {
    /// Looks at the date of a response.
    pub fn note(&self, origin: &str, response: &Response) {
        let theirs = response.header("date").and_then(date::parse_http);
        if let Some(theirs) = theirs {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push((origin.to_owned(), theirs - date::now()));
        }
    }

    /// All of them, in the order in which they answered.
    pub fn all(&self) -> Vec<(String, i64)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
