//! What the tests of `write` have in common: a fresh directory for each, runs that write into it, and its complete
//! content afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::stat::Mode;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::mkfifo;

use crate::azure::Azure;
use crate::support::{Outcome, Run, write};

/// How names begin that are akv-init's own and end in something random.
const RANDOM: &str = "..akv-init-";

/// The file in which a run records what it has written.
pub const MANIFEST: &str = "..akv-init.json";

/// A directory for secrets, and beside it whatever else a test needs; all of it goes when the test ends.
pub struct Place {
    root: PathBuf,
}

/// What another program has put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    Directory,
    File,
    /// A symbolic link to a file beside DIR.
    Link,
    Pipe,
}

/// The metadata and content of all that is in a place: equal snapshots mean that nothing was touched.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Entry>);

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    inode: u64,
    links: u64,
    mode: u32,
    owner: (u32, u32),
    /// When its content was changed, and when anything of it was.
    times: [(i64, i64); 2],
    /// What a file holds, or where a link leads.
    content: Vec<u8>,
}

impl Place {
    /// Where temporary files are, in memory or not.
    pub fn new() -> Place {
        Place::below(&std::env::temp_dir())
    }

    /// In memory.
    #[track_caller]
    pub fn in_memory() -> Place {
        let memory = Path::new("/dev/shm");
        assert!(is_tmpfs(memory), "/dev/shm of this machine is not a tmpfs");
        Place::below(memory)
    }

