//! Tables that list the images: columns, text as programs write it, labels and the classes that they give.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::path::Path;

use crate::common::{half, picture, save};
use dataset::{
    Blank, CsvLayout, DataLayout, IndexConfig, LabelConfig, Manifest, MaskConfig, MaskPlace,
    Reason, Split, Uncertain, index,
};

/// Seven images in a folder, listed in a table.
fn with_table(dir: &Path, table: &str, layout: CsvLayout) -> IndexConfig {
    for i in 0..7 {
        save(&picture(i), &dir.join(format!("scans/{i} (a).png")));
    }
    save(&half(), &dir.join("truth/0.png"));
    std::fs::write(dir.join("table.csv"), table).unwrap();
    IndexConfig {
        root: dir.to_owned(),
        layout: DataLayout::Csv(CsvLayout {
            file: dir.join("table.csv"),
            ..layout
        }),
        ..IndexConfig::default()
    }
}

#[test]
fn a_table_names_images_masks_classes_splits_and_patients() {
    let dir = tempfile::tempdir().unwrap();
    let table = "file,truth,finding,fold,person\n\
                 scans/0 (a).png,truth/0.png,\"sick, very\",train,007\n\
                 scans/1 (a).png,,well,train,007\n\
                 scans/2 (a).png,truth/none.png,well,valid,8\n\
                 scans/3 (a).png,,\"sick, very\",test,9\n\
                 scans/9 (a).png,,well,test,9\n";
    let own = |name: &str| Some(name.to_owned());
    let layout = CsvLayout {
        path: own("file"),
        mask: own("truth"),
        class: own("finding"),
        split: own("fold"),
        patient: own("person"),
        ..CsvLayout::default()
    };
    let mut config = with_table(dir.path(), table, layout);
    config.masks = Some(MaskConfig::at(MaskPlace::Column));
    // The only "well" image of the test is missing, which must be an error.
    assert!(index(&config).unwrap_err().to_string().contains("\"well\""));
    save(&picture(9), &dir.path().join("scans/9 (a).png"));
    let manifest = index(&config).unwrap();
    assert_eq!(manifest.classes(), ["sick, very", "well"]);
    let rows: Vec<_> = manifest
        .rows()
        .iter()
        .map(|r| (r.class, r.split.unwrap(), r.has_mask()))
        .collect();
    let expected = [
        (0, Split::Train, true),
        (1, Split::Train, false),
        (1, Split::Val, false),
        (0, Split::Test, false),
        (1, Split::Test, false),
    ];
    assert_eq!(rows, expected);
    // The table's patients are hashed.
    let patients: Vec<&str> = manifest.rows().iter().map(|r| r.patient.as_str()).collect();
    let [a, b, c, d, e] = patients[..] else {
        panic!("five rows")
    };
    assert!(
        a == b && d == e && a != c && c != d && a != d,
        "{patients:?}"
    );
    assert!(patients.iter().all(|key| key.len() == 16 && *key != "007"));
    assert_eq!(manifest.mask_faults().len(), 4);
}

#[test]
fn further_columns_are_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let table = "path,class,site,age\nscans/0 (a).png,a,north,7\nscans/1 (a).png,b,,40\n";
    let layout = |attributes: &[&str]| CsvLayout {
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        ..CsvLayout::default()
    };
    let manifest = index(&with_table(dir.path(), table, layout(&["site", "age"]))).unwrap();
    let csv = dir.path().join("manifest.csv");
    manifest.write_csv(&csv).unwrap();
    let text = std::fs::read_to_string(csv).unwrap();
    let ends: Vec<&str> = text
        .lines()
        .map(|line| line.rsplit_once("0,").map_or(line, |(_, end)| end))
        .collect();
    assert!(ends[0].ends_with("min,max,age,site"), "{text}");
    assert!(text.lines().nth(1).unwrap().ends_with(",7,north"), "{text}");
    assert!(text.lines().nth(2).unwrap().ends_with(",40,"), "{text}");
    for (name, expected) in [("view", "no column \"view\""), ("class", "has already")] {
        let error = index(&with_table(dir.path(), table, layout(&[name]))).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn bad_tables_name_the_line() {
    let check = |table: &str, layout: CsvLayout, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let text = index(&with_table(dir.path(), table, layout))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(expected) && text.contains("table.csv"),
            "{text}"
        );
    };
    let plain = CsvLayout::default;
    let image = "scans/0 (a).png";
    check(&format!("file\n{image}\n"), plain(), "no column \"path\"");
    check(
        &format!("path,split\n{image},dev\n"),
        plain(),
        "line 2: \"dev\" is not a split",
    );
    check(
        &format!("path\n{image}\n{image}\n"),
        plain(),
        "is listed twice",
    );
    check(
        &format!("path,class\n{image},\n"),
        plain(),
        "no row has a class",
    );
    let layout = CsvLayout {
        patient: Some("person".to_owned()),
        ..plain()
    };
    check(
        &format!("path\n{image}\n"),
        layout,
        "no column \"person\"; there are path",
    );
    check("path\n/etc/a.png\n", plain(), "relative");
}

