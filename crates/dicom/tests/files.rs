//! Files: their outside, transfer syntaxes, frames, headers, limits and damage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use crate::support::*;
use dicom::{ReadOptions, SpacingAt, Window, is_dicom, read as read_bytes};

fn sample() -> File {
    File::grey(&[0, 1000, 2000, 4095], 12, false)
}

#[test]
fn native_transfer_syntaxes_have_the_same_pixels() {
    let expected = grey16(&sample(), Window::Full);
    let nested = File::empty(EXPLICIT).items(
        0x0040_A730,
        vec![File::empty(EXPLICIT).text(0x0008_0060, b"CS", "SR")],
    );
    // A sequence that is not read stands before the image.
    let file = sample().items(0x0008_1140, vec![nested.clone(), nested]);
    for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN] {
        let image = read(&file.clone().with_syntax(syntax), Window::Full);
        assert_eq!(image.header.transfer_syntax_uid, syntax);
        assert_eq!(image.header.modality, None);
        assert_eq!(image.pixels.into_luma16().into_raw(), expected, "{syntax}");
    }
    let raw = File::empty(DEFLATED).write();
    let deflated = [raw, deflated(&file.data_set())].concat();
    let image = read_bytes(&deflated, &options(Window::Full)).unwrap();
    assert_eq!(image.pixels.into_luma16().into_raw(), expected);
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn files_may_lack_preamble_and_meta_information() {
    for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN] {
        let file = sample().text(0x0008_0060, b"CS", "DX").with_syntax(syntax);
        let bytes = file.data_set();
        assert!(is_dicom(&bytes), "{syntax}");
        let image = read_bytes(&bytes, &options(Window::Full)).unwrap();
        assert_eq!(
            image.pixels.into_luma16().into_raw(),
            grey16(&sample(), Window::Full)
        );
        assert_eq!(image.header.transfer_syntax, "not stated");
        let without_preamble = &file.write()[132..];
        assert!(
            read_bytes(without_preamble, &options(Window::Full)).is_ok(),
            "{syntax}"
        );
    }
    for other in [
        &b""[..],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01",
        b"II*\0\x08\0\0\0",
        b"BM\0\0\0\0\0\0\0\0",
        b"{\"a\": 1}",
    ] {
        assert!(!is_dicom(other));
    }
    assert_eq!(
        read_bytes(b"text", &options(Window::Auto)).unwrap_err(),
        "not a DICOM file"
    );
}

#[test]
fn sequences_of_unknown_vr_are_implicit() {
    // UN of undefined length: PS3.5, section 6.2.2, note 2.
    let mut bytes = File::empty(EXPLICIT).write();
    bytes.extend(b"\x08\0\x99\0UN\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF\x08\0\x60\0\x02\0\0\0SR\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0");
    bytes.extend(sample().data_set());
    let image = read_bytes(&bytes, &options(Window::Full)).unwrap();
    assert_eq!(image.header.modality, None);
}

#[test]
fn a_frame_is_chosen_by_its_number() {
    let file = sample().us(0x0028_0011, 2).text(0x0028_0008, b"IS", "2");
    let frame = |frame| {
        let options = ReadOptions {
            frame,
            ..options(Window::Full)
        };
        read_bytes(&file.write(), &options).map(|image| image.pixels.into_luma16().into_raw())
    };
    let whole = grey16(&sample(), Window::Full);
    assert_eq!(frame(Some(1)).unwrap(), whole[..2]);
    assert_eq!(frame(Some(2)).unwrap(), whole[2..]);
    let check = |number, expected: &str| {
        let reason = frame(number).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    };
    check(None, "2 frames");
    check(Some(3), "1 to 2");
    check(Some(0), "1 to 2");
    let reason = refused(&sample().text(0x0028_0008, b"IS", "1A"));
    assert!(reason.contains("\"1A\""), "{reason}");
}

