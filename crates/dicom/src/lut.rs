//! Lookup tables (PS3.3, C.11.1.1 and C.7.6.3.1.5).

use crate::dataset::DataSet;
use crate::tags::{self, Tag};

/// A table from values to entries of up to 16 bits. Values beyond its ends have the first or last entry.
#[derive(Clone, Debug)]
pub(crate) struct Lut {
    /// The value of the first entry.
    first: i64,
    /// Bits of an entry.
    pub(crate) bits: u16,
    entries: Vec<u16>,
}

/// Number of entries, first value, bits of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub(crate) entries: usize,
    first: i64,
    bits: u16,
}

impl Descriptor {
    /// `signed` says how values are stored, where the descriptor's VR does not.
    pub(crate) fn of(set: &DataSet<'_>, tag: Tag, signed: bool) -> Result<Self, String> {
        let damaged = |what: &str| format!("its lookup table {tag} is damaged: {what}");
        let words = set.bytes(tag).unwrap_or_default().as_chunks::<2>().0;
        let words: Vec<u16> = words.iter().take(3).map(|word| set.word(*word)).collect();
        let &[entries, first, bits] = words.as_slice() else {
            return Err(damaged("it has no descriptor of three values"));
        };
        if !(1..=16).contains(&bits) {
            return Err(damaged(&format!("its entries have {bits} bits")));
        }
        let signed = match set.element(tag).and_then(|element| element.vr) {
            Some([b'S', b'S']) => true,
            Some([b'U', b'S']) => false,
            _ => signed,
        };
        Ok(Self {
            entries: if entries == 0 {
                1 << 16
            } else {
                entries.into()
            },
            first: if signed {
                i64::from(first as i16)
            } else {
                first.into()
            },
            bits,
        })
    }
}

impl Lut {
    /// The table in an item of a Modality or VOI LUT Sequence.
    pub(crate) fn of_item(item: &DataSet<'_>, signed: bool) -> Result<Self, String> {
        let descriptor = Descriptor::of(item, tags::LUT_DESCRIPTOR, signed)?;
        Self::of(item, descriptor, tags::LUT_DATA)
    }

    /// Entries of 16 bits, or of 8 bits where there are only as many bytes as entries.
    pub(crate) fn of(set: &DataSet<'_>, descriptor: Descriptor, data: Tag) -> Result<Self, String> {
        let Descriptor {
            entries: n,
            first,
            bits,
        } = descriptor;
        let bytes = set.bytes(data).unwrap_or_default();
        let (entries, bits): (Vec<u16>, _) = if bytes.len() >= 2 * n {
            let words = bytes.as_chunks().0.iter().take(n);
            (words.map(|word| set.word(*word)).collect(), bits)
        } else if bytes.len() >= n {
            (
                bytes.iter().take(n).map(|&byte| byte.into()).collect(),
                bits.min(8),
            )
        } else {
            return Err(format!(
                "its lookup table {data} is damaged: {} bytes for {n} entries",
                bytes.len()
            ));
        };
        Ok(Self {
            first,
            bits,
            entries,
        })
    }

    /// A table of segments (C.7.9.2): discrete values, lines, and repeated segments.
    pub(crate) fn of_segments(
        set: &DataSet<'_>,
        descriptor: Descriptor,
        data: Tag,
    ) -> Result<Self, String> {
        let bytes = set.bytes(data).unwrap_or_default();
        let words: Vec<u16> = match descriptor.bits {
            ..=8 => bytes.iter().map(|&byte| byte.into()).collect(),
            _ => bytes
                .as_chunks()
                .0
                .iter()
                .map(|word| set.word(*word))
                .collect(),
        };
        let mut entries = Vec::new();
        expand(&words, descriptor.entries, &mut entries)
            .filter(|()| entries.len() == descriptor.entries)
            .ok_or_else(|| format!("its segmented lookup table {data} is damaged"))?;
        Ok(Self {
            first: descriptor.first,
            bits: descriptor.bits,
            entries,
        })
    }

