//! Huffman codes, and the bits that they are read from.

/// A canonical Huffman table (ITU-T T.81, annex C).
#[derive(Clone, Debug)]
pub struct Table {
    /// By length − 1: the first longer code, left-aligned in 16 bits.
    beyond: [u32; 16],
    /// By length − 1: the offset from a code to its symbol's index.
    shift: [i32; 16],
    symbols: Vec<u8>,
    /// By the first [`SHORT`] bits: length and symbol of a code that is no longer; length 0 for the others.
    short: Vec<(u8, u8)>,
}

/// Bits of the codes that are looked up directly: almost all codes of a photograph, in a table that stays in the L1 cache.
const SHORT: u32 = 9;

impl Table {
    /// A table from the number of codes of each length, and their symbols; `None` if there are more codes than fit.
    pub fn new(lengths: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let (mut beyond, mut shift) = ([0; 16], [0; 16]);
        let (mut code, mut index) = (0_u32, 0_i32);
        for (i, &count) in lengths.iter().enumerate() {
            shift[i] = index - code as i32;
            code += u32::from(count);
            index += i32::from(count);
            if code > 1 << (i + 1) {
                return None;
            }
            beyond[i] = code << (15 - i);
            code <<= 1;
        }
        Some(Table {
            beyond,
            shift,
            symbols: symbols.to_vec(),
            short: short(lengths, symbols),
        })
    }

    /// Length and symbol of the code at the start of the 16 bits.
    pub fn find(&self, bits: u16) -> Option<(u32, u8)> {
        match self.short.get(usize::from(bits >> (16 - SHORT))) {
            Some(&(length @ 1.., symbol)) => Some((length.into(), symbol)),
            _ => self.search(bits),
        }
    }

    #[cold]
    #[inline(never)]
    fn search(&self, bits: u16) -> Option<(u32, u8)> {
        let i = self
            .beyond
            .iter()
            .position(|&beyond| u32::from(bits) < beyond)?;
        let index = i32::from(bits >> (15 - i)) + self.shift[i];
        let symbol = self.symbols.get(usize::try_from(index).ok()?)?;
        Some((i as u32 + 1, *symbol))
    }
}

/// Codes in their order cover the starts from zero up, each as many as its remaining bits have values.
fn short(lengths: &[u8; 16], symbols: &[u8]) -> Vec<(u8, u8)> {
    let mut short = Vec::with_capacity(1 << SHORT);
    let mut symbols = symbols.iter();
    for (length, &count) in (1..=SHORT).zip(lengths) {
        for &symbol in symbols.by_ref().take(count.into()) {
            let starts = short.len() + (1 << (SHORT - length));
            short.resize(starts, (length as u8, symbol));
        }
    }
    short.resize(1 << SHORT, (0, 0));
    short
}

/// The tables of a JPEG: four each for DC and AC coefficients.
#[derive(Debug, Default)]
pub struct Tables {
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
}

impl Tables {
    /// Adds the tables of a DHT segment; `None` if it is damaged.
    pub fn define(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let lengths = rest.first_chunk::<16>()?;
            let symbols: usize = lengths.iter().map(|&n| usize::from(n)).sum();
            let table = Table::new(lengths, rest.get(16..16 + symbols)?)?;
            let slots = if kind >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            *slots.get_mut(usize::from(kind & 15))? = Some(table);
            segment = &rest[16 + symbols..];
        }
        Some(())
    }

    /// The DC table with this number, if it was defined; of lossless JPEG, that of the differences.
    pub fn dc(&self, number: usize) -> Option<&Table> {
        self.dc.get(number)?.as_ref()
    }

    /// The AC table with this number, if it was defined.
    pub fn ac(&self, number: usize) -> Option<&Table> {
        self.ac.get(number)?.as_ref()
    }
}

/// Entropy-coded bytes up to the next marker, bit by bit; FF 00 is a stuffed FF.
pub struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Its lowest `count` bits have not been read yet.
    buffer: u64,
    count: u32,
}

impl<'b> Bits<'b> {
    /// Reads the bits of a scan that begins at a position of these bytes.
    pub fn new(bytes: &'b [u8], at: usize) -> Self {
        Bits {
            bytes,
            at,
            buffer: 0,
            count: 0,
        }
    }

    /// The position from which to look for the next marker.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether fewer bits are left before the marker than the longest code has.
    pub fn ends(&self) -> bool {
        self.count < 16
    }

    /// The next 16 bits, padded with zeros if there are fewer.
    #[inline]
    pub fn peek(&mut self) -> u16 {
        self.fill();
        let aligned = match self.count.checked_sub(16) {
            Some(more) => self.buffer >> more,
            None => self.buffer << (16 - self.count),
        };
        aligned as u16
    }

    /// The next `n` ≤ 16 bits; `None` if there are fewer.
    #[inline]
    pub fn take(&mut self, n: u32) -> Option<u16> {
        self.fill();
        self.count = self.count.checked_sub(n)?;
        Some((self.buffer >> self.count & ((1 << n) - 1)) as u16)
    }

