//! How COMMAND is supervised with `--init`.

use std::fmt;
use std::time::Duration;

/// The options of `--init`.
#[derive(Clone, Copy, Debug)]
pub struct Supervision {
    /// The target of forwarded signals.
    pub forward: Forward,
    /// How long the remaining processes may take to stop when COMMAND has ended; zero is not to wait for them.
    pub drain: Duration,
}

/// For `--dry-run`.
impl fmt::Display for Supervision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match self.forward {
            Forward::Child => "to it alone",
            Forward::Group => "to its process group",
        };
        let seconds = self.drain.as_secs();
        write!(
            f,
            "in a child; signals go {target}; {seconds} s for the processes that it leaves"
        )
    }
}

/// The target of forwarded signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// COMMAND alone: for one that manages its own children, or a platform that signals every process itself.
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
