//! Writes DICOM files element by element.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use dicom::{DicomImage, ReadOptions, Window};

pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(crate) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(crate) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
pub(crate) const RLE: &str = "1.2.840.10008.1.2.5";

pub(crate) const PIXELS: u32 = 0x7FE0_0010;

/// A data set being written: its elements in ascending order of tags.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) syntax: &'static str,
    elements: Vec<(u32, [u8; 2], Content)>,
}

#[derive(Clone, Debug)]
enum Content {
    /// Bytes in the file's order.
    Bytes(Vec<u8>),
    /// 16-bit words, which the file's order swaps.
    Words(Vec<u16>),
    Items(Vec<File>),
    Fragments(Vec<Vec<u8>>),
}

impl File {
    /// Without elements.
    pub(crate) fn empty(syntax: &'static str) -> Self {
        Self {
            syntax,
            elements: Vec::new(),
        }
    }

    /// A grey image of one row of 16-bit words.
    pub(crate) fn grey(words: &[u16], stored: u16, signed: bool) -> Self {
        Self::shaped(
            "MONOCHROME2",
            1,
            words.len() as u16,
            [16, stored, stored - 1, signed.into()],
        )
        .words(PIXELS, b"OW", words)
    }

    /// An image whose pixels are added later; bits are allocated, stored, the high bit and the representation.
    pub(crate) fn shaped(photometric: &str, rows: u16, columns: u16, bits: [u16; 4]) -> Self {
        let samples = match photometric {
            "RGB" | "YBR_FULL" | "YBR_FULL_422" => 3,
            _ => 1,
        };
        Self::empty(EXPLICIT)
            .us(0x0028_0002, samples)
            .text(0x0028_0004, b"CS", photometric)
            .us(0x0028_0010, rows)
            .us(0x0028_0011, columns)
            .us(0x0028_0100, bits[0])
            .us(0x0028_0101, bits[1])
            .us(0x0028_0102, bits[2])
            .us(0x0028_0103, bits[3])
    }

    pub(crate) fn with_syntax(mut self, syntax: &'static str) -> Self {
        self.syntax = syntax;
        self
    }

    fn with(mut self, tag: u32, vr: &[u8; 2], content: Content) -> Self {
        self.elements.retain(|(own, ..)| *own != tag);
        self.elements.push((tag, *vr, content));
        self.elements.sort_by_key(|(tag, ..)| *tag);
        self
    }

    pub(crate) fn without(mut self, tag: u32) -> Self {
        self.elements.retain(|(own, ..)| *own != tag);
        self
    }

    pub(crate) fn us(self, tag: u32, value: u16) -> Self {
        self.with(tag, b"US", Content::Words(vec![value]))
    }

    pub(crate) fn words(self, tag: u32, vr: &[u8; 2], words: &[u16]) -> Self {
        self.with(tag, vr, Content::Words(words.to_vec()))
    }

    pub(crate) fn bytes(self, tag: u32, vr: &[u8; 2], bytes: &[u8]) -> Self {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        self.with(tag, vr, Content::Bytes(bytes))
    }

    pub(crate) fn text(self, tag: u32, vr: &[u8; 2], text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(bytes.len().next_multiple_of(2), b' ');
        self.with(tag, vr, Content::Bytes(bytes))
    }

    pub(crate) fn items(self, tag: u32, items: Vec<File>) -> Self {
        self.with(tag, b"SQ", Content::Items(items))
    }

    pub(crate) fn fragments(self, fragments: &[&[u8]]) -> Self {
        let even = |fragment: &&[u8]| {
            let mut bytes = fragment.to_vec();
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            bytes
        };
        self.with(
            PIXELS,
            b"OB",
            Content::Fragments(fragments.iter().map(even).collect()),
        )
    }

