//! What is being waited for: for the line after five seconds, and for the line when a signal ends the wait.
//!
//! Several threads wait at once; what is said is the wait that began first and still goes on. A signal handler may not
//! allocate or lock, so each wait publishes its state as a whole. What it replaces is never freed until execve or exit
//! takes it all.

use std::fmt::{self, Write};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::error::{Cause, Error};
use crate::log;
use crate::os::{self, Published};

/// The signals that end a wait.
pub const SIGNALS: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// How one wait goes. Texts are made fit for a line here: the handler cannot do it.
#[derive(Clone)]
pub struct Waiting {
    /// Whether it is only named while nothing else is waited for.
    aside: bool,
    began: Instant,
    /// What is being done, as in "while getting an access token from …".
    doing: String,
    /// Tries so far, the present one included.
    tries: &'static AtomicU32,
    /// Why the last try did not do.
    last: Option<String>,
    /// What to do if it never ends.
    pub hint: Option<String>,
}

/// A wait that goes on until this is dropped.
pub struct Wait {
    /// None where there are more waits than anyone would read of.
    slot: Option<&'static Published<Waiting>>,
    state: Waiting,
}

static WAITS: [Published<Waiting>; 64] = [const { Published::new() }; 64];
static TRIES: [AtomicU32; 64] = [const { AtomicU32::new(1) }; 64];
/// Counted and not shown: the tries of a wait without a slot.
static MORE_TRIES: AtomicU32 = AtomicU32::new(1);
static STARTED: OnceLock<Instant> = OnceLock::new();
/// What a signal does now.
static STATE: AtomicU8 = AtomicU8::new(FREE);
/// It ends the process.
const FREE: u8 = 0;
/// It waits until [`Hold`] is dropped.
const HELD: u8 = 1;
/// Nothing: another one ends the process.
const ENDING: u8 = 2;
/// The first signal that waits.
static PENDING: AtomicI32 = AtomicI32::new(0);
/// Nothing is waited for any more, whatever a thread still does that was begun ahead of its time.
static SETTLED: AtomicBool = AtomicBool::new(false);

/// Process groups that end with this process; 0 is a free slot.
static GROUPS: [AtomicI32; 16] = [const { AtomicI32::new(0) }; 16];

impl Wait {
    /// Begins to wait: "getting …", "reading …". The hint is for when it never ends.
    pub fn begin(doing: &str, hint: Option<String>) -> Wait {
        Wait::new(doing, hint, false)
    }

    /// Begins something ahead of its time, which nobody waits for as long as there is something else to wait for.
    pub fn begin_aside(doing: &str, hint: Option<String>) -> Wait {
        Wait::new(doing, hint, true)
    }

    fn new(doing: &str, hint: Option<String>, aside: bool) -> Wait {
        let mut state = Waiting {
            aside,
            began: Instant::now(),
            doing: log::plain(doing),
            tries: &MORE_TRIES,
            last: None,
            hint,
        };
        let slots = WAITS.iter().zip(&TRIES);
        let slot = slots.into_iter().find_map(|(slot, tries)| {
            let mine = Waiting {
                tries,
                ..state.clone()
            };
            slot.take_if_empty(mine).then_some((slot, tries))
        });
        if let Some((_, tries)) = slot {
            tries.store(1, Ordering::Relaxed);
            state.tries = tries;
        }
        Wait {
            slot: slot.map(|(slot, _)| slot),
            state,
        }
    }

    /// The present try, and why the one before did not do. Only a new reason is published, without its ids, which are
    /// new each time: what is published is never freed.
    pub fn update(&mut self, tries: u32, last: &str) {
        self.state.tries.store(tries, Ordering::Relaxed);
        let reason = log::plain(last.split("; ").next().unwrap_or_default());
        if self.state.last.as_ref() != Some(&reason) {
            self.state.last = Some(reason);
            if let Some(slot) = self.slot {
                slot.set(self.state.clone());
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.clear();
        }
    }
}

/// Starts the clock and lets signals end the wait.
pub fn start() -> Result<(), Error> {
    STARTED.get_or_init(Instant::now);
    os::catch(&SIGNALS, end_at_once).map_err(|errno| {
        Error::new(Cause::Internal, errno.desc()).context("installing signal handlers")
    })
}

/// How long ago [`start`] was.
pub fn elapsed() -> Duration {
    STARTED.get().map(Instant::elapsed).unwrap_or_default()
}

/// What is being waited for now: of all waits the one that began first.
pub fn current() -> Option<&'static Waiting> {
    WAITS
        .iter()
        .filter_map(Published::get)
        .min_by_key(|waiting| (waiting.aside, waiting.began))
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.tries.load(Ordering::Relaxed);
        let tries = if number == 1 { "try" } else { "tries" };
        write!(f, "{} ({number} {tries}", self.doing)?;
        if let Some(last) = &self.last {
            write!(f, ", last: {last}")?;
        }
        f.write_char(')')
    }
}

