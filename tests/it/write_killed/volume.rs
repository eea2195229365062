//! The files of the tests, and what a reader of the volume finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::azure::Azure;
use crate::support::{Outcome, Run};
use crate::support_files::{MANIFEST, Place, change_mode, is_tmpfs};

/// Permissions of the files, which are those without `--mode`.
const MODE: u32 = 0o440;

/// The name of each file and its secret, ordered by name. Few secrets, since fetching them takes most of a run.
pub type Set = [(&'static str, &'static str)];

/// The files before the run.
pub const OLD: &Set = &[
    ("d/e/f", "old-1"),
    ("goes", "old-2"),
    ("stays", "same"),
    ("value", "old-2"),
];

/// The files of the run.
pub const NEW: &Set = &[
    ("comes", "new-1"),
    ("d/e/f", "new-1"),
    ("n/m/comes", "new-2"),
    ("stays", "same"),
    ("value", "new-2"),
];

/// How files are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All at once.
    Atomic,
    /// One by one.
    Plain,
}

impl Layout {
    /// As `--layout` has it.
    pub fn word(self) -> &'static str {
        match self {
            Layout::Atomic => "atomic",
            Layout::Plain => "plain",
        }
    }
}

/// A fake Azure whose vault holds the secrets of both sets.
pub fn azure() -> Azure {
    let azure = Azure::start();
    for (_, secret) in OLD.iter().chain(NEW) {
        azure.secret(secret, &value_of(secret));
    }
    azure
}

/// A place in memory if this machine has a tmpfs.
pub fn place() -> Place {
    let memory = Path::new("/dev/shm");
    let parent = match is_tmpfs(memory) {
        true => memory.to_owned(),
        false => std::env::temp_dir(),
    };
    // As the kernel names the path of a descriptor.
    Place::below(&parent.canonicalize().expect("it is there"))
}

/// Another place with a copy of DIR.
pub fn copy(original: &Place) -> Place {
    let copy = place();
    copy_all(&original.dir(), &copy.dir());
    copy
}

/// `write` of a set, with or without `--keep-existing`.
pub fn write(azure: &Azure, place: &Place, layout: Layout, set: &Set, keep: bool) -> Run {
    let mut words = vec!["--layout", layout.word()];
    if keep {
        words.push("--keep-existing");
    }
    let secrets: Vec<String> = set
        .iter()
        .map(|(name, secret)| format!("{name}={secret}"))
        .collect();
    for secret in &secrets {
        words.extend(["--secret", secret]);
    }
    place.write(azure, &words).json()
}

/// Asserts success without output.
#[track_caller]
pub fn quiet(place: &Place, outcome: &Outcome, context: &str) {
    let stderr = place.without_warning(&outcome.stderr);
    assert_eq!((outcome.code, stderr.as_str()), (Some(0), ""), "{context}");
}

/// Asserts that DIR holds this set, with or without a manifest, and nothing else.
#[track_caller]
pub fn holds(place: &Place, layout: Layout, set: &Set, manifest: bool, context: &str) {
    let mut expected = BTreeSet::new();
    let home = match layout {
        Layout::Atomic => "..akv-init-*/",
        Layout::Plain => "",
    };
    if layout == Layout::Atomic {
        expected.insert("..data -> ..akv-init-*".to_owned());
        expected.insert("..akv-init-*/ 0750".to_owned());
    }
    for (name, secret) in set {
        for (end, _) in name.match_indices('/') {
            expected.insert(format!("{home}{}/ 0750", &name[..end]));
        }
        expected.insert(format!("{home}{name} {MODE:04o} {:?}", value_of(secret)));
        if layout == Layout::Atomic {
            let first = name.split('/').next().unwrap_or_default();
            expected.insert(format!("{first} -> ..data/{first}"));
        }
    }
    if manifest {
        expected.insert(format!("{home}{MANIFEST} {MODE:04o} {{…}}"));
    }
    let found = place.tree();
    assert_eq!(found, Vec::from_iter(expected), "{context}");
}

