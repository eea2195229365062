//! Signals that arrive while the process waits, and what it waits for.
//!
//! Signals that end a wait are blocked in every thread. The main thread, which only waits, reads them from a descriptor
//! (signalfd(2)), which it polls together with an eventfd that the other threads write to. There is no signal handler,
//! which could neither lock nor allocate; and no thread for signals, which would lose one if execve ended it before it
//! reported.

mod child;
mod inbox;
mod reader;
mod rounds;
mod wait;

pub use child::{
    forget_child_group, kill_child_group, kill_child_groups, spawn_child_group,
    try_kill_child_groups,
};
pub use inbox::Inbox;
pub use reader::{
    elapsed_since_start, exit_if_pending, exit_silently, spawn_thread, start_reading, wait_until,
    wake_main_thread,
};
pub use rounds::{RoundProcess, Rounds, Woken};
pub use wait::{WaitGuard, current_wait, last_attempt_error};
