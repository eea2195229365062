//! How COMMAND is supervised with `--init`.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::request::arguments::Arguments;
use crate::request::settings::parse_duration;

/// The default of `--drain`: half of the ten seconds after which Docker kills a container.
const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// The options of `--init`.
#[derive(Clone, Copy, Debug)]
pub struct Supervision {
    /// The target of forwarded signals.
    pub forward: Forward,
    /// How long the remaining processes may take to stop when COMMAND has ended; zero means not waiting for them.
    pub drain: Duration,
}

impl Supervision {
    /// Parses `--init` and `--drain`; `None` means that COMMAND replaces this process.
    pub fn parse(arguments: &Arguments<'_>) -> Result<Option<Supervision>, Error> {
        let forward = arguments.choice("--init", &Forward::NAMES)?;
        let drain = arguments.parse_value("--drain", parse_duration)?;
        if !arguments.has("--init") {
            return match drain {
                Some(_) => Err(arguments.usage_error("`--drain` needs `--init`")),
                None => Ok(None),
            };
        }
        // In `--init child -- COMMAND`, `child` is parsed as COMMAND.
        if let [first, dashes, ..] = arguments.words.as_slice()
            && let Some((recipient, _)) = Forward::NAMES.iter().find(|(name, _)| first == name)
            && dashes == "--"
        {
            let message = format!(
                "without an equals sign, `--init {recipient}` makes `{recipient}` the COMMAND"
            );
            return Err(arguments
                .usage_error(message)
                .hint(format!("write `--init={recipient}`")));
        }
        Ok(Some(Supervision {
            forward: forward.unwrap_or(Forward::Group),
            drain: drain.unwrap_or(DEFAULT_DRAIN),
        }))
    }
}

/// What `--dry-run` shows.
impl fmt::Display for Supervision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destination = match self.forward {
            Forward::Child => "to it alone",
            Forward::Group => "to its process group",
        };
        let seconds = self.drain.as_secs();
        write!(
            f,
            "as a child process; signals go {destination}; remaining processes get {seconds} s to stop"
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
    /// The names that `--init` takes.
    pub const NAMES: [(&str, Forward); 2] = [("group", Forward::Group), ("child", Forward::Child)];
}
