//! What a process inherits, set up between fork and exec, after std's `Command` has reset SIGPIPE.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::stat::{Mode, umask};

use crate::support_namespaces as namespaces;

/// Ignores these signals.
pub fn ignore(command: &mut Command, signals: &'static [Signal]) {
    before_exec(command, move || {
        let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        for signal in signals {
            // SAFETY: ignoring a signal runs no code.
            unsafe { sigaction(*signal, &ignored) }?;
        }
        Ok(())
    });
}

/// Gives these signals their default action, whatever the tests inherited.
pub fn restore(command: &mut Command, signals: &'static [Signal]) {
    before_exec(command, move || {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        for signal in signals {
            // SAFETY: the default action runs no code.
            unsafe { sigaction(*signal, &default) }?;
        }
        Ok(())
    });
}

/// Blocks these signals and no others.
pub fn block(command: &mut Command, signals: &'static [Signal]) {
    before_exec(command, move || {
        let blocked: SigSet = signals.iter().copied().collect();
        nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
        Ok(())
    });
}

/// Closes these descriptors.
pub fn close(command: &mut Command, descriptors: &'static [RawFd]) {
    before_exec(command, move || {
        for descriptor in descriptors {
            // SAFETY: they are standard descriptors, which the new program alone is about to use.
            Errno::result(unsafe { libc::close(*descriptor) })?;
        }
        Ok(())
    });
}

/// Passes a descriptor under this number.
pub fn pass(command: &mut Command, descriptor: OwnedFd, number: RawFd) {
    before_exec(command, move || {
        // SAFETY: the number is far above any descriptor that is open in the child.
        Errno::result(unsafe { libc::dup2(descriptor.as_raw_fd(), number) })?;
        Ok(())
    });
}

/// Leaves it the standard descriptors and no others: a terminal of another test may be inherited, too.
pub fn only_standard_descriptors(command: &mut Command) {
    before_exec(command, || {
        // SAFETY: the call takes numbers, and marks descriptors of this process only.
        let marked = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        };
        Errno::result(marked)?;
        Ok(())
    });
}

/// Sets the soft and the hard limit of a resource.
pub fn limit(command: &mut Command, resource: Resource, soft: u64, hard: u64) {
    before_exec(command, move || Ok(setrlimit(resource, soft, hard)?));
}

/// Sets the file mode creation mask.
pub fn mask_files(command: &mut Command, mask: u32) {
    before_exec(command, move || {
        umask(Mode::from_bits_truncate(mask));
        Ok(())
    });
}

/// Drops the capabilities by which root ignores the permissions of files.
pub fn obey_permissions(command: &mut Command) {
    const DAC_OVERRIDE: libc::c_ulong = 1;
    const DAC_READ_SEARCH: libc::c_ulong = 2;
    before_exec(command, move || {
        for capability in [DAC_OVERRIDE, DAC_READ_SEARCH] {
            // SAFETY: drops a capability at the next exec, or is refused.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
        Ok(())
    });
}

/// Panics with the reason if the test cannot create namespaces.
#[track_caller]
pub fn need_namespaces(words: &[&str]) {
    let unshare = Command::new("unshare").args(words).arg("true").output();
    let unshare = unshare.expect("this test needs unshare, of util-linux");
    assert!(
        unshare.status.success(),
        "this test needs namespaces ({}) and this machine does not permit them: {}",
        words.join(" "),
        String::from_utf8_lossy(&unshare.stderr)
    );
}

/// Binds low ports.
pub const NET_BIND_SERVICE: u32 = 10;

/// Runs as root of a new user namespace, in which the file has this capability and the process, like a container that
/// drops it, has not.
pub fn drop_the_capability_of(command: &mut Command, file: &str, number: u32) {
    let path = CString::new(file).expect("no NUL in a path");
    let enter = namespaces::entering(libc::CLONE_NEWUSER);
    // `struct vfs_cap_data`: revision 2, effective; permitted and inheritable of 0 to 31, then of 32 to 63.
    let words: [u32; 5] = [0x0200_0001, 1 << number, 0, 0, 0];
    let capability: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    before_exec(command, move || {
        enter()?;
        // SAFETY: both names end in NUL, and the length is that of the bytes.
        Errno::result(unsafe {
            libc::setxattr(
                path.as_ptr(),
                c"security.capability".as_ptr(),
                capability.as_ptr().cast(),
                capability.len(),
                0,
            )
        })?;
        // SAFETY: drops a capability at the next exec.
        Errno::result(unsafe {
            libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0)
        })?;
        Ok(())
    });
}

/// Starts the program with exactly this `environ`. std's `Command` cannot express an order, entries without `=` and
/// duplicate names.
pub fn environ(command: &mut Command, entries: &[impl AsRef<OsStr>]) {
    let string = |text: &OsStr| CString::new(text.as_bytes()).expect("no NUL in a test's words");
    let program = string(command.get_program());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<CString> = words.map(string).collect();
    let entries: Vec<CString> = entries.iter().map(|entry| string(entry.as_ref())).collect();
    before_exec(command, move || {
        let Err(error) = nix::unistd::execve(&program, &words, &entries);
        Err(error.into())
    });
}

pub fn before_exec(
    command: &mut Command,
    change: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: every closure makes system calls. Some also allocate, which glibc and musl allow in the child of a process
    // with threads.
    unsafe { command.pre_exec(change) };
}
