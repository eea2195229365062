//! What `write` puts into a directory: paths of files, outputs, layout, mode. Pure: no file is opened here.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::request::arguments::{Arguments, unexpected_value_error};
use crate::request::format::FileFormat;
use crate::request::settings::parse_duration;

/// The maximum length of one component of a path, in bytes (NAME_MAX, limits.h(0p)).
const MAX_NAME_LEN: usize = 255;
/// The maximum length of a path, in bytes with its NUL (PATH_MAX, limits.h(0p)).
const MAX_PATH_LEN: usize = 4_096;
/// The mode of files without `--mode`: readable by the owner and the group, and not writable.
const DEFAULT_MODE: u32 = 0o440;

/// The minimum time between two rounds. A vault allows 400 requests a second, for all its clients together.
const MIN_INTERVAL: Duration = Duration::from_secs(60);

/// Fails if a text cannot be the path of a file below DIR: it must be relative, and each component an ordinary name.
pub fn check_file_name(text: &str) -> Result<(), Error> {
    let component_flaw = |component: &str| match component {
        "" => Some("a component is empty"),
        "." => Some("a component is `.`"),
        _ if component.starts_with("..") => {
            Some("a component starts with `..`, which is reserved for akv-init's own files")
        }
        _ if component.len() > MAX_NAME_LEN => Some("a component is longer than 255 bytes"),
        _ => None,
    };
    let flaw = match text {
        _ if text.chars().any(char::is_control) => Some("contains a control character"),
        _ if text.starts_with('/') => Some("must be relative to DIR"),
        _ if text.len() >= MAX_PATH_LEN => Some("longer than 4095 bytes"),
        _ => text.split('/').find_map(component_flaw),
    };
    let Some(flaw) = flaw else {
        return Ok(());
    };
    let shown = match text.char_indices().nth(MAX_NAME_LEN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    Err(name_error(&shown, flaw))
}

/// Splits the path of a file below DIR into the path of the directory that it is in, empty for DIR itself, and its
/// name.
pub fn split_path(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Sorts the names and removes duplicates.
pub fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The first component of a path, which is the whole path if it has only one.
pub fn first_component(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

/// A path and all directories in it, the outermost first: `a`, `a/b`, `a/b/c`. Empty for an empty path.
pub fn self_and_parents(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(index, _)| index);
    let ends = ends.chain([path.len()]).filter(|end| *end > 0);
    ends.map(|end| &path[..end])
}

/// The value of one `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file for each secret.
    Files,
    /// One file with all secrets: its format, and its path below DIR.
    Combined(FileFormat, String),
}

impl Output {
    /// Parses `files` or `FORMAT:FILE`.
    pub fn parse(text: &str) -> Result<Output, Error> {
        let syntax_error =
            || unexpected_value_error(text, "files, dotenv:FILE, k8s-env:FILE or json:FILE");
        let (format, path) = match text.split_once(':') {
            None if text == "files" => return Ok(Output::Files),
            None => return Err(syntax_error()),
            Some(parts) => parts,
        };
        let formats = [FileFormat::Dotenv, FileFormat::Json, FileFormat::K8sEnv];
        let format = formats.into_iter().find(|known| known.name() == format);
        let format = format.ok_or_else(syntax_error)?;
        check_file_name(path)?;
        Ok(Output::Combined(format, path.to_owned()))
    }
}

/// How files are arranged in DIR, which decides how a run replaces the files of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All files at once, by replacing one symbolic link, as the kubelet does it.
    Atomic,
    /// One file after the other.
    Plain,
}

impl Layout {
    /// The values of `--layout`, each with the layout that it selects.
    pub const CHOICES: [(&str, Layout); 2] = [("plain", Layout::Plain), ("atomic", Layout::Atomic)];
}

/// Parses the mode of files, in octal, without setuid, setgid and sticky bits.
pub fn parse_mode(text: &str) -> Result<u32, Error> {
    let is_octal = text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => Err(unexpected_value_error(
            text,
            "a mode like 0440 (octal, 0777 at most)",
        )),
    }
}

