//! What `--keep-existing` knows about an earlier run: which files were written from which references, and when. It
//! holds nothing about a value, not even its length or a hash. A text with references is held as its hash.

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use super::dir::{Dir, OutputFile};
use crate::request::target::TargetSource;

/// The name of the manifest file, which is in DIR or, with the atomic layout, in the current set.
pub const NAME: &str = "..akv-init.json";
/// The maximum size of a manifest file, in bytes: enough for thousands of files.
const MAX_SIZE: usize = 4 * 1024 * 1024;
/// The version of the manifest's format.
const VERSION: u64 = 1;

/// What a later run needs to know about the written files. Maps the path of each file to an object: `format`;
/// `references`, an object from names to references; and `written`, the Unix time at which format and references were
/// last confirmed. If there was no secret for a file, and so no file, `missing` is true.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The entry of each file, by its path.
    pub files: Map<String, Value>,
}

impl Manifest {
    /// Reads the manifest in a directory. If the file is missing, malformed or another user's, the manifest has no
    /// entries.
    pub fn read(dir: &Dir) -> Manifest {
        let read = || {
            let (_, bytes) = dir
                .read(NAME, MAX_SIZE)
                .filter(|(status, _)| dir.trusts_owner(status))?;
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

    /// The manifest file with this text, for a directory whose files have this mode. A later run must be able to read
    /// the manifest.
    pub fn file(text: &str, mode: u32) -> OutputFile<'_> {
        OutputFile {
            path: NAME,
            content: text.as_bytes(),
            mode: mode | 0o400,
        }
    }

    /// The content of the manifest file: JSON, with the version of the format.
    pub fn to_text(&self) -> String {
        let mut json = json!({"version": VERSION});
        json["files"] = Value::Object(self.files.clone());
        format!("{json}\n")
    }

    /// Adds the entry of a file. `format` is `file` or the name of a
    /// [`FileFormat`](crate::request::format::FileFormat); `references` has the name and the reference of each secret
    /// in the file; `written` is in Unix seconds.
    pub fn insert(
        &mut self,
        name: &str,
        format: &str,
        references: Vec<(String, TargetSource)>,
        written: i64,
    ) {
        let references = references.into_iter().map(|(name, source)| {
            let text = match source {
                TargetSource::Reference(reference) => reference,
                // A volume must not hold a password that is a part of the text.
                TargetSource::Text(text) => {
                    let hash = digest(&SHA256, &text);
                    let bytes = hash.as_ref().iter();
                    let digits = bytes.map(|byte| format!("{byte:02x}"));
                    format!("sha256:{}", digits.collect::<String>())
                }
            };
            (name, text.into())
        });
        // `collect` would add 2 KB of code.
        let mut sources = Map::new();
        sources.extend(references);
        let mut entry = json!({"format": format, "written": written});
        entry["references"] = Value::Object(sources);
        self.files.insert(name.to_owned(), entry);
    }

    /// Records that there is no file at this path, since there is no secret for it.
    pub fn set_missing(&mut self, name: &str) {
        if let Some(entry) = self.files.get_mut(name) {
            entry["missing"] = true.into();
        }
    }

    /// Whether there is no file at this path, since there was no secret for it.
    pub fn is_missing(&self, name: &str) -> bool {
        self.files
            .get(name)
            .is_some_and(|entry| entry["missing"] == true)
    }

    /// Whether every entry of `expected` is here, whenever it was written.
    pub fn confirms(&self, expected: &Manifest) -> bool {
        expected.files.iter().all(|(name, entry)| {
            self.files.get(name).is_some_and(|entry_here| {
                let mut keys = ["format", "references", "missing"].into_iter();
                keys.all(|key| entry_here[key] == entry[key])
            })
        })
    }

    /// When, in Unix seconds, the oldest of the `expected` files was written; `None` if a file was written from other
    /// references or in another format, or if no files are expected.
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