#[test]
fn tables_are_read_as_spreadsheets_write_them() {
    let check = |bytes: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        let config = with_table(dir.path(), "", CsvLayout::default());
        std::fs::write(dir.path().join("table.csv"), bytes).unwrap();
        index(&config)
            .map(|manifest| manifest.rows().len())
            .map_err(|e| e.to_string())
    };
    let plain = "path,class\nscans/0 (a).png,x\nscans/1 (a).png,y\n";
    assert_eq!(check(plain.as_bytes()), Ok(2));
    assert_eq!(check(plain.replace('\n', "\r\n").as_bytes()), Ok(2));
    assert_eq!(check(plain.replace(',', ";").as_bytes()), Ok(2));
    assert_eq!(check(plain.replace('/', "\\").as_bytes()), Ok(2));
    assert_eq!(check(plain.replace("scans/", "./scans/").as_bytes()), Ok(2));
    assert_eq!(check(plain.replace(".png", "").as_bytes()), Ok(2));
    assert_eq!(check(&[b"\xEF\xBB\xBF", plain.as_bytes()].concat()), Ok(2));
    let refused = |bytes: &[u8], expected: &str| {
        let text = check(bytes).unwrap_err();
        assert!(
            text.contains(expected) && text.contains("table.csv"),
            "{text}"
        );
    };
    let utf16: Vec<u8> = "\u{FEFF}"
        .chars()
        .chain(plain.chars())
        .flat_map(|c| (c as u16).to_le_bytes())
        .collect();
    assert_eq!(check(&utf16), Ok(2));
    assert_eq!(check(plain.replace(',', "\t").as_bytes()), Ok(2));
    assert_eq!(
        check(
            plain
                .replace("path,class", "path;\"a, b\";class")
                .replace(',', ";;")
                .as_bytes()
        ),
        Ok(2)
    );
    refused(
        b"path,class\nscans/0 (a).png,m\x81l\n",
        "line 2 is neither UTF-8 nor",
    );
    refused(
        b"path,class\nscans/0 (a).png,x,1\n",
        "line 2: it has 3 fields",
    );
    refused(b"path,class\n../a.png,x\n", "line 2: ../a.png leads out");
    refused(b"path,class\nscans/7.png,x\n", "none of its 1 paths");
    refused(
        b"path,class\nscans/0 (a).jpg,x\n",
        "did you mean scans/0 (a).png?",
    );
    let quoted: String = (0..4)
        .map(|i| format!("scans/{i} (a).png,\"two\nlines\",x\n"))
        .collect();
    refused(
        format!("path,note,class\n{quoted}scans/5 (a).png,a,\n").as_bytes(),
        "line 10: the class is empty",
    );
}

/// As spreadsheets on older Windows save it: the class is read, and a note says how.
#[test]
fn latin_1_is_read_and_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let config = with_table(dir.path(), "", CsvLayout::default());
    let table = b"path,class\nscans/0 (a).png,nv\nscans/1 (a).png,m\xE9l\n";
    std::fs::write(dir.path().join("table.csv"), table).unwrap();
    let manifest = index(&config).unwrap();
    assert_eq!(manifest.classes(), ["mél", "nv"]);
    let notes = manifest.notes().join("\n");
    assert!(
        notes.contains("table.csv is not UTF-8 (first in line 3)"),
        "{notes}"
    );
}

#[test]
fn images_that_a_table_does_not_list_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let table = "path,class\nscans/0 (a).png,x\nscans/1 (a).png,y\n";
    let config = with_table(dir.path(), table, CsvLayout::default());
    save(&picture(9), &dir.path().join("loose.png"));
    let manifest = index(&config).unwrap();
    assert_eq!(
        left_out(&manifest, Reason::Unlisted),
        [
            (5, "in scans/".to_owned()),
            (1, "in the data folder itself".to_owned()),
            (1, "in truth/".to_owned())
        ]
    );
}

