//! What `--keep-existing` knows about an earlier run: which files were written from which references, and when.
//!
//! Nothing in it is secret, and nothing in it tells anything about a value: no length and no hash.

use serde_json::{Map, Value, json};

use super::dir::Dir;
use super::inspect::EntryKind;

/// Its name: in the directory, or for an atomic layout beside the files that it is about.
pub const NAME: &str = "..akv-init.json";
/// The largest that is read, in bytes: room for thousands of files.
const LARGEST: usize = 4 * 1024 * 1024;
/// The layout of the file.
const VERSION: u64 = 1;

/// Each file's entry: `format`, the `references` by their names, and when it was last found to be so, as `written`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest(Map<String, Value>);

/// What stands under the manifest's name.
pub enum Found {
    /// No file.
    None,
    /// A manifest.
    Manifest(Manifest),
    /// Something that cannot be read, or is no manifest: it says nothing to us, and perhaps something to others.
    Unknown,
}

impl Found {
    /// What it says.
    pub fn known(self) -> Manifest {
        match self {
            Found::Manifest(manifest) => manifest,
            Found::None | Found::Unknown => Manifest::default(),
        }
    }
}

impl Manifest {
    /// Reads it, where there is one.
    pub fn read(dir: &Dir) -> Found {
        let bytes = dir.read(NAME, LARGEST).map(|(_, bytes)| bytes);
        match bytes.and_then(|bytes| Manifest::parse(&bytes)) {
            Some(manifest) => Found::Manifest(manifest),
            // What is no file, nobody believes.
            None if matches!(dir.kind(NAME), Ok(kind) if kind != Some(EntryKind::File)) => {
                Found::None
            }
            None => Found::Unknown,
        }
    }

    fn parse(text: &[u8]) -> Option<Manifest> {
        let mut json: Value = serde_json::from_slice(text).ok()?;
        match json.get_mut("files")?.take() {
            Value::Object(files) if json["version"] == VERSION => Some(Manifest(files)),
            _ => None,
        }
    }

    /// Its text.
    pub fn to_text(&self) -> String {
        format!("{}\n", json!({"version": VERSION, "files": self.0}))
    }

    /// Puts the entry of a file: what it is (`file`, or the name of a format), the reference of each secret in it, by
    /// its name, and when that was so, in Unix seconds.
    pub fn put(
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
        self.0.insert(name.to_owned(), entry);
    }

    /// Takes an entry out.
    pub fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Puts or replaces each entry of another one.
    pub fn take_over(&mut self, other: &Manifest) {
        for (name, entry) in &other.0 {
            self.0.insert(name.clone(), entry.clone());
        }
    }

    /// Since when, in Unix seconds, all of these files have been written from the same references; none where one was
    /// not, or there are none.
    pub fn since(&self, wanted: &Manifest) -> Option<i64> {
        let mut oldest: Option<i64> = None;
        for (name, entry) in &wanted.0 {
            let known = self.0.get(name)?;
            if known["format"] != entry["format"] || known["references"] != entry["references"] {
                return None;
            }
            let written = known["written"].as_i64()?;
            oldest = Some(oldest.map_or(written, |oldest| oldest.min(written)));
        }
        oldest
    }

    /// The names of its files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(reference: &str, written: i64) -> Manifest {
        let mut manifest = Manifest::default();
        let references = vec![("a".to_owned(), reference.to_owned())];
        manifest.put("a", "file", references, written);
        manifest
    }

    #[test]
    fn what_is_written_is_read() {
        let manifest = manifest("akv://v.vault.azure.net/a", 42);
        assert_eq!(
            Manifest::parse(manifest.to_text().as_bytes()),
            Some(manifest)
        );
    }

    #[test]
    fn what_is_no_manifest_says_nothing() {
        for text in [
            "",
            "[1,2]",
            "5",
            "null",
            "{}",
            r#"{"files":{}}"#,
            r#"{"files":5,"version":1}"#,
        ] {
            assert_eq!(Manifest::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn only_files_of_the_same_references_are_known() {
        let known = manifest("akv://v.vault.azure.net/a", 100);
        assert_eq!(
            known.since(&manifest("akv://v.vault.azure.net/a", 0)),
            Some(100)
        );
        assert_eq!(known.since(&manifest("akv://v.vault.azure.net/b", 0)), None);
        assert_eq!(Manifest::default().since(&known), None);
        assert_eq!(known.since(&Manifest::default()), None);
    }
}
