//! A channel from other threads to the main thread, which obeys signals while it waits.

use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::time::Instant;

use super::reader::{wait, wake};

/// The end of the other threads.
pub struct Sender<T>(Option<mpsc::Sender<T>>);

/// The end of the main thread.
pub struct Receiver<T>(mpsc::Receiver<T>);

/// A channel to the main thread.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    (Sender(Some(sender)), Receiver(receiver))
}

impl<T> Sender<T> {
    /// Sends to the main thread, if that still receives.
    pub fn send(&self, message: T) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(message);
        }
        wake();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // The receiver must find it gone when it wakes.
        self.0 = None;
        wake();
    }
}

impl<T> Receiver<T> {
    /// The next message; an error if there is none until a moment, or if every sender is gone. A signal ends the process.
    pub fn receive(&self, until: Option<Instant>) -> Result<T, RecvTimeoutError> {
        loop {
            match self.0.try_recv() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if until.is_some_and(|until| until <= Instant::now()) => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => wait(until),
            }
        }
    }
}
