//! What `write` is asked to put into a directory: names of files, outputs, the layout. Pure: no file is looked at here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Cause, Error};
use crate::request::format::Format;

/// The longest name of one file (NAME_MAX, limits.h(0p)).
const LONGEST_NAME: usize = 255;
/// The longest path, with its NUL (PATH_MAX).
const LONGEST_PATH: usize = 4_096;
/// How the names of our own files in the directory begin, which no file of anybody else may: the kubelet's rule.
pub const OWN_START: &str = "..";

/// The path of a file below the directory: relative, each of its components an ordinary name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// Takes `a` or `a/b`, or says why not.
    pub fn parse(text: &str) -> Result<FileName, Error> {
        let refuse = |why: &str| {
            let shown = match text.char_indices().nth(LONGEST_NAME) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text.to_owned(),
            };
            Err(Error::new(
                Cause::Config,
                format!("file name `{shown}`: {why}"),
            ))
        };
        if text.chars().any(char::is_control) {
            return refuse("it holds a control character");
        }
        if text.starts_with('/') {
            return refuse("it is an absolute path; it has to be one below DIR");
        }
        if text.len() >= LONGEST_PATH {
            return refuse("it is longer than a path can be");
        }
        for component in text.split('/') {
            match component {
                "" => return refuse("a component of it is empty"),
                "." => return refuse("a component of it is `.`"),
                name if name.starts_with(OWN_START) => {
                    return refuse(
                        "a component of it starts with `..`, as only akv-init's own files do",
                    );
                }
                name if name.len() > LONGEST_NAME => {
                    return refuse("a component of it is longer than 255 bytes");
                }
                _ => {}
            }
        }
        Ok(FileName(text.to_owned()))
    }

    /// The path, with `/` between its components.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories that it lies in, and its last component.
    pub fn split(&self) -> (Option<&str>, &str) {
        split_path(&self.0)
    }

    /// Its first component: what is seen in the directory itself.
    pub fn first(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

/// The directories that a path lies in, and its last component.
pub fn split_path(path: &str) -> (Option<&str>, &str) {
    match path.rsplit_once('/') {
        None => (None, path),
        Some((parent, name)) => (Some(parent), name),
    }
}

/// A path and all that it lies in, the outermost first: `a`, `a/b`, `a/b/c`.
pub fn with_parents(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A file for each secret.
    Files,
    /// All secrets in one file.
    Bundle(Format, FileName),
}

/// What `--output` takes, for error messages.
const OUTPUTS: &str = "files, dotenv:FILE, k8s-env:FILE or json:FILE";

impl Output {
    /// Takes `files` or `FORMAT:FILE`.
    pub fn parse(text: &str) -> Result<Output, Error> {
        let refuse = || Error::new(Cause::Usage, format!("`{text}` is not {OUTPUTS}"));
        let (format, file) = match text.split_once(':') {
            None if text == "files" => return Ok(Output::Files),
            None => return Err(refuse()),
            Some(parts) => parts,
        };
        let formats = [Format::Dotenv, Format::Json, Format::K8sEnv];
        let format = formats.into_iter().find(|known| known.name() == format);
        let format = format.ok_or_else(refuse)?;
        Ok(Output::Bundle(format, FileName::parse(file)?))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Files => f.write_str("files"),
            Output::Bundle(format, file) => write!(f, "{}:{file}", format.name()),
        }
    }
}

/// How files take the place of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All of them at once, by one symbolic link, as the kubelet does it.
    Atomic,
    /// Each by itself.
    Plain,
}

impl Layout {
    /// The names, for error messages.
    pub const NAMES: &str = "plain or atomic";

    /// The name that `--layout` takes.
    pub fn parse(name: &str) -> Option<Layout> {
        match name {
            "atomic" => Some(Layout::Atomic),
            "plain" => Some(Layout::Plain),
            _ => None,
        }
    }
}

/// What a mode looks like, for error messages.
pub const MODE: &str = "a mode like 0440 (octal, 0777 at most)";

/// A file's permissions, in octal; nothing that changes who a program runs as.
pub fn parse_mode(text: &str) -> Option<u32> {
    let digits = text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| digits && *mode <= 0o777)
}

/// How to write, whatever is written.
#[derive(Debug)]
pub struct WriteOptions {
    /// The directory.
    pub dir: PathBuf,
    /// How files take the place of others.
    pub layout: Layout,
    /// Their permissions.
    pub mode: u32,
    /// Whether a directory outside memory is an error; else there is a warning.
    pub require_tmpfs: bool,
    /// Whether a later run may keep the files, and how old they may be by then.
    pub keep: Option<MaxAge>,
}

/// How old files may be that are kept; none is however old.
pub type MaxAge = Option<Duration>;

/// One file that is to be written.
#[derive(Debug)]
pub struct PlannedFile {
    /// Where.
    pub name: FileName,
    /// How its secrets are laid out; none is the one secret, as it is.
    pub format: Option<Format>,
    /// Indices into the plan's targets.
    pub targets: Vec<usize>,
}

/// Refuses two files of one name, and a file where another one needs a directory.
pub fn check_collisions(files: &[PlannedFile]) -> Result<(), Error> {
    for (at, file) in files.iter().enumerate() {
        for other in &files[..at] {
            let (one, two) = (file.name.as_str(), other.name.as_str());
            let inside = |outer: &str, inner: &str| {
                inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            let why = if one == two {
                "it is given twice".to_owned()
            } else if inside(one, two) {
                format!("it cannot be a file and the directory of `{two}`")
            } else if inside(two, one) {
                format!("`{two}` cannot be a file and its directory")
            } else {
                continue;
            };
            return Err(Error::new(
                Cause::Config,
                format!("file name `{one}`: {why}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_a_relative_path_of_ordinary_components() {
        for name in ["a", "a/b", ".hidden", "a..b", "ü", "a b", "-"] {
            assert_eq!(FileName::parse(name).unwrap().as_str(), name);
        }
        let long = "x".repeat(256);
        let deep = "x/".repeat(2_048) + "x";
        for name in [
            "", "/a", "a/", "a//b", ".", "./a", "a/.", "..", "../a", "a/..", "..data", "a/..b",
            "a\0", "a\nb", "a\u{85}", &long, &deep,
        ] {
            let error = FileName::parse(name).unwrap_err();
            assert_eq!(error.cause, Cause::Config, "{name:?}");
        }
    }

    #[test]
    fn a_mode_is_octal_and_holds_only_permissions() {
        assert_eq!(parse_mode("0440"), Some(0o440));
        assert_eq!(parse_mode("600"), Some(0o600));
        for text in ["", "4755", "01777", "8", "0o440", "+440", "00440"] {
            assert_eq!(parse_mode(text), None, "{text}");
        }
    }
}