fn left_out(manifest: &Manifest, reason: Reason) -> Vec<(usize, String)> {
    let groups = manifest.left_out().iter().filter(|g| g.reason == reason);
    groups.map(|g| (g.files, g.what.clone())).collect()
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> std::collections::BTreeMap<String, String> {
    pairs
        .map(|(label, class)| (label.to_owned(), class.to_owned()))
        .into()
}

/// Path and class of each image.
fn classes(manifest: &Manifest) -> Vec<(&str, &str)> {
    let rows = manifest.rows().iter();
    rows.map(|r| (&r.path[6..7], manifest.classes()[r.class].as_str()))
        .collect()
}

/// The columns of NIH's ChestX-ray14 (`Data_Entry_2017.csv`): several labels in one cell.
#[test]
fn labels_in_one_cell_are_separated() {
    let dir = tempfile::tempdir().unwrap();
    let table = "Image Index,Finding Labels,Patient ID\n\
                 scans/0 (a).png,No Finding,1\n\
                 scans/1 (a).png,Pneumonia,2\n\
                 scans/2 (a).png,Effusion|Pneumonia,2\n\
                 scans/3 (a).png,Hernia,3\n\
                 scans/4 (a).png,Cardiomegaly|Pneumonia,4\n\
                 scans/5 (a).png,,4\n";
    let own = |name: &str| Some(name.to_owned());
    let layout = |labels: LabelConfig| CsvLayout {
        path: own("Image Index"),
        class: own("Finding Labels"),
        patient: own("Patient ID"),
        labels: Box::new(LabelConfig {
            separator: own("|"),
            ..labels
        }),
        ..CsvLayout::default()
    };
    let read = |labels: LabelConfig| index(&with_table(dir.path(), table, layout(labels)));
    let three = LabelConfig {
        classes: map([
            ("No Finding", "NORMAL"),
            ("Pneumonia", "PNEUMONIA"),
            ("Cardiomegaly", "HEART"),
        ]),
        ..LabelConfig::default()
    };
    // Class 4 has two classes, so HEART has no image left.
    let text = read(three.clone()).unwrap_err().to_string();
    assert!(
        text.contains("no row has the class \"HEART\"")
            && text.contains("1 with labels of several classes"),
        "{text}"
    );
    let manifest = read(LabelConfig {
        precedence: vec!["HEART".to_owned(), "PNEUMONIA".to_owned()],
        ..three.clone()
    })
    .unwrap();
    assert_eq!(manifest.classes(), ["HEART", "NORMAL", "PNEUMONIA"]);
    assert_eq!(
        classes(&manifest),
        [
            ("0", "NORMAL"),
            ("1", "PNEUMONIA"),
            ("2", "PNEUMONIA"),
            ("4", "HEART")
        ]
    );
    assert_eq!(
        left_out(&manifest, Reason::Label),
        [
            (1, "without a known label".to_owned()),
            (1, "without a label that has a class".to_owned())
        ]
    );
    // What is left out for its labels is listed all the same.
    assert_eq!(
        left_out(&manifest, Reason::Unlisted),
        [(1, "in scans/".to_owned()), (1, "in truth/".to_owned())]
    );
    let notes = manifest.notes().join("\n");
    assert!(
        notes.contains("2 rows of the table are left out because of their labels"),
        "{notes}"
    );
    let others = read(LabelConfig {
        classes: map([("No Finding", "NORMAL")]),
        otherwise: own("ABNORMAL"),
        blank: Blank::Negative,
        ..LabelConfig::default()
    })
    .unwrap();
    assert_eq!(
        (others.classes(), others.class_counts(&[0, 1, 2, 3, 4, 5])),
        (&["ABNORMAL", "NORMAL"].map(str::to_owned)[..], vec![5, 1])
    );
    let text = read(LabelConfig {
        classes: map([("Pneumnia", "PNEUMONIA"), ("No Finding", "NORMAL")]),
        ..LabelConfig::default()
    })
    .unwrap_err()
    .to_string();
    assert!(
        text.contains("\"Pneumnia\", which no row has; did you mean \"Pneumonia\"?")
            && text.contains("Effusion"),
        "{text}"
    );
}

/// The columns of CheXpert (`train.csv`): one per label, with 1, 0, −1 or nothing.
#[test]
fn labels_in_columns_may_be_uncertain_or_not_mentioned() {
    let dir = tempfile::tempdir().unwrap();
    let table = "Path,Sex,No Finding,Pneumonia,Edema\n\
                 scans/0 (a).png,F,1.0,,\n\
                 scans/1 (a).png,M,,1.0,0.0\n\
                 scans/2 (a).png,M,,-1.0,\n\
                 scans/3 (a).png,F,,,\n\
                 scans/4 (a).png,F,,-1.0,1.0\n\
                 scans/5 (a).png,F,nan,1,-1\n\
                 scans/6 (a).png,F,0.0,0.0,0.0\n";
    let labels = LabelConfig {
        columns: ["No Finding", "Pneumonia", "Edema"]
            .map(str::to_owned)
            .into(),
        classes: map([
            ("No Finding", "normal"),
            ("Pneumonia", "pneumonia"),
            ("Edema", "edema"),
        ]),
        ..LabelConfig::default()
    };
    let read = |labels: LabelConfig| {
        let layout = CsvLayout {
            path: Some("Path".to_owned()),
            labels: labels.into(),
            ..CsvLayout::default()
        };
        let config = with_table(dir.path(), table, layout);
        index(&IndexConfig {
            classes: ["normal", "pneumonia"].map(str::to_owned).into(),
            ..config
        })
    };
    // Without the class edema, its label does not matter.
    let manifest = read(labels.clone()).unwrap();
    assert_eq!(
        classes(&manifest),
        [("0", "normal"), ("1", "pneumonia"), ("5", "pneumonia")]
    );
    assert_eq!(
        left_out(&manifest, Reason::Label),
        [
            (2, "whose class depends on an uncertain label".to_owned()),
            (1, "without a known label".to_owned()),
            (1, "without a label that has a class".to_owned()),
        ]
    );
    let manifest = read(LabelConfig {
        uncertain: Uncertain::Positive,
        blank: Blank::Negative,
        otherwise: Some("normal".to_owned()),
        ..labels.clone()
    })
    .unwrap();
    let expected = [
        "normal",
        "pneumonia",
        "pneumonia",
        "normal",
        "pneumonia",
        "pneumonia",
        "normal",
    ];
    assert_eq!(
        classes(&manifest)
            .iter()
            .map(|(_, class)| *class)
            .collect::<Vec<_>>(),
        expected
    );
    let negative = read(LabelConfig {
        uncertain: Uncertain::Negative,
        ..labels.clone()
    })
    .unwrap();
    assert_eq!(
        classes(&negative),
        [("0", "normal"), ("1", "pneumonia"), ("5", "pneumonia")]
    );
    let text = read(LabelConfig {
        columns: vec!["No finding".to_owned()],
        ..LabelConfig::default()
    })
    .unwrap_err()
    .to_string();
    assert!(
        text.contains("no column \"No finding\"; did you mean \"No Finding\"?"),
        "{text}"
    );
    let text = read(LabelConfig {
        columns: vec!["Sex".to_owned()],
        ..LabelConfig::default()
    })
    .unwrap_err()
    .to_string();
    assert!(
        text.contains("line 2: the label \"Sex\" is \"F\""),
        "{text}"
    );
}

/// HAM10000's diagnoses, of which several make one class.
#[test]
fn a_single_label_may_be_mapped_to_a_class() {
    let dir = tempfile::tempdir().unwrap();
    let table = "image_id,dx\n0 (a),nv\n1 (a),mel\n2 (a),bcc\n3 (a),df\n";
    let layout = CsvLayout {
        path: Some("image_id".to_owned()),
        class: Some("dx".to_owned()),
        labels: Box::new(LabelConfig {
            classes: map([("nv", "benign"), ("mel", "malignant"), ("bcc", "malignant")]),
            ..LabelConfig::default()
        }),
        ..CsvLayout::default()
    };
    let manifest = index(&with_table(dir.path(), table, layout)).unwrap();
    assert_eq!(
        classes(&manifest),
        [("0", "benign"), ("1", "malignant"), ("2", "malignant")]
    );
    assert_eq!(
        left_out(&manifest, Reason::Label),
        [(1, "without a label that has a class".to_owned())]
    );
}

/// Paths that Windows wrote on another machine, down from its drive, name the image that is meant.
#[test]
fn absolute_paths_are_refused_with_the_right_one() {
    let dir = tempfile::tempdir().unwrap();
    let table = "path,class\nC:\\data\\scans\\3 (a).png,x\n";
    let text = index(&with_table(dir.path(), table, CsvLayout::default()))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("line 2")
            && text.contains("relative to the data folder; did you mean scans/3 (a).png?"),
        "{text}"
    );
}

/// Masks of images in a table may be in a tree, found by name.
#[test]
fn masks_of_a_table_may_be_found_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let table = "path\nscans/0 (a).png\nscans/1 (a).png\n";
    save(&half(), &dir.path().join("lungs/scans/1 (a)_mask.png"));
    let mut config = with_table(dir.path(), table, CsvLayout::default());
    config.masks = Some(MaskConfig::at(MaskPlace::Tree {
        root: dir.path().join("lungs"),
        pattern: "{stem}_mask".to_owned(),
    }));
    let manifest = index(&config).unwrap();
    let masked: Vec<bool> = manifest.rows().iter().map(|r| r.has_mask()).collect();
    assert_eq!(masked, [false, true]);
}
