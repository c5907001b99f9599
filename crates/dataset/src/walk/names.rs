//! Kinds of files and folders by their names.

use std::collections::HashSet;
use std::path::Path;

/// Ending of the name of an overlay that `predict` writes next to an image.
pub const OVERLAY: &str = ".overlay.png";
/// Ending of the name of a predicted mask that `predict` writes next to an image.
pub const PREDICTED_MASK: &str = ".mask.png";

/// Endings of the names of DICOM files that `predict` writes next to an image: an overlay, a segmentation, a report.
pub const OVERLAY_DICOM: &str = ".overlay.dcm";
/// See [`OVERLAY_DICOM`].
pub const SEGMENTATION_DICOM: &str = ".seg.dcm";
/// See [`OVERLAY_DICOM`].
pub const REPORT_DICOM: &str = ".sr.dcm";

/// Endings of all that `predict` writes.
pub(crate) const OUTPUTS: [&str; 5] = [
    OVERLAY,
    PREDICTED_MASK,
    OVERLAY_DICOM,
    SEGMENTATION_DICOM,
    REPORT_DICOM,
];

/// Files that together identify the folder of a run of this program.
const RUN_FILES: [&str; 2] = ["run.json", "resolved.toml"];

/// Whether a file is an image by its extension.
pub(crate) fn is_image(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    let known = |ext: &str| EXTENSIONS.iter().any(|k| ext.eq_ignore_ascii_case(k));
    extension.is_some_and(known)
}

/// The formats that are read, in words.
pub(crate) const FORMATS: &str = "JPEG, PNG, TIFF, BMP, WebP and DICOM";

/// Those of masks, in words.
pub(crate) const FORMATS_OF_MASKS: &str = "JPEG, PNG, TIFF, BMP and WebP";

/// The extensions of all formats that are read.
pub(crate) const EXTENSIONS: [&str; 9] = [
    "jpg", "jpeg", "png", "tif", "tiff", "bmp", "webp", "dcm", "dicom",
];

/// Whether a name is hidden by its dot, or belongs to an operating system, a sync program or a server.
pub(crate) fn is_system(name: &str) -> bool {
    let known = [
        "__MACOSX",
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        // The table of contents of a DICOM disc.
        "DICOMDIR",
    ];
    name.starts_with('.') || known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a folder holds masks, by one of the words in its name: `masks`, `lung masks`, `Ground_truth`.
pub(crate) fn is_mask_folder(name: &str) -> bool {
    let words = [
        "mask",
        "masks",
        "segmentation",
        "segmentations",
        "annotation",
        "annotations",
        "groundtruth",
        "gt",
    ];
    let name = name.to_lowercase().replace("ground_truth", "groundtruth");
    let name = name.replace("ground truth", "groundtruth");
    name.split(|c: char| !c.is_alphanumeric())
        .any(|word| words.contains(&word))
}

/// Whether `predict` writes files of this name.
pub(crate) fn is_output(name: &str) -> bool {
    OUTPUTS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a folder is that of a run, which holds many images.
pub(crate) fn is_run_folder(folder: &Path) -> bool {
    RUN_FILES.iter().all(|file| folder.join(file).is_file())
}

/// The suffix that makes a file, named without its extension, the mask of an existing image: `_mask`
/// of `x_mask` and `x_mask_1` if `x` is an image.
pub(crate) fn mask_suffix<'s>(stem: &'s str, images: &HashSet<&str>) -> Option<&'s str> {
    let suffixes = [
        "mask",
        "segmentation",
        "seg",
        "gt",
        "groundtruth",
        "superpixels",
    ];
    let unnumbered = without_number(stem).unwrap_or(stem);
    let of = |stem: &'s str| {
        let at = stem.rfind(['_', '-', '.', ' '])?;
        let word = stem[at + 1..].to_lowercase();
        (suffixes.contains(&word.as_str()) && images.contains(&stem[..at])).then(|| &stem[at..])
    };
    of(stem).or_else(|| of(unnumbered))
}

