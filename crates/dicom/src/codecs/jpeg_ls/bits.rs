//! Bits and Golomb codes of a JPEG-LS scan (ITU-T T.87, annex A.5 and C).

/// The entropy-coded bits of a scan. After a byte FF only 7 bits of the next byte count; one with its highest bit set is
/// a marker, which ends the scan.
pub(super) struct ScanBits<'b> {
    bytes: &'b [u8],
    at: usize,
    buffer: u64,
    count: u32,
    after_ff: bool,
}

impl<'b> ScanBits<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            buffer: 0,
            count: 0,
            after_ff: false,
        }
    }

    /// The position from which to look for the next marker.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(&byte) = self.bytes.get(self.at) else {
                return;
            };
            if byte == 0xFF && self.bytes.get(self.at + 1).is_none_or(|&next| next >= 0x80) {
                return;
            }
            let bits = if self.after_ff { 7 } else { 8 };
            self.buffer = self.buffer << bits | u64::from(byte);
            self.count += bits;
            self.after_ff = byte == 0xFF;
            self.at += 1;
        }
    }

    /// The next `n` ≤ 32 bits; `None` if there are fewer.
    pub(super) fn take(&mut self, n: u32) -> Option<u32> {
        if self.count < n {
            self.fill();
        }
        self.count = self.count.checked_sub(n)?;
        Some((self.buffer >> self.count & ((1 << n) - 1)) as u32)
    }

    /// The number of zeros before the next one, up to `most`.
    fn zeros(&mut self, most: u32) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > most {
                return None;
            }
        }
        Some(zeros)
    }

    /// A code of limited length: its prefix in unary and `k` bits, or `wide` bits where the prefix would be too long.
    pub(super) fn golomb(&mut self, k: u32, limit: u32, wide: u32) -> Option<i32> {
        let longest = limit.checked_sub(wide + 1)?;
        let prefix = self.zeros(longest)?;
        let value = match prefix < longest {
            true => (prefix << k) + self.take(k)?,
            false => self.take(wide)? + 1,
        };
        Some(value as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_after_ff_is_skipped_and_a_marker_ends_the_scan() {
        let mut bits = ScanBits::new(&[0xFF, 0x7F, 0x0F, 0xFF, 0xD9]);
        assert_eq!((bits.take(15), bits.take(8)), (Some(0x7FFF), Some(0x0F)));
        assert_eq!((bits.take(1), bits.at()), (None, 3));
    }

    #[test]
    fn golomb_codes_have_a_limit() {
        // 001 and 01 with k = 2: 2 · 4 + 1.
        let mut bits = ScanBits::new(&[0b0010_1000]);
        assert_eq!(bits.golomb(2, 32, 8), Some(9));
        // A prefix of 32 − 8 − 1 zeros announces the value itself.
        let mut bits = ScanBits::new(&[0, 0, 0b0000_0001, 0b0000_0111]);
        assert_eq!(bits.golomb(2, 32, 8), Some(8));
        assert_eq!(ScanBits::new(&[0; 8]).golomb(2, 32, 8), None);
    }
}
