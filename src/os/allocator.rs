//! The functions that allocate, which end the process if there is no memory.
//!
//! Small blocks come from an arena of each thread: musl has one lock for all threads, and gives memory back to the
//! kernel only to ask for it again. A block that is freed is kept for the next one of its size, and all memory is given
//! back at once when this process ends or becomes another one. So it is not for commands that live on, see
//! [`disable_arenas`]. Large blocks come from the C library, which maps them.
//!
//! The linker has every call of `malloc` lead to `__wrap_malloc`, and of `__real_malloc` to the C library's (ld(1),
//! `--wrap`; build.rs). std would abort: SIGABRT, and a message that is not this program's. A `#[global_allocator]` alone
//! would not be enough, since std uses the system's allocator for what belongs to a thread. `main` declares this module,
//! since only the program is linked in this way.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::libc;

/// The size of what an arena grows by, in bytes. Only pages that are used take memory.
const CHUNK_SIZE: usize = 64 * 1024;
/// The maximum number of chunks, 8 MiB in all: three times what 25 connections use. Past it, small blocks come from the
/// C library too.
const MAX_CHUNKS: usize = 128;
/// The maximum size and alignment of a block in an arena, in bytes. The buffers of a connection fit.
const MAX_BLOCK_SIZE: usize = 32 * 1024;
const MAX_ALIGNMENT: usize = 16;
/// The classes of sizes up to 64 bytes, and the four for each power of two from there to [`MAX_BLOCK_SIZE`].
const CLASS_COUNT: usize = 4 + 4 * 9;

/// The addresses of all chunks; 0 where there is none yet.
static CHUNKS: [AtomicUsize; MAX_CHUNKS] = [const { AtomicUsize::new(0) }; MAX_CHUNKS];
/// How many of them are taken. [`MAX_CHUNKS`] or more: no arena grows any more.
static CHUNK_COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static ARENA: ThreadArena = const {
        ThreadArena {
            free: [const { Cell::new(ptr::null_mut()) }; CLASS_COUNT],
            next: Cell::new(ptr::null_mut()),
            left: Cell::new(0),
        }
    };
}

/// The memory of one thread. A block may be freed by another thread, and is then that thread's.
struct ThreadArena {
    /// For each class the first free block, which begins with a pointer to the next one.
    free: [Cell<*mut u8>; CLASS_COUNT],
    /// The rest of the newest chunk, which has never been used and so is zero.
    next: Cell<*mut u8>,
    left: Cell<usize>,
}

/// The allocator of the program.
pub struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// From now on, small blocks come from the C library, which gives memory back: for a command that runs for days, and for
/// one whose threads come and go.
pub fn disable_arenas() {
    CHUNK_COUNT.fetch_max(MAX_CHUNKS, Ordering::Relaxed);
}

fn is_full() -> bool {
    CHUNK_COUNT.load(Ordering::Relaxed) >= MAX_CHUNKS
}

/// The class of a block; `None` if it does not belong in an arena.
fn class_of(layout: Layout) -> Option<usize> {
    if layout.size() > MAX_BLOCK_SIZE || layout.align() > MAX_ALIGNMENT {
        return None;
    }
    let last = layout.size().saturating_sub(1);
    Some(match last.checked_ilog2() {
        Some(log) if log >= 6 => (log as usize - 6) * 4 + (last >> (log - 2) & 3) + 4,
        _ => last / 16,
    })
}

/// The size of the blocks of a class: 16, 32, 48, 64, 80, 96, 112, 128, 160, ...
fn class_size(class: usize) -> usize {
    match class.checked_sub(4) {
        None => (class + 1) * 16,
        Some(above) => (above % 4 + 5) << (above / 4 + 4),
    }
}

/// Takes a block from the thread's arena; `None` if it has to come from the C library. The flag says whether the block
/// is zero.
fn take(layout: Layout) -> Option<(*mut u8, bool)> {
    let class = class_of(layout)?;
    ARENA.with(|arena| {
        let free = arena.free[class].get();
        if !free.is_null() {
            // SAFETY: a free block begins with the pointer that `dealloc` has written.
            arena.free[class].set(unsafe { free.cast::<*mut u8>().read() });
            return Some((free, false));
        }
        let size = class_size(class);
        if arena.left.get() < size {
            arena.next.set(map_chunk()?);
            arena.left.set(CHUNK_SIZE);
        }
        let block = arena.next.get();
        arena.left.set(arena.left.get() - size);
        arena.next.set(block.wrapping_add(size));
        Some((block, true))
    })
}

