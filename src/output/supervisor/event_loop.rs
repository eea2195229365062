//! The loop that waits for signals, forwards them and reaps children; and the drain after COMMAND has ended.

use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid, getpid};

use super::processes::{self, Process, ProcessKey};
use super::terminal;
use crate::log::{self, Event};
use crate::os;
use crate::request::supervision::{SignalRecipient, Supervision};

/// How long to wait after SIGKILL for a process that is in an uninterruptible system call.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often SIGKILL is sent: more processes may have started in the meantime.
const KILL_INTERVAL: Duration = Duration::from_millis(20);
/// A termination signal this soon after the last one is a repetition. timeout(1), for example, sends each signal
/// twice.
const REPETITION_WINDOW: Duration = Duration::from_millis(100);
/// The signals that ask a program to end. Some programs use SIGINT and SIGQUIT for something else.
const TERMINATION_SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// The supervisor of one child.
pub struct Supervisor {
    supervision: Supervision,
    /// The process that runs COMMAND. Its process group has the same id.
    child: Pid,
    signalfd: OwnedFd,
    /// Each termination signal that was forwarded, with the processes that received it.
    notified: Vec<(i32, Vec<ProcessKey>)>,
    /// When the last termination signal arrived that was not a repetition; `None` before the first.
    last_termination: Option<Instant>,
    /// The exit status of COMMAND; `None` while COMMAND runs.
    exit_status: Option<ExitStatus>,
    /// Whether the terminal has stopped COMMAND's process group, and no SIGCONT has been forwarded to it since.
    command_is_stopped: bool,
    /// Whether this process has no more children.
    has_no_children: bool,
}

impl Supervisor {
    /// A supervisor for `child`. `signalfd` reads all signals, which must have been blocked before the fork.
    pub fn new(supervision: Supervision, child: Pid, signalfd: OwnedFd) -> Supervisor {
        Supervisor {
            supervision,
            child,
            signalfd,
            notified: Vec::new(),
            last_termination: None,
            exit_status: None,
            command_is_stopped: false,
            has_no_children: false,
        }
    }

    /// Supervises COMMAND and drains the processes that it leaves behind. Returns the exit code of COMMAND.
    pub fn run(mut self) -> u8 {
        let exit_status = loop {
            let signal = self.next_signal();
            if let Some(signal) = signal {
                self.forward(signal);
            }
            // After each signal, since signals may keep arriving.
            self.reap();
            match self.exit_status {
                Some(exit_status) => break exit_status,
                None if signal.is_none() => self.wait(None),
                None => {}
            }
        };
        let signal = exit_status.signal().unwrap_or_default();
        let exit_code = exit_status.code().unwrap_or(128 + signal) as u8;
        let command_had_terminal = terminal::take_back(self.child);
        if !self.supervision.drain.is_zero() && !self.has_no_children {
            self.drain(exit_code);
        }
        // A program that exits with 130 has handled SIGINT, and this process exits with 130 too.
        if signal == Signal::SIGINT as i32 {
            terminal::interrupt_with_command(command_had_terminal);
        }
        exit_code
    }

    /// The next pending signal; `None` if no signal is pending. SIGCHLD is skipped, since it only serves to end a
    /// wait.
    fn next_signal(&self) -> Option<i32> {
        let mut signals = iter::from_fn(|| os::next_signal(&self.signalfd));
        signals.find(|signal| *signal != Signal::SIGCHLD as i32)
    }

    /// Waits for a signal or until the deadline. `None` means no deadline.
    fn wait(&self, deadline: Option<Instant>) {
        let signals = PollFd::new(self.signalfd.as_fd(), PollFlags::POLLIN);
        os::poll_until(&mut [signals], deadline);
    }

    /// Forwards a signal to COMMAND or to its process group. For a termination signal, records which processes
    /// received it.
    fn forward(&mut self, signal: i32) {
        // The terminal has stopped the whole group, so the whole group is continued.
        let is_resuming =
            signal == Signal::SIGCONT as i32 && std::mem::take(&mut self.command_is_stopped);
        let is_for_group = is_resuming || self.supervision.recipient == SignalRecipient::Group;
        // A process that is in the group before and after the signal has received it. One that joined in between counts
        // as not notified, and may get a second signal.
        let mut notified = match is_for_group && is_termination(signal) {
            true => self.group_members(),
            false => Vec::new(),
        };
        let child = self.child.as_raw();
        if is_for_group {
            os::send_signal(-child, signal);
        }
        // COMMAND may have left its group, or setpgid may have failed.
        if !is_for_group || getpgid(Some(self.child)) != Ok(self.child) {
            os::send_signal(child, signal);
        }
        if is_termination(signal) {
            let members_after = self.group_members();
            notified.retain(|process| members_after.contains(process));
            self.last_termination = Some(Instant::now());
            match self.notified.iter_mut().find(|(other, _)| *other == signal) {
                Some((_, known)) => {
                    known.retain(|process| !notified.contains(process));
                    known.extend(notified);
                }
                None => self.notified.push((signal, notified)),
            }
        }
    }

    /// The forwarded signals that asked COMMAND to stop, with their recipients: SIGTERM, and the signal that ended
    /// COMMAND. Any other signal may have had another purpose, such as a SIGQUIT for a thread dump an hour ago.
    fn stop_requests(&self, exit_code: u8) -> impl Iterator<Item = &(i32, Vec<ProcessKey>)> {
        self.notified.iter().filter(move |(signal, _)| {
            *signal == Signal::SIGTERM as i32 || i32::from(exit_code) == 128 + signal
        })
    }

