//! The loop that waits for signals, forwards them and reaps children; and the shutdown, when COMMAND has ended.

use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid, getpid};

use super::processes::{self, Identity, Process};
use super::terminal;
use crate::log::{self, Event};
use crate::os;
use crate::request::supervision::{SignalRecipient, Supervision};

/// How long to wait after KILL for a process that is in a call that cannot be interrupted.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often KILL is repeated: a process may have been started in between.
const KILL_INTERVAL: Duration = Duration::from_millis(20);
/// Within this time after a termination signal another one is a repetition. timeout(1), for one, sends each twice.
const REPETITION: Duration = Duration::from_millis(100);
/// Signals that request the end. Some programs use INT and QUIT for other purposes.
const TERMINATION: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// The supervisor of one child.
pub struct Supervisor {
    supervision: Supervision,
    /// COMMAND; its process group has the same id.
    child: Pid,
    signals: OwnedFd,
    /// For each signal of [`TERMINATION`] that was forwarded: the processes that received it.
    notified: Vec<(i32, Vec<Identity>)>,
    /// When the last of them arrived, repetitions aside.
    last_termination: Option<Instant>,
    /// How COMMAND ended, once it has.
    end: Option<ExitStatus>,
    /// Whether COMMAND was stopped by its terminal.
    is_stopped: bool,
    /// Whether there are no children any more.
    is_alone: bool,
}

impl Supervisor {
    /// `signals` is a signalfd of all signals, which have been blocked since before the fork.
    pub fn new(supervision: Supervision, child: Pid, signals: OwnedFd) -> Supervisor {
        Supervisor {
            supervision,
            child,
            signals,
            notified: Vec::new(),
            last_termination: None,
            end: None,
            is_stopped: false,
            is_alone: false,
        }
    }

    /// Supervises to the end; the exit code.
    pub fn run(mut self) -> u8 {
        let end = loop {
            let signal = self.next_signal();
            if let Some(signal) = signal {
                self.forward(signal);
            }
            // After each signal: they may keep arriving.
            self.reap();
            match self.end {
                Some(end) => break end,
                None if signal.is_none() => self.wait(None),
                None => {}
            }
        };
        let signal = end.signal().unwrap_or_default();
        let code = end.code().unwrap_or(128 + signal) as u8;
        let had_terminal = terminal::take_back(self.child);
        if !self.supervision.drain.is_zero() && !self.is_alone {
            self.drain(code);
        }
        // A program that exits with 130 has handled it.
        if signal == Signal::SIGINT as i32 {
            terminal::interrupt_too(had_terminal);
        }
        code
    }

    /// The next signal to act on. SIGCHLD only ends a wait.
    fn next_signal(&self) -> Option<i32> {
        let mut signals = iter::from_fn(|| os::next_signal(&self.signals));
        signals.find(|signal| *signal != Signal::SIGCHLD as i32)
    }

    /// Waits for a signal, until a deadline if there is one.
    fn wait(&self, until: Option<Instant>) {
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        os::poll_until(&mut [signals], until);
    }

