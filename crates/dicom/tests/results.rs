//! Results as DICOM files: what they contain of their source, their pixels, and that equal results are equal files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use crate::support::*;
use dicom::write::{
    Capture, Classification, MeasuredSegment, NOTICE, Network, Report, SegmentPixels, Segmentation,
    Source, WrittenSegmentation, report, secondary_capture, segmentation,
};
use dicom::{ReadOptions, Window, read as read_bytes};

const ROWS: u16 = 3;
const COLUMNS: u16 = 5;
const INSTANCE: &str = "1.2.826.1.3";

fn network(weights_sha256: &str) -> Network<'_> {
    Network {
        program: "eff-unet",
        version: "0.1.0",
        weights_sha256,
    }
}

/// A slice of a person who does not exist, with a name in Latin-1.
fn slice() -> File {
    let pixels: Vec<u16> = (0..ROWS * COLUMNS).collect();
    File::shaped("MONOCHROME2", ROWS, COLUMNS, [16, 12, 11, 0])
        .text(0x0008_0005, b"CS", "ISO_IR 100")
        .bytes(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.2")
        .bytes(0x0008_0018, b"UI", INSTANCE.as_bytes())
        .text(0x0008_0020, b"DA", "20200102")
        .text(0x0008_0030, b"TM", "030405")
        .text(0x0008_0050, b"SH", "A0001")
        .text(0x0008_0060, b"CS", "CT")
        .text(0x0008_0090, b"PN", "House^Gregory")
        .bytes(0x0010_0010, b"PN", b"M\xFCller^J\xF6rg")
        .text(0x0010_0020, b"LO", "P-17")
        .text(0x0010_0030, b"DA", "19700102")
        .text(0x0010_0040, b"CS", "M")
        .bytes(0x0020_000D, b"UI", b"1.2.826.1.1")
        .bytes(0x0020_000E, b"UI", b"1.2.826.1.2")
        .text(0x0020_0010, b"SH", "S1")
        .text(0x0020_0032, b"DS", "-100\\-100\\52.5")
        .text(0x0020_0037, b"DS", "1\\0\\0\\0\\1\\0")
        .bytes(0x0020_0052, b"UI", b"1.2.826.1.9")
        .text(0x0028_0030, b"DS", "0.7\\0.6")
        .words(PIXELS, b"OW", &pixels)
}

fn source(file: &File) -> Source {
    Source::of(&file.write(), &ReadOptions::default()).unwrap()
}

fn classes() -> Vec<String> {
    ["background", "lung", "Tumör \\ δ"]
        .map(str::to_owned)
        .into()
}

/// Each class in turn.
fn labels() -> Vec<u8> {
    (0..ROWS * COLUMNS).map(|i| (i % 3) as u8).collect()
}

fn binary(source: &Source, labels: &[u8]) -> Vec<u8> {
    written(source, labels, "ab").file
}

fn written(source: &Source, labels: &[u8], weights: &str) -> WrittenSegmentation {
    let result = Segmentation {
        classes: &classes(),
        pixels: SegmentPixels::Binary(labels),
    };
    segmentation(source, network(weights), &result).unwrap()
}

fn capture(source: &Source, rgb: &[u8]) -> Vec<u8> {
    let description = "Green: lung";
    secondary_capture(source, network("ab"), &Capture { rgb, description }).unwrap()
}

fn rgb() -> Vec<u8> {
    (0..3 * ROWS * COLUMNS).map(|i| (5 * i) as u8).collect()
}

fn contains(file: &[u8], part: &[u8]) -> bool {
    file.windows(part.len()).any(|window| window == part)
}

fn frame(file: &[u8], number: u32) -> Vec<u8> {
    let options = ReadOptions {
        frame: Some(number),
        ..options(Window::Full)
    };
    let image = read_bytes(file, &options).unwrap();
    image.pixels.into_luma8().into_raw()
}

#[test]
fn a_capture_is_read_as_it_was_written() {
    let file = capture(&source(&slice()), &rgb());
    let image = read_bytes(&file, &ReadOptions::default()).unwrap();
    assert_eq!(image.pixels.into_rgb8().into_raw(), rgb());
    let header = image.header;
    assert_eq!(header.modality.unwrap(), "OT");
    assert_eq!(header.sop_class_uid.unwrap(), "1.2.840.10008.5.1.4.1.1.7");
    assert_eq!(header.study_uid.unwrap(), "1.2.826.1.1");
    assert_ne!(header.series_uid.unwrap(), "1.2.826.1.2");
    assert_eq!(header.patient_id.unwrap().reveal(), "P-17");
    assert_eq!(header.burned_in_annotation, Some(false));
    assert_eq!(header.transfer_syntax, "Explicit VR Little Endian");
    for part in [
        b"ISO_IR 100".as_slice(),
        b"M\xFCller^J\xF6rg",
        b"House^Gregory",
        b"19700102",
        b"A0001",
        b"1.2.826.1.9",
        INSTANCE.as_bytes(),
        NOTICE.as_bytes(),
    ] {
        assert!(contains(&file, part), "{}", String::from_utf8_lossy(part));
    }
    let burned = slice().text(0x0028_0301, b"CS", "YES");
    let file = capture(&source(&burned), &rgb());
    let header = dicom::header(&file, &ReadOptions::default()).unwrap();
    assert_eq!(header.burned_in_annotation, Some(true));
}

/// 15 pixels a frame: frames begin within a byte.
#[test]
fn a_binary_segmentation_has_a_frame_of_bits_for_each_class_but_the_background() {
    let file = binary(&source(&slice()), &labels());
    let header = dicom::header(&file, &ReadOptions::default()).unwrap();
    assert_eq!(header.modality.unwrap(), "SEG");
    assert_eq!((header.frames, header.bits_allocated), (2, 1));
    for class in [1, 2] {
        let expected: Vec<u8> = labels()
            .iter()
            .map(|label| if *label == class { 255 } else { 0 })
            .collect();
        assert_eq!(frame(&file, class.into()), expected, "class {class}");
    }
    // Class 1 has bits 1, 4, 7, 10 and 13; class 2, whose frame begins at bit 15, has 17, 20, 23, 26 and 29.
    let pixels = b"\xE0\x7F\x10\0OB\0\0\x04\0\0\0\x92\x24\x92\x24";
    assert_eq!(&file[file.len() - pixels.len()..], pixels);
    let place: [&[u8]; 5] = [
        b"-100\\-100\\52.5",
        b"1\\0\\0\\0\\1\\0",
        b"0.7\\0.6",
        b"BINARY",
        b"AUTOMATIC ",
    ];
    for part in place {
        assert!(contains(&file, part), "{}", String::from_utf8_lossy(part));
    }
    // In the source's character set, without a separator of values.
    assert!(contains(&file, b"Tum\xF6r / ?"));
}

#[test]
fn a_fractional_segmentation_has_probabilities() {
    let one = [0.5, 0.1, 0.4];
    let probabilities = one.repeat(usize::from(ROWS * COLUMNS));
    let result = Segmentation {
        classes: &classes(),
        pixels: SegmentPixels::Fractional(&probabilities),
    };
    let file = segmentation(&source(&slice()), network("ab"), &result)
        .unwrap()
        .file;
    assert_eq!(frame(&file, 1), [26; 15]);
    assert_eq!(frame(&file, 2), [102; 15]);
    assert!(contains(&file, b"PROBABILITY "));
}

#[test]
fn equal_results_are_equal_files_and_others_have_other_identifiers() {
    let uid = |file: &[u8]| {
        let header = dicom::header(file, &ReadOptions::default()).unwrap();
        (header.sop_instance_uid.unwrap(), header.series_uid.unwrap())
    };
    let first = binary(&source(&slice()), &labels());
    assert_eq!(first, binary(&source(&slice()), &labels()));
    let mut other = labels();
    other[0] = 1;
    assert_ne!(uid(&first), uid(&binary(&source(&slice()), &other)));
    let weights = written(&source(&slice()), &labels(), "cd");
    assert_ne!(uid(&first), uid(&weights.file));
    let renamed = slice().bytes(0x0008_0018, b"UI", b"1.2.826.1.4");
    assert_ne!(uid(&first), uid(&binary(&source(&renamed), &labels())));
    assert_ne!(uid(&first), uid(&capture(&source(&slice()), &rgb())));
}

/// Whatever the source's transfer syntax, and where an enhanced one has its place.
#[test]
fn sources_may_be_written_in_any_way() {
    let expected = binary(&source(&slice()), &labels());
    for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN] {
        let file = slice().with_syntax(syntax);
        assert!(binary(&source(&file), &labels()) == expected, "{syntax}");
    }
    let group = |tag, item| File::empty(EXPLICIT).items(tag, vec![item]);
    let frame = group(
        0x0020_9113,
        File::empty(EXPLICIT).text(0x0020_0032, b"DS", "-100\\-100\\52.5"),
    );
    let shared = group(
        0x0020_9116,
        File::empty(EXPLICIT).text(0x0020_0037, b"DS", "1\\0\\0\\0\\1\\0"),
    )
    .items(
        0x0028_9110,
        vec![File::empty(EXPLICIT).text(0x0028_0030, b"DS", "0.7\\0.6")],
    );
    let mut enhanced = slice();
    for tag in [0x0020_0032, 0x0020_0037, 0x0028_0030] {
        enhanced = enhanced.without(tag);
    }
    enhanced = enhanced
        .items(0x5200_9229, vec![shared])
        .items(0x5200_9230, vec![frame]);
    for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN] {
        let file = enhanced.clone().with_syntax(syntax);
        assert!(binary(&source(&file), &labels()) == expected, "{syntax}");
    }
}