/// `x_mask` of `x_mask_1`, `x_mask-2`, `x_mask (3)`; `None` if there is no number at the end.
pub(crate) fn without_number(stem: &str) -> Option<&str> {
    let digits =
        |text: &str| text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if let Some(open) = stem.strip_suffix(')') {
        let rest = &open[..open.len() - digits(open)];
        return rest.strip_suffix(" (").filter(|_| rest.len() < open.len());
    }
    let rest = &stem[..stem.len() - digits(stem)];
    let rest = rest.strip_suffix(['_', '-', '.', ' '])?;
    (!rest.is_empty() && rest.len() + 1 < stem.len()).then_some(rest)
}

/// The extension as it is counted: `.tif`, `.nii.gz`, `without an extension`.
pub(crate) fn extension(name: &str) -> String {
    let lower = name.to_lowercase();
    if lower.ends_with(".nii.gz") {
        return ".nii.gz".to_owned();
    }
    if has_no_extension(&lower) {
        return "without an extension".to_owned();
    }
    let extension = Path::new(&lower).extension().and_then(|e| e.to_str());
    format!(".{}", extension.unwrap_or_default())
}

/// Whether a name has no extension. A number after the last dot is none: DICOM files are often named by their UIDs
/// (`1.2.840.113`).
pub(crate) fn has_no_extension(name: &str) -> bool {
    let extension = Path::new(name).extension();
    extension.is_none_or(|e| e.as_encoded_bytes().iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_and_hidden_names() {
        for name in [
            ".ipynb_checkpoints",
            ".Trash-0",
            "@eaDir",
            "__MACOSX",
            "thumbs.db",
            "._a.png",
            "DICOMDIR",
        ] {
            assert!(is_system(name), "{name}");
        }
        for name in ["NORMAL", "a.b.png", "@home", "Thumbs"] {
            assert!(!is_system(name), "{name}");
        }
    }

    #[test]
    fn outputs_of_predictions() {
        for name in ["x.overlay.png", "x.mask.png", "x.overlay.dcm", "x.seg.dcm"] {
            assert!(is_output(name), "{name}");
        }
        assert!(!is_output("x.dcm") && !is_output("overlay.dcm"));
    }

    #[test]
    fn folders_of_masks() {
        for name in [
            "masks",
            "Mask",
            "lung masks",
            "infection_masks",
            "Ground_Truth",
            "GT",
        ] {
            assert!(is_mask_folder(name), "{name}");
        }
        for name in ["images", "patient1", "unmasked", "maskless"] {
            assert!(!is_mask_folder(name), "{name}");
        }
    }

    #[test]
    fn masks_by_name_need_their_image() {
        let images = HashSet::from(["benign (4)", "ISIC_0000000", "person_mask"]);
        let check = |stem: &str, expected: Option<&str>| {
            assert_eq!(mask_suffix(stem, &images), expected, "{stem}");
        };
        check("benign (4)_mask", Some("_mask"));
        check("benign (4)_mask_1", Some("_mask"));
        check("ISIC_0000000_segmentation", Some("_segmentation"));
        check("ISIC_0000000_Segmentation", Some("_Segmentation"));
        check("benign (5)_mask", None);
        check("person_mask", None);
        check("person_mask_2", None);
        check("benign (4)", None);
    }

    #[test]
    fn numbers_at_the_end() {
        let check = |stem: &str, expected| assert_eq!(without_number(stem), expected, "{stem}");
        check("x_mask_1", Some("x_mask"));
        check("x_mask (12)", Some("x_mask"));
        check("x-2", Some("x"));
        check("x2", None);
        check("x_", None);
        check("x ()", None);
        check("_7", None);
    }

    #[test]
    fn extensions() {
        let check = |name: &str, expected: &str| assert_eq!(extension(name), expected);
        check("a.TIF", ".tif");
        check("a.nii.gz", ".nii.gz");
        check("IM0001", "without an extension");
        check("1.2.840.113", "without an extension");
        assert!(
            is_image("a.PNG") && is_image("b.c.jpeg") && !is_image("a.gif") && !is_image("png")
        );
        assert!(
            ["a.TIF", "a.tiff", "a.bmp", "a.webp", "a.dcm", "a.DICOM"]
                .iter()
                .all(|name| is_image(name))
        );
    }
}
