//! Data sets (PS3.5, chapter 7): the elements that are read, as slices of the file.
//!
//! Why not `dicom-object`: it allocates the length that an element claims before it reads the value (up to 4 GB for a
//! file of 200 bytes, and aborts where there is no such memory), and descends into nested sequences without a limit, so
//! that a small file overflows the stack. Nothing is copied here, every length is compared with the bytes that are there,
//! and the nesting is bounded.

use crate::tags::{self, Tag};

/// Sequences within sequences. Structured reports have some 20, images hardly more than 5.
const MAX_DEPTH: usize = 64;

const UNDEFINED: u32 = u32::MAX;

/// How the elements of a data set are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coding {
    pub(crate) explicit: bool,
    pub(crate) big_endian: bool,
}

/// The elements that are read, in the file's order.
#[derive(Debug, Default)]
pub(crate) struct DataSet<'b> {
    big_endian: bool,
    elements: Vec<Element<'b>>,
}

#[derive(Debug)]
pub(crate) struct Element<'b> {
    pub(crate) tag: Tag,
    /// `None` in implicit VR.
    pub(crate) vr: Option<[u8; 2]>,
    pub(crate) value: Value<'b>,
}

#[derive(Debug)]
pub(crate) enum Value<'b> {
    Bytes(&'b [u8]),
    Items(Vec<DataSet<'b>>),
    /// Of encapsulated pixels; the first is the basic offset table.
    Fragments(Vec<&'b [u8]>),
}

impl<'b> DataSet<'b> {
    /// A data set up to its pixels: of its elements those that `keep` names.
    pub(crate) fn read(
        bytes: &'b [u8],
        coding: Coding,
        keep: fn(Tag) -> bool,
    ) -> Result<Self, String> {
        let mut reader = Reader {
            bytes,
            at: 0,
            coding,
            keep,
        };
        reader.data_set(false, 0)
    }

    /// The file meta information, which is explicit and little-endian, and what follows it.
    pub(crate) fn meta(bytes: &'b [u8]) -> Result<(Self, &'b [u8]), String> {
        let coding = Coding {
            explicit: true,
            big_endian: false,
        };
        let mut reader = Reader {
            bytes,
            at: 0,
            coding,
            keep: Tag::is_read,
        };
        let mut set = Self::default();
        while reader.rest().starts_with(&[2, 0]) {
            let Some(element) = reader.element(0)? else {
                break;
            };
            set.elements.extend(element);
        }
        Ok((set, reader.rest()))
    }

    pub(crate) fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    pub(crate) fn element(&self, tag: Tag) -> Option<&Element<'b>> {
        self.elements.iter().find(|element| element.tag == tag)
    }

    /// The value's bytes; `None` if it is absent, empty or a sequence.
    pub(crate) fn bytes(&self, tag: Tag) -> Option<&'b [u8]> {
        match self.element(tag)?.value {
            Value::Bytes(bytes) if !bytes.is_empty() => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn items(&self, tag: Tag) -> &[DataSet<'b>] {
        match self.element(tag).map(|element| &element.value) {
            Some(Value::Items(items)) => items,
            _ => &[],
        }
    }

    /// The first of a text's values without its padding; `None` if there is nothing in it.
    pub(crate) fn text(&self, tag: Tag) -> Option<String> {
        let bytes = self.bytes(tag)?;
        let first = bytes.split(|&byte| byte == b'\\').next()?;
        // Other character sets only serve names, which are not read: Latin-1 stands for them all.
        let text = match std::str::from_utf8(first) {
            Ok(text) => text.to_owned(),
            Err(_) => first.iter().map(|&byte| char::from(byte)).collect(),
        };
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Decimal strings.
    pub(crate) fn numbers(&self, tag: Tag, name: &str) -> Result<Vec<f64>, String> {
        let text = self.bytes(tag).map(String::from_utf8_lossy);
        let text = text.unwrap_or_default();
        let values = text
            .split('\\')
            .map(|value| value.trim_matches(|c: char| c.is_whitespace() || c == '\0'));
        let values = values.filter(|value| !value.is_empty()).map(|value| {
            let number = value.parse().ok().filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| format!("its {name} {tag} is not a number: {value:?}"))
        });
        // A table of numbers has no more than a few values here.
        values.take(16).collect()
    }

    pub(crate) fn number(&self, tag: Tag, name: &str) -> Result<Option<f64>, String> {
        Ok(self.numbers(tag, name)?.first().copied())
    }

    /// An unsigned number of 16 bits.
    pub(crate) fn u16(&self, tag: Tag) -> Option<u16> {
        let bytes = self.bytes(tag)?.first_chunk()?;
        Some(self.word(*bytes))
    }

    pub(crate) fn word(&self, bytes: [u8; 2]) -> u16 {
        match self.big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        }
    }
}

/// Value representations (PS3.5, section 6.2).
pub(crate) const KNOWN_VRS: [[u8; 2]; 34] = [
    *b"AE", *b"AS", *b"AT", *b"CS", *b"DA", *b"DS", *b"DT", *b"FD", *b"FL", *b"IS", *b"LO", *b"LT",
    *b"OB", *b"OD", *b"OF", *b"OL", *b"OV", *b"OW", *b"PN", *b"SH", *b"SL", *b"SQ", *b"SS", *b"ST",
    *b"SV", *b"TM", *b"UC", *b"UI", *b"UL", *b"UN", *b"UR", *b"US", *b"UT", *b"UV",
];

/// Those whose length has 32 bits.
pub(crate) const LONG_VRS: [[u8; 2]; 13] = [
    *b"OB", *b"OD", *b"OF", *b"OL", *b"OV", *b"OW", *b"SQ", *b"SV", *b"UC", *b"UN", *b"UR", *b"UT",
    *b"UV",
];

impl Coding {
    /// From a data set's first element: files exist whose transfer syntax says otherwise or is missing.
    pub(crate) fn guess(bytes: &[u8]) -> Self {
        let vr = bytes.get(4..6).unwrap_or_default();
        Self {
            explicit: KNOWN_VRS.iter().any(|known| known == vr),
            big_endian: bytes.first() == Some(&0),
        }
    }
}

struct Header {
    tag: Tag,
    vr: Option<[u8; 2]>,
    length: u32,
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    coding: Coding,
    keep: fn(Tag) -> bool,
}

impl<'b> Reader<'b> {
    fn rest(&self) -> &'b [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Elements up to the end, the pixels, or the end of an item of undefined length.
    fn data_set(&mut self, delimited: bool, depth: usize) -> Result<DataSet<'b>, String> {
        let mut set = DataSet {
            big_endian: self.coding.big_endian,
            elements: Vec::new(),
        };
        // Fewer bytes than a header has are padding.
        while self.rest().len() >= 8 {
            match self.element(depth)? {
                None if delimited => return Ok(set),
                None => {
                    return Err(
                        "its data set is damaged: a delimiter without a sequence".to_owned()
                    );
                }
                Some(None) => {}
                Some(Some(element)) => {
                    let last = element.tag.is_pixels();
                    set.elements.push(element);
                    if last && depth == 0 {
                        return Ok(set);
                    }
                }
            }
        }
        match delimited {
            true => Err(truncated(tags::ITEM)),
            false => Ok(set),
        }
    }

    /// The next element, if it is one that is read; the outer `None` is the end of an item.
    fn element(&mut self, depth: usize) -> Result<Option<Option<Element<'b>>>, String> {
        let Header { tag, vr, length } = self.header()?;
        if tag == tags::ITEM_END {
            return Ok(None);
        }
        if tag.0 == tags::ITEM.0 {
            return Err(format!(
                "its data set is damaged: {tag} is not in a sequence"
            ));
        }
        let value = match length {
            UNDEFINED if tag == tags::PIXELS => Value::Fragments(self.fragments()?),
            UNDEFINED => {
                let coding = self.within(vr);
                let mut items = Reader { coding, ..*self };
                let value = items.items(tag, depth)?;
                self.at = items.at;
                Value::Items(value)
            }
            length => {
                let bytes = self.take(length, tag)?;
                match tag.is_sequence() && (self.keep)(tag) {
                    true => {
                        let coding = self.within(vr);
                        let mut items = Reader {
                            bytes,
                            at: 0,
                            coding,
                            ..*self
                        };
                        Value::Items(items.items(tag, depth)?)
                    }
                    false => Value::Bytes(bytes),
                }
            }
        };
        Ok(Some((self.keep)(tag).then_some(Element { tag, vr, value })))
    }

    /// The coding within a sequence: one of unknown VR is implicit and little-endian (PS3.5, section 6.2.2).
    fn within(&self, vr: Option<[u8; 2]>) -> Coding {
        match vr {
            Some([b'U', b'N']) => Coding {
                explicit: false,
                big_endian: false,
            },
            _ => self.coding,
        }
    }

    /// A sequence's items up to its delimiter or the end.
    fn items(&mut self, tag: Tag, depth: usize) -> Result<Vec<DataSet<'b>>, String> {
        if depth >= MAX_DEPTH {
            return Err(format!(
                "its sequences are nested more than {MAX_DEPTH} deep, in {tag}"
            ));
        }
        let mut items = Vec::new();
        while self.rest().len() >= 8 {
            let header = self.header()?;
            let item = match (header.tag, header.length) {
                (tags::SEQUENCE_END, _) => return Ok(items),
                (tags::ITEM, UNDEFINED) => self.data_set(true, depth + 1)?,
                (tags::ITEM, length) => {
                    let bytes = self.take(length, tag)?;
                    let coding = self.coding;
                    Reader {
                        bytes,
                        at: 0,
                        coding,
                        ..*self
                    }
                    .data_set(false, depth + 1)?
                }
                (other, _) => {
                    return Err(format!(
                        "its data set is damaged: {other} is between the items of {tag}"
                    ));
                }
            };
            if tag.is_sequence() {
                items.push(item);
            }
        }
        Ok(items)
    }

    /// The fragments of encapsulated pixels (PS3.5, section A.4).
    fn fragments(&mut self) -> Result<Vec<&'b [u8]>, String> {
        let mut fragments = Vec::new();
        while self.rest().len() >= 8 {
            let header = self.header()?;
            match header.tag {
                tags::SEQUENCE_END => return Ok(fragments),
                tags::ITEM => fragments.push(self.take(header.length, tags::PIXELS)?),
                other => {
                    return Err(format!(
                        "its pixels are damaged: {other} is between their fragments"
                    ));
                }
            }
        }
        // Some programs leave the delimiter out; whether a frame is complete is found out where it is decoded.
        Ok(fragments)
    }

    fn header(&mut self) -> Result<Header, String> {
        let cut = || "truncated: it ends within the header of an element".to_owned();
        let bytes = self.rest().first_chunk::<8>().ok_or_else(cut)?;
        let &[g0, g1, e0, e1, a, b, c, d] = bytes;
        let tag = Tag(self.u16([g0, g1]), self.u16([e0, e1]));
        self.at += 8;
        let vr = [a, b];
        // Elements without a VR exist in files of explicit VR, written by programs that knew no VR for them.
        if !self.coding.explicit || tag.0 == tags::ITEM.0 || !KNOWN_VRS.contains(&vr) {
            let length = self.u32([a, b, c, d]);
            return Ok(Header {
                tag,
                vr: None,
                length,
            });
        }
        let length = match LONG_VRS.contains(&vr) {
            false => u32::from(self.u16([c, d])),
            true => {
                let length = self.rest().first_chunk::<4>().ok_or_else(cut)?;
                self.at += 4;
                self.u32(*length)
            }
        };
        Ok(Header {
            tag,
            vr: Some(vr),
            length,
        })
    }

    fn take(&mut self, length: u32, tag: Tag) -> Result<&'b [u8], String> {
        let bytes = self.rest().get(..length as usize);
        let bytes = bytes.ok_or_else(|| truncated(tag))?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn u16(&self, bytes: [u8; 2]) -> u16 {
        match self.coding.big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        }
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        match self.coding.big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        }
    }
}

fn truncated(tag: Tag) -> String {
    format!("truncated or damaged: it ends within the element {tag}")
}