    /// Discards `n` ≤ 32 bits, of which the first 16 at most have been looked at; `None` if there are fewer.
    #[inline]
    fn skip(&mut self, n: u32) -> Option<()> {
        self.count = self.count.checked_sub(n)?;
        Some(())
    }

    /// Discards the AC coefficients of a block of sequential JPEG (ITU-T T.81, F.2.2.2).
    ///
    /// # Errors
    /// A code that is not in the table or leads out of the block, or the end of the data.
    pub fn skip_coefficients(&mut self, table: &Table) -> Result<(), Fault> {
        // A copy stays in registers.
        let mut bits = Bits { ..*self };
        let skipped = bits.skipped(table);
        *self = bits;
        skipped
    }

    #[inline]
    fn skipped(&mut self, table: &Table) -> Result<(), Fault> {
        let mut k = 1;
        while k <= 63 {
            let (length, symbol) = match table.find(self.peek()) {
                Some(found) => found,
                // Bits beyond the end read as zeros, which need not be a code.
                None if self.ends() => return Err(Fault::Ended),
                None => return Err(Fault::Code),
            };
            let (zeros, bits) = (symbol >> 4, symbol & 15);
            // A code and its value have 31 bits at most, which the last look has made available.
            self.skip(length + u32::from(bits)).ok_or(Fault::Ended)?;
            k += u32::from(zeros) + 1;
            match (zeros, bits) {
                (15, 0) => {}
                (_, 0) => return Ok(()),
                _ if k > 64 => return Err(Fault::Code),
                _ => {}
            }
        }
        Ok(())
    }

    /// Discards the bits before the next marker, which must be the given one.
    pub fn restart(&mut self, marker: u8) -> Option<()> {
        (self.count, self.buffer) = (0, 0);
        let found = crate::jpeg::next_marker(self.bytes, &mut self.at)?;
        (found == marker).then_some(())
    }

    /// Reads bytes until there are bits for a code and the value that follows it, if the data last.
    #[inline]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        let next = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk);
        match next.map(|four| u32::from_be_bytes(*four)) {
            Some(four) if !holds_ff(four) => {
                self.buffer = self.buffer << 32 | u64::from(four);
                self.count += 32;
                self.at += 4;
            }
            _ => self.fill_bytes(),
        }
    }

    #[cold]
    #[inline(never)]
    fn fill_bytes(&mut self) {
        while self.count < 32 {
            let Some(byte) = self.byte() else { return };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        let stuffed = byte == 0xFF;
        if stuffed && *self.bytes.get(self.at + 1)? != 0 {
            return None;
        }
        self.at += 1 + usize::from(stuffed);
        Some(byte)
    }
}

/// What is wrong with coded data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end too early.
    Ended,
    /// A code is not in its table, or leads out of its block.
    Code,
}

/// Whether one of four bytes is FF: the only one whose complement borrows.
fn holds_ff(four: u32) -> bool {
    (!four).wrapping_sub(0x0101_0101) & four & 0x8080_8080 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_canonical() {
        // 0 → a, 10 → b, 110 → c
        let mut lengths = [0; 16];
        lengths[..3].fill(1);
        let table = Table::new(&lengths, b"abc").unwrap();
        let check = |bits: u16, expected| assert_eq!(table.find(bits), expected, "{bits:016b}");
        check(0x0000, Some((1, b'a')));
        check(0x7FFF, Some((1, b'a')));
        check(0x8000, Some((2, b'b')));
        check(0xC000, Some((3, b'c')));
        check(0xE000, None);
        lengths[0] = 3;
        assert!(Table::new(&lengths, b"abcde").is_none());
    }

    /// The longest codes are searched, the others looked up.
    #[test]
    fn long_and_short_codes_agree() {
        let lengths = [0, 1, 2, 1, 3, 2, 0, 4, 3, 5, 2, 6, 0, 1, 7, 9];
        let symbols: Vec<u8> = (0..46).collect();
        let table = Table::new(&lengths, &symbols).unwrap();
        for bits in 0..=u16::MAX {
            assert_eq!(table.find(bits), table.search(bits), "{bits:016b}");
        }
    }

    #[test]
    fn a_byte_of_ff_is_found_anywhere() {
        for four in [0xFF00_0000, 0x01FF_0180, 0x7F80_FF00, 0xFEFE_FEFF, u32::MAX] {
            assert!(holds_ff(four), "{four:08x}");
        }
        for four in [0, 0xFEFE_FEFE, 0x8001_7F00, 0x0100_80FE] {
            assert!(!holds_ff(four), "{four:08x}");
        }
    }

    #[test]
    fn bits_end_at_a_marker() {
        let mut bits = Bits::new(&[0xA5, 0xFF, 0x00, 0x0F, 0xFF, 0xD0, 0x80], 0);
        assert_eq!((bits.take(4), bits.take(8)), (Some(0xA), Some(0x5F)));
        assert_eq!((bits.peek(), bits.take(12)), (0xF0F0, Some(0xF0F)));
        assert_eq!((bits.peek(), bits.take(1)), (0, None));
        assert!(bits.ends());
        assert_eq!(bits.restart(0xD0), Some(()));
        assert_eq!((bits.take(1), bits.take(7)), (Some(1), Some(0)));
        assert_eq!(bits.restart(0xD1), None);
    }
}
