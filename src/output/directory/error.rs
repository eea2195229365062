//! The errors of a directory: the path, the reason, and a hint.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::FileStat;
use nix::unistd::{getegid, geteuid, getgroups};

use crate::error::{Cause, Error};

/// The maximum length of a path in a message, in bytes, so that the reason after it is not cut.
const MAX_SHOWN_PATH: usize = 1_000;

/// A path for a message, without its middle if it is too long.
pub fn shorten_path(path: &Path) -> String {
    let shown = path.display().to_string();
    if shown.len() <= MAX_SHOWN_PATH {
        return shown;
    }
    let start = shown.floor_char_boundary(MAX_SHOWN_PATH / 2);
    let end = shown.ceil_char_boundary(shown.len() - MAX_SHOWN_PATH / 2);
    format!("{}…{}", &shown[..start], &shown[end..])
}

/// The error for a path that cannot be written, for this reason.
pub fn write_error(path: &Path, reason: &str) -> Error {
    Error::new(Cause::CannotCreate, reason)
        .context(format!("cannot write `{}`", shorten_path(path)))
}

/// The error for a path that cannot be removed.
pub fn remove_error(path: &Path, errno: Errno) -> Error {
    let error = Error::new(Cause::CannotCreate, errno.desc());
    error.context(format!("cannot remove `{}`", shorten_path(path)))
}

/// The error for a system call that failed with this errno. `subject` is the path to show; `directory` and `status`
/// are the path and the status of the directory that it is in.
pub fn call_error(
    errno: Errno,
    status: Option<FileStat>,
    directory: &Path,
    subject: &Path,
) -> Error {
    let hint = hint_for(
        errno,
        status,
        &shorten_path(directory),
        &shorten_path(subject),
    );
    write_error(subject, errno.desc()).set_hint(hint)
}

/// The hint for an errno; `None` if there is nothing to advise. `status` is that of `directory`.
fn hint_for(
    errno: Errno,
    status: Option<FileStat>,
    directory: &str,
    subject: &str,
) -> Option<String> {
    Some(match errno {
        Errno::EACCES | Errno::EPERM => {
            let status = status?;
            let user = geteuid().as_raw();
            let is_owner = user == 0 || user == status.st_uid;
            let is_sticky = status.st_mode & 0o1000 != 0;
            let permissions = format!(
                "`{directory}` belongs to {}:{} with mode {:04o}, and akv-init runs as {user}:{}",
                status.st_uid,
                status.st_gid,
                status.st_mode & 0o7777,
                getegid()
            );
            match (is_sticky, is_owner) {
                (true, false) => format!(
                    "{permissions}; with the sticky bit only a file's owner may replace it: run akv-init as that user"
                ),
                (_, true) if errno == Errno::EPERM => format!(
                    "does an attribute of `{subject}` or of its directory forbid it (lsattr)?"
                ),
                _ if errno == Errno::EACCES && grants_all(&status) => format!(
                    "{permissions}; that allows it, so a security module or the mount refuses: check the SELinux label \
                     (`:z` in Compose and Podman), AppArmor, and the volume's mount options"
                ),
                _ => format!(
                    "{permissions}; set securityContext.fsGroup, or run akv-init as the owner: with Compose's \
                     `user:` or Podman's `--user`, or by the volume's options (`uid=`, Podman's `:U`)"
                ),
            }
        }
        Errno::EBUSY => format!("is something mounted at `{subject}`? choose another name"),
        Errno::EXDEV => {
            format!("`{directory}` is another volume: run akv-init for it separately")
        }
        Errno::EFBIG => "raise the limit on the size of files (ulimit -f)".to_owned(),
        Errno::EROFS => "mount the volume without readOnly in this container".to_owned(),
        Errno::ENOSPC | Errno::EDQUOT => {
            "make room in the volume, or make it larger: an emptyDir's sizeLimit, a tmpfs's size"
                .to_owned()
        }
        _ => return None,
    })
}

/// Whether owner and mode let this process do everything in a directory with this status.
fn grants_all(status: &FileStat) -> bool {
    let mut groups = getgroups().unwrap_or_default();
    groups.push(getegid());
    let is_member = groups.iter().any(|gid| gid.as_raw() == status.st_gid);
    let shift = match status.st_uid == geteuid().as_raw() {
        true => 6,
        false if is_member => 3,
        false => 0,
    };
    status.st_mode >> shift & 0o7 == 0o7
}
