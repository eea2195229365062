//! Capabilities, leases and resource limits.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{FsType, NFS_SUPER_MAGIC, fstatfs};

/// The type numbers of NFS, CIFS and SMB (statfs(2)).
const REMOTE_FILE_SYSTEMS: [FsType; 3] =
    [NFS_SUPER_MAGIC, FsType(0xff53_4d42), FsType(0xfe53_4d42)];

/// A file's capabilities as the kernel stores them, in the attribute `security.capability` (capabilities(7)); `None`
/// if the file has none, or if they cannot be read.
pub fn file_capabilities(path: &Path) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut value = vec![0_u8; 64];
    // SAFETY: both strings are NUL-terminated; the length is that of the buffer.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

/// Whether the capability with this number is in this process's bounding set.
pub fn is_in_bounding_set(capability: u64) -> bool {
    // SAFETY: PR_CAPBSET_READ takes any number.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0_u64, 0_u64, 0_u64) == 1 }
}

/// Whether a process has this file open for writing, so that execve(2) fails with ETXTBSY: then the kernel grants no read
/// lease (fcntl(2)), which otherwise ends when the file is closed. `false` also where leases do not tell: to another
/// user without CAP_LEASE, and on NFS and SMB, whose servers decide about them.
pub fn is_open_for_writing(file: &File) -> bool {
    let is_remote =
        fstatfs(file).is_ok_and(|status| REMOTE_FILE_SYSTEMS.contains(&status.filesystem_type()));
    // SAFETY: F_SETLEASE takes a number.
    let status = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    !is_remote && Errno::result(status) == Err(Errno::EAGAIN)
}

/// The soft limit on the stack's size in bytes. A quarter of it is for arguments and environment.
pub fn stack_limit() -> u64 {
    getrlimit(Resource::RLIMIT_STACK).map_or(u64::MAX, |(soft, _)| soft)
}
