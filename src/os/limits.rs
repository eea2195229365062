//! Capabilities and resource limits.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

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

/// The soft limit on the stack's size in bytes. A quarter of it is for arguments and environment.
pub fn stack_limit() -> u64 {
    getrlimit(Resource::RLIMIT_STACK).map_or(u64::MAX, |(soft, _)| soft)
}
