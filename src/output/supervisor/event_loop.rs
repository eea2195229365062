//! The loop: wait for a signal, forward it, reap whoever has ended; and the end, when COMMAND has ended.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid, getpid};

use super::processes::{self, Identity, Process};
use super::terminal;
use crate::log::{self, Event};
use crate::os::{self, WaitStatus};
use crate::request::supervision::{Forward, Supervision};

/// After KILL: so long somebody may be in a call that the kernel does not interrupt.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Until KILL is sent again: somebody may have been born in between.
const KILL_AGAIN: Duration = Duration::from_millis(20);
/// So long after a signal that asks for the end another one is the same.
const SAME_STOP: Duration = Duration::from_millis(100);
/// Signals that ask for the end. INT and QUIT also mean other things to some programs.
const TERMINATION: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

pub struct Supervisor {
    supervision: Supervision,
    /// COMMAND; its process group has the same id.
    child: Pid,
    signals: OwnedFd,
    /// For each signal of [`TERMINATION`] that was forwarded: who got it.
    told: Vec<(i32, Vec<Identity>)>,
    /// When the last of them came that counts.
    last_stop: Option<Instant>,
    /// COMMAND's exit code.
    ended: Option<u8>,
    /// Whether COMMAND was stopped by its terminal.
    is_stopped: bool,
    /// Whether there is no child.
    is_alone: bool,
    /// Whether INT has ended COMMAND. One that exits with 130 has made something else of it.
    is_interrupted: bool,
}

impl Supervisor {
    /// The supervisor of that child. `signals` has all of them, and they have been blocked since before it was born.
    pub fn new(supervision: Supervision, child: Pid, signals: OwnedFd) -> Supervisor {
        Supervisor {
            supervision,
            child,
            signals,
            told: Vec::new(),
            last_stop: None,
            ended: None,
            is_stopped: false,
            is_alone: false,
            is_interrupted: false,
        }
    }

    /// Supervises to the end, and gives the exit code.
    pub fn run(mut self) -> u8 {
        let code = loop {
            let signal = self.next_signal();
            if let Some(signal) = signal {
                self.forward(signal);
            }
            // After each of them: there may be more than we can forward.
            self.reap();
            match self.ended {
                Some(code) => break code,
                None if signal.is_none() => self.wait(None),
                None => {}
            }
        };
        let had_terminal = terminal::take_back(self.child);
        if !self.supervision.drain.is_zero() && !self.is_alone {
            self.drain(code);
        }
        if self.is_interrupted {
            terminal::interrupt_too(had_terminal);
        }
        code
    }

    /// The next signal that has come. SIGCHLD only wakes us.
    fn next_signal(&self) -> Option<i32> {
        loop {
            let number = os::next_signal(&self.signals)?;
            if number != Signal::SIGCHLD as i32 {
                return Some(number);
            }
        }
    }

    /// Waits for a signal. Not longer than until a moment, where there is one.
    fn wait(&self, until: Option<Instant>) {
        let timeout = match until {
            None => PollTimeout::NONE,
            Some(until) => {
                // Rounded up: a wait of 0 ms before the moment would be a busy one.
                let left =
                    until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut ready = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut ready, timeout);
    }

    fn forward(&mut self, signal: i32) {
        // A terminal has stopped all of them.
        let is_for_all = signal == Signal::SIGCONT as i32 && std::mem::take(&mut self.is_stopped);
        let is_for_group = is_for_all || self.supervision.forward == Forward::Group;
        // Whoever is in the group before and after has got it. Who came in between is told again, if need be.
        let mut told = match is_for_group && asks_to_end(signal) {
            true => self.group(),
            false => Vec::new(),
        };
        let child = self.child.as_raw();
        if is_for_group {
            os::send_signal(-child, signal);
        }
        // It may have left its group; and where it could not have one, it is in ours.
        if !is_for_group || getpgid(Some(self.child)) != Ok(self.child) {
            os::send_signal(child, signal);
        }
        if asks_to_end(signal) {
            let after = self.group();
            told.retain(|process| after.contains(process));
            self.last_stop = Some(Instant::now());
            self.note(signal, told);
        }
    }

    /// Who got a signal that asks for the end.
    fn note(&mut self, signal: i32, told: Vec<Identity>) {
        match self.told.iter_mut().find(|(other, _)| *other == signal) {
            Some((_, known)) => {
                known.retain(|process| !told.contains(process));
                known.extend(told);
            }
            None => self.told.push((signal, told)),
        }
    }

    /// The signals that have told somebody to stop. A thread dump (QUIT) of an hour ago has not, unless it was the end of
    /// COMMAND.
    fn stops(&self, code: u8) -> impl Iterator<Item = &(i32, Vec<Identity>)> {
        self.told.iter().filter(move |(signal, _)| {
            *signal == Signal::SIGTERM as i32 || i32::from(code) == 128 + signal
        })
    }

    /// Takes the status of every child that has ended: one SIGCHLD may stand for many.
    fn reap(&mut self) {
        let child = self.child.as_raw();
        loop {
            match os::wait_for_any_child() {
                WaitStatus::StillAlive => return,
                WaitStatus::NoChildren => {
                    self.is_alone = true;
                    self.ended
                        .get_or_insert(crate::error::Cause::Internal.exit_code());
                    return;
                }
                WaitStatus::Exited(pid, code) if pid == child => self.ended = Some(code),
                WaitStatus::Signaled(pid, signal) if pid == child => {
                    self.ended = Some(128 + signal);
                    self.is_interrupted = i32::from(signal) == Signal::SIGINT as i32;
                }
                WaitStatus::Stopped(pid, signal) if pid == child => {
                    self.is_stopped = terminal::stop_too(self.child, signal);
                }
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) | WaitStatus::Stopped(..) => {}
            }
        }
    }

