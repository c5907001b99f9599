//! DICOM: elements with a length each, in sequences and items; compressed pixels are fragments. There are no checksums.

use crate::mutate;
use crate::rng::Rng;

/// Tags with VRs, delimiters and lengths that a parser looks for.
const WORDS: [&[u8]; 14] = [
    b"\xFE\xFF\x00\xE0",
    b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
    b"\xFE\xFF\x0D\xE0\x00\x00\x00\x00",
    b"\xFE\xFF\xDD\xE0\x00\x00\x00\x00",
    b"\xFF\xFF\xFF\xFF",
    b"\xE0\x7F\x10\x00OB\x00\x00\xFF\xFF\xFF\xFF",
    b"\x28\x00\x00\x30SQ\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF",
    b"\x00\x52\x30\x92SQ\x00\x00\xFF\xFF\xFF\xFF",
    b"\x28\x00\x10\x00US\x02\x00\xFF\xFF",
    b"\x28\x00\x08\x00IS\x02\x009 ",
    b"UN",
    b"SQ",
    b"1.2.840.10008.1.2.1.99",
    b"YBR_FULL_422",
];

/// Markers and segments of the compressed streams.
const CODES: [&[u8]; 16] = [
    b"\xFF\xD8",
    b"\xFF\xD9",
    b"\xFF\xC1\x00\x0B\x0C",
    b"\xFF\xC3\x00\x0B\x10",
    b"\xFF\xC4",
    b"\xFF\xDA",
    b"\xFF\xDD\x00\x04\x00\x01",
    b"\xFF\xF7\x00\x0B\x08",
    b"\xFF\xF8\x00\x0D\x01",
    b"\xFF\x4F\xFF\x51",
    b"\xFF\x52",
    b"\xFF\x5C",
    b"\xFF\x90",
    b"\xFF\x93",
    b"\x00\x00\x00\x01\x40\x00\x00\x00",
    b"\x00\x00",
];

/// Explicit VR Little Endian, in which almost all files are written.
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

const PIXELS: (u16, u16) = (0x7FE0, 0x0010);
const LONG: [&[u8; 2]; 5] = [b"OB", b"OW", b"SQ", b"UN", b"UT"];
const NESTED: &[u8] = b"\x08\x00\x40\x11SQ\x00\x00\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF";

/// A file by its elements.
#[derive(Clone, Debug)]
pub(crate) struct File {
    syntax: &'static str,
    elements: Vec<Element>,
}

#[derive(Clone, Debug)]
struct Element {
    tag: (u16, u16),
    vr: [u8; 2],
    value: Vec<u8>,
    /// Its value is the content of a sequence or fragments, of undefined length.
    open: bool,
}

impl File {
    /// An image of Rows, Columns, Samples, and bits allocated, stored, the high bit and the representation.
    pub(crate) fn image(photometric: &str, shape: [u16; 3], bits: [u16; 4]) -> Self {
        let file = Self {
            syntax: EXPLICIT,
            elements: Vec::new(),
        };
        let file = file
            .text((0x0008, 0x0060), b"CS", "DX")
            .us(0x0002, shape[2]);
        let file = file.text((0x0028, 0x0004), b"CS", photometric);
        let file = file.us(0x0010, shape[0]).us(0x0011, shape[1]);
        (0x0100..)
            .zip(bits)
            .fold(file, |file, (tag, value)| file.us(tag, value))
    }

    pub(crate) fn with(mut self, tag: (u16, u16), vr: &[u8; 2], value: Vec<u8>) -> Self {
        let element = Element {
            tag,
            vr: *vr,
            value,
            open: false,
        };
        let at = self.elements.partition_point(|other| other.tag <= tag);
        self.elements.insert(at, element);
        self
    }

    pub(crate) fn us(self, element: u16, value: u16) -> Self {
        self.with((0x0028, element), b"US", value.to_le_bytes().to_vec())
    }

    pub(crate) fn text(self, tag: (u16, u16), vr: &[u8; 2], text: &str) -> Self {
        let padding = " ".repeat(text.len() % 2);
        self.with(tag, vr, [text, &padding].concat().into_bytes())
    }

    /// A sequence of one item.
    pub(crate) fn sequence(mut self, tag: (u16, u16), item: File) -> Self {
        let mut value = b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF".to_vec();
        item.elements
            .iter()
            .for_each(|element| element.write(&mut value));
        value.extend(b"\xFE\xFF\x0D\xE0\x00\x00\x00\x00");
        self = self.with(tag, b"SQ", value);
        self.elements
            .iter_mut()
            .filter(|element| element.tag == tag)
            .for_each(|element| element.open = true);
        self
    }

    pub(crate) fn pixels(self, pixels: Vec<u8>) -> Self {
        self.with(PIXELS, b"OW", pixels)
    }

    /// Compressed pixels in this transfer syntax, as one fragment.
    pub(crate) fn compressed(mut self, syntax: &'static str, stream: &[u8]) -> Self {
        self.syntax = syntax;
        let mut file = self.with(PIXELS, b"OB", fragments(&[stream]));
        if let Some(last) = file.elements.last_mut() {
            last.open = true;
        }
        file
    }

