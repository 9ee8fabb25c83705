//! Giving memory back: a reload builds a second rule set beside the one in force, and what it took must not stay taken.
//!
//! glibc's allocator raises the size from which blocks are mapped by themselves to that of the largest block freed so far, 32
//! MiB at most: after one reload the next one's tables would be cut from the heap, and leave holes in it that stay resident.

/// Blocks from this size on are mapped by themselves, and go back to the system when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_OCTETS_MIN: libc::c_int = 1 << 20;

/// Fixes the size from which blocks are mapped by themselves. To be called before threads are started.
pub fn map_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes two integers and changes a setting of the allocator, which it guards itself; refusing it, which
    // it says by 0, leaves everything as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_OCTETS_MIN);
    }
}

/// Gives free memory back to the system. Takes a millisecond or two and the locks of the allocator, so not for threads that
/// answer.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes an integer, touches free memory only, and guards it itself.
    unsafe {
        libc::malloc_trim(0);
    }
}
