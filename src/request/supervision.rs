//! How COMMAND is supervised with `--init`.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::request::arguments::{Arguments, choose};
use crate::request::settings::parse_duration;

/// The default of `--drain`: half of the ten seconds that Docker waits before it kills a container.
const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// The values of `--init` and `--drain`.
#[derive(Clone, Copy, Debug)]
pub struct Supervision {
    /// What gets the signals that are forwarded.
    pub recipient: SignalRecipient,
    /// How long the remaining processes have to stop after COMMAND has ended; zero means not waiting for them.
    pub drain: Duration,
}

impl Supervision {
    /// Parses `--init`, `--drain` and their variables; `None` means that COMMAND replaces this process.
    pub fn parse(arguments: &Arguments<'_>) -> Result<Option<Supervision>, Error> {
        let has_option = arguments.has("--init");
        let recipient = arguments.parse_value("--init", |text| match text {
            "0" | "false" if !has_option => Ok(None),
            "1" | "true" if !has_option => Ok(Some(SignalRecipient::Group)),
            _ => choose(text, &SignalRecipient::CHOICES).map(Some),
        })?;
        let drain = arguments.parse_value("--drain", parse_duration)?;
        let recipient = match (recipient, has_option) {
            (None, true) => SignalRecipient::Group,
            (Some(Some(recipient)), _) => recipient,
            _ if arguments.has("--drain") => {
                return Err(arguments.usage_error("`--drain` needs `--init`"));
            }
            _ => return Ok(None),
        };
        // In `--init child -- COMMAND`, `child` is parsed as COMMAND.
        if has_option
            && let [first, dashes, ..] = arguments.operands.as_slice()
            && let Some((name, _)) = SignalRecipient::CHOICES
                .iter()
                .find(|(name, _)| first == name)
            && dashes == "--"
        {
            let message =
                format!("without an equals sign, `--init {name}` makes `{name}` the COMMAND");
            return Err(arguments
                .usage_error(message)
                .hint(format!("write `--init={name}`")));
        }
        Ok(Some(Supervision {
            recipient,
            drain: drain.unwrap_or(DEFAULT_DRAIN),
        }))
    }
}

/// What `--dry-run` shows.
impl fmt::Display for Supervision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destination = match self.recipient {
            SignalRecipient::Child => "to it alone",
            SignalRecipient::Group => "to its process group",
        };
        let seconds = self.drain.as_secs();
        write!(
            f,
            "as a child process; signals go {destination}; remaining processes get {seconds} s to stop"
        )
    }
}

/// What gets the signals that are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalRecipient {
    /// Only COMMAND: for a COMMAND that manages its own children, or a platform that itself sends signals to every
    /// process.
    Child,
    /// The process group of COMMAND.
    Group,
}

impl SignalRecipient {
    /// The values of `--init`, each with the recipient that it selects.
    pub const CHOICES: [(&str, SignalRecipient); 2] = [
        ("group", SignalRecipient::Group),
        ("child", SignalRecipient::Child),
    ];
}