    /// The entry of a value.
    pub(crate) fn at(&self, value: i64) -> u16 {
        let last = self.entries.len().saturating_sub(1);
        let index = usize::try_from(value - self.first).unwrap_or(0).min(last);
        self.entries.get(index).copied().unwrap_or_default()
    }

    /// The highest value that an entry can have.
    pub(crate) fn highest(&self) -> f64 {
        f64::from((1_u32 << self.bits) - 1)
    }

    /// The upper 8 bits of an entry. Tables exist that state 16 bits and use 8.
    pub(crate) fn upper_byte(&self) -> impl Fn(u16) -> u8 + use<> {
        let used = self
            .entries
            .iter()
            .max()
            .map_or(0, |most| 16 - most.leading_zeros());
        let shift = if used <= 8 {
            0
        } else {
            self.bits.saturating_sub(8)
        };
        move |entry| (entry >> shift) as u8
    }
}

/// Expands segments up to a number of entries; `None` if they are damaged.
fn expand(words: &[u16], most: usize, entries: &mut Vec<u16>) -> Option<()> {
    let mut at = 0;
    while at < words.len() && entries.len() < most {
        at += match words[at] {
            2 => {
                // Repeats a number of segments from a byte offset, which is written as two values, the lower first.
                let &[count, low, high] = words.get(at + 1..at + 4)?.first_chunk()?;
                let wide = u32::from(high) << 16 | u32::from(low);
                repeat(words, wide as usize, count, most, entries)?;
                4
            }
            _ => segment(words.get(at..)?, most, entries)?,
        };
    }
    Some(())
}

fn repeat(
    words: &[u16],
    from: usize,
    count: u16,
    most: usize,
    entries: &mut Vec<u16>,
) -> Option<()> {
    let mut at = from;
    for _ in 0..count {
        at += segment(words.get(at..)?, most, entries)?;
    }
    Some(())
}

/// A discrete or linear segment; returns how many values it occupies.
fn segment(words: &[u16], most: usize, entries: &mut Vec<u16>) -> Option<usize> {
    let (&kind, length) = (words.first()?, usize::from(*words.get(1)?));
    if entries.len() + length > most {
        return None;
    }
    match kind {
        0 => {
            entries.extend(words.get(2..2 + length)?);
            Some(2 + length)
        }
        1 => {
            let (from, to) = (f64::from(*entries.last()?), f64::from(*words.get(2)?));
            let step = (to - from) / length as f64;
            entries.extend((1..=length).map(|i| (from + step * i as f64).round() as u16));
            Some(3)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(words: &[u16], most: usize) -> Option<Vec<u16>> {
        let mut entries = Vec::new();
        expand(words, most, &mut entries).map(|()| entries)
    }

    #[test]
    fn values_beyond_the_table_have_its_first_or_last_entry() {
        let lut = Lut {
            first: -2,
            bits: 12,
            entries: vec![10, 20, 4095],
        };
        let entries = [i64::MIN / 2, -3, -2, -1, 0, 1, 1 << 40].map(|value| lut.at(value));
        assert_eq!(entries, [10, 10, 10, 20, 4095, 4095, 4095]);
        assert_eq!((lut.highest(), lut.upper_byte()(4095)), (4095., 255));
    }

    #[test]
    fn segments_are_discrete_linear_or_repeated() {
        assert_eq!(
            expanded(&[0, 2, 5, 1, 1, 4, 9], 6),
            Some(vec![5, 1, 3, 5, 7, 9])
        );
        // The two segments again, from the first value on.
        let repeated = expanded(&[0, 1, 0, 1, 2, 10, 2, 2, 0, 0], 6);
        assert_eq!(repeated, Some(vec![0, 5, 10, 0, 5, 10]));
        assert_eq!(expanded(&[1, 2, 10], 6), None);
        assert_eq!(expanded(&[0, 9, 1], 6), None);
        assert_eq!(expanded(&[2, 65535, 0, 0], 6), None);
    }
}
