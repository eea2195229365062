//! Job control. COMMAND has a process group of its own, and so it, not we, has the terminal: ctrl-C and ctrl-Z are its.
//! Whoever started us there knows only us, and looks whether we are stopped.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgrp, getpid, tcgetpgrp, tcsetpgrp};

use crate::os;

/// The terminal that we belong to. By its name: any of the standard descriptors may be something else.
fn open_terminal() -> Option<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    open("/dev/tty", flags, Mode::empty()).ok()
}

/// The terminal, if our process group has it now.
pub fn ours() -> Option<OwnedFd> {
    open_terminal().filter(|terminal| tcgetpgrp(terminal) == Ok(getpgrp()))
}

/// Gives the terminal to COMMAND, if we have been given it.
pub fn lend(child: Pid) {
    if let Some(terminal) = ours() {
        let _ = tcsetpgrp(terminal, child);
    }
}

/// Takes the terminal back when COMMAND has ended: an interactive shell would do it, but a script that goes on after us
/// would be stopped where it reads from the terminal.
pub fn take_back(child: Pid) {
    let Some(terminal) = open_terminal() else {
        return;
    };
    let is_ended = |group| killpg(group, None) == Err(Errno::ESRCH);
    if tcgetpgrp(&terminal).is_ok_and(|group| group == child || is_ended(group)) {
        let _ = tcsetpgrp(terminal, getpgrp());
    }
}

/// COMMAND was stopped: we stop with it. Comes back when somebody has continued us.
///
/// We do it by a signal that the kernel ignores where nobody could continue us: for process 1, and for a process group
/// without a parent in its session. There a program without us would go on in spite of ctrl-Z, and so does COMMAND.
pub fn stop_too(child: Pid, signal: i32) {
    let Some(terminal) = open_terminal() else {
        return;
    };
    let had_it = tcgetpgrp(&terminal) == Ok(child);
    drop(terminal);
    let signal = match Signal::try_from(signal) {
        // Not from a terminal: by the program itself, or by somebody who will also continue it.
        Ok(Signal::SIGSTOP) if had_it => Signal::SIGTSTP,
        Ok(signal @ (Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU)) => signal,
        _ => return,
    };
    os::stop_ignoring(signal);
    // What ctrl-Z would have stopped: the script that waits for us, too.
    let target = match had_it {
        true => -getpgrp().as_raw(),
        false => getpid().as_raw(),
    };
    os::send_signal(target, signal as i32);
    let mut stop = SigSet::empty();
    stop.add(signal);
    let _ = stop.thread_unblock();
    // Here we are stopped. SIGCONT waits to be read, and to be passed on.
    let _ = stop.thread_block();
    if signal == Signal::SIGTSTP && !os::is_pending(Signal::SIGCONT) {
        os::send_signal(-child.as_raw(), Signal::SIGCONT as i32);
    }
}
