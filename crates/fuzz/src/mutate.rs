//! Mutations of bytes, independent of any format. Those in [`crate::formats`] are specific to a format.

use crate::rng::Rng;

/// Maximum bytes of an input: larger ones are slow and reveal nothing more.
pub(crate) const LARGEST: usize = 1 << 16;

/// Numbers at which arithmetic often goes wrong.
const NUMBERS: [u64; 26] = [
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    127,
    128,
    255,
    256,
    1000,
    4096,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    22_000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 32,
    (1 << 61) + 16,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// A number at which arithmetic often goes wrong, a neighbour of one, or a random number.
pub(crate) fn number(rng: &mut Rng) -> u64 {
    let number = rng.pick(&NUMBERS).copied().unwrap_or_default();
    match rng.below(6) {
        0 => number.wrapping_add(1),
        1 => number.wrapping_sub(1),
        2 => rng.next_u64() >> rng.below(64),
        _ => number,
    }
}

/// Makes one or more changes, usually few. `words` are byte sequences of the format, `other` is another input to copy
/// parts from.
pub(crate) fn bytes(rng: &mut Rng, bytes: &mut Vec<u8>, words: &[&[u8]], other: &[u8]) {
    loop {
        change(rng, bytes, words, other);
        if !rng.once_in(3) {
            break;
        }
    }
    bytes.truncate(LARGEST);
}

/// As [`bytes`], but only damage as from disks and transfers: flipped bits, lost and zeroed ranges.
pub(crate) fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let piece = piece(rng, bytes.len());
    match rng.below(5) {
        0 | 1 => flip(rng, bytes),
        2 => truncate(rng, bytes),
        3 => drop(bytes.drain(piece)),
        _ => bytes[piece].fill(0),
    }
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, words: &[&[u8]], other: &[u8]) {
    let (place, len) = (rng.below(bytes.len() + 1), bytes.len());
    match rng.below(13) {
        0 | 1 => flip(rng, bytes),
        2 => overwrite(bytes, place, &[rng.byte()]),
        3 => nudge(rng, bytes),
        4 | 5 => {
            let number = number(rng);
            let width = [1, 2, 4, 8][rng.below(4)];
            let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
            match rng.once_in(2) {
                true => overwrite(bytes, place, &little[..width]),
                false => overwrite(bytes, place, &big[8 - width..]),
            }
        }
        6 => {
            let new: Vec<u8> = (0..rng.length(64)).map(|_| rng.byte()).collect();
            insert(bytes, place, &new);
        }
        7 => drop(bytes.drain(piece(rng, len))),
        8 => {
            let copy = bytes[piece(rng, len)].to_vec();
            insert(bytes, place, &copy);
        }
        9 => {
            let copy = bytes[piece(rng, len)].to_vec();
            overwrite(bytes, place, &copy);
        }
        10 => truncate(rng, bytes),
        11 => {
            let cut = other[piece(rng, other.len())].to_vec();
            match rng.once_in(2) {
                true => insert(bytes, place, &cut),
                false => overwrite(bytes, place, &cut),
            }
        }
        _ => {
            let word = rng.pick(words).copied().unwrap_or(b"\0\0\0\0");
            match rng.once_in(2) {
                true => insert(bytes, place, word),
                false => overwrite(bytes, place, word),
            }
        }
    }
}

/// A range of a sequence of this length; short ones are far more likely than long ones.
pub(crate) fn piece(rng: &mut Rng, len: usize) -> std::ops::Range<usize> {
    let size = rng.length(len);
    let start = rng.below(len - size + 1);
    start..start + size
}

fn flip(rng: &mut Rng, bytes: &mut [u8]) {
    let (place, bit) = (rng.below(bytes.len()), rng.below(8));
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << bit;
    }
}

fn nudge(rng: &mut Rng, bytes: &mut [u8]) {
    let (place, by) = (rng.below(bytes.len()), rng.below(33) as u8);
    if let Some(byte) = bytes.get_mut(place) {
        *byte = byte.wrapping_add(by).wrapping_sub(16);
    }
}

/// Half of all truncations are near the end, where completeness checks apply.
fn truncate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let lost = match rng.once_in(2) {
        true => rng.length(bytes.len()),
        false => rng.below(bytes.len() + 1),
    };
    bytes.truncate(bytes.len() - lost);
}

fn overwrite(bytes: &mut [u8], place: usize, new: &[u8]) {
    let room = bytes.len().saturating_sub(place).min(new.len());
    if let Some(old) = bytes.get_mut(place..place + room) {
        old.copy_from_slice(&new[..room]);
    }
}

fn insert(bytes: &mut Vec<u8>, place: usize, new: &[u8]) {
    let place = place.min(bytes.len());
    drop(bytes.splice(place..place, new.iter().copied()));
}
