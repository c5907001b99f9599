//! The stage's part of the report.

use anyhow::Result;
use report::text::escape;
use report::{Align, Document, ImageGrid, Table, format};

use crate::measured::{Explained, MethodJudged};
use crate::run_dir::RunDir;
use crate::words::{count, number, or_dash, percent};

/// Maps of random weights that are as similar as this to those of the trained network say little about it.
const SAME: f64 = 0.5;

pub(super) fn write(run: &RunDir, explained: &Explained, grid: &ImageGrid) -> Result<Document> {
    let mut section = Document::fragment();
    section.heading(2, "What the class scores are based on");
    section.paragraph(&format!(
        "Heat maps of {}, for the predicted class. A heat map looks convincing whether or not it is right, so each method is \
         judged beside a map of random numbers. Deletion: how much of the probability is left, on average, while the pixels \
         that the map ranks first are removed (low is good); insertion: while they alone are shown (high is good). Pointing \
         and energy: is the map's highest value, and how much of it is, in the known mask of the finding. Random weights: \
         how similar the map is if the network's weights are random (Adebayo 2018); a map that stays the same says nothing \
         about what was learned.",
        count(explained.images, "test image")
    ));
    let alt = "Test images, and heat maps of what the class scores are based on";
    run.figure(&mut section, "explained", &grid.draw()?, alt, "")?;
    section.paragraph(&verdict(explained));
    section.table(&table(explained)?);
    section.paragraph("Agreement: the mean rank correlation between the maps of two methods.");
    section.table(&agreement(explained)?);
    Ok(section)
}

fn verdict(explained: &Explained) -> String {
    let Some((random, methods)) = explained.methods.split_last() else {
        return String::new();
    };
    let no_better = |method: &&MethodJudged| {
        method.deletion.estimate >= random.deletion.estimate
            || method.insertion.estimate <= random.insertion.estimate
    };
    let blind = |method: &&MethodJudged| at_random(method).is_some_and(|r| r.abs() >= SAME);
    let names = |of: &dyn Fn(&&MethodJudged) -> bool| -> String {
        let found = methods.iter().filter(|method| of(method));
        let found: Vec<String> = found.map(|method| escape(&method.name)).collect();
        found.join(", ")
    };
    let mut sentences = vec![];
    match names(&no_better).as_str() {
        "" => sentences.push(
            "All methods find pixels that matter to the network more than random ones, by deletion and by insertion."
                .to_owned(),
        ),
        names => sentences.push(format!(
            "**No better than random pixels by deletion or by insertion: {names}.**"
        )),
    }
    let blind = names(&blind);
    if !blind.is_empty() {
        sentences.push(format!(
            "**Hardly changed by random weights: {blind}.** These maps show the image more than what the network has learned."
        ));
    }
    sentences.join(" ")
}

/// The correlation with all weights random.
fn at_random(method: &MethodJudged) -> Option<f64> {
    method.at_random.last()?.correlation
}

fn table(explained: &Explained) -> Result<Table> {
    let mut table = Table::new([
        ("method", Align::Left),
        ("deletion", Align::Right),
        ("insertion", Align::Right),
        ("highest value in the mask", Align::Right),
        ("energy in the mask", Align::Right),
        ("images with a mask", Align::Right),
        ("random weights", Align::Right),
    ]);
    for method in &explained.methods {
        let steps = method.at_random.iter();
        let steps = steps.map(|step| or_dash(step.correlation, |r| format::fixed(r, 2)));
        let steps = steps.collect::<Vec<_>>().join(" → ");
        table.row([
            escape(&method.name),
            number(&method.deletion),
            number(&method.insertion),
            or_dash(method.pointing.as_ref(), percent),
            or_dash(method.energy.as_ref(), percent),
            or_dash(method.pointing, |found| found.n.to_string()),
            if steps.is_empty() {
                "–".into()
            } else {
                steps
            },
        ])?;
    }
    Ok(table)
}

fn agreement(explained: &Explained) -> Result<Table> {
    let names = explained.methods.iter().map(|method| method.name.clone());
    let columns = names.clone().map(|name| (name, Align::Right));
    let columns: Vec<(String, Align)> = std::iter::once((String::new(), Align::Left))
        .chain(columns)
        .collect();
    let mut table = Table::new(columns);
    for (name, row) in names.zip(&explained.agreement) {
        let cells = row.iter().map(|r| or_dash(*r, |r| format::fixed(r, 2)));
        table.row(std::iter::once(escape(&name)).chain(cells))?;
    }
    Ok(table)
}