/// The contents of a set.
pub fn contents(set: &Set) -> BTreeMap<&'static str, String> {
    set.iter()
        .map(|(name, secret)| (*name, value_of(secret)))
        .collect()
}

/// What a reader finds under these names in a directory of DIR, through links. Missing files are absent.
pub fn read_set<'a>(
    place: &Place,
    directory: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<&'a str, String> {
    let mut found = BTreeMap::new();
    for name in names {
        let path = place.path(directory).join(name);
        if let Ok(bytes) = fs::read(&path) {
            let mode = path.metadata().expect("it is there").mode() & 0o7777;
            assert_eq!(mode, MODE, "of {}", path.display());
            found.insert(name, String::from_utf8(bytes).expect("it is text"));
        }
    }
    found
}

/// All values differ, in length too.
pub fn value_of(secret: &str) -> String {
    let sum = secret
        .bytes()
        .fold(0, |sum, byte| sum * 7 + usize::from(byte));
    format!("{secret}{}{secret}", ".".repeat(sum % 99))
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("it can be listed") {
        let entry = entry.expect("it can be listed");
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let metadata = path.symlink_metadata().expect("it is there");
        if metadata.is_symlink() {
            symlink(fs::read_link(&path).expect("it is a link"), &copy).expect("it is new");
            continue;
        }
        if metadata.is_dir() {
            fs::create_dir(&copy).expect("it is new");
            copy_all(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("it is new");
        }
        let permissions = fs::Permissions::from_mode(metadata.mode() & 0o7777);
        fs::set_permissions(&copy, permissions).expect("it is ours");
    }
}

/// All that is in DIR, by its path: kind, permissions, bytes, where a link leads; and which file or directory it is, by
/// its inode.
pub fn exactly(place: &Place) -> BTreeMap<PathBuf, String> {
    let mut entries = BTreeMap::new();
    let mut folders = vec![place.dir()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            let metadata = path.symlink_metadata().expect("it is there");
            let mode = metadata.mode() & 0o7777;
            let text = if metadata.is_symlink() {
                let target = fs::read_link(&path).expect("it is a link");
                format!("link to {}", target.display())
            } else if metadata.is_dir() {
                folders.push(path.clone());
                format!("directory {mode:04o} {}", metadata.ino())
            } else {
                let text = fs::read_to_string(&path).expect("it is text");
                format!("file {mode:04o} {} {text}", metadata.ino())
            };
            let path = path.strip_prefix(place.dir()).expect("it is below");
            entries.insert(path.to_owned(), text);
        }
    }
    entries
}

/// The temporary names in DIR that are not in use.
pub fn left_over(place: &Place) -> Vec<String> {
    let current = fs::read_link(place.path("..data")).unwrap_or_default();
    let names = fs::read_dir(place.dir()).expect("it can be listed");
    names
        .map(|entry| entry.expect("it can be listed").file_name())
        .filter(|name| Path::new(name) != current)
        .map(|name| name.into_string().expect("it is text"))
        .filter(|name| name.starts_with("..akv-init-"))
        .collect()
}

/// Sets the times in the manifest to long ago: within the same second the next run would not write it again.
pub fn age(place: &Place) {
    for path in exactly(place)
        .keys()
        .filter(|path| path.ends_with(MANIFEST))
    {
        let path = place.dir().join(path);
        let text = fs::read_to_string(&path).expect("it is there");
        let mut json: Value = serde_json::from_str(&text).expect("it is JSON");
        let files = json["files"].as_object_mut().expect("it names files");
        for file in files.values_mut() {
            file["written"] = 1.into();
        }
        change_mode(&path, 0o600);
        fs::write(&path, json.to_string()).expect("it is ours");
        change_mode(&path, MODE);
    }
}
