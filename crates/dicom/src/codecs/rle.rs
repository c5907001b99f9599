//! RLE Lossless (PS3.5, annex G): one PackBits segment for each byte of each sample, the highest byte first.

use crate::layout::Layout;
use crate::samples::Samples;

pub(crate) fn decode(bytes: &[u8], layout: &Layout) -> Result<Samples, String> {
    if layout.allocated < 8 {
        return Err("its pixels are of 1 bit in RLE, which is not defined".to_owned());
    }
    let (samples, depth) = (
        usize::from(layout.samples),
        usize::from(layout.allocated / 8),
    );
    let segments = segments(bytes, samples * depth)?;
    let pixels = layout.pixels();
    let mut containers = vec![0_u32; pixels * samples];
    for (i, segment) in segments.iter().enumerate() {
        let (sample, shift) = (i / depth, 8 * (depth - 1 - i % depth));
        let mut places = containers.iter_mut().skip(sample).step_by(samples);
        unpack(segment, pixels, |byte| {
            if let Some(place) = places.next() {
                *place |= u32::from(byte) << shift;
            }
        })?;
    }
    Ok(match depth {
        1 => Samples::U8(containers.into_iter().map(|c| c as u8).collect()),
        2 => Samples::U16(containers.into_iter().map(|c| c as u16).collect()),
        _ => Samples::U32(containers),
    })
}

/// The segments by the header of 16 numbers: their count and where each begins.
fn segments(bytes: &[u8], expected: usize) -> Result<Vec<&[u8]>, String> {
    let damaged = || "its RLE data are damaged: the header".to_owned();
    let header = bytes.get(..64).ok_or_else(damaged)?;
    let numbers: Vec<usize> = header
        .as_chunks()
        .0
        .iter()
        .map(|number| u32::from_le_bytes(*number) as usize)
        .collect();
    let (count, starts) = (numbers[0], &numbers[1..]);
    if count != expected || count > starts.len() {
        return Err(format!(
            "its RLE data are damaged: {count} segments instead of {expected}"
        ));
    }
    let end = |i: usize| match i + 1 < count {
        true => starts[i + 1],
        false => bytes.len(),
    };
    let segment = |i: usize| bytes.get(starts[i]..end(i)).filter(|_| starts[i] >= 64);
    (0..count).map(|i| segment(i).ok_or_else(damaged)).collect()
}

/// Passes on exactly `length` bytes of a PackBits segment.
fn unpack(mut packed: &[u8], mut length: usize, mut each: impl FnMut(u8)) -> Result<(), String> {
    let cut = || "truncated: its RLE data are not complete".to_owned();
    while length > 0 {
        let (&control, rest) = packed.split_first().ok_or_else(cut)?;
        let count = match control {
            0..=127 => usize::from(control) + 1,
            128 => 0,
            _ => 257 - usize::from(control),
        };
        let used = count.min(length);
        packed = match control {
            0..=127 => {
                rest.get(..used)
                    .ok_or_else(cut)?
                    .iter()
                    .for_each(|&byte| each(byte));
                rest.get(count..).unwrap_or_default()
            }
            128 => rest,
            _ => {
                let (&byte, rest) = rest.split_first().ok_or_else(cut)?;
                (0..used).for_each(|_| each(byte));
                rest
            }
        };
        length -= used;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8], length: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        unpack(packed, length, |byte| bytes.push(byte))?;
        Ok(bytes)
    }

    /// The example of Apple's Technical Note TN1023, which defines PackBits.
    #[test]
    fn packbits() {
        let packed = [
            0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7,
            0xAA,
        ];
        let expected = [
            0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0x22,
            0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA,
        ];
        assert_eq!(unpacked(&packed, 24).unwrap(), expected);
        // Nothing follows what is needed, whether or not a run would.
        assert_eq!(unpacked(&packed, 20).unwrap(), expected[..20]);
        assert!(unpacked(&packed, 25).unwrap_err().contains("truncated"));
        assert!(unpacked(&[5, 1, 2], 6).unwrap_err().contains("truncated"));
        assert_eq!(unpacked(&[128, 0, 7], 1).unwrap(), [7]);
    }
}
