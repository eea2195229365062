//! The loop: wait for a signal, pass it on, reap whoever has ended; and the end, when COMMAND has ended.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid};

use super::processes::{self, Process};
use super::{Forward, Supervision, terminal};
use crate::failure;
use crate::log::{self, Event};
use crate::os::{self, Ended};

/// After KILL: so long what the kernel cannot end at once is waited for.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Until KILL is sent again: somebody may have been born in between.
const AGAIN: Duration = Duration::from_millis(20);
/// Signals that ask for the end. INT and QUIT also mean other things to some programs.
const STOPS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

pub struct Supervisor {
    supervision: Supervision,
    child: Pid,
    signals: OwnedFd,
    /// The signals of [`STOPS`] that were passed on, each with who got it.
    told: Vec<(i32, Vec<i32>)>,
    /// COMMAND's exit code.
    ended: Option<u8>,
    /// Whether no child is left.
    alone: bool,
}

impl Supervisor {
    /// The supervisor of that child. `signals` has all of them, and they have been blocked since before it was born.
    pub fn new(supervision: Supervision, child: Pid, signals: OwnedFd) -> Supervisor {
        Supervisor {
            supervision,
            child,
            signals,
            told: Vec::new(),
            ended: None,
            alone: false,
        }
    }

    /// Supervises to the end, and gives the exit code.
    pub fn run(mut self) -> u8 {
        let code = loop {
            while let Some(signal) = self.signal() {
                self.pass_on(signal);
            }
            self.reap();
            if let Some(code) = self.ended {
                break code;
            }
            self.wait(None);
        };
        terminal::take_back(self.child);
        if !self.supervision.drain.is_zero() {
            self.drain(code);
        }
        code
    }

    /// The next signal that has come. SIGCHLD only wakes us.
    fn signal(&self) -> Option<i32> {
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

    fn pass_on(&mut self, signal: i32) {
        let child = self.child.as_raw();
        if signal == Signal::SIGCONT as i32 {
            terminal::lend(self.child);
            // All of them were stopped, by the terminal.
            return os::send_signal(-child, signal);
        }
        match self.supervision.forward {
            Forward::Child if self.ended.is_some() => {}
            Forward::Child => os::send_signal(child, signal),
            Forward::Group => os::send_signal(-child, signal),
        }
        if self.ended.is_none() && is_stop(signal) {
            let mut told = Vec::new();
            if self.supervision.forward == Forward::Group {
                // Afterwards: who is born in between counts as told, and at worst is waited for in vain.
                let left = processes::left().unwrap_or_default();
                let group = left.into_iter().filter(|process| process.group == child);
                told.extend(group.map(|process| process.id));
            }
            match self.told.iter_mut().find(|(other, _)| *other == signal) {
                Some((_, ids)) => {
                    ids.retain(|id| !told.contains(id));
                    ids.extend(told);
                }
                None => self.told.push((signal, told)),
            }
        }
    }

    /// Takes the status of every child that has ended: one SIGCHLD may stand for many.
    fn reap(&mut self) {
        let child = self.child.as_raw();
        loop {
            match os::wait_for_any_child() {
                Ended::Nobody => return,
                Ended::NoChildren => {
                    self.alone = true;
                    self.ended.get_or_insert(failure::INTERNAL);
                    return;
                }
                Ended::Exited(pid, code) if pid == child => self.ended = Some(code),
                Ended::Killed(pid, signal) if pid == child => self.ended = Some(128 + signal),
                Ended::Stopped(pid, signal) if pid == child => {
                    terminal::stop_too(self.child, signal);
                }
                Ended::Exited(..) | Ended::Killed(..) | Ended::Stopped(..) => {}
            }
        }
    }

    /// Lets what COMMAND has left behind come to its end; at last ends it.
    fn drain(&mut self, code: u8) {
        self.tell_the_rest(code);
        let start = Instant::now();
        let until = start + self.supervision.drain;
        // One stop signal is what it takes to come here. The next one is the end of somebody's patience.
        let mut stops = usize::from(!self.told.is_empty());
        while !self.alone && stops < 2 && Instant::now() < until {
            self.wait(Some(until));
            while let Some(signal) = self.signal() {
                match is_stop(signal) {
                    true => stops += 1,
                    false => self.pass_on(signal),
                }
            }
            self.reap();
        }
        if !self.alone {
            self.end_the_rest(start.elapsed());
        }
    }

    /// TERM for everyone who was not told to stop already.
    fn tell_the_rest(&self, code: u8) {
        // A thread dump (QUIT) of an hour ago has told nobody to stop, unless it was the end of COMMAND.
        let has_told =
            |signal: i32| signal == Signal::SIGTERM as i32 || i32::from(code) == 128 + signal;
        let told = self.told.iter().filter(|(signal, _)| has_told(*signal));
        let told: Vec<i32> = told.flat_map(|(_, ids)| ids).copied().collect();
        let Some(left) = processes::left() else {
            // Without ids there is everyone or nobody.
            if told.is_empty() {
                self.signal_all(Signal::SIGTERM);
            }
            return;
        };
        for process in left.iter().filter(|process| !told.contains(&process.id)) {
            os::send_signal(process.id, Signal::SIGTERM as i32);
            // A stopped process would never hear of it.
            os::send_signal(process.id, Signal::SIGCONT as i32);
        }
    }

    /// KILL for everyone, until nobody is left.
    fn end_the_rest(&mut self, after: Duration) {
        let until = Instant::now() + LAST_WAIT;
        let mut is_said = false;
        while !self.alone && Instant::now() < until {
            match processes::left() {
                Some(left) => {
                    for process in &left {
                        os::send_signal(process.id, Signal::SIGKILL as i32);
                    }
                    if !left.is_empty() && !std::mem::replace(&mut is_said, true) {
                        say(&left, after);
                    }
                }
                None => self.signal_all(Signal::SIGKILL),
            }
            self.wait(Some(until.min(Instant::now() + AGAIN)));
            while self.signal().is_some() {}
            self.reap();
        }
    }

    /// Where nobody's id can be learnt: all that our namespace holds, if it is ours; else COMMAND's group.
    fn signal_all(&self, signal: Signal) {
        let target = match getpid().as_raw() {
            1 => -1,
            _ => -self.child.as_raw(),
        };
        os::send_signal(target, signal as i32);
    }
}

fn is_stop(signal: i32) -> bool {
    STOPS.iter().any(|stop| *stop as i32 == signal)
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
    let names = names.join(", ");
    let message = format!("killed what had not stopped after {seconds}.{tenths} s: {names}");
    log::warning(Event::new(message).fact("processes", log::plain(&names)));
}
