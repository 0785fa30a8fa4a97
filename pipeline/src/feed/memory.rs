//! Memory of the batch buffers: where a device's pinned memory comes in.

use std::io;

use memmap2::MmapMut;

/// One batch buffer. It stays at its address until it is dropped, so a device may have it registered.
pub trait BatchMemory: Send + Sync {
    /// All of it.
    fn bytes(&self) -> &[u8];
    /// All of it, to be filled.
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// Makes batch buffers: [`PageMemory`], or what a device wants (page-locked memory, say).
pub trait Allocate {
    /// A buffer of at least `n_bytes`, aligned to 64 bytes, its pages there already.
    ///
    /// # Errors
    /// When there is no such memory.
    fn allocate(&self, n_bytes: usize) -> io::Result<Box<dyn BatchMemory>>;
}

/// Ordinary memory in whole pages, huge ones where the system has them, touched once.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageMemory;

struct Pages(MmapMut);

/// No memory at all, which costs nothing: what stands in a slot that is lent.
pub(super) struct NoMemory;

impl Allocate for PageMemory {
    fn allocate(&self, n_bytes: usize) -> io::Result<Box<dyn BatchMemory>> {
        let mut pages = MmapMut::map_anon(n_bytes.max(1))?;
        // Fewer entries for the address translation to miss; where there are no huge pages, small ones do.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        // The first write to a page costs more than filling it: do it now. Ones are NaN in every float format, so a row
        // that nobody filled would not pass for silence.
        pages.fill(0xFF);
        Ok(Box::new(Pages(pages)))
    }
}

impl BatchMemory for Pages {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl BatchMemory for NoMemory {
    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}