    /// Reaps all children that have ended, since one SIGCHLD may be for several of them. If COMMAND was stopped, stops
    /// this process too.
    fn reap(&mut self) {
        loop {
            match os::wait_for_any_child() {
                Ok(Some((pid, status))) if pid == self.child.as_raw() => {
                    match status.stopped_signal() {
                        Some(signal) => {
                            self.command_is_stopped =
                                terminal::stop_with_command(self.child, signal)
                        }
                        None => self.exit_status = Some(status),
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.has_no_children = true,
            }
        }
    }

    /// The descendants of this process; `None` if /proc does not show them.
    fn descendants(&self) -> Option<Vec<Process>> {
        // If /proc is mounted with hidepid, it may show no process, although there are some.
        processes::descendants().filter(|processes| self.has_no_children || !processes.is_empty())
    }

    /// The processes in the process group of COMMAND.
    fn group_members(&self) -> Vec<ProcessKey> {
        let descendants = self.descendants().unwrap_or_default();
        let members = descendants
            .iter()
            .filter(|process| process.group_id == self.child.as_raw());
        members.map(Process::key).collect()
    }

    /// Asks the processes that COMMAND has left behind to stop, waits for them, and kills those that are still there.
    fn drain(&mut self, exit_code: u8) {
        self.terminate_remaining(exit_code);
        let start = Instant::now();
        let deadline = start + self.supervision.drain;
        // The first request to stop starts the drain, and the second one ends it. Signals that have arrived before this
        // point belong to the first request, although they are read only now.
        let mut request_count = usize::from(self.stop_requests(exit_code).next().is_some());
        while let Some(signal) = self.next_signal() {
            if is_termination(signal) {
                request_count = 1;
                self.last_termination = Some(start);
            }
        }
        while !self.has_no_children && request_count < 2 && Instant::now() < deadline {
            self.wait(Some(deadline));
            // Not forwarded: the ids of COMMAND and of its group may have been reused by now.
            while let Some(signal) = self.next_signal() {
                let now = Instant::now();
                let is_repetition = self
                    .last_termination
                    .is_some_and(|last| now.duration_since(last) <= REPETITION_WINDOW);
                if is_termination(signal) && !is_repetition {
                    self.last_termination = Some(now);
                    request_count += 1;
                }
            }
            self.reap();
        }
        if !self.has_no_children {
            self.kill_remaining(start.elapsed());
        }
    }

    /// Sends SIGTERM to each remaining process that no request to stop was sent to, and continues those that are
    /// stopped.
    fn terminate_remaining(&self, exit_code: u8) {
        let Some(remaining) = self.descendants() else {
            // It is unknown which processes have received one.
            self.signal_all(Signal::SIGTERM);
            return self.signal_all(Signal::SIGCONT);
        };
        let notified: Vec<&ProcessKey> = self
            .stop_requests(exit_code)
            .flat_map(|(_, processes)| processes)
            .collect();
        // Only once: a process that starts later may be part of a clean-up. If a process ends before its signal is
        // sent, the signal reaches no other one: the kernel reuses an id only after all others.
        for process in &remaining {
            if !notified.contains(&&process.key()) {
                os::send_signal(process.id, Signal::SIGTERM as i32);
            }
            if process.is_stopped() {
                os::send_signal(process.id, Signal::SIGCONT as i32);
            }
        }
    }

    /// Sends SIGKILL to all remaining processes until there are none, for at most [`KILL_TIMEOUT`]. `drain_time` is
    /// how long they had to stop, for the log.
    fn kill_remaining(&mut self, drain_time: Duration) {
        let deadline = Instant::now() + KILL_TIMEOUT;
        let mut is_reported = false;
        while !self.has_no_children && Instant::now() < deadline {
            let remaining = self.descendants();
            let are_hidden = remaining.is_none();
            if are_hidden {
                self.signal_all(Signal::SIGKILL);
            }
            let mut killed = remaining.unwrap_or_default();
            killed.retain(|process| {
                // Sending may fail: a setuid program may run as another user.
                let is_killed = os::send_signal(process.id, Signal::SIGKILL as i32);
                is_killed && !process.is_zombie()
            });
            if !is_reported && (are_hidden || !killed.is_empty()) {
                is_reported = true;
                log_killed(&killed, drain_time);
            }
            self.wait(Some(deadline.min(Instant::now() + KILL_INTERVAL)));
            while self.next_signal().is_some() {}
            self.reap();
        }
    }

    /// Sends a signal if /proc does not show the processes: to every process of the PID namespace if this process is
    /// its first, otherwise to COMMAND's process group. That group may have ended; its id is not reused so soon.
    fn signal_all(&self, signal: Signal) {
        let target = match getpid().as_raw() {
            1 => -1,
            _ => -self.child.as_raw(),
        };
        os::send_signal(target, signal as i32);
    }
}

fn is_termination(signal: i32) -> bool {
    TERMINATION_SIGNALS
        .iter()
        .any(|termination| *termination as i32 == signal)
}

/// Logs which processes were killed, so that an unclean shutdown, of a database for example, is explained.
fn log_killed(killed: &[Process], drain_time: Duration) {
    let (seconds, tenths) = (drain_time.as_secs(), drain_time.subsec_millis() / 100);
    let message = format!("killed the processes that had not stopped after {seconds}.{tenths} s");
    let names = killed
        .iter()
        .map(|process| format!("{} ({})", process.name, process.id));
    let names = names.collect::<Vec<String>>().join(", ");
    log::warning(match names.as_str() {
        "" => Event::new(message),
        names => Event::new(format!("{message}: {names}")).fact("processes", names),
    });
}