#[test]
fn projections_have_no_place_and_dates_fall_back() {
    let film = slice()
        .without(0x0020_0032)
        .without(0x0020_0037)
        .without(0x0020_0052);
    let file = binary(&source(&film), &labels());
    // Plane Position Sequence and Pixel Measures Sequence.
    assert!(!contains(&file, b"\x20\0\x13\x91SQ") && !contains(&file, b"\x28\0\x10\x91SQ"));
    // Content Date from the study's; without any date, the one that stands for none.
    assert!(contains(&file, b"\x08\0\x23\0DA\x08\x0020200102"));
    let undated = film.without(0x0008_0020).without(0x0008_0030);
    let file = binary(&source(&undated), &labels());
    assert!(contains(&file, b"\x08\0\x23\0DA\x08\x0019000101"));
    assert!(contains(&file, b"\x08\0\x20\0DA\0\0"));
}

#[test]
fn names_of_any_letters_are_written_if_nothing_needs_another_character_set() {
    let file = slice()
        .without(0x0008_0005)
        .text(0x0010_0010, b"PN", "Doe^Jane");
    let file = binary(&source(&file), &labels());
    assert!(contains(&file, "Tumör / δ".as_bytes()) && contains(&file, b"ISO_IR 192"));
    // Unknown bytes of the source stay as they are.
    let file = binary(&source(&slice().without(0x0008_0005)), &labels());
    assert!(contains(&file, b"Tum?r / ?") && contains(&file, b"M\xFCller"));
    assert!(!contains(&file, b"ISO_IR"));
}