#[test]
fn headers_have_facts_and_no_identity() {
    let file = sample()
        .text(0x0008_0016, b"UI", "1.2.840.10008.5.1.4.1.1.1.1")
        .bytes(0x0008_0018, b"UI", b"1.2.3.4\0")
        .text(0x0008_0050, b"SH", "ACCESSION")
        .text(0x0008_0060, b"CS", "DX")
        .text(0x0008_0070, b"LO", "Maker")
        .text(0x0010_0010, b"PN", "Family^Given")
        .text(0x0010_0020, b"LO", " PAT-7 ")
        .text(0x0010_0030, b"DA", "19800101")
        .text(0x0010_0040, b"CS", "F")
        .text(0x0010_1010, b"AS", "018M")
        .text(0x0018_0015, b"CS", "CHEST")
        .text(0x0018_1164, b"DS", "0.2\\0.1")
        .text(0x0018_5101, b"CS", "PA")
        .text(0x0020_000D, b"UI", "1.2")
        .text(0x0020_000E, b"UI", "1.3")
        .text(0x0020_0060, b"CS", "R")
        .text(0x0028_0301, b"CS", "NO");
    let header = read(&file, Window::Auto).header;
    assert_eq!(
        header,
        dicom::header(&file.write(), &options(Window::Auto)).unwrap()
    );
    let text = format!("{header:?}");
    for secret in ["PAT-7", "Family", "Given", "1980", "ACCESSION"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(header.patient_id.as_ref().unwrap().reveal(), "PAT-7");
    assert_eq!(header.sop_instance_uid.as_deref(), Some("1.2.3.4"));
    assert_eq!(
        (header.age_years, header.sex.as_deref()),
        (Some(1.5), Some("F"))
    );
    assert_eq!(
        (
            header.view_position.as_deref(),
            header.laterality.as_deref()
        ),
        (Some("PA"), Some("R"))
    );
    assert_eq!(
        (header.burned_in_annotation, header.body_part.as_deref()),
        (Some(false), Some("CHEST"))
    );
    let spacing = header.pixel_spacing.unwrap();
    assert_eq!(
        (spacing.rows_mm, spacing.columns_mm, spacing.at),
        (0.2, 0.1, SpacingAt::Detector)
    );
    assert_eq!(
        (
            header.rows,
            header.columns,
            header.frames,
            header.bits_stored
        ),
        (1, 4, 1, 12)
    );
    let calibrated = file
        .text(0x0028_0030, b"DS", "0.3\\0.3")
        .text(0x0020_0062, b"CS", "L");
    let header = read(&calibrated, Window::Auto).header;
    assert_eq!(header.pixel_spacing.unwrap().at, SpacingAt::Patient);
    assert_eq!(header.laterality.as_deref(), Some("L"));
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let check = |file: File, expected: &str| {
        let reason = refused(&file);
        assert!(reason.contains(expected), "{reason}");
    };
    check(sample().without(PIXELS), "no image");
    check(
        File::empty(EXPLICIT).text(0x0008_0060, b"CS", "SR"),
        "modality is SR",
    );
    check(
        sample().without(PIXELS).bytes(0x7FE0_0008, b"OF", &[0; 4]),
        "floating-point",
    );
    check(sample().text(0x0028_0004, b"CS", "HSV"), "HSV");
    check(sample().without(0x0028_0010), "(0028,0010)");
    check(sample().us(0x0028_0100, 64), "64 bits");
    check(sample().us(0x0028_0101, 17), "17 stored of 16");
    check(sample().us(0x0028_0002, 3), "Samples per Pixel");
    check(sample().us(0x0028_0011, 0), "0x1");
    check(sample().us(0x0028_0011, 5), "10 are needed");
    check(
        sample().with_syntax("1.2.840.10008.1.2.4.201"),
        "High-Throughput JPEG 2000",
    );
    check(sample().with_syntax(RLE), "not encapsulated");
}

#[test]
fn sizes_are_bounded_before_memory_is_allocated() {
    let wide = sample().us(0x0028_0010, 65535).us(0x0028_0011, 65535);
    assert!(
        refused(&wide).contains("image.max_megapixels"),
        "{}",
        refused(&wide)
    );
    let frames = sample().text(0x0028_0008, b"IS", "4000000000");
    assert!(refused(&frames).contains("frames"), "{}", refused(&frames));
    // An element that claims 4 GB.
    let mut long = File::empty(EXPLICIT).write();
    long.extend(b"\x10\0\x20\0UT\0\0\xF0\xFF\xFF\xFF\0\0\0\0\0\0\0\0");
    let reason = read_bytes(&long, &options(Window::Auto)).unwrap_err();
    assert!(reason.contains("(0010,0020)"), "{reason}");
    // 100 MB of zeros; with `max_pixels` of 1 megapixel, 72 MiB are allowed.
    let bomb = [
        File::empty(DEFLATED).write(),
        deflated(&vec![0; 100_000_000]),
    ]
    .concat();
    let reason = read_bytes(&bomb, &options(Window::Auto)).unwrap_err();
    assert!(reason.contains("75 MB"), "{reason}");
}

/// A parser that calls itself for each level would overflow its stack.
#[test]
fn nesting_is_bounded() {
    let levels = [
        (
            EXPLICIT,
            &b"\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF"[..],
        ),
        (
            IMPLICIT,
            b"\x08\0\x40\x11\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF",
        ),
    ];
    for (syntax, level) in levels {
        let mut bytes = File::empty(syntax).write();
        (0..200_000).for_each(|_| bytes.extend(level));
        let reason = read_bytes(&bytes, &options(Window::Auto)).unwrap_err();
        assert!(reason.contains("nested more than 64 deep"), "{reason}");
    }
    // 60 levels are read.
    let mut file = File::empty(EXPLICIT);
    for _ in 0..60 {
        file = File::empty(EXPLICIT).items(0x0008_1140, vec![file]);
    }
    let nested = [file.write(), sample().data_set()].concat();
    assert!(read_bytes(&nested, &options(Window::Auto)).is_ok());
}

#[test]
fn every_truncation_is_detected() {
    let rich = sample()
        .items(
            0x0008_1140,
            vec![File::empty(EXPLICIT).text(0x0008_0060, b"CS", "DX")],
        )
        .text(0x0028_1050, b"DS", "40")
        .text(0x0028_1051, b"DS", "80");
    for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN] {
        let whole = rich.clone().with_syntax(syntax).write();
        for len in 0..whole.len() {
            assert!(
                read_bytes(&whole[..len], &options(Window::Auto)).is_err(),
                "{syntax}: {len} bytes passed"
            );
        }
    }
}
