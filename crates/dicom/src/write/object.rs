//! Objects: elements in ascending order, encoded as Explicit VR Little Endian (PS3.5, section 7; PS3.10, section 7.1).

use std::collections::BTreeMap;

use super::attributes as a;
use super::attributes::Attribute;
use super::uid;
use crate::dataset::LONG_VRS;
use crate::tags::{self, Tag};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// A data set being written. An attribute that is set again replaces the former one.
#[derive(Clone, Default)]
pub struct Object {
    elements: BTreeMap<Tag, ([u8; 2], Content)>,
}

#[derive(Clone)]
enum Content {
    Bytes(Vec<u8>),
    Items(Vec<Object>),
}

impl Object {
    /// A text, date, UID or number string; several values are separated by backslashes.
    pub fn text(self, attribute: Attribute, text: &str) -> Self {
        self.bytes(attribute, text.as_bytes().to_vec())
    }

    /// Without a value, as attributes of type 2 may be (PS3.5, section 7.4.3).
    pub fn empty(self, attribute: Attribute) -> Self {
        self.bytes(attribute, vec![])
    }

    /// An unsigned number of 16 bits.
    pub fn number(self, attribute: Attribute, value: u16) -> Self {
        self.bytes(attribute, value.to_le_bytes().to_vec())
    }

    /// Unsigned numbers of 32 bits.
    pub fn long_numbers(self, attribute: Attribute, values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.bytes(attribute, bytes.collect())
    }

    /// The tag of another attribute.
    pub fn pointer(self, attribute: Attribute, to: Attribute) -> Self {
        let Tag(group, element) = to.tag;
        let bytes = [group.to_le_bytes(), element.to_le_bytes()].concat();
        self.bytes(attribute, bytes)
    }

    /// A sequence.
    pub fn items(mut self, attribute: Attribute, items: Vec<Object>) -> Self {
        let content = Content::Items(items);
        self.elements.insert(attribute.tag, (attribute.vr, content));
        self
    }

    /// A value as it is encoded; an odd number of bytes is padded.
    pub fn bytes(mut self, attribute: Attribute, mut bytes: Vec<u8>) -> Self {
        let Attribute { tag, vr } = attribute;
        if !bytes.len().is_multiple_of(2) {
            bytes.push(padding(vr));
        }
        self.elements.insert(tag, (vr, Content::Bytes(bytes)));
        self
    }

    /// Without an attribute.
    pub fn without(mut self, attribute: Attribute) -> Self {
        self.elements.remove(&attribute.tag);
        self
    }

    pub(super) fn has(&self, attribute: Attribute) -> bool {
        self.elements.contains_key(&attribute.tag)
    }

    /// With the elements of another object, which replace equal ones.
    pub fn with(mut self, other: Object) -> Self {
        self.elements.extend(other.elements);
        self
    }

    /// The bytes of a file with preamble and file meta information, which names the object's SOP class and instance.
    pub fn file(&self) -> Vec<u8> {
        let mut file = [&[0; 128][..], b"DICM"].concat();
        let version = env!("CARGO_PKG_VERSION");
        let meta = Object::default()
            .bytes(a::META_VERSION, vec![0, 1])
            .bytes(a::MEDIA_CLASS, self.value(a::SOP_CLASS))
            .bytes(a::MEDIA_INSTANCE, self.value(a::SOP_INSTANCE))
            .text(a::TRANSFER_SYNTAX, EXPLICIT)
            .text(a::IMPLEMENTATION, &uid(&[b"implementation", b"eff-unet"]))
            .text(a::IMPLEMENTATION_NAME, &format!("EFF_UNET_{version}"));
        let meta = meta.encoded();
        let length = Object::default().long_numbers(a::META_LENGTH, &[meta.len() as u32]);
        file.extend(length.encoded());
        file.extend(meta);
        self.encode(&mut file);
        file
    }

    /// The bytes of a value; none if it is absent or a sequence.
    pub(super) fn value(&self, attribute: Attribute) -> Vec<u8> {
        match self.elements.get(&attribute.tag) {
            Some((_, Content::Bytes(bytes))) => bytes.clone(),
            _ => vec![],
        }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = vec![];
        self.encode(&mut out);
        out
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for (tag, (vr, content)) in &self.elements {
            match content {
                Content::Bytes(bytes) => {
                    header(out, *tag, *vr, bytes.len());
                    out.extend(bytes);
                }
                Content::Items(items) => {
                    let items: Vec<Vec<u8>> = items.iter().map(Object::encoded).collect();
                    let length = items.iter().map(|item| 8 + item.len()).sum();
                    header(out, *tag, *vr, length);
                    for item in items {
                        start(out, tags::ITEM);
                        out.extend((item.len() as u32).to_le_bytes());
                        out.extend(item);
                    }
                }
            }
        }
    }
}

/// Spaces after text, zeros after UIDs and bytes (PS3.5, section 6.2).
fn padding(vr: [u8; 2]) -> u8 {
    match &vr {
        b"UI" | b"OB" | b"OW" | b"UN" => 0,
        _ => b' ',
    }
}

fn start(out: &mut Vec<u8>, Tag(group, element): Tag) {
    out.extend(group.to_le_bytes());
    out.extend(element.to_le_bytes());
}

fn header(out: &mut Vec<u8>, tag: Tag, vr: [u8; 2], length: usize) {
    start(out, tag);
    match u16::try_from(length) {
        Ok(length) if !LONG_VRS.contains(&vr) => {
            out.extend(vr);
            out.extend(length.to_le_bytes());
        }
        short => {
            // A value too long for its VR is of unknown VR (PS3.5, section 6.2.2, note 6).
            let fits = short.is_ok() || LONG_VRS.contains(&vr);
            out.extend(if fits { vr } else { *b"UN" });
            out.extend([0, 0]);
            out.extend((length as u32).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_encoded_in_order_and_padded() {
        let item = Object::default().number(a::REFERENCED_SEGMENT, 3);
        let object = Object::default()
            .items(a::SEGMENT_IDENTIFICATION, vec![item])
            .text(a::MODALITY, "SEG")
            .text(a::SOP_INSTANCE, "1.2")
            .pointer(a::DIMENSION_INDEX_POINTER, a::IMAGE_POSITION);
        let expected: [&[u8]; 5] = [
            b"\x08\0\x18\0UI\x04\x001.2\0",
            b"\x08\0\x60\0CS\x04\0SEG ",
            b"\x20\0\x65\x91AT\x04\0\x20\0\x32\0",
            b"\x62\0\x0A\0SQ\0\0\x12\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0",
            b"\x62\0\x0B\0US\x02\0\x03\0",
        ];
        assert_eq!(object.encoded(), expected.concat());
    }

    #[test]
    fn long_values_of_short_vrs_are_of_unknown_vr() {
        let long = Object::default().text(a::SEGMENT_LABEL, &"x".repeat(70_000));
        assert_eq!(&long.encoded()[4..12], b"UN\0\0\x70\x11\x01\0");
    }
}