    fn forward(&mut self, signal: i32) {
        // The terminal stopped the whole group.
        let continues = signal == Signal::SIGCONT as i32 && std::mem::take(&mut self.is_stopped);
        let is_for_group = continues || self.supervision.recipient == SignalRecipient::Group;
        // A process that is in the group before and after has received it. One that joined in between may get it again.
        let mut notified = match is_for_group && is_termination(signal) {
            true => self.group(),
            false => Vec::new(),
        };
        let child = self.child.as_raw();
        if is_for_group {
            os::send_signal(-child, signal);
        }
        // It may have left its group, or setpgid may have failed.
        if !is_for_group || getpgid(Some(self.child)) != Ok(self.child) {
            os::send_signal(child, signal);
        }
        if is_termination(signal) {
            let after = self.group();
            notified.retain(|process| after.contains(process));
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

    /// The forwarded signals that count as a request to stop: TERM, and the one that COMMAND ended with. A QUIT of an hour
    /// ago may have been for a thread dump.
    fn stops(&self, code: u8) -> impl Iterator<Item = &(i32, Vec<Identity>)> {
        self.notified.iter().filter(move |(signal, _)| {
            *signal == Signal::SIGTERM as i32 || i32::from(code) == 128 + signal
        })
    }

    /// Reads the status of every child that has ended: one SIGCHLD may be for several.
    fn reap(&mut self) {
        loop {
            match os::wait_for_any_child() {
                Ok(Some((pid, status))) if pid == self.child.as_raw() => {
                    match status.stopped_signal() {
                        Some(signal) => self.is_stopped = terminal::stop_too(self.child, signal),
                        None => self.end = Some(status),
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => return self.is_alone = true,
            }
        }
    }

    /// The descendants of this process, where /proc shows them.
    fn descendants(&self) -> Option<Vec<Process>> {
        // Mounted with hidepid, it may show none.
        processes::descendants().filter(|all| self.is_alone || !all.is_empty())
    }

    /// The processes in COMMAND's process group.
    fn group(&self) -> Vec<Identity> {
        let all = self.descendants().unwrap_or_default();
        let group = all
            .iter()
            .filter(|process| process.group == self.child.as_raw());
        group.map(Process::identity).collect()
    }

    /// Lets the processes that COMMAND left stop, and kills those that do not.
    fn drain(&mut self, code: u8) {
        self.terminate_remaining(code);
        let start = Instant::now();
        let until = start + self.supervision.drain;
        // The first request to stop starts the drain, the second one ends it. What has arrived until now belongs to the
        // first, however late it is read.
        let mut requests = usize::from(self.stops(code).next().is_some());
        while let Some(signal) = self.next_signal() {
            if is_termination(signal) {
                requests = 1;
                self.last_termination = Some(start);
            }
        }
        while !self.is_alone && requests < 2 && Instant::now() < until {
            self.wait(Some(until));
            // Not forwarded: the ids of COMMAND and of its group may belong to other processes by now.
            while let Some(signal) = self.next_signal() {
                let now = Instant::now();
                let is_repetition = self
                    .last_termination
                    .is_some_and(|last| now.duration_since(last) <= REPETITION);
                if is_termination(signal) && !is_repetition {
                    self.last_termination = Some(now);
                    requests += 1;
                }
            }
            self.reap();
        }
        if !self.is_alone {
            self.kill_remaining(start.elapsed());
        }
    }

    /// Sends TERM to every process that has not received a request to stop.
    fn terminate_remaining(&self, code: u8) {
        let Some(remaining) = self.descendants() else {
            // It is unknown which ones have.
            self.signal_all(Signal::SIGTERM);
            return self.signal_all(Signal::SIGCONT);
        };
        let notified: Vec<&Identity> = self.stops(code).flat_map(|(_, ids)| ids).collect();
        // Only once: a process that starts after this may be part of a clean-up. The id of one that ends before its
        // signal is safe, since the kernel assigns all others first.
        for process in &remaining {
            if !notified.contains(&&process.identity()) {
                os::send_signal(process.id, Signal::SIGTERM as i32);
            }
            if process.is_stopped() {
                os::send_signal(process.id, Signal::SIGCONT as i32);
            }
        }
    }

    /// Sends KILL to every process until none remains.
    fn kill_remaining(&mut self, after: Duration) {
        let until = Instant::now() + KILL_TIMEOUT;
        let mut is_reported = false;
        while !self.is_alone && Instant::now() < until {
            let remaining = self.descendants();
            let is_hidden = remaining.is_none();
            if is_hidden {
                self.signal_all(Signal::SIGKILL);
            }
            let mut killed = remaining.unwrap_or_default();
            killed.retain(|process| {
                // A setuid program may belong to another user.
                let is_killed = os::send_signal(process.id, Signal::SIGKILL as i32);
                is_killed && !process.is_zombie()
            });
            if !is_reported && (is_hidden || !killed.is_empty()) {
                is_reported = true;
                report(&killed, after);
            }
            self.wait(Some(until.min(Instant::now() + KILL_INTERVAL)));
            while self.next_signal().is_some() {}
            self.reap();
        }
    }

    /// Without /proc: signals all of this process's PID namespace if it is its first process, or else COMMAND's group,
    /// even if that has ended: its number is not assigned again so soon.
    fn signal_all(&self, signal: Signal) {
        let target = match getpid().as_raw() {
            1 => -1,
            _ => -self.child.as_raw(),
        };
        os::send_signal(target, signal as i32);
    }
}

fn is_termination(signal: i32) -> bool {
    TERMINATION.iter().any(|other| *other as i32 == signal)
}

/// Logs which processes were killed: the explanation of a database that was not shut down.
fn report(killed: &[Process], after: Duration) {
    let (seconds, tenths) = (after.as_secs(), after.subsec_millis() / 100);
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
