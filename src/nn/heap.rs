#![expect(unsafe_code, reason = "a setting of the C library's allocator, which has no other way in")]
//! The C library's heap, which tensors on the processor come from.
//!
//! It gives large blocks back to the system as soon as they are free. A network in training frees one after nearly every
//! operation, and the next operation's pages are taken and cleared anew, a fault for each 4 kB: up to half of the time.

/// Largest block that comes from the heap: as large as glibc lets it be.
const LARGEST: libc::c_int = 32 << 20;

/// Makes the process keep what is freed for what is asked for next, in one heap for all threads: for a process that computes
/// and nothing else. Its peak does not grow by it.
pub fn keep() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in
        [(libc::M_MMAP_THRESHOLD, LARGEST), (libc::M_TRIM_THRESHOLD, libc::c_int::MAX), (libc::M_ARENA_MAX, 1)]
    {
        // SAFETY: plain settings of the allocator, of numbers in their ranges; no memory is handed over.
        // One that is refused leaves things as they were.
        let _accepted = unsafe { libc::mallopt(setting, value) };
    }
}

/// Gives whole pages that are free back to the system, wherever they lie between what is in use. The C library by itself
/// gives back what lies above all that is in use alone: whatever a burst took would stay taken behind one small block.
///
/// Takes milliseconds, in which allocations of other threads wait.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only looks at the allocator's own lists, under the allocator's own locks.
    let _some_went = unsafe { libc::malloc_trim(0) };
}
