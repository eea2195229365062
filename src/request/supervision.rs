//! How COMMAND is supervised with `--init`.

use std::fmt;
use std::time::Duration;

/// How COMMAND is supervised.
#[derive(Clone, Copy, Debug)]
pub struct Supervision {
    /// Who gets the signals that this process gets.
    pub forward: Forward,
    /// So long what is left may take to stop when COMMAND has ended; zero is not at all.
    pub drain: Duration,
}

/// What `--dry-run` shows.
impl fmt::Display for Supervision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.forward {
            Forward::Child => "to it alone",
            Forward::Group => "to its process group",
        };
        let seconds = self.drain.as_secs();
        write!(
            f,
            "in a child; signals go {who}; {seconds} s for what it leaves"
        )
    }
}

/// Who gets the signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// COMMAND alone: it tells its own children what they have to know, or a platform signals every process itself.
    Child,
    /// COMMAND's process group.
    Group,
}

impl Forward {
    /// The names, for error messages.
    pub const NAMES: &str = "group or child";

    /// The name that `--init` takes.
    pub fn parse(name: &str) -> Option<Forward> {
        match name {
            "child" => Some(Forward::Child),
            "group" => Some(Forward::Group),
            _ => None,
        }
    }
}
