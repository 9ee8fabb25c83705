//! Giving memory back: a reload builds a second rule set beside the one in force, and what it took must not stay taken.
//!
//! glibc's allocator raises the size from which blocks are mapped by themselves to that of the largest block freed so far, 32
//! MiB at most: after one reload the next one's tables would be cut from the heap, and leave holes in it that stay resident.
//!
//! And holding it in large pages, where it is read at random.

use std::ops::Range;

/// Blocks from this size on are mapped by themselves, and go back to the system when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_OCTETS_MIN: libc::c_int = 1 << 20;

/// A page of the smallest machine that we run on; where pages are larger the call below is refused.
const PAGE_OCTETS: usize = 4096;

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

/// Lets memory that is read at random stand in large pages, as far as it fills them: a read then does not wait for the page's place
/// as well. No more memory is taken, and what is there stays as it is; a kernel that cannot do it leaves small pages.
///
/// `blocks` are addresses of memory, as `[T]::as_ptr_range` has them.
pub fn in_large_pages(blocks: impl IntoIterator<Item = Range<usize>>) {
    for block in blocks {
        let from = block.start & !(PAGE_OCTETS - 1);
        // SAFETY: the call neither reads nor changes what is in memory, only how it is mapped, and refuses what is not mapped.
        unsafe {
            libc::madvise(from as *mut libc::c_void, block.end.saturating_sub(from), libc::MADV_COLLAPSE);
        }
    }
}