/// Maps a new chunk; `None` if there are enough, or if the kernel refuses: the C library may still have memory.
fn map_chunk() -> Option<*mut u8> {
    if is_full() {
        return None;
    }
    let index = CHUNK_COUNT.fetch_add(1, Ordering::Relaxed);
    let entry = CHUNKS.get(index)?;
    // SAFETY: a new private mapping concerns no other memory.
    let chunk = unsafe {
        libc::mmap(
            ptr::null_mut(),
            CHUNK_SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if chunk == libc::MAP_FAILED {
        disable_arenas();
        return None;
    }
    entry.store(chunk.addr(), Ordering::Relaxed);
    Some(chunk.cast())
}

/// Whether a small block lies in an arena. Until they are full, all do.
fn is_in_arena(block: *mut u8) -> bool {
    let holds = |chunk: &AtomicUsize| {
        let start = chunk.load(Ordering::Relaxed);
        block.addr().wrapping_sub(start) < CHUNK_SIZE
    };
    !is_full() || CHUNKS.iter().any(holds)
}

// SAFETY: each block has at least the size of its layout, is aligned, and is in use once: it lies in a chunk of its own
// thread, or was put on a list of free blocks by the thread that frees it, or is the C library's. A thread that
// receives a block from another one also sees what that one saw of CHUNK_COUNT, and the chunk in CHUNKS.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match take(layout) {
            Some((block, _)) => block,
            // SAFETY: the caller's contract is the same.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match take(layout) {
            Some((block, is_zero)) => {
                if !is_zero {
                    // SAFETY: the block has the size of the layout.
                    unsafe { block.write_bytes(0, layout.size()) };
                }
                block
            }
            // SAFETY: the caller's contract is the same.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            Some(class) if is_in_arena(block) => ARENA.with(|arena| {
                // SAFETY: every block is aligned for a pointer, large enough for one, and not in use any more.
                unsafe { block.cast::<*mut u8>().write(arena.free[class].get()) };
                arena.free[class].set(block);
            }),
            // SAFETY: the block is the C library's.
            _ => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that the size is not too large for the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class_of(layout), class_of(new_layout)) {
            (Some(old), Some(new)) if old == new && !is_full() => return block,
            // SAFETY: the block is the C library's, and stays that.
            (None, None) => return unsafe { System.realloc(block, layout, size) },
            _ => {}
        }
        // SAFETY: the size is not zero, which the caller guarantees.
        let new_block = unsafe { self.alloc(new_layout) };
        if !new_block.is_null() {
            let length = layout.size().min(size);
            // SAFETY: both blocks have this length, and the new one is another one.
            unsafe { new_block.copy_from_nonoverlapping(block, length) };
            // SAFETY: the caller does not use the old block any more.
            unsafe { self.dealloc(block, layout) };
        }
        new_block
    }
}

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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn classes_have_room_for_their_sizes() {
        let mut last = 0;
        for size in 0..=MAX_BLOCK_SIZE {
            let layout = Layout::from_size_align(size, 16).unwrap();
            let class = class_of(layout).unwrap();
            assert!(class == last || class == last + 1, "{size}");
            assert!(class_size(class) >= size && class_size(class).is_multiple_of(16));
            assert!(class_size(class) - size <= (size / 4).max(16), "{size}");
            last = class;
        }
        assert_eq!(last, CLASS_COUNT - 1);
        for (size, alignment) in [(MAX_BLOCK_SIZE + 1, 1), (64, 32)] {
            let layout = Layout::from_size_align(size, alignment).unwrap();
            assert_eq!(class_of(layout), None);
        }
    }

    /// Blocks of all sizes, which grow, shrink and go to another thread, until the arenas are full and then some.
    #[test]
    fn blocks_keep_their_content_past_the_limit() {
        let make = || {
            let mut blocks = Vec::new();
            let mut total = 0;
            for index in 0.. {
                let size = index * 37 % (2 * MAX_BLOCK_SIZE) + 1;
                let mut block = vec![0_u8; size];
                assert!(block.iter().all(|byte| *byte == 0), "{index}");
                block.fill((index % 251) as u8 + 1);
                block.reserve_exact(size % 300);
                block.resize(block.capacity(), block[0]);
                block.truncate(size / 2);
                block.shrink_to_fit();
                total += block.len();
                blocks.push(block);
                if index % 5 == 4 {
                    blocks.swap_remove(index / 10).clear();
                    blocks.push(Vec::new());
                }
                if total > 3 * MAX_CHUNKS * CHUNK_SIZE / 2 {
                    break;
                }
            }
            blocks
        };
        let made: Vec<_> = (0..4).map(|_| thread::spawn(make)).collect();
        for blocks in made {
            let blocks = blocks.join().unwrap();
            for block in &blocks {
                assert!(block.iter().all(|byte| *byte == block[0]));
            }
        }
        assert!(is_full());
    }
}
