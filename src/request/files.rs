//! What `write` puts into a directory: names of files, outputs, layout, mode. Pure: no file is opened here.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::request::arguments::{Arguments, unexpected};
use crate::request::format::Format;
use crate::request::settings::parse_duration;

/// The longest name of one file (NAME_MAX, limits.h(0p)).
const LONGEST_NAME: usize = 255;
/// The longest path, with its NUL (PATH_MAX).
const LONGEST_PATH: usize = 4_096;
/// The permissions of files without `--mode`: readable by owner and group, writable by none.
const DEFAULT_MODE: u32 = 0o440;

/// Rejects what is not the path of a file below DIR: relative, each of its components an ordinary name.
pub fn check_file_name(text: &str) -> Result<(), Error> {
    let flaw_of_component = |component: &str| match component {
        "" => Some("a component is empty"),
        "." => Some("a component is `.`"),
        _ if component.starts_with("..") => {
            Some("a component starts with `..`, which is reserved for akv-init's own files")
        }
        _ if component.len() > LONGEST_NAME => Some("a component is longer than 255 bytes"),
        _ => None,
    };
    let flaw = match text {
        _ if text.chars().any(char::is_control) => Some("contains a control character"),
        _ if text.starts_with('/') => Some("must be relative to DIR"),
        _ if text.len() >= LONGEST_PATH => Some("longer than 4095 bytes"),
        _ => text.split('/').find_map(flaw_of_component),
    };
    let Some(flaw) = flaw else {
        return Ok(());
    };
    let shown = match text.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    Err(name_error(&shown, flaw))
}

/// The path of a file's directory, which may be empty, and the last component.
pub fn split_path(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The outermost directory of a path, or the whole path.
pub fn first_component(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

/// A path and the directories above it, the outermost first: `a`, `a/b`, `a/b/c`. Of an empty path none.
pub fn with_parents(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    let ends = ends.chain([path.len()]).filter(|end| *end > 0);
    ends.map(|end| &path[..end])
}

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file for each secret.
    Files,
    /// All secrets in one file.
    Bundle(Format, String),
}

impl Output {
    /// Parses `files` or `FORMAT:FILE`.
    pub fn parse(text: &str) -> Result<Output, Error> {
        let refuse = || unexpected(text, "files, dotenv:FILE, k8s-env:FILE or json:FILE");
        let (format, file) = match text.split_once(':') {
            None if text == "files" => return Ok(Output::Files),
            None => return Err(refuse()),
            Some(parts) => parts,
        };
        let formats = [Format::Dotenv, Format::Json, Format::K8sEnv];
        let format = formats.into_iter().find(|known| known.name() == format);
        let format = format.ok_or_else(refuse)?;
        check_file_name(file)?;
        Ok(Output::Bundle(format, file.to_owned()))
    }
}

/// How files replace others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All of them at once, by one symbolic link, as the kubelet does it.
    Atomic,
    /// One after the other.
    Plain,
}

impl Layout {
    /// The names that `--layout` takes.
    pub const NAMES: [(&str, Layout); 2] = [("plain", Layout::Plain), ("atomic", Layout::Atomic)];
}

/// Parses a file's permissions, in octal, without setuid, setgid and sticky bits.
fn parse_mode(text: &str) -> Result<u32, Error> {
    let digits = text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if digits && mode <= 0o777 => Ok(mode),
        _ => Err(unexpected(text, "a mode like 0440 (octal, 0777 at most)")),
    }
}

/// How to write.
pub struct WriteOptions {
    /// DIR.
    pub dir: PathBuf,
    /// How files replace others.
    pub layout: Layout,
    /// Their permissions.
    pub mode: u32,
    /// Whether a directory outside memory is an error; else there is a warning.
    pub require_tmpfs: bool,
    /// Whether a later run may keep the files, and how old they may be by then.
    pub keep: Option<MaxAge>,
}

impl WriteOptions {
    /// Reads the options and DIR of `write`.
    pub fn parse(arguments: &Arguments<'_>) -> Result<WriteOptions, Error> {
        let layout = arguments.choice("--layout", &Layout::NAMES)?;
        let mode = arguments.parsed("--mode", parse_mode)?;
        let age = arguments.parsed("--keep-existing", parse_duration)?;
        let keep = arguments.has("--keep-existing").then_some(age);
        let dir = parse_dir(arguments).map_err(|error| match keep {
            // `--keep-existing 5m DIR` makes 5m the directory.
            Some(None) => error.hint(
                "write a time for --keep-existing with an equals sign, as in `--keep-existing=12h`",
            ),
            _ => error,
        })?;
        Ok(WriteOptions {
            dir,
            layout: layout.unwrap_or(Layout::Plain),
            mode: mode.unwrap_or(DEFAULT_MODE),
            require_tmpfs: arguments.has("--require-tmpfs"),
            keep,
        })
    }
}

/// DIR, the only word after the options.
pub fn parse_dir(arguments: &Arguments<'_>) -> Result<PathBuf, Error> {
    match arguments.single_word("DIR")? {
        Some(dir) if !dir.is_empty() => Ok(dir.into()),
        _ => Err(arguments.usage("no DIR given")),
    }
}

/// How old files may be that are kept; none is any age.
pub type MaxAge = Option<Duration>;

/// One file that is to be written.
pub struct PlannedFile {
    /// Its path below DIR.
    pub name: String,
    /// The format; none for the bytes of one secret.
    pub format: Option<Format>,
    /// Indices into the plan's targets.
    pub targets: Vec<usize>,
}

/// Rejects two files of one name, and a file that another one needs as its directory.
pub fn check_collisions(files: &[PlannedFile]) -> Result<(), Error> {
    for (at, file) in files.iter().enumerate() {
        for other in &files[..at] {
            let (one, two) = (&*file.name, &*other.name);
            let (outer, inner) = (one.min(two), one.max(two));
            match inner.strip_prefix(outer) {
                Some("") => return Err(name_error(outer, "given twice")),
                Some(rest) if rest.starts_with('/') => {
                    let reason = format!("is also the directory of `{inner}`");
                    return Err(name_error(outer, &reason));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn name_error(name: &str, reason: &str) -> Error {
    Error::config(format!("file name `{name}`: {reason}"))
}
