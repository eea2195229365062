//! How it is said that something in a directory cannot be written: the path, the reason, and what to do.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::FileStat;
use nix::unistd::{getegid, geteuid};

use crate::error::{Cause, Error};

/// What to do about something that stands where a file is to be.
pub const IN_THE_WAY: &str = "remove it, or choose another name";
/// So much of a path is shown, so that the reason behind it stays within the line.
const LONGEST_PATH: usize = 1_000;

/// A path as it is shown: of a very long one its beginning and its end.
pub fn shorten(path: &Path) -> String {
    let shown = path.display().to_string();
    if shown.len() <= LONGEST_PATH {
        return shown;
    }
    let start = shown.floor_char_boundary(LONGEST_PATH / 2);
    let end = shown.ceil_char_boundary(shown.len() - LONGEST_PATH / 2);
    format!("{}…{}", &shown[..start], &shown[end..])
}

/// Why something cannot be written.
pub fn refuse(path: &Path, why: &str) -> Error {
    let path = shorten(path);
    Error::new(Cause::CannotCreate, format!("cannot write `{path}`: {why}"))
}

/// What to do about an error of a call for `subject` in a directory, where that is known. `directory` is its status.
pub fn what_to_do(
    directory: Option<FileStat>,
    path: &Path,
    subject: &Path,
    errno: Errno,
) -> Option<String> {
    let (subject, shown) = (shorten(subject), shorten(path));
    match errno {
        Errno::EACCES | Errno::EPERM => {
            let seen = directory?;
            let own = geteuid().as_raw();
            let all_powerful = own == 0 || own == seen.st_uid;
            let who = format!(
                "`{shown}` belongs to {}:{} and has mode {:04o}, and akv-init runs as {own}:{}",
                seen.st_uid,
                seen.st_gid,
                seen.st_mode & 0o7777,
                getegid()
            );
            Some(match (seen.st_mode & 0o1000 != 0, all_powerful) {
                (true, false) => format!(
                    "{who}: with the sticky bit only its owner replaces a file; run akv-init as the user who wrote it"
                ),
                (_, true) if errno == Errno::EPERM => {
                    format!(
                        "an attribute of `{subject}` or of its directory may forbid it (lsattr)"
                    )
                }
                _ => format!("{who}: set securityContext.fsGroup, or run it as the owner"),
            })
        }
        Errno::EBUSY => Some(format!(
            "something is mounted at `{subject}`: choose another name"
        )),
        Errno::EXDEV => Some(format!(
            "`{shown}` is another volume: run akv-init for it by itself"
        )),
        Errno::EFBIG => Some(
            "raise the limit on the size of files (ulimit -f), or the file system's".to_owned(),
        ),
        Errno::EROFS => Some("mount the volume without readOnly in this container".to_owned()),
        Errno::ENOSPC | Errno::EDQUOT => Some(
            "make room in the volume, or make it larger: an emptyDir's sizeLimit, a tmpfs's size"
                .to_owned(),
        ),
        _ => None,
    }
}