    /// Our descendants, where they can be seen.
    fn descendants(&self) -> Option<Vec<Process>> {
        // A /proc that hides other users' processes (hidepid) has none of them.
        processes::descendants().filter(|all| self.is_alone || !all.is_empty())
    }

    /// Who is in COMMAND's process group.
    fn group(&self) -> Vec<Identity> {
        let all = self.descendants().unwrap_or_default();
        let group = all
            .iter()
            .filter(|process| process.group == self.child.as_raw());
        group.map(Process::identity).collect()
    }

    /// Whether a signal asks for the end once more. timeout(1), for one, sends each of its signals twice.
    fn is_new_stop(&mut self, signal: i32) -> bool {
        let now = Instant::now();
        let is_new = asks_to_end(signal)
            && self
                .last_stop
                .is_none_or(|last| now.duration_since(last) > SAME_STOP);
        if is_new {
            self.last_stop = Some(now);
        }
        is_new
    }

    /// Lets what COMMAND has left behind come to its end; at last ends it.
    fn drain(&mut self, code: u8) {
        self.tell_the_rest(code);
        let start = Instant::now();
        let until = start + self.supervision.drain;
        // What has come until now is of the moment that ended COMMAND, however late it is read.
        let mut is_told = self.stops(code).next().is_some();
        while let Some(signal) = self.next_signal() {
            if asks_to_end(signal) {
                is_told = true;
                self.last_stop = Some(start);
            }
        }
        // One signal is what it takes to stop. The next one is the end of somebody's patience.
        let mut stops = usize::from(is_told);
        while !self.is_alone && stops < 2 && Instant::now() < until {
            self.wait(Some(until));
            // None is forwarded: COMMAND is gone, and when its group is too, their number may be somebody else's.
            while let Some(signal) = self.next_signal() {
                stops += usize::from(self.is_new_stop(signal));
            }
            self.reap();
        }
        if !self.is_alone {
            self.end_the_rest(start.elapsed());
        }
    }

    /// TERM for everyone who was not told to stop already.
    fn tell_the_rest(&self, code: u8) {
        let Some(rest) = self.descendants() else {
            // Nobody knows who was told. Rather twice than never.
            self.signal_all(Signal::SIGTERM);
            return self.signal_all(Signal::SIGCONT);
        };
        let told: Vec<&Identity> = self.stops(code).flat_map(|(_, ids)| ids).collect();
        // Whoever ends between the look and the signal has an id that is not given again so soon: the kernel gives all
        // others first. Whoever is born meanwhile is not told: a second look would find those who clean up.
        for process in &rest {
            if !told.contains(&&process.identity()) {
                os::send_signal(process.id, Signal::SIGTERM as i32);
            }
            // It would never hear of it.
            if process.is_stopped() {
                os::send_signal(process.id, Signal::SIGCONT as i32);
            }
        }
    }

    /// KILL for everyone, until nobody is left.
    fn end_the_rest(&mut self, after: Duration) {
        let until = Instant::now() + LAST_WAIT;
        let mut is_said = false;
        while !self.is_alone && Instant::now() < until {
            let rest = self.descendants();
            let is_hidden = rest.is_none();
            if is_hidden {
                self.signal_all(Signal::SIGKILL);
            }
            let mut killed = rest.unwrap_or_default();
            killed.retain(|process| {
                // It may have become somebody else's, by a file with the setuid bit.
                let is_killed = os::send_signal(process.id, Signal::SIGKILL as i32);
                is_killed && !process.is_zombie()
            });
            if !is_said && (is_hidden || !killed.is_empty()) {
                is_said = true;
                say(&killed, after);
            }
            self.wait(Some(until.min(Instant::now() + KILL_AGAIN)));
            while self.next_signal().is_some() {}
            self.reap();
        }
    }

    /// Where nobody's id can be learnt: all that our namespace holds, if it is ours. Else COMMAND's group, though that
    /// may be gone: its number is not given again so soon.
    fn signal_all(&self, signal: Signal) {
        let target = match getpid().as_raw() {
            1 => -1,
            _ => -self.child.as_raw(),
        };
        os::send_signal(target, signal as i32);
    }
}

fn asks_to_end(signal: i32) -> bool {
    TERMINATION.iter().any(|other| *other as i32 == signal)
}

/// Whoever wonders about a database that was not shut down finds it in the log.
fn say(killed: &[Process], after: Duration) {
    const MOST: usize = 8;
    let names = killed.iter().take(MOST);
    let mut names: Vec<String> = names
        .map(|process| format!("{} ({})", process.name, process.id))
        .collect();
    if killed.len() > MOST {
        names.push(format!("and {} more", killed.len() - MOST));
    }
    let (seconds, tenths) = (after.as_secs(), after.subsec_millis() / 100);
    let message = format!("killed what had not stopped after {seconds}.{tenths} s");
    log::warning(match names.is_empty() {
        true => Event::new(message),
        false => {
            let names = names.join(", ");
            Event::new(format!("{message}: {names}")).fact("processes", names)
        }
    });
}
