//! What `--keep-existing` knows about an earlier run: which files were written from which references, and when. It
//! holds nothing about a value, not even its length or a hash.

use serde_json::{Map, Value, json};

use super::dir::{Dir, OutputFile};

/// The name of the manifest file: in DIR, or in the atomic layout in the current set.
pub const NAME: &str = "..akv-init.json";
/// The size of the largest manifest that is read, in bytes: enough for thousands of files.
const MAX_SIZE: usize = 4 * 1024 * 1024;
/// The version of its format.
const VERSION: u64 = 1;

/// Maps the name of each file to its `format`, its `references` (an object from names to references), and `written`,
/// the time when both were last confirmed, in Unix seconds.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The entries.
    pub files: Map<String, Value>,
}

impl Manifest {
    /// Reads the manifest in a directory. If it is missing or cannot be read, the result has no entries.
    pub fn read(dir: &Dir) -> Manifest {
        let read = || {
            let (_, bytes) = dir.read(NAME, MAX_SIZE)?;
            let mut json: Value = serde_json::from_slice(&bytes).ok()?;
            match json.get_mut("files")?.take() {
                Value::Object(files) if json["version"] == VERSION => Some(files),
                _ => None,
            }
        };
        Manifest {
            files: read().unwrap_or_default(),
        }
    }

    /// The manifest file with this text, beside files with this mode. The next run has to be able to read it.
    pub fn file(text: &str, mode: u32) -> OutputFile<'_> {
        OutputFile {
            path: NAME,
            content: text.as_bytes(),
            mode: mode | 0o400,
        }
    }

    /// The text of the manifest file: JSON, with the version of the format.
    pub fn to_text(&self) -> String {
        format!("{}\n", json!({"version": VERSION, "files": self.files}))
    }

    /// Adds the entry of a file. `format` is `file` or the name of a format, `references` are the name and the
    /// reference of each secret in the file, and `written` is a time in Unix seconds.
    pub fn insert(
        &mut self,
        name: &str,
        format: &str,
        references: Vec<(String, String)>,
        written: i64,
    ) {
        let references = references
            .into_iter()
            .map(|(name, reference)| (name, reference.into()));
        let references: Map<String, Value> = references.collect();
        let entry = json!({"format": format, "references": references, "written": written});
        self.files.insert(name.to_owned(), entry);
    }

    /// The time, in Unix seconds, at which the oldest file of `expected` was written; `None` if one of them was not
    /// written from the same references, or if there are none.
    pub fn oldest_written(&self, expected: &Manifest) -> Option<i64> {
        let mut oldest: Option<i64> = None;
        for (name, entry) in &expected.files {
            let entry_here = self.files.get(name)?;
            if entry_here["format"] != entry["format"]
                || entry_here["references"] != entry["references"]
            {
                return None;
            }
            let written = entry_here["written"].as_i64()?;
            oldest = Some(oldest.map_or(written, |oldest| oldest.min(written)));
        }
        oldest
    }
}
