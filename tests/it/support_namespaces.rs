//! A process in new namespaces, in which it is root: with files mounted over those of the machine, or in a network with
//! only a name server.

use std::ffi::CString;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{getegid, geteuid};

use crate::support_inherited::before_exec;

/// Enters new namespaces, including a user namespace, as root.
pub fn entering(kinds: libc::c_int) -> impl Fn() -> io::Result<()> + Send + Sync {
    let maps = [geteuid().as_raw(), getegid().as_raw()].map(|id| format!("0 {id} 1"));
    move || {
        // SAFETY: this child has one thread.
        Errno::result(unsafe { libc::unshare(kinds) })?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", &maps[0])?;
        std::fs::write("/proc/self/gid_map", &maps[1])?;
        Ok(())
    }
}

/// A mount.
struct Mount {
    from: CString,
    to: CString,
    flags: libc::c_ulong,
    options: CString,
}

impl Mount {
    fn new(from: &str, to: &str, flags: libc::c_ulong, options: &str) -> Mount {
        let [from, to, options] =
            [from, to, options].map(|text| CString::new(text).expect("no NUL in a path"));
        Mount {
            from,
            to,
            flags,
            options,
        }
    }

    fn make(&self) -> io::Result<()> {
        let (kind, options) = (self.from.as_ptr(), self.options.as_ptr());
        // SAFETY: all four are strings that end in NUL. The kernel ignores the type of a bind mount.
        let done = unsafe { libc::mount(kind, self.to.as_ptr(), kind, self.flags, options.cast()) };
        Errno::result(done)?;
        Ok(())
    }
}

/// Later mounts stay in this namespace.
fn private() -> Mount {
    Mount::new("none", "/", libc::MS_REC | libc::MS_PRIVATE, "")
}

/// An empty file system in memory over a directory, with these flags of mount(2).
pub fn cover(command: &mut Command, directory: &str, options: &str, flags: libc::c_ulong) {
    let enter = entering(libc::CLONE_NEWUSER | libc::CLONE_NEWNS);
    let mounts = [private(), Mount::new("tmpfs", directory, flags, options)];
    before_exec(command, move || {
        enter()?;
        mounts.iter().try_for_each(Mount::make)
    });
}

/// Replaces the query by the response and returns its length, or 0 for no response.
pub type Answering = fn(&mut [u8; 512], usize) -> usize;

/// A network with only a name server, and files mounted over those that configure name resolution.
pub fn with_a_name_server(command: &mut Command, files: &[(&str, &str)], answering: Answering) {
    let enter = entering(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET);
    let mut mounts = vec![private()];
    mounts.extend(
        files
            .iter()
            .map(|(from, to)| Mount::new(from, to, libc::MS_BIND, "")),
    );
    before_exec(command, move || {
        enter()?;
        mounts.iter().try_for_each(Mount::make)?;
        let socket = UdpSocket::bind("0.0.0.0:53")?;
        raise_loopback(&socket)?;
        // SAFETY: this child has one thread.
        match Errno::result(unsafe { libc::fork() })? {
            0 => serve(&socket, answering),
            _ => Ok(()),
        }
    });
}

fn raise_loopback(socket: &UdpSocket) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid request, a C struct of integers and a union of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request names an interface and its flags, and lives until the call returns.
    Errno::result(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request)
    })?;
    Ok(())
}

/// Responds until the parent process ends.
fn serve(socket: &UdpSocket, answering: Answering) -> ! {
    // SAFETY: requests a signal at the end of the parent.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: descriptor 0 is not used here.
    unsafe { libc::dup2(socket.as_raw_fd(), 0) };
    // The test waits until the other descriptors are closed.
    // SAFETY: none of them is used here.
    unsafe { libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) };
    // SAFETY: it is the socket, which has no other owner.
    let socket = unsafe { UdpSocket::from_raw_fd(0) };
    loop {
        let mut packet = [0; 512];
        if let Ok((length, from)) = socket.recv_from(&mut packet) {
            match answering(&mut packet, length) {
                0 => {}
                // The client may have closed its socket after another response.
                length => drop(socket.send_to(&packet[..length], from)),
            }
        }
    }
}
