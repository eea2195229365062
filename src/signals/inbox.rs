//! Messages from other threads to the main thread, which handles signals while it waits for them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::reader::{wait_until, wake_main_thread};

/// Messages to the main thread that it has not received yet.
pub struct Inbox<T>(Mutex<VecDeque<T>>);

impl<T> Inbox<T> {
    /// An inbox without messages.
    pub const fn new() -> Inbox<T> {
        Inbox(Mutex::new(VecDeque::new()))
    }

    /// Sends a message to the main thread.
    pub fn send(&self, message: T) {
        self.send_without_waking(message);
        wake_main_thread();
    }

    /// Sends a message without waking the main thread, which receives it when it wakes next.
    pub fn send_without_waking(&self, message: T) {
        let messages = self.0.lock();
        messages
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(message);
    }

    /// Waits in the main thread for the next message. Returns `None` if none arrives before the deadline. A signal
    /// ends the process.
    pub fn receive(&self, deadline: Option<Instant>) -> Option<T> {
        loop {
            let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let message = messages.pop_front();
            drop(messages);
            if message.is_some() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return message;
            }
            wait_until(deadline);
        }
    }
}
