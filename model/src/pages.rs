//! How the allocator treats memory between steps.

/// Keeps freed memory in the process: a step frees what the next one asks for, and fresh pages cost a fault each. Called once by a
/// program that trains, or asks; a library that is a guest in another program does not.
pub fn keep_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: mallopt takes two numbers and changes nothing but the allocator's thresholds.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