    /// A file with preamble and meta information.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut file = [&[0; 128][..], b"DICM"].concat();
        let meta = File::empty(EXPLICIT).bytes(0x0002_0010, b"UI", self.syntax.as_bytes());
        file.extend(meta.data_set());
        file.extend(self.data_set());
        file
    }

    pub(crate) fn data_set(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, vr, content) in &self.elements {
            self.element(&mut out, *tag, vr, content);
        }
        out
    }

    fn element(&self, out: &mut Vec<u8>, tag: u32, vr: &[u8; 2], content: &Content) {
        let value = match content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Words(words) => words.iter().flat_map(|word| self.u16(*word)).collect(),
            // Of undefined length, with delimiters.
            Content::Items(items) => {
                self.header(out, tag, vr, u32::MAX);
                for item in items {
                    self.header(out, 0xFFFE_E000, b"  ", u32::MAX);
                    out.extend(item.clone().with_syntax(self.syntax).data_set());
                    self.header(out, 0xFFFE_E00D, b"  ", 0);
                }
                return self.header(out, 0xFFFE_E0DD, b"  ", 0);
            }
            Content::Fragments(fragments) => {
                self.header(out, tag, vr, u32::MAX);
                for fragment in fragments {
                    self.header(out, 0xFFFE_E000, b"  ", fragment.len() as u32);
                    out.extend(fragment);
                }
                return self.header(out, 0xFFFE_E0DD, b"  ", 0);
            }
        };
        self.header(out, tag, vr, value.len() as u32);
        out.extend(value);
    }

    fn header(&self, out: &mut Vec<u8>, tag: u32, vr: &[u8; 2], length: u32) {
        out.extend(self.u16((tag >> 16) as u16));
        out.extend(self.u16(tag as u16));
        let delimiter = tag >> 16 == 0xFFFE;
        if self.syntax == IMPLICIT || delimiter {
            return out.extend(self.u32(length));
        }
        out.extend(vr);
        match vr {
            b"OB" | b"OW" | b"SQ" | b"UN" => {
                out.extend([0, 0]);
                out.extend(self.u32(length));
            }
            _ => out.extend(self.u16(length as u16)),
        }
    }

    fn u16(&self, value: u16) -> [u8; 2] {
        match self.syntax == BIG_ENDIAN {
            true => value.to_be_bytes(),
            false => value.to_le_bytes(),
        }
    }

    fn u32(&self, value: u32) -> [u8; 4] {
        match self.syntax == BIG_ENDIAN {
            true => value.to_be_bytes(),
            false => value.to_le_bytes(),
        }
    }
}

pub(crate) fn options(window: Window) -> ReadOptions {
    ReadOptions {
        window,
        max_pixels: 1 << 20,
        ..ReadOptions::default()
    }
}

pub(crate) fn read(file: &File, window: Window) -> DicomImage {
    dicom::read(&file.write(), &options(window)).unwrap()
}

pub(crate) fn grey16(file: &File, window: Window) -> Vec<u16> {
    match read(file, window).pixels {
        image::DynamicImage::ImageLuma16(grey) => grey.into_raw(),
        other => panic!("{:?} instead of 16 bits", other.color()),
    }
}

pub(crate) fn grey8(file: &File, window: Window) -> Vec<u8> {
    match read(file, window).pixels {
        image::DynamicImage::ImageLuma8(grey) => grey.into_raw(),
        other => panic!("{:?} instead of 8 bits", other.color()),
    }
}

pub(crate) fn rgb8(file: &File) -> Vec<u8> {
    match read(file, Window::Auto).pixels {
        image::DynamicImage::ImageRgb8(rgb) => rgb.into_raw(),
        other => panic!("{:?} instead of RGB", other.color()),
    }
}

pub(crate) fn modality(file: &File) -> Vec<f64> {
    let values = dicom::modality_values(&file.write(), &options(Window::Auto));
    values.unwrap().values
}

pub(crate) fn refused(file: &File) -> String {
    dicom::read(&file.write(), &options(Window::Auto)).unwrap_err()
}

/// What the words are stretched to: `(value − black) / (white − black)` of 65535.
pub(crate) fn stretched(values: &[f64], black: f64, white: f64) -> Vec<u16> {
    let grey = |value: &f64| ((value - black) / (white - black)).clamp(0., 1.);
    values
        .iter()
        .map(|value| (grey(value) * 65535.).round() as u16)
        .collect()
}
