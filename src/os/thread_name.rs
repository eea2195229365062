//! A `pthread_setname_np` without effect. No thread of this program has a name, but std has the call in it, and musl's
//! function prints a path for it: with `printf`, which nothing else uses.

use std::ffi::{c_char, c_int};

use nix::libc;

// SAFETY: it has the signature of the C library's function, see pthread_setname_np(3), and reads nothing.
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_: libc::pthread_t, _: *const c_char) -> c_int {
    0
}
