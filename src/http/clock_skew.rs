//! How far this machine's clock differs from those of the servers, by the `Date` header of their responses.

use std::sync::{Mutex, PoisonError};

use super::response::Response;
use crate::date;

/// Of each response its origin, and how far the server's clock is ahead of this machine's, in seconds.
#[derive(Default)]
pub struct Clocks(Mutex<Vec<(String, i64)>>);

impl Clocks {
    /// Notes the date of a response, if it has one.
    pub fn note(&self, origin: &str, response: &Response) {
        if let Some(date) = response.header("date").and_then(date::parse_http) {
            let mut skews = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            skews.push((origin.to_owned(), date - date::now()));
        }
    }

    /// All of them, in the order of the responses.
    pub fn all(&self) -> Vec<(String, i64)> {
        let skews = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        skews.clone()
    }
}
