//! System calls that nix lacks or marks unsafe, each behind a safe function. The only folder with `unsafe`.

mod caller;
mod child;
mod limits;
mod signal;
#[cfg(target_env = "musl")]
mod thread_name;

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll, ppoll};
use nix::sys::stat::fstat;
use nix::sys::time::TimeSpec;
use nix::unistd::write;

pub use caller::{
    caller_mask, forbid_memory_access, restore_fault_signals, restore_for_exec, was_closed_at_start,
};
pub use child::{fork, keep_only_stderr_and, wait_for_any_child, with_caller_state};
pub use libc::{EMFILE, ENFILE, ENOSYS, EPERM};
pub use limits::{file_capabilities, is_in_bounding_set, is_open_for_writing, stack_limit};
pub use signal::{
    ALL_SIGNALS, is_ignored, is_pending, next_signal, send_signal, set_ignored, signal_bit,
    signalfd, sigprocmask,
};

/// A standard descriptor (0 to 2).
pub fn standard_descriptor(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: these descriptors stay open until the process ends: std has opened /dev/null in place of one that was
    // closed.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// The number of columns of a terminal; `None` if the descriptor is not a terminal, or if the number is not known.
pub fn terminal_width(fd: i32) -> Option<usize> {
    // SAFETY: all-zero bytes are a valid winsize.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ writes a winsize.
    let status = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    (status == 0 && size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// Sets the mask of permissions that new files do not get. nix's umask panics if a sandbox refuses the call.
pub fn set_umask(mask: u32) {
    // SAFETY: umask takes any number.
    unsafe { libc::umask(mask) };
}

/// Ends the process with all its threads. Runs no destructors and no atexit handlers, and takes no locks.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: `_exit` does not return.
    unsafe { libc::_exit(code) }
}

/// Polls until one of the descriptors is ready, or until the deadline. `None` means no deadline.
pub fn poll_until(descriptors: &mut [PollFd<'_>], deadline: Option<Instant>) {
    // poll(2) takes whole milliseconds, so the wait could end one millisecond late.
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let _ = ppoll(descriptors, left.map(TimeSpec::from), None);
}

/// Writes one line to standard error, if there is room for it within `timeout_ms` milliseconds. Returns whether there
/// was. O_NONBLOCK is not used: it would be set on the open file description, which COMMAND shares.
pub fn write_to_stderr(line: &[u8], timeout_ms: u16) -> bool {
    let stderr = standard_descriptor(2);
    let mut writable = [PollFd::new(stderr, PollFlags::POLLOUT)];
    if poll(&mut writable, timeout_ms) != Ok(1) {
        return false;
    }
    if fstat(stderr).is_ok_and(|file| file.st_mode & libc::S_IFMT == libc::S_IFIFO) {
        // Another process may have filled the pipe since. Offset -1 is the current position.
        let (buffer, offset, flag) = (IoSlice::new(line), -1_i64, libc::RWF_NOWAIT);
        // SAFETY: an `IoSlice` has the layout of an iovec. It refers to a live slice, which the kernel only reads.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pwritev2,
                2,
                &raw const buffer,
                1,
                offset,
                offset,
                flag,
            )
        };
        match Errno::result(result) {
            Ok(_) => return true,
            Err(Errno::EAGAIN) => return false,
            // Kernels before 6.4 do not support RWF_NOWAIT for a pipe.
            Err(_) => {}
        }
    }
    let _ = write(stderr, line);
    true
}

/// Writes a part of `bytes` to standard output and returns its length. Not by std, whose buffer would keep a copy of a
/// secret.
pub fn write_to_stdout(bytes: &[u8]) -> io::Result<usize> {
    Ok(write(standard_descriptor(1), bytes)?)
}

/// The entries of the C library's `environ`, unchanged.
pub fn environ() -> Vec<OsString> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: read once, before any thread exists; this program never changes the environment.
    let mut next = unsafe { environ };
    // SAFETY: `environ` is null, or an array of pointers that ends with a null pointer, and `next` is not past that
    // one.
    while let Some(entry) = unsafe { next.as_ref() }.filter(|entry| !entry.is_null()) {
        // SAFETY: each pointer before the null one points to a NUL-terminated string that lives as long as the process.
        let entry = unsafe { CStr::from_ptr(*entry) };
        entries.push(OsStr::from_bytes(entry.to_bytes()).to_owned());
        // SAFETY: at most one past the last string, which is the null pointer.
        next = unsafe { next.add(1) };
    }
    entries
}

/// The type of the addresses to look up.
#[derive(Clone, Copy)]
pub enum AddressFamily {
    /// A records.
    V4 = libc::AF_INET as isize,
    /// AAAA records.
    V6 = libc::AF_INET6 as isize,
}

/// Why the lookup of a name gave no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// The name does not exist, or has no address of this family. Some C libraries do not distinguish these cases.
    NoAddress,
    /// The name servers did not answer.
    NoAnswer,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LookupError::NoAddress => "DNS has no address for the name",
            LookupError::NoAnswer => "no answer from the name servers",
        })
    }
}

impl std::error::Error for LookupError {}

/// Looks up the addresses of a name in one family, and waits for the name servers. std is not used: it looks up both
/// families at once, and musl and glibc then fail if one of the two lookups fails.
pub fn look_up_addresses(name: &str, family: AddressFamily) -> Result<Vec<IpAddr>, LookupError> {
    let Ok(name) = CString::new(name) else {
        return Err(LookupError::NoAddress);
    };
    // SAFETY: all-zero bytes are valid hints: any protocol, no flags, null pointers.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_socktype = libc::SOCK_STREAM;
    hints.ai_family = family as i32;
    let mut list: *mut libc::addrinfo = std::ptr::null_mut();
    // SAFETY: name and hints live until the call returns; `list` is written only on success.
    let status = unsafe {
        libc::getaddrinfo(
            name.as_ptr(),
            std::ptr::null(),
            &raw const hints,
            &raw mut list,
        )
    };
    match status {
        0 => {}
        // -5 is EAI_NODATA, no record of this family: not every C library defines it, but those that do use this
        // number.
        libc::EAI_NONAME | -5 => return Err(LookupError::NoAddress),
        _ => return Err(LookupError::NoAnswer),
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: getaddrinfo has made a list of valid entries that ends with a null pointer.
        let entry = unsafe { &*next };
        found.push(match family {
            AddressFamily::V4 => {
                // SAFETY: an AF_INET entry's address is a `sockaddr_in`.
                let address = unsafe { &*entry.ai_addr.cast::<libc::sockaddr_in>() };
                IpAddr::from(address.sin_addr.s_addr.to_ne_bytes())
            }
            AddressFamily::V6 => {
                // SAFETY: an AF_INET6 entry's address is a `sockaddr_in6`.
                let address = unsafe { &*entry.ai_addr.cast::<libc::sockaddr_in6>() };
                IpAddr::from(address.sin6_addr.s6_addr)
            }
        });
        next = entry.ai_next;
    }
    // SAFETY: getaddrinfo has allocated the list, and nothing refers to it any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}