    /// Without elements, for an item.
    pub(crate) fn item() -> Self {
        Self {
            syntax: EXPLICIT,
            elements: Vec::new(),
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = [&[0; 128][..], b"DICM"].concat();
        let mut uid = self.syntax.as_bytes().to_vec();
        uid.resize(uid.len().next_multiple_of(2), 0);
        let meta = Element {
            tag: (2, 0x10),
            vr: *b"UI",
            value: uid,
            open: false,
        };
        meta.write(&mut bytes);
        self.elements
            .iter()
            .for_each(|element| element.write(&mut bytes));
        bytes
    }
}

impl Element {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.tag.0.to_le_bytes(), self.tag.1.to_le_bytes(), self.vr].as_flattened());
        let length = if self.open {
            u32::MAX
        } else {
            self.value.len() as u32
        };
        match LONG.contains(&&self.vr) {
            true => {
                out.extend([0, 0]);
                out.extend(length.to_le_bytes());
            }
            false => out.extend((length as u16).to_le_bytes()),
        }
        out.extend(&self.value);
        if self.open {
            out.extend(b"\xFE\xFF\xDD\xE0\x00\x00\x00\x00");
        }
    }

    fn mutate(&mut self, rng: &mut Rng, other: &[u8]) {
        match (self.tag, self.open) {
            // The stream changes, and the fragment's length with it.
            (PIXELS, true) => {
                let mut stream = self.value.split_off(16.min(self.value.len()));
                mutate::bytes(rng, &mut stream, &CODES, &[]);
                self.value = match rng.once_in(6) {
                    true => {
                        let (a, b) = stream.split_at(rng.below(stream.len() + 1));
                        fragments(&[a, b])
                    }
                    false => fragments(&[&stream]),
                };
            }
            _ if self.vr == *b"US" => {
                self.value = (mutate::number(rng) as u16).to_le_bytes().to_vec()
            }
            _ => mutate::bytes(rng, &mut self.value, &WORDS, other),
        }
    }
}

/// Fragments after an empty offset table.
fn fragments(streams: &[&[u8]]) -> Vec<u8> {
    let mut value = b"\xFE\xFF\x00\xE0\x00\x00\x00\x00".to_vec();
    for stream in streams {
        value.extend(b"\xFE\xFF\x00\xE0");
        value.extend((stream.len() as u32).to_le_bytes());
        value.extend(*stream);
    }
    value
}

/// Changes elements, with right lengths; nests sequences; or changes any bytes of the file.
pub(crate) fn mutate(rng: &mut Rng, file: &File, other: &File) -> Vec<u8> {
    if rng.once_in(3) {
        let mut bytes = file.write();
        mutate::bytes(rng, &mut bytes, &WORDS, &other.write());
        return bytes;
    }
    let mut file = file.clone();
    loop {
        change(rng, &mut file, other);
        if !rng.once_in(3) {
            break;
        }
    }
    let mut bytes = file.write();
    bytes.truncate(mutate::LARGEST);
    bytes
}

/// Gives header and compressed stream another size, which only they state: what is allocated for it is bounded.
fn resize(rng: &mut Rng, file: &mut File) {
    let mut sizes = [0_u32; 2];
    let mut replaced = vec![];
    for (i, tag) in [(0x0028, 0x0010), (0x0028, 0x0011)].into_iter().enumerate() {
        let Some(element) = file.elements.iter_mut().find(|element| element.tag == tag) else {
            return;
        };
        let Some(old) = element
            .value
            .first_chunk()
            .map(|value| u16::from_le_bytes(*value))
        else {
            return;
        };
        let new = rng.length(2000) as u16;
        element.value = new.to_le_bytes().to_vec();
        sizes[i] = old.into();
        replaced.push(u32::from(new));
    }
    let ([rows, columns], [new_rows, new_columns]) = (sizes, [replaced[0], replaced[1]]);
    let Some(last) = file.elements.last_mut() else {
        return;
    };
    // JPEG and JPEG-LS state rows and columns in 16 bits, JPEG 2000 columns and rows in 32, of the image and its tiles.
    let short = |a: u32, b: u32| [(a as u16).to_be_bytes(), (b as u16).to_be_bytes()].concat();
    let long = |a: u32, b: u32| [a.to_be_bytes(), b.to_be_bytes()].concat();
    replace(
        &mut last.value,
        &short(rows, columns),
        &short(new_rows, new_columns),
    );
    replace(
        &mut last.value,
        &long(columns, rows),
        &long(new_columns, new_rows),
    );
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    for at in 0..bytes.len().saturating_sub(old.len()) {
        if bytes[at..].starts_with(old) {
            bytes[at..at + new.len()].copy_from_slice(new);
        }
    }
}

fn change(rng: &mut Rng, file: &mut File, other: &File) {
    let at = rng.below(file.elements.len());
    match rng.below(11) {
        10 => resize(rng, file),
        0..=4 => {
            // Half of all changes are in the pixels, which are last.
            let at = if rng.once_in(2) {
                file.elements.len().saturating_sub(1)
            } else {
                at
            };
            let foreign = other.elements.last().map(|element| element.value.clone());
            if let Some(element) = file.elements.get_mut(at) {
                element.mutate(rng, &foreign.unwrap_or_default());
            }
        }
        5 if !file.elements.is_empty() => drop(file.elements.remove(at)),
        6 => {
            let new = rng.pick(&other.elements).cloned();
            new.into_iter()
                .for_each(|element| file.elements.insert(at, element));
        }
        7 => file.syntax = other.syntax,
        8 => {
            let depth = rng.length(3000);
            let value = NESTED.repeat(depth);
            let element = Element {
                tag: (0x0008, 0x1140),
                vr: *b"UN",
                value,
                open: rng.once_in(2),
            };
            file.elements.insert(at, element);
        }
        _ => {
            let with = rng.below(file.elements.len());
            if at.max(with) < file.elements.len() {
                file.elements.swap(at, with);
            }
        }
    }
}
