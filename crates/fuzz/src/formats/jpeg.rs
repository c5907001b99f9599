//! JPEG: segments with a length each, then the scan. There are no checksums, so damage may go unnoticed, but a
//! truncated scan must be detected.

use crate::mutate;
use crate::rng::Rng;

/// Byte sequences that a decoder looks for.
const WORDS: [&[u8]; 14] = [
    b"\xFF\xD8",
    b"\xFF\xC0",
    b"\xFF\xC1",
    b"\xFF\xC2",
    b"\xFF\xC4",
    b"\xFF\xDB",
    b"\xFF\xDA",
    b"\xFF\xD9",
    b"\xFF\xD0",
    b"\xFF\xDD\x00\x04\x00\x01",
    b"\xFF\xE1\x00\x02",
    b"\xFF\xEE\x00\x0EAdobe\x00\x64",
    b"\xFF\x00",
    b"\xFF\xFF",
];

const END: [u8; 2] = [0xFF, 0xD9];

/// A segment before the first scan.
#[derive(Clone, Debug)]
struct Segment {
    /// Including the marker and the length.
    bytes: Vec<u8>,
}

/// Removes, duplicates, swaps or changes segments, with right lengths; or changes any bytes.
pub(crate) fn mutate(rng: &mut Rng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    if rng.once_in(3) {
        let mut bytes = bytes.to_vec();
        mutate::bytes(rng, &mut bytes, &WORDS, other);
        return bytes;
    }
    let (mut segments, mut scan) = split(bytes);
    loop {
        change(rng, &mut segments, &mut scan, other);
        if !rng.once_in(3) {
            break;
        }
    }
    let segments = segments.into_iter().flat_map(|segment| segment.bytes);
    b"\xFF\xD8"
        .iter()
        .copied()
        .chain(segments)
        .chain(scan)
        .collect()
}

/// The file with a truncated scan followed by an end marker: a partial image that looks complete.
pub(crate) fn cut(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let (_, scan) = split(bytes);
    let lost = rng.below(scan.len().saturating_sub(16)).max(3);
    let mut cut = bytes[..bytes.len().saturating_sub(lost)].to_vec();
    // Half of a stuffed byte or of a marker would be a different fault.
    while cut.last() == Some(&0xFF) {
        cut.pop();
    }
    cut.extend(END);
    cut
}

fn change(rng: &mut Rng, segments: &mut Vec<Segment>, scan: &mut Vec<u8>, other: &[u8]) {
    let at = rng.below(segments.len());
    match rng.below(8) {
        0..=2 => {
            if let Some(segment) = segments.get_mut(at) {
                segment.mutate(rng);
            }
        }
        3 if !segments.is_empty() => drop(segments.remove(at)),
        4 => segments.extend(segments.get(at).cloned()),
        5 if !segments.is_empty() => {
            let with = rng.below(segments.len());
            segments.swap(at, with);
        }
        6 => {
            let foreign = split(other).0;
            let new = rng.pick(&foreign).cloned();
            new.into_iter()
                .for_each(|segment| segments.insert(at, segment));
        }
        _ => mutate::bytes(rng, scan, &WORDS, &[]),
    }
}

impl Segment {
    fn mutate(&mut self, rng: &mut Rng) {
        let mut payload = self.bytes.split_off(4.min(self.bytes.len()));
        mutate::bytes(rng, &mut payload, &[], &[]);
        if let [_, _, high, low] = self.bytes.as_mut_slice() {
            [*high, *low] = ((payload.len() + 2) as u16).to_be_bytes();
        }
        self.bytes.extend(payload);
    }
}

/// The segments before the first scan, and the rest, starting with its marker.
fn split(bytes: &[u8]) -> (Vec<Segment>, Vec<u8>) {
    let (mut segments, mut at) = (vec![], 2);
    while let Some([0xFF, kind, high, low]) = bytes.get(at..at + 4) {
        let end = at + 2 + usize::from(u16::from_be_bytes([*high, *low]));
        let Some(segment) = bytes.get(at..end).filter(|_| *kind != 0xDA) else {
            break;
        };
        segments.push(Segment {
            bytes: segment.to_vec(),
        });
        at = end;
    }
    (segments, bytes.get(at..).unwrap_or_default().to_vec())
}
