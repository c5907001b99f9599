//! Lists the images and the split of each.

use anyhow::Result;
use dataset::phantom::Subject;
use dataset::{CountOrder, FoldBy, Manifest, Split, SplitPolicy};
use report::text::{code, escape};
use report::{Align, Document, Table, format};

use crate::context::{Context, Data};
use crate::words::count;
use settings::{Artifact, Settings, StageId};

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    data.manifest.write_csv(&context.run.file("manifest.csv"))?;
    context
        .run
        .write("splits.csv", splits_csv(&data).as_bytes())?;
    let n = |split| data.splits.rows(split).len();
    context.progress.say(format!(
        "  {} train, {} validation, {} test",
        n(Split::Train),
        n(Split::Val),
        n(Split::Test)
    ));
    context.section("index", &section(&data, context.settings)?)
}

fn splits_csv(data: &Data) -> String {
    let mut text = String::from("split,path,class,patient\n");
    let lists = [
        ("train", &data.splits.train),
        ("val", &data.splits.val),
        ("test", &data.splits.test),
        ("dropped", &data.splits.dropped),
    ];
    for (name, rows) in lists {
        for record in rows.iter().filter_map(|row| data.manifest.rows().get(*row)) {
            let class = &data.manifest.classes()[record.class];
            text += &format!(
                "{name},{},{},{}\n",
                csv(&record.path),
                csv(class),
                csv(&record.patient)
            );
        }
    }
    text
}

/// A CSV field, quoted where necessary (RFC 4180).
pub(super) fn csv(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}

fn section(data: &Data, settings: &Settings) -> Result<Document> {
    let mut section = Document::fragment();
    section
        .heading(2, "Data")
        .paragraph(&origin(settings, &data.manifest))
        .paragraph(&escape(&data.manifest.patients_in_words()));
    section.table(&split_table(data)?);
    section.paragraph(&policy(settings, data));
    let bad = data.manifest.bad_images();
    if !bad.is_empty() {
        section.warning(&format!(
            "{} could not be read and {} left out.",
            count(bad.len(), "file"),
            if bad.len() == 1 { "was" } else { "were" }
        ));
        let line = |b: &dataset::BadImage| format!("{}: {}", code(&b.path), escape(&b.reason));
        let mut list = Document::fragment();
        list.list(bad.iter().map(line));
        section.details("Files left out", &list);
    }
    notes(settings, &data.manifest, &mut section);
    mask_faults(&data.manifest, &mut section);
    Ok(section)
}

/// What the data folder contains besides usable images; if the run analyses the data, the analysis lists it instead.
fn notes(settings: &Settings, manifest: &Manifest, section: &mut Document) {
    let analysed = |stage: &StageId| stage.makes(Artifact::Eda);
    let notes = manifest.notes();
    if !notes.is_empty() && !settings.stages.iter().any(analysed) {
        section.list(notes.iter().map(|note| escape(note)));
    }
}

fn mask_faults(manifest: &Manifest, section: &mut Document) {
    let faults = manifest.mask_faults();
    if faults.is_empty() {
        return;
    }
    section.warning(&format!(
        "{} no usable mask.",
        match faults.len() {
            1 => "1 image has".to_owned(),
            n => format!("{n} images have"),
        }
    ));
    let line = |f: &dataset::MaskFault| format!("{}: {}", code(&f.image), escape(&f.reason));
    let mut list = Document::fragment();
    list.list(faults.iter().map(line));
    section.details("Images without a usable mask", &list);
}

fn origin(settings: &Settings, manifest: &Manifest) -> String {
    let images = count(manifest.rows().len(), "image");
    match &settings.data.phantom {
        Some(Subject::Cells(p)) => format!(
            "{images}: phantoms of {0}×{0} pixels drawn by this program, which show cells with dark membranes and dark \
             bodies inside. The results say nothing about real tissue.",
            p.size
        ),
        Some(Subject::Heads(p)) => format!(
            "{images}: phantoms of brain slices, {} pixels high, drawn by this program: ragged tumours with a dark \
             core, homogeneous ones at the skull, small ones low in the middle, and slices without a tumour. The \
             results say nothing about patients.",
            p.size
        ),
        Some(Subject::Chest(p)) => format!(
            "{images}: radiograph phantoms of {0}×{0} pixels drawn by this program. Pneumonia is one or several soft \
             opacities inside a lung; exposure, pose, contrast and markers vary equally in both classes, so that \
             brightness alone does not separate them. The results say nothing about patients.",
            p.size
        ),
        None => format!(
            "{images} from {}.",
            code(&manifest.root().display().to_string())
        ),
    }
}

