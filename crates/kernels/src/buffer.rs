//! Memory for values and scratch.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::simd::Bf16;
use crate::size;

/// The size of a huge page on x86-64 and most others.
const HUGE: usize = 2 << 20;
/// A cache line, and the widest vector.
const LINE: usize = 64;

/// A slice of `f32` that starts at a cache line and, if it is large, is backed by huge pages where the system has them.
/// An image batch spans thousands of small pages, more than the TLB holds, and the page-table walks make its kernels a
/// tenth slower.
#[derive(Debug)]
pub struct Buffer {
    data: NonNull<f32>,
    len: usize,
}

// SAFETY: the buffer owns its memory, as a `Vec` does.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Panics
    /// Panics if `len` is more than [`crate::MAX_VALUES`].
    pub fn zeros(len: usize) -> Self {
        let Some(layout) = layout(size([len])) else {
            return Self::default();
        };
        // SAFETY: the layout is not empty.
        let Some(data) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        // Must precede the first write, which is when pages are allocated.
        advise_huge_pages(data.as_ptr(), layout);
        // SAFETY: the allocation has room for `len` values, and zero bytes are the value 0.0.
        unsafe { data.as_ptr().write_bytes(0, layout.size()) };
        Self {
            data: data.cast(),
            len,
        }
    }

    /// Makes room for at least `len` values. If the buffer has to grow, all its values become zero.
    pub fn grow(&mut self, len: usize) {
        if self.len < len {
            *self = Self::zeros(len);
        }
    }

    /// Returns the first `len` values, growing the buffer as needed; their content is arbitrary.
    pub fn at_least(&mut self, len: usize) -> &mut [f32] {
        self.grow(len);
        &mut self[..len]
    }
}

impl Buffer {
    /// The same memory as bytes, four for each value.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the values are initialized, any byte is a `u8`, and bytes need no alignment.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast(), 4 * self.len) }
    }

    /// The same memory as bytes to be written, four for each value.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the buffer is borrowed exclusively, and any four bytes are an `f32`.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr().cast(), 4 * self.len) }
    }

    /// The same memory as bf16 numbers, two for each value.
    pub fn bf16(&self) -> &[Bf16] {
        // SAFETY: the values are initialized, two bytes of any value are a `Bf16`, and its alignment is smaller.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast(), 2 * self.len) }
    }

    /// The same memory as bf16 numbers to be written, two for each value.
    pub fn bf16_mut(&mut self) -> &mut [Bf16] {
        // SAFETY: as in `bf16`; the buffer is borrowed exclusively, and any four bytes are an `f32`.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr().cast(), 2 * self.len) }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            data: NonNull::dangling(),
            len: 0,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.len) {
            // SAFETY: allocated in `zeros` with this layout.
            unsafe { dealloc(self.data.as_ptr().cast(), layout) };
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `len` initialized values, or a dangling pointer to none.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and the buffer is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

/// Rounds up to whole huge pages if the values fill at least two, else to whole cache lines; `None` if there are no
/// values. The number of bytes does not overflow, because lengths are at most [`crate::MAX_VALUES`].
fn layout(len: usize) -> Option<Layout> {
    let bytes = len.checked_mul(size_of::<f32>())?;
    let unit = if bytes >= 2 * HUGE { HUGE } else { LINE };
    let layout = Layout::from_size_align(bytes, unit).ok()?.pad_to_align();
    (layout.size() > 0).then_some(layout)
}

#[cfg(target_os = "linux")]
fn advise_huge_pages(data: *mut u8, layout: Layout) {
    if layout.align() == HUGE {
        // SAFETY: whole pages of our own allocation. If the call fails, only speed suffers.
        unsafe { libc::madvise(data.cast(), layout.size(), libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_: *mut u8, _: Layout) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zeroed_and_aligned_and_can_grow() {
        for len in [1, 17, 5 * HUGE / 4] {
            let mut buffer = Buffer::zeros(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|v| *v == 0.0));
            assert_eq!(buffer.as_ptr().align_offset(LINE), 0);
            buffer[len - 1] = 1.0;
            assert_eq!(buffer.at_least(2 * len).len(), 2 * len);
        }
        assert!(Buffer::default().is_empty() && Buffer::zeros(0).is_empty());
    }

    #[test]
    fn the_numbers_are_the_halves_of_the_values() {
        let mut buffer = Buffer::zeros(2);
        buffer.bf16_mut()[3] = Bf16::nearest(1.5);
        assert_eq!(buffer[..], [0.0, 1.5]);
        assert_eq!(buffer.bf16()[3], Bf16::nearest(1.5));
        assert!(Buffer::default().bf16().is_empty());
    }

    #[test]
    fn the_bytes_are_those_of_the_values() {
        let mut buffer = Buffer::zeros(3);
        buffer.bytes_mut()[4..8].copy_from_slice(&1.5f32.to_ne_bytes());
        assert_eq!(buffer[..], [0.0, 1.5, 0.0]);
        assert_eq!(buffer.bytes()[4..8], 1.5f32.to_ne_bytes());
        assert!(Buffer::default().bytes().is_empty());
    }
}
