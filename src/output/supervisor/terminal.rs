//! Job control. COMMAND has another process group than this process, so ctrl-C and ctrl-Z reach only COMMAND. The shell
//! knows only this process, and waits for it to stop or to end.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigmaskHow, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgrp, getpid, tcgetpgrp, tcsetpgrp};

use super::processes::{self, Process};
use crate::os;

/// The process group of this process, as kill(2) takes it. Its id is not used: in a container that may be 1, and -1
/// means every process.
const THIS_GROUP: i32 = 0;

/// Opens the controlling terminal; `None` if there is none. It is opened as /dev/tty, because the standard descriptors
/// may be redirected; if that fails, one of these is used.
fn open_terminal() -> Option<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let tty = open("/dev/tty", flags, Mode::empty()).ok();
    tty.or_else(|| {
        let terminal = (0..3)
            .map(os::standard_descriptor)
            .find(|fd| tcgetpgrp(fd).is_ok())?;
        terminal.try_clone_to_owned().ok()
    })
}

/// Opens the terminal if COMMAND's process group is to be in the foreground from the start, in place of this process's
/// group. `None` in a pipeline: other programs in this process's group, such as `less`, would be stopped when they use
/// the terminal. COMMAND then gets the foreground when it first needs it, in [`stop_with_command`].
pub fn open_for_command() -> Option<OwnedFd> {
    let terminal = open_terminal().filter(|terminal| tcgetpgrp(terminal) == Ok(getpgrp()));
    terminal.filter(|_| {
        os::standard_descriptor(0).is_terminal() && os::standard_descriptor(1).is_terminal()
    })
}

/// Puts this process's group into the foreground of the terminal again after COMMAND has ended. Returns whether
/// COMMAND was in the foreground. An interactive shell would do this itself; a script would be stopped when it next
/// reads from the terminal.
pub fn take_back(child: Pid) -> bool {
    let Some(terminal) = open_terminal() else {
        return false;
    };
    let command_had_terminal = tcgetpgrp(&terminal) == Ok(child);
    if command_had_terminal {
        let _ = tcsetpgrp(terminal, getpgrp());
    }
    command_had_terminal
}

/// Whether a process group is that of COMMAND or of a descendant of COMMAND: an akv-init inside COMMAND makes such a
/// group.
fn belongs_to_command(group: Pid, child: Pid) -> bool {
    let is_member = |process: &Process| process.group_id == group.as_raw();
    group == child
        || processes::descendants().is_some_and(|processes| processes.iter().any(is_member))
}

/// Sends a signal to this process, or to its whole group, and unblocks the signal so that it takes effect.
fn signal_self(signal: Signal, whole_group: bool) {
    let target = match whole_group {
        true => THIS_GROUP,
        false => getpid().as_raw(),
    };
    os::send_signal(target, signal as i32);
    let _ = os::sigprocmask(SigmaskHow::SIG_UNBLOCK, os::signal_bit(signal as i32));
}

/// Ends this process by SIGINT, after ctrl-C has ended COMMAND: otherwise a script that waits for this process would
/// continue with its next line. If COMMAND was in the foreground, the rest of this process's group gets the signal
/// too, which the terminal has not sent to them.
pub fn interrupt_with_command(command_had_terminal: bool) {
    if open_terminal().is_some() {
        signal_self(Signal::SIGINT, command_had_terminal);
    }
}

/// Stops this process too, after the terminal has stopped COMMAND, until it is continued. Returns whether SIGCONT has
/// arrived, which is then to be forwarded.
///
/// The signal that stops this process has no effect where no shell could continue it: for process 1, and in an
/// orphaned process group. Without akv-init, ctrl-Z would have no effect there either, so COMMAND is continued, unless
/// it has stopped itself by SIGSTOP.
pub fn stop_with_command(child: Pid, signal: i32) -> bool {
    let Some(terminal) = open_terminal() else {
        return false;
    };
    let foreground_group = tcgetpgrp(&terminal);
    let command_had_terminal = foreground_group.is_ok_and(|group| belongs_to_command(group, child));
    let stop_signal = match Signal::try_from(signal) {
        Ok(Signal::SIGTTIN | Signal::SIGTTOU) if foreground_group == Ok(getpgrp()) => {
            let _ = tcsetpgrp(terminal, child);
            os::send_signal(-child.as_raw(), Signal::SIGCONT as i32);
            return false;
        }
        // Sent by the program to itself, as some do on ctrl-Z; or by another process, which will also continue it.
        Ok(Signal::SIGSTOP) if command_had_terminal => Signal::SIGTSTP,
        Ok(signal @ (Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU)) => signal,
        _ => return false,
    };
    drop(terminal);
    // A stop signal discards a pending SIGCONT. A SIGCONT that arrives between this check and the stop is lost.
    if os::is_pending(Signal::SIGCONT) {
        return true;
    }
    os::set_ignored(stop_signal, false);
    // The whole group, as by ctrl-Z without akv-init: it may include a script that waits for this process.
    signal_self(stop_signal, command_had_terminal);
    // This process is stopped here. SIGCONT stays pending, to be forwarded.
    let _ = os::sigprocmask(SigmaskHow::SIG_BLOCK, os::signal_bit(stop_signal as i32));
    let is_continued = os::is_pending(Signal::SIGCONT);
    if signal == Signal::SIGTSTP as i32 && !is_continued {
        os::send_signal(-child.as_raw(), Signal::SIGCONT as i32);
    }
    is_continued
}