fn split_table(data: &Data) -> Result<Table> {
    let classes = data.manifest.classes();
    let columns = ["split"]
        .into_iter()
        .map(str::to_owned)
        .chain(classes.iter().map(|class| escape(class)))
        .chain([
            "images".into(),
            "share of ".to_owned() + &escape(&classes[data.positive]),
        ]);
    let mut table = Table::new(
        columns
            .enumerate()
            .map(|(i, c)| (c, if i == 0 { Align::Left } else { Align::Right })),
    );
    for split in Split::ALL {
        let counts = data.manifest.class_counts(data.splits.rows(split));
        let total: usize = counts.iter().sum();
        let mut row = vec![split.name().to_owned()];
        row.extend(counts.iter().map(|n| format::thousands(*n as u64)));
        row.extend([
            format::thousands(total as u64),
            format::share(counts[data.positive] as u64, total as u64),
        ]);
        table.row(row)?;
    }
    Ok(table)
}

/// How a random split keeps related images together: by patient only where patients are known.
fn grouped(manifest: &Manifest) -> String {
    let unmatched = manifest.unmatched_patients();
    let by_patient =
        "by patient (all images of a patient and all copies of a file stay in one split)";
    if !manifest.patients_are_known() {
        return "image by image (copies of a file stay in one split; patients are unknown, so images of one patient may \
                be in several splits, which makes results look better than they are)"
            .into();
    }
    match unmatched {
        0 => by_patient.into(),
        n => format!(
            "{by_patient}; {} without a known patient, each treated as a patient of its own",
            count(n, "image")
        ),
    }
}

fn policy(settings: &Settings, data: &Data) -> String {
    let grouped = grouped(&data.manifest);
    let dropped = match data.splits.dropped.len() {
        0 => String::new(),
        n => format!(
            " Left out of training because the same patient or file is in the test split: {}.",
            count(n, "image")
        ),
    };
    let how = match &settings.data.policy {
        SplitPolicy::Official => "The splits are the folders of the data set as shipped.".to_owned(),
        SplitPolicy::ValidationFromTrain { fraction, .. } => format!(
            "The test split is the data set's own. Validation is {} of the training images, stratified by class and \
             drawn {grouped}.",
            format::percent(*fraction, 0)
        ),
        SplitPolicy::Fold { fold, folds, by: FoldBy::Appearance, .. } => format!(
            "The test split is the data set's own. The training images are divided into {folds} folds, drawn {grouped}: \
             clusters of similar brightness, contrast, width and height (k-means), the darkest first. Validation is fold \
             {fold} of {folds}, so its images look different from those for training, which are the other folds."
        ),
        SplitPolicy::Fold { fold, folds, by: FoldBy::Column(name), .. } => format!(
            "The test split is the data set's own. The training images are divided into {folds} folds by the attribute \
             {}: images with the same value of it are in one fold, each patient whole in the fold of most of its images. \
             Validation is fold {fold} of {folds}; the others are for training.",
            code(name)
        ),
        SplitPolicy::Fold { fold, folds, .. } => format!(
            "The test split is the data set's own. The training images are divided into {folds} folds, stratified by \
             class and drawn {grouped}. Validation is fold {fold} of {folds}; the others are for training."
        ),
        SplitPolicy::Holdout { val, test, .. } => format!(
            "Validation ({}) and test ({}) are taken from all images, stratified by class and drawn {grouped}.",
            format::percent(*val, 0),
            format::percent(*test, 0)
        ),
        SplitPolicy::Count { by: CountOrder::Order, .. } => {
            "Validation and test are the last images by the numbers in their names: neighbouring slices of a stack are \
             similar, so the first of them may be easier than an unseen stack."
                .to_owned()
        }
        SplitPolicy::Count { by: CountOrder::Seed(_), .. } => {
            format!("Validation and test are drawn at random by number of images, {grouped}.")
        }
        SplitPolicy::List(_) => "The splits are listed image by image in the settings.".to_owned(),
    };
    format!(
        "{how} The test split is not used to choose the epoch, the threshold or the calibration.{dropped}"
    )
}
