//! Consistency checks on a checkpoint: predictions from an inconsistent one would be wrong, or NaN.

use std::collections::HashSet;
use std::path::Path;

use super::{CheckpointError, Decision, Inference, Meta, Preprocessing, RegionRule};
use model::graph::{Graph, ParamSpec, Role};

/// Checks the metadata against the network, whose own invariants must hold already.
pub(super) fn meta(path: &Path, graph: &Graph, meta: &Meta) -> Result<(), CheckpointError> {
    preprocessing(graph, &meta.preprocessing)
        .and_then(|()| classes(graph, meta))
        .and_then(|()| positive(meta))
        .and_then(|()| map(graph, meta))
        .and_then(|()| inference(&meta.inference))
        .and_then(|()| decision(&meta.decision, meta.classes.len()))
        .and_then(|()| quantization(graph, meta))
        .map_err(|(key, problem)| CheckpointError::Meta {
            path: path.into(),
            key,
            problem,
        })
}

/// A key and what is wrong with it.
type Checked = Result<(), (&'static str, String)>;

fn preprocessing(graph: &Graph, p: &Preprocessing) -> Checked {
    let channels = graph.in_channels();
    if p.channels != channels {
        return Err((
            "preprocessing.channels",
            format!("is {}, but the network takes {channels}", p.channels),
        ));
    }
    for (key, values, must) in [
        ("preprocessing.mean", &p.mean, f32::NEG_INFINITY),
        ("preprocessing.std", &p.std, 0.0),
    ] {
        let good = |v: &f32| v.is_finite() && *v > must;
        if values.len() != channels || !values.iter().all(good) {
            return Err((
                key,
                format!("is {values:?}, but must be one finite number per channel (std: above 0)"),
            ));
        }
    }
    if p.tones.bits.is_some_and(|bits| !(9..=16).contains(&bits)) {
        let problem = "has bits that are not 9 to 16".to_owned();
        return Err(("preprocessing.tones", problem));
    }
    if p.window
        .is_some_and(|(rows, columns)| rows == 0 || columns == 0)
    {
        let problem = "is an empty window".to_owned();
        return Err(("preprocessing.window", problem));
    }
    let shapes = graph.shapes(p.height, p.width);
    shapes
        .map(drop)
        .map_err(|e| ("preprocessing", format!("does not fit the network: {e}")))
}

/// Checks that there is one score per class; a class map may have classes of its own.
fn classes(graph: &Graph, meta: &Meta) -> Checked {
    let names: HashSet<&String> = meta.classes.iter().collect();
    if names.is_empty() || names.len() < meta.classes.len() {
        let problem = format!(
            "is {:?}, but must be at least one name, without duplicates",
            meta.classes
        );
        return Err(("classes", problem));
    }
    let Some(logits) = graph.output("logits") else {
        return Ok(());
    };
    let Preprocessing { height, width, .. } = meta.preprocessing;
    let shape = graph.shapes(height, width).map(|s| s[logits.index()]);
    match shape {
        Ok(s) if (s.h, s.w, s.c) == (1, 1, meta.classes.len()) => Ok(()),
        _ => Err((
            "classes",
            format!(
                "has {} names, but the network has {} scores",
                meta.classes.len(),
                graph.node(logits).channels
            ),
        )),
    }
}

fn positive(meta: &Meta) -> Checked {
    let classes = meta.classes.len();
    match meta.positive < classes {
        true => Ok(()),
        false => Err((
            "positive",
            format!("is {}, but there are {classes} classes", meta.positive),
        )),
    }
}

/// Checks that each channel of the map has a name and a value.
fn map(graph: &Graph, meta: &Meta) -> Checked {
    let Some(map) = &meta.map else {
        return Ok(());
    };
    let channels = graph.output("map").map_or(0, |id| graph.node(id).channels);
    if map.classes.len() != channels || map.values.len() != channels {
        let problem = format!(
            "has {} names and {} values, but the class map has {channels} channels",
            map.classes.len(),
            map.values.len()
        );
        return Err(("map", problem));
    }
    Ok(())
}

fn inference(asked: &Inference) -> Checked {
    let Inference {
        tile_overlap,
        certainty,
        ..
    } = *asked;
    if !(0.0..1.0).contains(&tile_overlap) {
        return Err((
            "inference.tile_overlap",
            format!("is {tile_overlap}, but must be from 0 to below 1"),
        ));
    }
    if !(0.0..=1.0).contains(&certainty) {
        return Err((
            "inference.certainty",
            format!("is {certainty}, but must be from 0 to 1"),
        ));
    }
    Ok(())
}

fn quantization(graph: &Graph, meta: &Meta) -> Checked {
    let Some(ranges) = &meta.quantization else {
        return Ok(());
    };
    let named = |(node, problem)| ("quantization", format!("has `{node}`, which {problem}"));
    ranges.check(graph).map_err(named)
}

/// Larger than any temperature or bias that an evaluation fits.
const LARGEST: f64 = 1e6;

fn decision(decision: &Option<Decision>, classes: usize) -> Checked {
    let Some(Decision {
        threshold,
        temperature,
        bias,
        sets,
        abstention,
    }) = decision
    else {
        return Ok(());
    };
    // Scores divided by it must stay finite.
    if !(1.0 / LARGEST..=LARGEST).contains(temperature) {
        let problem = format!("is {temperature}, but must be above 0, and no more than {LARGEST}");
        return Err(("decision.temperature", problem));
    }
    if bias.len() != classes || !bias.iter().all(|b| b.abs() <= LARGEST) {
        let problem = format!("is {bias:?}, but must be one number for each of {classes} classes");
        return Err(("decision.bias", problem));
    }
    let share = |p: &f64| (0.0..=1.0).contains(p);
    if let Some(sets) = sets
        && !(sets.least.len() == classes && sets.least.iter().chain([&sets.coverage]).all(share))
    {
        let problem =
            format!("is {sets:?}, but must be probabilities, one for each of {classes} classes");
        return Err(("decision.sets", problem));
    }
    if let Some(rule) = abstention
        && !(rule.least_confidence.is_finite() && share(&rule.allowed) && share(&rule.level))
    {
        let problem = format!("is {rule:?}, but must be a finite confidence and two probabilities");
        return Err(("decision.abstention", problem));
    }
    match threshold {
        Some(t) if classes != 2 || !t.is_finite() => Err((
            "decision.threshold",
            format!("is {t}, but must be a finite number, and needs two classes, not {classes}"),
        )),
        _ => Ok(()),
    }
}

/// Checks that the networks of an ensemble answer the same question, and that their scores can be averaged.
pub(super) fn ensemble(
    path: &Path,
    first: &Meta,
    others: &[&Meta],
    joint: &Decision,
) -> Result<(), CheckpointError> {
    let checked = || -> Checked {
        if others.is_empty() {
            let problem = "has no other network, but an ensemble has at least two".to_owned();
            return Err(("ensemble.others", problem));
        }
        for meta in others {
            if (&meta.classes, meta.positive) != (&first.classes, first.positive) {
                let problem = format!(
                    "has a network for {:?}, but the first is for {:?}",
                    meta.classes, first.classes
                );
                return Err(("ensemble.others", problem));
            }
            if !meta.preprocessing.reads_like(&first.preprocessing) {
                let problem = "has a network that reads files in another way than the first";
                return Err(("ensemble.others", problem.to_owned()));
            }
        }
        if others
            .iter()
            .chain([&first])
            .any(|meta| meta.decision.is_none())
        {
            let problem = "has a network without calibration".to_owned();
            return Err(("ensemble.others", problem));
        }
        decision(&Some(joint.clone()), first.classes.len())
    };
    checked().map_err(|(key, problem)| CheckpointError::Meta {
        path: path.into(),
        key,
        problem,
    })
}

/// Checks how the segmentation of an image becomes a part of it, against the segmenter's metadata.
pub(super) fn region(
    path: &Path,
    segmenter: &Meta,
    rule: &RegionRule,
) -> Result<(), CheckpointError> {
    region_rule(segmenter, rule).map_err(|(key, problem)| CheckpointError::Meta {
        path: path.into(),
        key,
        problem,
    })
}

fn region_rule(segmenter: &Meta, rule: &RegionRule) -> Checked {
    let channels = segmenter.map.as_ref().map_or(0, |map| map.classes.len());
    if segmenter.preprocessing.window.is_some() {
        let problem = "is for windows, but a region is found in a whole image".to_owned();
        return Err(("region.meta.preprocessing.window", problem));
    }
    if rule.classes.is_empty() || rule.classes.iter().any(|class| *class >= channels) {
        let problem = format!(
            "is {:?}, but must be at least one class of a map of {channels} classes",
            rule.classes
        );
        return Err(("region.classes", problem));
    }
    if !(0.0..=1.0).contains(&rule.margin) {
        let problem = format!("is {}, but must be from 0 to 1", rule.margin);
        return Err(("region.margin", problem));
    }
    let [top, left, bottom, right] = rule.typical;
    let ordered = |from: f64, to: f64| 0.0 <= from && from < to && to <= 1.0;
    if !ordered(top, bottom) || !ordered(left, right) {
        let problem = format!("is {:?}, but must be a box inside the image", rule.typical);
        return Err(("region.typical", problem));
    }
    for (key, [least, greatest]) in [
        ("region.plausible.area", rule.plausible.area),
        ("region.plausible.extent", rule.plausible.extent),
    ] {
        if !(0.0 <= least && least <= greatest && greatest <= 1.0) {
            let problem = format!("is [{least}, {greatest}], but must be a range within 0 to 1");
            return Err((key, problem));
        }
    }
    Ok(())
}

/// Checks that weights are finite and variances are not negative.
pub(super) fn values(spec: &ParamSpec, values: &[f32]) -> Result<(), &'static str> {
    if !values.iter().all(|v| v.is_finite()) {
        return Err("holds NaN or infinite values: the training that wrote it had failed");
    }
    if spec.role == Role::RunningVar && values.iter().any(|v| *v < 0.0) {
        return Err("holds negative variances");
    }
    Ok(())
}
