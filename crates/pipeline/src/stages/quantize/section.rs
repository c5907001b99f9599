//! The stage's part of the report.

use anyhow::Result;
use report::{Align, Document, Table, format};

use crate::measured::{ClassLoss, MapLoss, Quantized};
use crate::words::{count, number, or_dash};

pub(super) fn write(found: &Quantized) -> Result<Document> {
    let mut section = Document::fragment();
    section.heading(2, "Inference in int8");
    section.paragraph(&format!(
        "In int8 {} are stored as 8-bit codes, and convolutions multiply integers, so that feature maps take \
         a quarter of the memory. The ranges of the codes were determined on {}; weights keep as many bits as sums of 32 bits leave \
         room for, up to 16. {}",
        count(found.coded, "feature map"),
        count(found.images, "training image"),
        verdict(found),
    ));
    if let Some(table) = classes(found)? {
        section.table(&table);
    }
    if let Some(table) = maps(found)? {
        section.table(&table);
    }
    Ok(section)
}

fn verdict(found: &Quantized) -> String {
    match found.refused.as_slice() {
        [] => "No more is lost on validation than the settings allow: the checkpoint can be run with `--precision int8`, where \
               f32 remains the default."
            .into(),
        reasons => format!(
            "**It is refused:** {}. The checkpoint runs in f32.",
            reasons.join("; ")
        ),
    }
}

fn classes(found: &Quantized) -> Result<Option<Table>> {
    let mut table = Table::new([
        ("split", Align::Left),
        ("n", Align::Right),
        ("AUC f32", Align::Right),
        ("AUC int8", Align::Right),
        ("loss of AUC", Align::Right),
        ("accuracy f32", Align::Right),
        ("int8", Align::Right),
        ("calibration error f32", Align::Right),
        ("int8", Align::Right),
        ("other class", Align::Right),
        ("largest change of a probability", Align::Right),
    ]);
    let mut any = false;
    for (split, loss) in [("validation", &found.val), ("test", &found.test)] {
        if let Some(loss) = loss {
            table.row(class_row(split, loss))?;
            any = true;
        }
    }
    Ok(any.then_some(table))
}

fn class_row(split: &str, loss: &ClassLoss) -> [String; 11] {
    let auc = |k: usize| or_dash(loss.auc, |auc| format::fixed(auc[k], 4));
    [
        split.into(),
        loss.images.to_string(),
        auc(0),
        auc(1),
        or_dash(loss.auc_loss.as_ref(), number),
        format::percent(loss.accuracy[0], 1),
        format::percent(loss.accuracy[1], 1),
        format::fixed(loss.calibration_error[0], 4),
        format::fixed(loss.calibration_error[1], 4),
        loss.changed.to_string(),
        format::fixed(loss.largest_change, 3),
    ]
}

fn maps(found: &Quantized) -> Result<Option<Table>> {
    let mut table = Table::new([
        ("split", Align::Left),
        ("images with a mask", Align::Right),
        ("mean Dice f32", Align::Right),
        ("mean Dice int8", Align::Right),
        ("pixels of another class", Align::Right),
    ]);
    let mut any = false;
    for (split, loss) in [("validation", &found.val_map), ("test", &found.test_map)] {
        if let Some(MapLoss {
            images,
            dice,
            changed,
        }) = loss
        {
            let dice = dice.map(|dice| format::fixed(dice, 4));
            let [float, int8] = dice;
            let changed = format::percent(*changed, 2);
            table.row([split.to_owned(), images.to_string(), float, int8, changed])?;
            any = true;
        }
    }
    Ok(any.then_some(table))
}
