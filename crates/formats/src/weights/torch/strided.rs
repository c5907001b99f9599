//! A tensor's elements in order, from a storage that may hold them in any order.

use super::value::TensorRef;
use super::{Result, damaged};

impl TensorRef {
    /// The tensor's bytes, contiguous. `storage` is the whole storage.
    pub(super) fn gather(&self, storage: &[u8]) -> Result<Vec<u8>> {
        let width = self.storage.dtype.bitsize() / 8;
        let elements = self.check()?;
        if self.is_contiguous() {
            let start = self.offset * width;
            return Ok(storage[start..start + elements * width].to_vec());
        }
        let mut out = Vec::with_capacity(elements * width);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..elements {
            let at: usize = index.iter().zip(&self.strides).map(|(i, s)| i * s).sum();
            let start = (self.offset + at) * width;
            out.extend_from_slice(&storage[start..start + width]);
            advance(&mut index, &self.shape);
        }
        Ok(out)
    }

    /// Checks that all elements are within the storage, and returns their number. An expanded tensor (stride 0) may
    /// claim more than the storage holds; weights do not need that, and a small file could request any amount of
    /// memory.
    fn check(&self) -> Result<usize> {
        let elements = self
            .shape
            .iter()
            .try_fold(1usize, |n, len| n.checked_mul(*len));
        let last = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |sum, (len, stride)| {
                len.saturating_sub(1).checked_mul(*stride)?.checked_add(sum)
            });
        let (Some(elements), Some(last)) = (elements, last) else {
            return damaged("a tensor is larger than memory");
        };
        let inside = elements == 0 || (last < self.storage.len && elements <= self.storage.len);
        if self.shape.len() != self.strides.len() || !inside {
            return damaged(format!(
                "a tensor of shape {:?} reaches beyond its storage of {} elements",
                self.shape, self.storage.len
            ));
        }
        Ok(elements)
    }

    fn is_contiguous(&self) -> bool {
        let dense = |axis: usize| self.shape[axis + 1..].iter().product::<usize>();
        (0..self.shape.len()).all(|axis| self.shape[axis] <= 1 || self.strides[axis] == dense(axis))
            && self.shape.iter().all(|len| *len > 0)
    }
}

/// The next index in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (i, len) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < *len {
            return;
        }
        *i = 0;
    }
}
