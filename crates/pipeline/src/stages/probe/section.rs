//! The stage's part of the report.

use anyhow::Result;
use report::text::escape;
use report::{Align, Document, Table, format};

use crate::measured::{Alone, Probe, TakenAway};
use crate::words::{number, or_dash, percent};

/// From this lower bound of its AUC on a model of something that should not predict the class is named in the verdict.
const TELLING: f64 = 0.6;

pub(super) fn write(probe: &Probe) -> Result<Document> {
    let mut section = Document::fragment();
    section.heading(2, "Shortcuts");
    section.paragraph(
        "Images of different classes often come from different devices, wards or years, and then something \
         predicts the class that has nothing to do with the finding. A network that uses it is right here and wrong elsewhere. The \
         models in the first table see only what should not predict the class, or hardly any of it; the second table has the network on images \
         from which something is taken away (set to the mean of what is left, unless it says otherwise).",
    );
    section.paragraph(&without_finding(probe));
    section.table(&alone(probe)?);
    section.paragraph(&used(probe));
    section.table(&taken_away(probe)?);
    Ok(section)
}

fn without_finding(probe: &Probe) -> String {
    let telling =
        |alone: &&Alone| !alone.may_hold_finding && alone.auc.is_some_and(|auc| auc.low > TELLING);
    let names: Vec<String> = probe.alone.iter().filter(telling).map(named).collect();
    match names.as_slice() {
        [] => "None of these predicts the class well.".into(),
        names => format!(
            "**These predict the class without the finding: {}.** A high AUC of the network does not show that it sees the \
             finding.",
            names.join("; ")
        ),
    }
}

fn named(alone: &Alone) -> String {
    let auc = or_dash(alone.auc.as_ref(), |auc| format::fixed(auc.estimate, 3));
    let by = match alone.model.contains("network") {
        true => ", by the network's features",
        false => "",
    };
    format!("{} (AUC {auc}{by})", escape(&alone.sees))
}

fn used(probe: &Probe) -> String {
    let needed =
        |away: &&TakenAway| !away.may_hold_finding && away.lost.is_some_and(|lost| lost.low > 0.0);
    let names: Vec<String> = probe
        .taken_away
        .iter()
        .filter(needed)
        .map(|away| {
            let lost = or_dash(away.lost.as_ref(), |lost| format::fixed(lost.estimate, 3));
            format!("{} (−{lost})", escape(&away.what))
        })
        .collect();
    match names.as_slice() {
        [] => "The network's AUC does not depend significantly on anything that cannot hold the finding.".into(),
        names => format!(
            "**The network's AUC falls significantly without what cannot hold the finding: {}.** Blanking also makes images \
             unlike those of the training, so a small loss is no proof; training with `augment.border` or on a region \
             (`image.region`) takes such a part away from the start.",
            names.join("; ")
        ),
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.into()
}

fn alone(probe: &Probe) -> Result<Table> {
    let mut table = Table::new([
        ("sees only", Align::Left),
        ("model", Align::Left),
        ("may hold the finding", Align::Left),
        ("inputs", Align::Right),
        ("test images", Align::Right),
        ("AUC", Align::Right),
    ]);
    for alone in &probe.alone {
        table.row([
            escape(&alone.sees),
            escape(&alone.model),
            yes(alone.may_hold_finding),
            alone.inputs.to_string(),
            alone.n.to_string(),
            or_dash(alone.auc.as_ref(), number),
        ])?;
    }
    Ok(table)
}

fn taken_away(probe: &Probe) -> Result<Table> {
    let mut table = Table::new([
        ("the network without", Align::Left),
        ("may hold the finding", Align::Left),
        ("AUC", Align::Right),
        ("AUC lost", Align::Right),
        ("of the AUC above chance", Align::Right),
        ("predictions changed", Align::Right),
    ]);
    table.row([
        "nothing".into(),
        "–".into(),
        or_dash(probe.whole.as_ref(), number),
        "–".into(),
        "–".into(),
        "–".into(),
    ])?;
    for away in &probe.taken_away {
        table.row([
            escape(&away.what),
            yes(away.may_hold_finding),
            or_dash(away.auc.as_ref(), number),
            or_dash(away.lost.as_ref(), number),
            or_dash(away.survives, |share| {
                format!("{} survives", format::percent(share, 0))
            }),
            percent(&away.changed),
        ])?;
    }
    Ok(table)
}
