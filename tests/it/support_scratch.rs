//! A temporary directory with files that can be executed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Writes a file that can be executed at once.
///
/// Another process writes it: a child that another test forks meanwhile would have the file open for writing until its
/// own exec, and a file that is being written cannot be executed (ETXTBSY).
pub fn write_program(path: &Path, content: &[u8], mode: u32) {
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat >\"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut stdin = writer.stdin.take().expect("it is a pipe");
    stdin.write_all(content).expect("the shell reads it");
    drop(stdin);
    assert!(writer.wait().expect("it ends").success());
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// A temporary directory.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "scratch-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the target directory is writable");
        Scratch(path)
    }

    /// A file with this content and mode.
    pub fn file(&self, name: &str, content: &[u8], mode: u32) -> String {
        let path = self.path(name);
        write_program(Path::new(&path), content, mode);
        path
    }

    pub fn directory(&self, name: &str) -> String {
        let path = self.path(name);
        fs::create_dir(&path).expect("it is new");
        path
    }

    pub fn path(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str()
            .expect("the target directory is UTF-8")
            .to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