    /// A place in this directory.
    pub fn below(parent: &Path) -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("akv-init-files-{}-{number}", std::process::id());
        let place = Place {
            root: parent.join(name),
        };
        for directory in [place.root.clone(), place.dir()] {
            fs::create_dir(&directory).expect("the name is unique");
            change_mode(&directory, 0o755);
        }
        place
    }

    /// The directory that is DIR.
    pub fn dir(&self) -> PathBuf {
        self.root.join("volume")
    }

    /// The same as a word.
    pub fn word(&self) -> String {
        self.dir().to_str().expect("UTF-8").to_owned()
    }

    /// A path in DIR.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// A path beside DIR.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A run of `write` with these words and DIR. The default vault is the fake Azure's.
    pub fn write(&self, azure: &Azure, words: &[&str]) -> Run {
        write(azure, words)
            .args([self.dir()])
            .env("AKV_INIT_VAULT", azure.vault())
    }

    /// Runs it to the end, which is a success without output.
    #[track_caller]
    pub fn wrote(&self, azure: &Azure, words: &[&str]) {
        self.quiet(&self.write(azure, words).outcome());
    }

    /// Asserts success, and nothing on standard error but the warning of [`Place::without_warning`].
    #[track_caller]
    pub fn quiet(&self, outcome: &Outcome) {
        assert_eq!(self.without_warning(&outcome.stderr), "");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""));
    }

    /// Standard error without the warning that the files are not in memory, which is required where they are not.
    #[track_caller]
    pub fn without_warning(&self, stderr: &str) -> String {
        if is_tmpfs(&self.root) {
            return stderr.to_owned();
        }
        let is_warning = |line: &str| line.contains("warning") && line.contains(&self.word());
        match stderr.split_inclusive('\n').next() {
            Some(line) if is_warning(line) => stderr[line.len()..].to_owned(),
            _ => panic!("no warning in: {stderr}"),
        }
    }

    /// Everything below DIR, a line each, in the order of the paths: directories with their permissions, files with
    /// theirs and what they hold, links with where they lead. What is random in a name is written `*`, and what the
    /// manifest holds `{…}`.
    pub fn tree(&self) -> Vec<String> {
        self.lines(|path| match path.ends_with(MANIFEST) {
            true => " {…}".to_owned(),
            false => format!(" {:?}", String::from_utf8_lossy(&fs::read(path).unwrap())),
        })
    }

    /// The same without what files hold.
    pub fn names(&self) -> Vec<String> {
        self.lines(|_| String::new())
    }

    fn lines(&self, content: impl Fn(&Path) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        self.walk(&self.dir(), &mut |path, metadata| {
            let mode = metadata.permissions().mode() & 0o7777;
            let kind = metadata.file_type();
            let name = without_random(relative(&self.dir(), path));
            lines.push(if kind.is_dir() {
                format!("{name}/ {mode:04o}")
            } else if kind.is_symlink() {
                let target = fs::read_link(path).unwrap();
                format!("{name} -> {}", without_random(target.to_str().unwrap()))
            } else if kind.is_file() {
                format!("{name} {mode:04o}{}", content(path))
            } else {
                format!("{name} {mode:04o}, no file")
            });
        });
        lines.sort();
        lines
    }

    /// The metadata and content of DIR and of what is beside it.
    pub fn snapshot(&self) -> Snapshot {
        let mut all = BTreeMap::new();
        self.walk(&self.root, &mut |path, metadata| {
            let kind = metadata.file_type();
            let content = if kind.is_symlink() {
                let target = fs::read_link(path).unwrap();
                target.into_os_string().into_encoded_bytes()
            } else if kind.is_file() {
                fs::read(path).unwrap()
            } else {
                Vec::new()
            };
            let metadata = Entry {
                inode: metadata.ino(),
                links: metadata.nlink(),
                mode: metadata.mode(),
                owner: (metadata.uid(), metadata.gid()),
                times: [
                    (metadata.mtime(), metadata.mtime_nsec()),
                    (metadata.ctime(), metadata.ctime_nsec()),
                ],
                content,
            };
            all.insert(path.to_owned(), metadata);
        });
        Snapshot(all)
    }

    /// The number of a file's inode: another one after the file has been written anew.
    pub fn inode(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).expect("it is there").ino()
    }

    /// What a file holds.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("it is there")
    }

    /// Puts something there, with the directories that it needs.
    pub fn plant(&self, name: &str, what: Plant) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match what {
            Plant::Directory => fs::create_dir(path).unwrap(),
            Plant::File => fs::write(path, "planted").unwrap(),
            Plant::Link => {
                let target = self.beside("target");
                fs::write(&target, "of another program").unwrap();
                symlink(target, path).unwrap();
            }
            Plant::Pipe => mkfifo(&path, Mode::from_bits_truncate(0o666)).unwrap(),
        }
    }

    fn walk(&self, directory: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata)) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("its entries").path();
            let metadata = fs::symlink_metadata(&path).expect("it is still there");
            visit(&path, &metadata);
            if metadata.is_dir() {
                self.walk(&path, visit);
            }
        }
        if directory == self.root {
            visit(directory, &fs::symlink_metadata(directory).unwrap());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed may have left it without permissions.
        let _ = fs::set_permissions(self.dir(), fs::Permissions::from_mode(0o755));
        let removed = fs::remove_dir_all(&self.root);
        let done = removed.is_ok() || std::thread::panicking();
        assert!(done, "`{}` cannot be removed", self.root.display());
    }
}

/// Whether what is in this directory is in memory.
pub fn is_tmpfs(path: &Path) -> bool {
    statfs(path).is_ok_and(|metadata| metadata.filesystem_type() == TMPFS_MAGIC)
}

/// Changes permissions, whatever the umask.
pub fn change_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is there, and ours");
}

fn relative<'a>(directory: &Path, path: &'a Path) -> &'a str {
    let inside = path.strip_prefix(directory).expect("it is below");
    inside.to_str().expect("UTF-8")
}

/// Names with something random in them, which is checked to be that, without it.
fn without_random(path: &str) -> String {
    let components = path.split('/').map(|name| match name.strip_prefix(RANDOM) {
        Some(rest) if rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("{RANDOM}*")
        }
        _ => name.to_owned(),
    });
    components.collect::<Vec<_>>().join("/")
}
