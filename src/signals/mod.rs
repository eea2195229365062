//! Signals while the process waits, and what it waits for.
//!
//! Signals that end a wait are blocked in every thread. The main thread, which only waits, reads them from a descriptor
//! (signalfd(2)) that it polls beside an eventfd of the other threads: a signal handler could neither lock nor allocate,
//! and a thread that execve ends while it still reports would lose signals.

mod child;
mod inbox;
mod reader;
mod wait;

pub use child::{forget_group, kill_group, kill_groups, spawn_group};
pub use inbox::Inbox;
pub use reader::{elapsed, end_if_pending, spawn, start, wait};
pub use wait::{Wait, current, last_error};
