//! One or several networks that predict together.

use std::path::Path;

use formats::checkpoint::{AbstentionRule, Checkpoint, Decision, SetRule};
use imaging::ImageFile;
use metrics::{DecisionRule, Scaling, conformal_set};
use model::engine::{Device, InferencePrecision};

use crate::answer::{Answer, mean};
use crate::bundle::{Bundle, decision};
use crate::error::{InferenceError, Result};
use crate::segmenter::Segmented;

/// The networks of a checkpoint. Several networks predict with the mean of their calibrated scores, and with the mean
/// of their maps; each sees the image in its own way (region, size, mirror image).
pub struct Ensemble {
    first: Bundle,
    others: Vec<Bundle>,
    /// Applied to the mean of the calibrated scores; the only network's own if there is one.
    scaling: Scaling,
    rule: DecisionRule,
    sets: Option<SetRule>,
    abstention: Option<AbstentionRule>,
}

impl Ensemble {
    /// Reads a checkpoint of one or several networks and prepares them for a device and a precision.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn load(
        path: &Path,
        device: Device,
        precision: impl Into<InferencePrecision>,
    ) -> Result<Self> {
        let precision = precision.into();
        let mut checkpoint = Checkpoint::load(path)?;
        let ensemble = checkpoint.ensemble.take();
        let first = Bundle::of(path, checkpoint, device, precision)?;
        let Some(ensemble) = ensemble else {
            let decision = first.meta().decision.clone();
            return Ok(Ensemble {
                sets: decision.as_ref().and_then(|own| own.sets.clone()),
                abstention: decision.and_then(|own| own.abstention),
                scaling: first.scaling().clone(),
                rule: first.rule(),
                first,
                others: vec![],
            });
        };
        let others = ensemble.others.into_iter();
        let others = others.map(|member| Bundle::of(path, member, device, precision));
        let (sets, abstention) = (ensemble.decision.sets.clone(), ensemble.decision.abstention);
        let (scaling, rule) = joint(path, &first, ensemble.decision)?;
        Ok(Ensemble {
            first,
            others: others.collect::<Result<_>>()?,
            scaling,
            rule,
            sets,
            abstention,
        })
    }

    /// The first network, or the only one: all have its classes.
    pub fn first(&self) -> &Bundle {
        &self.first
    }

    /// All networks.
    pub fn members(&self) -> impl Iterator<Item = &Bundle> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// How the scores of an [`Answer`] become probabilities.
    pub fn scaling(&self) -> &Scaling {
        &self.scaling
    }

    /// How the scores of an [`Answer`] become a class.
    pub fn rule(&self) -> DecisionRule {
        self.rule
    }

    /// The classes in the set of an [`Answer`] with these probabilities, which contains the true class with the
    /// probability that the rule promises; `None` where no sets were calibrated.
    pub fn set(&self, probabilities: &[f64]) -> Option<(&SetRule, Vec<usize>)> {
        let sets = self.sets.as_ref().filter(|_| !probabilities.is_empty())?;
        Some((sets, conformal_set(&sets.least, probabilities)))
    }

    /// The confidence of an [`Answer`] with these scores, and whether to leave it to a person; `None` where no limit on
    /// errors could be promised.
    pub fn abstains(&self, scores: &[f64]) -> Option<(f64, bool)> {
        let rule = self.abstention.filter(|_| !scores.is_empty())?;
        let confidence = self.rule.confidence(scores, &self.scaling);
        Some((confidence, confidence < rule.least_confidence))
    }

    /// Whether an [`Answer`] says how unlike the training images an image is: not of several networks.
    pub fn has_novelty(&self) -> bool {
        self.others.is_empty() && self.first.novelty().is_some()
    }

    /// Predicts images; see [`Bundle::answer`].
    ///
    /// # Errors
    /// As [`Bundle::answer`].
    pub fn answer(&self, images: &[ImageFile]) -> Result<Vec<Answer>> {
        let answers = self.first.answer(images)?;
        if self.others.is_empty() {
            return Ok(answers);
        }
        let others = self.others.iter().map(|member| member.answer(images));
        let mut by_member: Vec<_> = std::iter::once(Ok(answers))
            .chain(others)
            .map(|answers| answers.map(Vec::into_iter))
            .collect::<Result<_>>()?;
        let of_image = || by_member.iter_mut().filter_map(Iterator::next).collect();
        let joined = std::iter::repeat_with(of_image).take(images.len());
        let joined: Vec<Vec<Answer>> = joined.collect();
        Ok(joined.into_iter().map(|each| self.joined(&each)).collect())
    }

    /// The prediction of all networks for one image, given those of each.
    fn joined(&self, each: &[Answer]) -> Answer {
        let of_member = self.members().zip(each);
        let members: Vec<Vec<f64>> = of_member
            .filter(|(_, answer)| !answer.logits.is_empty())
            .map(|(member, answer)| member.scaling().scores(&answer.logits))
            .collect();
        let scores = mean(&members);
        let classified = !scores.is_empty();
        let probabilities = match classified {
            true => self.scaling.probabilities(&scores),
            false => vec![],
        };
        Answer {
            class: classified.then(|| self.rule.decide(&scores, &probabilities)),
            probabilities,
            logits: scores.iter().map(|z| *z as f32).collect(),
            members,
            novelty: None,
            map: self.joined_map(each),
            segmentation: self.joined_segmentation(each),
            region: each.first().and_then(|answer| answer.region),
        }
    }

    /// The mean over the networks that show the same class as the first one and see the pixel.
    fn joined_map(&self, each: &[Answer]) -> Option<Vec<f32>> {
        let shown = |member: &Bundle| member.map_classes().get(member.shown()).cloned();
        let same = |member: &Bundle| shown(member) == shown(&self.first);
        let maps = self.members().zip(each).filter(|(member, _)| same(member));
        let maps: Vec<&Vec<f32>> = maps.filter_map(|(_, answer)| answer.map.as_ref()).collect();
        let pixels = maps.first()?.len();
        let pixel = |i: usize| {
            let seen = maps
                .iter()
                .filter_map(|map| map.get(i).filter(|p| !p.is_nan()));
            let (sum, n) = seen.fold((0.0, 0), |(sum, n), p| (sum + p, n + 1));
            if n > 0 { sum / n as f32 } else { f32::NAN }
        };
        Some((0..pixels).map(pixel).collect())
    }

    /// The mean over the networks that segment the classes of the first one that does.
    fn joined_segmentation(&self, each: &[Answer]) -> Option<Segmented> {
        let found = self.members().zip(each);
        let found =
            found.filter_map(|(m, answer)| Some((m.map_classes(), answer.segmentation.as_ref()?)));
        let found: Vec<_> = found.collect();
        let (classes, first) = found.first()?;
        let same = found.iter().filter(|(of, _)| of == classes);
        let same: Vec<&Segmented> = same.map(|(_, segmented)| *segmented).collect();
        let value =
            |i: usize| same.iter().map(|s| s.probabilities[i]).sum::<f32>() / same.len() as f32;
        Some(Segmented {
            probabilities: (0..first.probabilities.len()).map(value).collect(),
            ..(*first).clone()
        })
    }
}

/// How the mean of the calibrated scores becomes probabilities and a class.
fn joint(path: &Path, first: &Bundle, own: Decision) -> Result<(Scaling, DecisionRule)> {
    let meta = formats::checkpoint::Meta {
        decision: Some(own),
        ..first.meta().clone()
    };
    decision(&meta).map_err(|source| InferenceError::Decision {
        path: path.into(),
        source,
    })
}
