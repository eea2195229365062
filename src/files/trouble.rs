//! How it is said that something in a directory cannot be written: the path, the reason, and what to do.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{getegid, geteuid};

use crate::failure::{Cause, Failure};

/// Why something cannot be written.
pub fn refuse(path: &Path, why: &str) -> Failure {
    // Path::join of nothing leaves a slash behind.
    let path: PathBuf = path.components().collect();
    Failure::new(
        Cause::CannotCreate,
        format!("cannot write `{}`: {why}", path.display()),
    )
}

/// What to do about an error of a call in a directory, where that is known.
pub fn what_to_do(directory: &OwnedFd, path: &Path, errno: Errno) -> Option<String> {
    match errno {
        Errno::EACCES | Errno::EPERM => {
            let seen = fstat(directory).ok()?;
            Some(format!(
                "{} belongs to {}:{} and has mode {:04o}, and akv-init runs as {}:{}: set securityContext.fsGroup, or \
                 run it as the owner",
                path.display(),
                seen.st_uid,
                seen.st_gid,
                seen.st_mode & 0o7777,
                geteuid(),
                getegid()
            ))
        }
        Errno::EROFS => Some("mount the volume without readOnly in this container".to_owned()),
        Errno::ENOSPC | Errno::EDQUOT => Some(
            "make room in the volume, or make it larger: an emptyDir's sizeLimit, a tmpfs's size"
                .to_owned(),
        ),
        _ => None,
    }
}