#[test]
fn unusable_sources_and_results_are_refused_without_a_name() {
    let refused = |bytes: &[u8], expected: &str| {
        let reason = Source::of(bytes, &ReadOptions::default()).err().unwrap();
        assert!(reason.contains(expected), "{reason}");
        assert!(
            !reason.contains("ller") && !reason.contains("P-17"),
            "{reason}"
        );
    };
    refused(b"\x89PNG", "not a DICOM file");
    for (tag, name) in [
        (0x0008_0016, "SOP Class UID"),
        (0x0008_0018, "SOP Instance UID"),
        (0x0020_000D, "Study Instance UID"),
        (0x0020_000E, "Series Instance UID"),
    ] {
        refused(&slice().without(tag).write(), name);
    }
    let whole = slice().write();
    for end in (132..whole.len()).step_by(7) {
        // A part is refused or, if only pixels are missing, read; nothing panics.
        let _either = Source::of(&whole[..end], &ReadOptions::default());
    }
    let source = source(&slice());
    let short = Capture {
        rgb: &rgb()[3..],
        description: "",
    };
    assert!(secondary_capture(&source, network("ab"), &short).is_err());
    for (classes, labels) in [(&classes()[..1], labels()), (&classes()[..], vec![0; 4])] {
        let result = Segmentation {
            classes,
            pixels: SegmentPixels::Binary(&labels),
        };
        assert!(segmentation(&source, network("ab"), &result).is_err());
    }
}

/// A report of an image, with its numbers changed by `shift`.
fn reported(source: &Source, shift: f64) -> Vec<u8> {
    let content = Report {
        classification: Some(Classification {
            class: "Pneumonie",
            probabilities: &[("Normal", 0.25 - shift), ("Pneumonie", 0.75 + shift)],
            threshold: Some(("Pneumonie", 0.5)),
        }),
        segments: &[MeasuredSegment {
            class: "Lunge",
            number: 1,
            share: 0.2,
            area_mm2: Some(1234.5),
        }],
    };
    let segments = written(source, &labels(), "ab");
    report(source, network("ab"), &content, Some(&segments)).unwrap()
}

/// What other readers make of a report is checked by `tools/check_dicom_out.py`.
#[test]
fn reports_have_the_source_its_patient_and_the_numbers() {
    let source = source(&slice());
    let file = reported(&source, 0.0);
    for part in [
        &b"M\xFCller^J\xF6rg"[..],
        b"1.2.840.10008.5.1.4.1.1.88.33",
        INSTANCE.as_bytes(),
        b"Imaging Measurement Report",
        b"Probability of Pneumonie",
        b"0.75",
        b"1234.5",
        b"UNVERIFIED",
    ] {
        assert!(contains(&file, part), "{}", String::from_utf8_lossy(part));
    }
    // The segmentation that its segments are in.
    let header = dicom::header(
        &written(&source, &labels(), "ab").file,
        &ReadOptions::default(),
    );
    let instance = header.unwrap().sop_instance_uid.unwrap();
    assert!(contains(&file, instance.as_bytes()));
    assert_eq!(file, reported(&source, 0.0));
    assert_ne!(file, reported(&source, 0.125));
}

#[test]
fn reports_of_nothing_and_of_segments_without_a_segmentation_are_refused() {
    let source = source(&slice());
    let segment = MeasuredSegment {
        class: "Lunge",
        number: 1,
        share: 0.2,
        area_mm2: None,
    };
    for segments in [&[][..], &[segment]] {
        let content = Report {
            classification: None,
            segments,
        };
        assert!(report(&source, network("ab"), &content, None).is_err());
    }
}
