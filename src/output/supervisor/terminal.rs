//! Job control. COMMAND has a process group of its own, and so it, not we, has the terminal: ctrl-C and ctrl-Z are its.
//! Whoever started us there knows only us, and looks whether we are stopped and how we ended.

use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgrp, getpid, tcgetpgrp, tcsetpgrp};

use super::processes::{self, Process};
use crate::os;

/// For kill(2). The group's number does not do: in a container it may be 1, and -1 is everyone.
const OUR_GROUP: i32 = 0;

/// The terminal that we belong to. By its name, since any of the standard descriptors may be something else; by those
/// where it has none.
fn open_terminal() -> Option<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let named = open("/dev/tty", flags, Mode::empty()).ok();
    named.or_else(|| {
        let mut standard = (0..3).filter_map(|fd| os::duplicate_standard(fd).ok());
        standard.find(|terminal| tcgetpgrp(terminal).is_ok())
    })
}

/// The terminal, if our process group has it now and COMMAND is to have it from the start. In a pipeline it is not: our
/// group has others in it, as `less`, which would be stopped where they use it. Then, and when a shell has given it to
/// us again, COMMAND gets it when it asks: [`stop_too`].
pub fn for_command() -> Option<OwnedFd> {
    let terminal = open_terminal().filter(|terminal| tcgetpgrp(terminal) == Ok(getpgrp()));
    terminal.filter(|_| os::is_terminal(0) && os::is_terminal(1))
}

/// Takes the terminal back when COMMAND has ended: an interactive shell would do it, but a script that goes on after us
/// would be stopped where it reads from the terminal. Whether COMMAND had it.
pub fn take_back(child: Pid) -> bool {
    let Some(terminal) = open_terminal() else {
        return false;
    };
    let had_it = tcgetpgrp(&terminal) == Ok(child);
    if had_it {
        let _ = tcsetpgrp(terminal, getpgrp());
    }
    had_it
}

/// Whether a process group is COMMAND's, or that of somebody whom it has started, as another akv-init does.
fn is_commands(group: Pid, child: Pid) -> bool {
    let is_in = |process: &Process| process.group == group.as_raw();
    group == child || processes::descendants().is_some_and(|all| all.iter().any(is_in))
}

/// COMMAND was ended by ctrl-C: so are we, where there is a terminal and we can be, or a script that waits for us would
/// go on with its next line. If COMMAND had the terminal, whoever is in our process group did not get that signal yet.
/// In a pipeline others of them may have ended before, at the end of COMMAND's output: there the script may go on.
pub fn interrupt_too(had_terminal: bool) {
    if open_terminal().is_none() {
        return;
    }
    let target = match had_terminal {
        true => OUR_GROUP,
        false => getpid().as_raw(),
    };
    os::send_signal(target, Signal::SIGINT as i32);
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    let _ = interrupt.thread_unblock();
}

/// COMMAND was stopped, and so are we, if a terminal did it. Comes back when somebody has continued us; whether that is
/// so.
///
/// We do it by a signal that the kernel ignores where nobody could continue us: for process 1, and for a process group
/// without a parent in its session. There a program without us would go on in spite of ctrl-Z, and so does COMMAND; if
/// it stopped itself by SIGSTOP, it would not.
pub fn stop_too(child: Pid, signal: i32) -> bool {
    let Some(terminal) = open_terminal() else {
        return false;
    };
    let holder = tcgetpgrp(&terminal);
    let had_it = holder.is_ok_and(|group| is_commands(group, child));
    let by_terminal = match Signal::try_from(signal) {
        Ok(Signal::SIGTTIN | Signal::SIGTTOU) if holder == Ok(getpgrp()) => {
            let _ = tcsetpgrp(terminal, child);
            os::send_signal(-child.as_raw(), Signal::SIGCONT as i32);
            return false;
        }
        // By the program itself, as some do on ctrl-Z; or by somebody who will also continue it.
        Ok(Signal::SIGSTOP) if had_it => Signal::SIGTSTP,
        Ok(signal @ (Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU)) => signal,
        _ => return false,
    };
    drop(terminal);
    // Our own stop takes back a CONT that came before it. One that comes now is lost.
    if os::is_pending(Signal::SIGCONT) {
        return true;
    }
    os::stop_ignoring(by_terminal);
    // What ctrl-Z would have stopped: the script that waits for us, too.
    let target = match had_it {
        true => OUR_GROUP,
        false => getpid().as_raw(),
    };
    os::send_signal(target, by_terminal as i32);
    let mut stop = SigSet::empty();
    stop.add(by_terminal);
    let _ = stop.thread_unblock();
    // Here we are stopped. SIGCONT waits to be read, and to be forwarded.
    let _ = stop.thread_block();
    let is_continued = os::is_pending(Signal::SIGCONT);
    if signal == Signal::SIGTSTP as i32 && !is_continued {
        os::send_signal(-child.as_raw(), Signal::SIGCONT as i32);
    }
    is_continued
}
