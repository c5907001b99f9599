//! Compressed frames: streams of CharLS, OpenJPEG and libjpeg (`streams/make.py`), and of RLE by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::*;
use dicom::{ReadOptions, Window};

#[derive(serde::Deserialize)]
struct Stream {
    rows: u16,
    columns: u16,
    samples: u16,
    bits: u16,
    signed: bool,
    /// `None` for the pattern.
    values: Option<Vec<i64>>,
}

impl Stream {
    /// As in `make.py`.
    fn expected(&self) -> Vec<f64> {
        let of = |i: u64| {
            let (samples, columns) = (u64::from(self.samples), u64::from(self.columns));
            let (y, x, c) = (i / samples / columns, i / samples % columns, i % samples);
            let noise = (x * 7 + y * 13 + x * y * 3 + c * 50) * 37 % (1 << self.bits);
            let flat = (x / 6 + y / 4) % 2 == 0;
            let value = if flat { (1 << self.bits) / 3 } else { noise } as i64;
            if self.signed { value - 32768 } else { value }
        };
        let number = u64::from(self.rows) * u64::from(self.columns) * u64::from(self.samples);
        let values = self
            .values
            .clone()
            .unwrap_or_else(|| (0..number).map(of).collect());
        values.into_iter().map(|value| value as f64).collect()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> File {
        let syntax = match Path::new(name).extension().unwrap().to_str().unwrap() {
            "jls" => "1.2.840.10008.1.2.4.81",
            "j2k" | "jp2" => "1.2.840.10008.1.2.4.90",
            _ if name.starts_with("lossless") => "1.2.840.10008.1.2.4.70",
            _ => "1.2.840.10008.1.2.4.51",
        };
        let photometric = if self.samples == 3 {
            "RGB"
        } else {
            "MONOCHROME2"
        };
        let allocated = if self.bits <= 8 { 8 } else { 16 };
        File::shaped(
            photometric,
            self.rows,
            self.columns,
            [allocated, self.bits, self.bits - 1, self.signed.into()],
        )
        .with_syntax(syntax)
        .fragments(&[b"", bytes])
    }
}

fn streams() -> Vec<(String, Stream, Vec<u8>)> {
    let streams: BTreeMap<String, Stream> =
        serde_json::from_str(include_str!("streams/streams.json")).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams");
    let read = |(name, stream): (String, Stream)| {
        let bytes = std::fs::read(folder.join(&name)).unwrap();
        (name, stream, bytes)
    };
    streams.into_iter().map(read).collect()
}

#[test]
fn streams_decode_as_by_the_libraries_that_wrote_them() {
    for (name, stream, bytes) in streams() {
        let found =
            dicom::modality_values(&stream.file(&name, &bytes).write(), &options(Window::Auto));
        let found = found
            .unwrap_or_else(|reason| panic!("{name}: {reason}"))
            .values;
        let expected = stream.expected();
        assert_eq!(found.len(), expected.len(), "{name}");
        // The transform of JPEG is rounded differently by each library.
        let allowed = if name.starts_with("dct") { 1. } else { 0. };
        let worst = found
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0., f64::max);
        assert!(worst <= allowed, "{name}: off by {worst}");
    }
}

/// A stream that is cut off, with or without its end marker, is refused or has all of its samples.
#[test]
fn truncated_streams_are_refused() {
    for (name, stream, bytes) in streams() {
        let whole =
            dicom::modality_values(&stream.file(&name, &bytes).write(), &options(Window::Auto))
                .unwrap();
        for len in (0..bytes.len()).step_by(6) {
            for end in [&b""[..], b"\xFF\xD9"] {
                let cut = stream.file(&name, &[&bytes[..len], end].concat());
                if let Ok(found) = dicom::modality_values(&cut.write(), &options(Window::Auto)) {
                    assert!(
                        found == whole,
                        "{name}: {len} of {} bytes passed",
                        bytes.len()
                    );
                }
            }
        }
    }
}

#[test]
fn the_stream_must_have_the_shape_of_the_header() {
    for (name, stream, bytes) in streams() {
        let file = stream.file(&name, &bytes);
        let other = file.clone().us(0x0028_0010, stream.rows + 1);
        assert!(
            refused(&other).contains("its header says"),
            "{name}: {}",
            refused(&other)
        );
        if stream.bits > 8 {
            let narrow = file
                .us(0x0028_0100, 8)
                .us(0x0028_0101, 8)
                .us(0x0028_0102, 7);
            assert!(
                refused(&narrow).contains("bits"),
                "{name}: {}",
                refused(&narrow)
            );
        }
    }
}

/// A header of RLE and its segments.
fn rle(segments: &[&[u8]]) -> Vec<u8> {
    let mut starts = vec![segments.len() as u32];
    let mut at = 64;
    for segment in segments {
        starts.push(at);
        at += segment.len() as u32;
    }
    starts.resize(16, 0);
    let mut bytes: Vec<u8> = starts.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend(segments.concat());
    bytes
}

#[test]
fn rle_has_a_segment_for_each_byte() {
    // 300, 300, 300, 1: high bytes 1 1 1 0, low bytes 44 44 44 1.
    let frame = rle(&[&[0xFE, 1, 0, 0], &[0xFE, 44, 0, 1]]);
    let file = File::shaped("MONOCHROME2", 2, 2, [16, 12, 11, 0]).with_syntax(RLE);
    let whole = file.clone().fragments(&[b"", &frame]);
    assert_eq!(modality(&whole), [300., 300., 300., 1.]);
    let cut = file.clone().fragments(&[b"", &frame[..frame.len() - 2]]);
    assert!(refused(&cut).contains("truncated"), "{}", refused(&cut));
    let one = file.clone().fragments(&[b"", &rle(&[&[0xFD, 1]])]);
    assert!(
        refused(&one).contains("1 segments instead of 2"),
        "{}",
        refused(&one)
    );
    let none = file.fragments(&[b""]);
    assert!(
        refused(&none).contains("no fragments"),
        "{}",
        refused(&none)
    );
    let planes = rle(&[&[1, 1, 4], &[1, 2, 5], &[1, 3, 6]]);
    let rgb = File::shaped("RGB", 1, 2, [8, 8, 7, 0])
        .with_syntax(RLE)
        .fragments(&[b"", &planes]);
    assert_eq!(rgb8(&rgb), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn frames_may_have_several_fragments() {
    let frames = [rle(&[&[1, 1, 2]]), rle(&[&[1, 3, 4]])];
    let (first, second) = (&frames[0][..], &frames[1][..]);
    let offsets = [
        0_u32.to_le_bytes(),
        (first.len() as u32 + 1 + 16).to_le_bytes(),
    ]
    .concat();
    let file = File::shaped("MONOCHROME2", 1, 2, [8, 8, 7, 0])
        .with_syntax(RLE)
        .text(0x0028_0008, b"IS", "2");
    let file = |table: &[u8]| {
        file.clone()
            .fragments(&[table, &first[..40], &first[40..], second])
    };
    let frame = |file: &File, frame| {
        let options = ReadOptions {
            frame: Some(frame),
            ..options(Window::Auto)
        };
        dicom::modality_values(&file.write(), &options).map(|values| values.values)
    };
    assert_eq!(frame(&file(&offsets), 1).unwrap(), [1., 2.]);
    assert_eq!(frame(&file(&offsets), 2).unwrap(), [3., 4.]);
    let reason = frame(&file(b""), 1).unwrap_err();
    assert!(
        reason.contains("3 fragments are not divided into 2 frames"),
        "{reason}"
    );
}