/// The options of `write`.
pub struct WriteOptions {
    /// The directory DIR.
    pub dir: PathBuf,
    /// How the files are laid out in DIR.
    pub layout: Layout,
    /// The permission bits of new files.
    pub mode: u32,
    /// Whether files may get more permissions than `mode`, if the file system decides on them.
    pub allow_loose_mode: bool,
    /// Whether DIR must be in memory. If not required, there is only a warning.
    pub require_tmpfs: bool,
    /// The maximum age of files of an earlier run that are kept if Azure cannot be reached; `None` if such files are
    /// never kept.
    pub keep_existing: Option<MaxAge>,
    /// How often the files are refreshed; `None` if they are written once.
    pub every: Option<Duration>,
}

impl WriteOptions {
    /// Parses the options of `write`, and DIR.
    pub fn parse(arguments: &Arguments<'_>) -> Result<WriteOptions, Error> {
        let layout = arguments.choice("--layout", &Layout::CHOICES)?;
        let mode = arguments.parse_value("--mode", parse_mode)?;
        let max_age = arguments.parse_value("--keep-existing", parse_duration)?;
        let keep_existing = arguments.has("--keep-existing").then_some(max_age);
        let every = arguments.parse_value("--every", parse_interval)?;
        if every.is_some() && keep_existing.is_some() {
            return Err(arguments.usage_error(
                "`--every` keeps the files when a later round fails: `--keep-existing` cannot be given with it",
            ));
        }
        let dir = parse_dir(arguments).map_err(|error| match keep_existing {
            // In `--keep-existing 5m DIR`, `5m` is parsed as DIR.
            Some(None) => error.hint(
                "write a time for --keep-existing with an equals sign, as in `--keep-existing=12h`",
            ),
            _ => error,
        })?;
        Ok(WriteOptions {
            dir,
            layout: layout.unwrap_or(match every {
                Some(_) => Layout::Atomic,
                None => Layout::Plain,
            }),
            mode: mode.unwrap_or(DEFAULT_MODE),
            allow_loose_mode: arguments.flag("--allow-loose-mode")?,
            require_tmpfs: arguments.has("--require-tmpfs"),
            keep_existing,
            every,
        })
    }

    /// Whether a manifest is kept in any case, and not only where files may be missing.
    pub fn keeps_manifest(&self) -> bool {
        self.keep_existing.is_some() || self.every.is_some()
    }
}

/// Parses the time between two rounds.
fn parse_interval(text: &str) -> Result<Duration, Error> {
    match parse_duration(text)? {
        interval if interval >= MIN_INTERVAL => Ok(interval),
        _ => Err(unexpected_value_error(text, "1m or more")),
    }
}

/// Parses DIR, the only operand. Fails if it is missing.
pub fn parse_dir(arguments: &Arguments<'_>) -> Result<PathBuf, Error> {
    match arguments.single_operand("DIR")? {
        Some(dir) if !dir.is_empty() => Ok(dir.into()),
        _ => Err(arguments.usage_error("no DIR given")),
    }
}

/// The maximum age of files that are kept; `None` if there is no maximum.
pub type MaxAge = Option<Duration>;

/// A file to write, and the targets whose values it will contain.
pub struct PlannedFile {
    /// The path of the file below DIR.
    pub path: String,
    /// The format of the file; `None` if it contains the bytes of one secret and nothing else.
    pub format: Option<FileFormat>,
    /// The targets in the file, as indices into the plan's targets.
    pub target_indices: Vec<usize>,
}

/// Fails if two files have the same path, or if the path of one is a directory in the path of another.
pub fn check_collisions(files: &[PlannedFile]) -> Result<(), Error> {
    let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(name_error(twice[0], "given twice"));
    }
    for inner in &paths {
        let (parent, _) = split_path(inner);
        if let Some(outer) =
            self_and_parents(parent).find(|outer| paths.binary_search(outer).is_ok())
        {
            let reason =
                format!("conflicts with `{inner}`, which needs `{outer}` to be a directory");
            return Err(name_error(outer, &reason));
        }
    }
    Ok(())
}

fn name_error(name: &str, reason: &str) -> Error {
    Error::config(format!("file name `{name}`: {reason}"))
}
