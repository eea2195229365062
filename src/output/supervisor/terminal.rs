//! Job control. COMMAND has a process group of its own, so ctrl-C and ctrl-Z reach it and not this process. The shell
//! knows this process only, and waits for it to stop or to end.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigmaskHow, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgrp, getpid, tcgetpgrp, tcsetpgrp};

use super::processes::{self, Process};
use crate::os;

/// This process's group, for kill(2). Not by its number: in a container it may be 1, and -1 is every process.
const OWN_GROUP: i32 = 0;

/// The controlling terminal. By its name, since the standard descriptors may be redirected; from those where it has none.
fn open_terminal() -> Option<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let named = open("/dev/tty", flags, Mode::empty()).ok();
    named.or_else(|| {
        let terminal = (0..3)
            .map(os::standard_descriptor)
            .find(|fd| tcgetpgrp(fd).is_ok())?;
        terminal.try_clone_to_owned().ok()
    })
}

/// The terminal, if this process group is in its foreground and COMMAND's group shall be from the start. Not in a
/// pipeline: other programs of this group, such as `less`, would be stopped when they use it. COMMAND then gets it when it
/// first needs it, in [`stop_too`].
pub fn for_command() -> Option<OwnedFd> {
    let terminal = open_terminal().filter(|terminal| tcgetpgrp(terminal) == Ok(getpgrp()));
    terminal.filter(|_| {
        os::standard_descriptor(0).is_terminal() && os::standard_descriptor(1).is_terminal()
    })
}

/// Takes the terminal back when COMMAND has ended; whether COMMAND had it. An interactive shell would do that itself, but
/// a script would be stopped when it next reads from the terminal.
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

/// Whether a process group is COMMAND's, or that of a process that it has started, as another akv-init does.
fn is_commands(group: Pid, child: Pid) -> bool {
    let is_in = |process: &Process| process.group == group.as_raw();
    group == child || processes::descendants().is_some_and(|all| all.iter().any(is_in))
}

/// Sends a signal to this process group, or to this process alone, and lets it have its effect.
fn signal_self(signal: Signal, whole_group: bool) {
    let target = match whole_group {
        true => OWN_GROUP,
        false => getpid().as_raw(),
    };
    os::send_signal(target, signal as i32);
    let _ = os::sigprocmask(SigmaskHow::SIG_UNBLOCK, os::signal_bit(signal as i32));
}

/// After ctrl-C has killed COMMAND, ends this process by SIGINT too, or a script that waits for it would go on with its
/// next line. If COMMAND had the terminal, the rest of this process group has not received that signal yet.
pub fn interrupt_too(had_terminal: bool) {
    if open_terminal().is_some() {
        signal_self(Signal::SIGINT, had_terminal);
    }
}

/// After the terminal has stopped COMMAND, stops this process too; returns when it is continued, and whether it was.
///
/// The signal for it is one that the kernel ignores where no shell could continue this process: for process 1 and for an
/// orphaned process group. Without akv-init, ctrl-Z would have no effect there, so COMMAND is continued, unless it stopped
/// itself by SIGSTOP.
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
        // By the program itself, as some do on ctrl-Z; or by another process, which will also continue it.
        Ok(Signal::SIGSTOP) if had_it => Signal::SIGTSTP,
        Ok(signal @ (Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU)) => signal,
        _ => return false,
    };
    drop(terminal);
    // A stop signal discards a pending CONT. One that arrives between here and the stop is lost.
    if os::is_pending(Signal::SIGCONT) {
        return true;
    }
    os::set_ignored(by_terminal, false);
    // ctrl-Z would have stopped the whole group, including a script that waits for this process.
    signal_self(by_terminal, had_it);
    // This process is stopped here. SIGCONT stays pending, to be forwarded.
    let _ = os::sigprocmask(SigmaskHow::SIG_BLOCK, os::signal_bit(by_terminal as i32));
    let is_continued = os::is_pending(Signal::SIGCONT);
    if signal == Signal::SIGTSTP as i32 && !is_continued {
        os::send_signal(-child.as_raw(), Signal::SIGCONT as i32);
    }
    is_continued
}
