//! Tables that name images.

use std::path::Path;

use anyhow::Result;
use dataset::{CsvLayout, DataLayout, IndexConfig, LabelConfig, MaskConfig, MaskPlace, index};

use crate::formats::text;
use crate::{Case, Outcome, Rng, Session, Target, seeds};

const FILE: &str = "table.csv";

const TABLE: &str = "path,mask,class,split,patient\n\
    a.png,m.png,NORMAL,train,007\n\
    b.png,,PNEUMONIA,train,8\n\
    \"sub/c.png\",m.png,\"PNEUMONIA\",test,\"9, junior\"\n\
    d.png,m.png,NORMAL,test,\n";

const LINES: [&str; 10] = [
    "../outside.png,,NORMAL,train,1",
    "/etc/hostname,m.png,NORMAL,train,1",
    "sub/../../outside.png,../outside.png,NORMAL,test,2",
    "a.png,/dev/zero,NORMAL,train,3",
    "/dev/zero,,NORMAL,train,4",
    "sub,sub,NORMAL,train,5",
    "pipe.png,pipe.png,PNEUMONIA,val,6",
    "path,path,path,path,path",
    "\"a\"\"b.png\",\"\",\"\",\"\",\"\"",
    "a.png;m.png;NORMAL;train;1",
];

pub(super) struct Csv;

impl Target for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn about(&self) -> &'static str {
        "a table of paths, masks, classes, splits and patients, including paths outside the data folder, pipes and \
         devices"
    }

    fn short(&self) -> u64 {
        600
    }

    fn file(&self) -> &'static str {
        FILE
    }

    /// The images are the same for all cases.
    fn open(&self, home: &Path) -> Result<Box<dyn Session>> {
        let image = |name: &str| (name.to_owned(), seeds::grey_png(8, 6));
        let mut data = Case::default();
        for (name, bytes) in ["a.png", "b.png", "sub/c.png", "d.png", "m.png"].map(image) {
            data = data.with(name, bytes);
        }
        data.files
            .push(("pipe.png".into(), crate::case::Content::Pipe));
        data.lay(&home.join("data"))?;
        std::fs::write(home.join("outside.png"), seeds::grey_png(8, 6))?;
        Ok(Box::new(Tables {
            root: home.join("data"),
        }))
    }
}

struct Tables {
    root: std::path::PathBuf,
}

impl Session for Tables {
    fn case(&mut self, rng: &mut Rng) -> Case {
        Case::file(
            FILE,
            text::mutate(rng, TABLE.as_bytes(), &[',', ';'], &LINES),
        )
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let masks = || Some(MaskConfig::at(MaskPlace::Column));
        let settings = [
            (None, LabelConfig::default()),
            (masks(), LabelConfig::default()),
            (None, separated()),
            (None, in_columns()),
        ];
        let outcomes = settings.map(|(masks, labels)| self.read(input, masks, labels));
        let wrong = |outcome: &Outcome| matches!(outcome, Outcome::Wrong(_));
        let wrong = outcomes.iter().position(wrong);
        let mut outcomes = outcomes.into_iter();
        outcomes
            .nth(wrong.unwrap_or(0))
            .unwrap_or(Outcome::Accepted)
    }
}

/// Several labels in the class column.
fn separated() -> LabelConfig {
    LabelConfig {
        separator: Some(",".into()),
        precedence: vec!["PNEUMONIA".into()],
        ..LabelConfig::default()
    }
}

/// A column whose cells are rarely labels.
fn in_columns() -> LabelConfig {
    LabelConfig {
        columns: vec!["patient".into()],
        otherwise: Some("NORMAL".into()),
        ..LabelConfig::default()
    }
}

impl Tables {
    fn read(&self, input: &Path, masks: Option<MaskConfig>, labels: LabelConfig) -> Outcome {
        let config = IndexConfig {
            root: self.root.clone(),
            layout: DataLayout::Csv(CsvLayout {
                file: input.join(FILE),
                labels: labels.into(),
                ..CsvLayout::default()
            }),
            masks,
            ..IndexConfig::default()
        };
        let manifest = match index(&config) {
            Err(error) => return Outcome::refused(error, FILE),
            Ok(manifest) => manifest,
        };
        let outside = |path: &Path| {
            path.canonicalize()
                .is_ok_and(|path| !path.starts_with(&self.root))
        };
        let mut files = manifest.rows().iter().flat_map(|row| {
            let masks = manifest.mask_files(row);
            masks.into_iter().chain([manifest.image_file(row)])
        });
        match files.find(|file| outside(file)) {
            Some(file) => Outcome::Wrong(format!("{} is not in the data folder", file.display())),
            None => Outcome::Accepted,
        }
    }
}
