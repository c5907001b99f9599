//! Evaluates test images under changes of growing strength: where does the network break?

mod changes;
mod section;

use anyhow::Result;
use metrics::{Comparison, Evaluation};

use super::Metrics;
use super::rules::{Rules, add, sample_size};
use crate::context::Context;
use crate::measured::{Change, Strength, Stress};
use crate::pictures::spread;
use crate::scored::{Held, Scored};
use crate::scoring;
use changes::{KINDS, Kind};

/// Test images that each change is tried on, at most.
const IMAGES: usize = 60;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let trained = scoring::trained(context)?;
    let rules = Rules::of(&context.run.read_json::<Metrics>(super::METRICS)?)?;
    let asked = context.settings.stress.images;
    let n = sample_size(asked, data.splits.train.len(), IMAGES);
    let held = Held::read(context, &data, &spread(&data.splits.test, n))?;
    let passes = 1 + KINDS.iter().map(|kind| kind.values.len()).sum::<usize>();
    let job = context
        .progress
        .job("stress", "images", (passes * held.len()) as u64);
    let network = (&trained, None);
    let unchanged = held.scored(context, network, &|_, _| (), &job)?;
    let mut changes = vec![];
    for kind in &KINDS {
        let at = |value: &f64| -> Result<Strength> {
            let value = *value;
            let change = |sample: &mut _, key| kind.apply(value, sample, key);
            let scored = held.scored(context, network, &change, &job)?;
            under(&rules, value, &unchanged, &scored)
        };
        let strengths = kind.values.iter().map(at).collect::<Result<Vec<_>>>()?;
        changes.push(change(kind, strengths));
    }
    let stress = Stress {
        images: held.len(),
        unchanged: strength(1.0, &rules.evaluate(&unchanged)?, None),
        changes,
    };
    context.section("stress", &section::write(context.run, &stress)?)?;
    add(context, |metrics| metrics.stress = Some(stress))
}

fn under(rules: &Rules, value: f64, unchanged: &Scored, scored: &Scored) -> Result<Strength> {
    let compared = rules.compare(unchanged, scored)?;
    Ok(strength(value, &rules.evaluate(scored)?, Some(&compared)))
}

fn strength(value: f64, found: &Evaluation, compared: Option<&Comparison>) -> Strength {
    let binary = found.binary.as_ref();
    Strength {
        value,
        auc: found.auc,
        accuracy: found.accuracy,
        sensitivity: binary.and_then(|binary| binary.sensitivity),
        specificity: binary.and_then(|binary| binary.specificity),
        calibration_error: found.expected_calibration_error.estimate,
        lost_auc: compared.and_then(|compared| compared.auc),
        lost_accuracy: compared.map(|compared| compared.accuracy),
    }
}

fn change(kind: &Kind, strengths: Vec<Strength>) -> Change {
    let worse = strengths
        .iter()
        .rev()
        .take_while(|strength| strength.is_worse());
    Change {
        name: kind.name.into(),
        unit: kind.unit.into(),
        breaks_at: worse.last().map(|strength| strength.value),
        strengths,
    }
}
