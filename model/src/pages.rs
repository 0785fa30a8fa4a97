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

/// Has threads share `n` heaps. Each heap keeps what its threads have freed: with one for every thread a program holds much that it does not
/// use. Called once by a program, before its threads; a library that is a guest in another program does not.
pub fn share_heaps(n: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code)]
    // SAFETY: as above.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, i32::try_from(n.max(1)).unwrap_or(i32::MAX));
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = n;
}
