//! What `--keep-existing` knows about an earlier run: which files were written from which references, and when. It holds
//! nothing about a value, not even its length or a hash.

use serde_json::{Map, Value, json};

use super::dir::{Dir, File};

/// The name of the file: in the directory, or in the atomic layout beside the files that it describes.
pub const NAME: &str = "..akv-init.json";
/// The largest that is read, in bytes: enough for thousands of files.
const MAX_SIZE: usize = 4 * 1024 * 1024;
/// The version of its format.
const VERSION: u64 = 1;

/// By the name of each file: its `format`, its `references` by their names, and as `written` when both were last
/// confirmed, in Unix seconds.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The entries.
    pub files: Map<String, Value>,
}

impl Manifest {
    /// Reads the one in a directory. One that is missing or cannot be read has no entries.
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

    /// The file with its text, beside files with these permissions. The next run has to be able to read it.
    pub fn file(text: &str, mode: u32) -> File<'_> {
        File {
            path: NAME,
            content: text.as_bytes(),
            mode: mode | 0o400,
        }
    }

    /// Its text.
    pub fn to_text(&self) -> String {
        format!("{}\n", json!({"version": VERSION, "files": self.files}))
    }

    /// Adds the entry of a file: `file` or the name of its format, the name and reference of each secret in it, and the
    /// time in Unix seconds.
    pub fn insert(
        &mut self,
        name: &str,
        format: &str,
        references: Vec<(String, String)>,
        written: i64,
    ) {
        let references = references
            .into_iter()
            .map(|(name, text)| (name, text.into()));
        let references: Map<String, Value> = references.collect();
        let entry = json!({"format": format, "references": references, "written": written});
        self.files.insert(name.to_owned(), entry);
    }

    /// Since when, in Unix seconds, all files of another one have been written from the same references; none where one
    /// was not, or there are none.
    pub fn since(&self, expected: &Manifest) -> Option<i64> {
        let mut oldest: Option<i64> = None;
        for (name, entry) in &expected.files {
            let known = self.files.get(name)?;
            if known["format"] != entry["format"] || known["references"] != entry["references"] {
                return None;
            }
            let written = known["written"].as_i64()?;
            oldest = Some(oldest.map_or(written, |oldest| oldest.min(written)));
        }
        oldest
    }
}