/// Starts a child in a process group of its own, which is killed when this process ends.
pub fn spawn_group(command: &mut Command) -> io::Result<Child> {
    let child = command.process_group(0).spawn()?;
    replace_group(0, child.id() as i32);
    Ok(child)
}

/// Kills a group, unless it has ended.
pub fn kill_group(group: u32) {
    if replace_group(group as i32, 0) {
        os::send_signal(-(group as i32), Signal::SIGKILL as i32);
    }
}

/// The child has ended: other processes can get its id.
pub fn forget_group(group: u32) {
    replace_group(group as i32, 0);
}

/// Kills the groups that have not ended, before this process ends.
pub fn kill_groups() {
    for slot in &GROUPS {
        match slot.swap(0, Ordering::SeqCst) {
            0 => {}
            group => {
                os::send_signal(-group, Signal::SIGKILL as i32);
            }
        }
    }
}

fn replace_group(old: i32, new: i32) -> bool {
    let order = Ordering::SeqCst;
    GROUPS
        .iter()
        .any(|slot| slot.compare_exchange(old, new, order, order).is_ok())
}

/// Lets signals wait until this is dropped: for what must not be left half-done.
pub struct Hold(());

/// From now on a signal waits.
pub fn hold() -> Hold {
    SETTLED.store(true, Ordering::SeqCst);
    let order = Ordering::SeqCst;
    if STATE.compare_exchange(FREE, HELD, order, order).is_err() {
        // A handler on another thread is ending the process: nothing may begin now.
        os::sleep_for_ever();
    }
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        STATE.store(FREE, Ordering::SeqCst);
        let number = PENDING.load(Ordering::SeqCst);
        if number != 0 {
            end_at_once(number);
        }
    }
}

/// The handler. Everything that it calls is async-signal-safe: atomics, clock_gettime, formatting into the stack,
/// write, _exit.
extern "C" fn end_at_once(number: i32) {
    let order = Ordering::SeqCst;
    loop {
        match STATE.compare_exchange(FREE, ENDING, order, order) {
            Ok(_) => break,
            Err(HELD) => {
                let _ = PENDING.compare_exchange(0, number, order, order);
                // Unless it was let go of in this moment, and nobody looks any more.
                if STATE.load(order) == HELD {
                    return;
                }
            }
            // Two signals at once, on two threads: one says it and ends the process.
            Err(_) => os::sleep_for_ever(),
        }
    }
    let name = Signal::try_from(number).map_or("a signal", Signal::as_str);
    let json = log::format() == log::Format::Json;
    let (start, end) = match json {
        true => ("{\"cause\":\"signal\",\"code\":", "\"}"),
        false => ("akv-init: error: ", ""),
    };
    let mut line = Line::new(end);
    // A line that is too long is cut; nothing else can fail.
    let _ = line.write_str(start);
    if json {
        let code = 128 + number;
        let _ = write!(line, "{code},\"level\":\"error\",\"message\":\"");
    }
    line.escaping = json;
    let _ = write!(line, "stopped by {name} after {} s", elapsed().as_secs());
    if let Some(waiting) = current().filter(|_| !SETTLED.load(Ordering::SeqCst)) {
        let _ = write!(line, ", while {waiting}");
    }
    kill_groups();
    os::write_to_stderr(line.finish(), 0);
    os::exit_at_once(128 + number);
}

/// One line of text on the stack: shorter than a handler's smallest stack, longer than any of our messages.
struct Line {
    bytes: [u8; 1024],
    length: usize,
    /// What always has room, behind the text.
    end: &'static str,
    /// Whether quotes and backslashes stand in a JSON string now.
    escaping: bool,
}

impl Line {
    fn new(end: &'static str) -> Self {
        Line {
            bytes: [0; 1024],
            length: 0,
            end,
            escaping: false,
        }
    }

    fn finish(&mut self) -> &[u8] {
        for byte in self.end.bytes().chain([b'\n']) {
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        &self.bytes[..self.length]
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let character = if character.is_ascii_control() {
                ' '
            } else {
                character
            };
            let escaped = self.escaping && matches!(character, '"' | '\\');
            let room = self.bytes.len() - 1 - self.end.len() - self.length;
            // Whole characters only: half of one is no JSON.
            if room < character.len_utf8() + usize::from(escaped) {
                return Err(fmt::Error);
            }
            if escaped {
                self.bytes[self.length] = b'\\';
                self.length += 1;
            }
            self.length += character.encode_utf8(&mut self.bytes[self.length..]).len();
        }
        Ok(())
    }
}
