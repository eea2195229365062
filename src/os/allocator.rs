//! The functions that allocate, which end the process if there is no memory.
//!
//! The linker has every call of `malloc` lead to `__wrap_malloc`, and of `__real_malloc` to the C library's (ld(1),
//! `--wrap`; build.rs). std would abort: SIGABRT, and a message that is not this program's. A `#[global_allocator]` would
//! not be enough, since std uses the system's allocator for what belongs to a thread. `main` declares this module, since
//! only the program is linked in this way.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

/// What is called when there is no memory.
static FAILURE_HOOK: OnceLock<fn() -> !> = OnceLock::new();

unsafe extern "C" {
    fn __real_malloc(size: usize) -> *mut c_void;
    fn __real_calloc(count: usize, size: usize) -> *mut c_void;
    fn __real_realloc(old: *mut c_void, size: usize) -> *mut c_void;
    fn __real_posix_memalign(memory: *mut *mut c_void, alignment: usize, size: usize) -> c_int;
}

/// Sets the function that reports that there is no memory, and ends the process. Any thread may call it, in the middle
/// of anything: it must not allocate, or wait for a lock.
pub fn set_failure_hook(hook: fn() -> !) {
    let _ = FAILURE_HOOK.set(hook);
}

// SAFETY: the linker knows the four names and expects these functions.
#[unsafe(no_mangle)]
extern "C" fn __wrap_malloc(size: usize) -> *mut c_void {
    // SAFETY: it takes any size.
    require(unsafe { __real_malloc(size) })
}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn __wrap_calloc(count: usize, size: usize) -> *mut c_void {
    // SAFETY: it takes any numbers.
    require(unsafe { __real_calloc(count, size) })
}

// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_realloc(old: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller keeps the contract of realloc(3).
    require(unsafe { __real_realloc(old, size) })
}

// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_posix_memalign(
    memory: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    // SAFETY: the caller keeps the contract of posix_memalign(3).
    let error = unsafe { __real_posix_memalign(memory, alignment, size) };
    if error != 0 {
        fail();
    }
    error
}

fn require(memory: *mut c_void) -> *mut c_void {
    if memory.is_null() {
        fail();
    }
    memory
}

/// Returns only before the hook is set.
fn fail() {
    if let Some(hook) = FAILURE_HOOK.get() {
        hook();
    }
}
