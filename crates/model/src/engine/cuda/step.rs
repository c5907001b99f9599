//! The inputs and outputs of a step: two small regions in a device's memory, which the host writes before a step and
//! reads after it.
//!
//! A step's launches are always the same (see [`super::loss`] and [`super::update`]), so that they can be recorded once
//! and replayed: learning rate, bias corrections and the numbers of known pixels of a batch's masks are in the
//! controls.

use super::driver::{Address, Arg, DeviceError, Driver, Launch};
use crate::engine::recipe::{MapTerm, Recipe, Results, Step, Terms, UpdateStep};
use crate::graph::NodeId;
use kernels::update::{Rates, Rule};

/// The two regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// [`controls_len`] values, aligned to 16 bytes: the result of [`Recipe::controls`].
    pub controls: Address,
    /// [`results_len`] values, aligned to 16 bytes: the input of [`Results::read`].
    pub results: Address,
}

/// Length of the controls of a recipe with `maps` maps.
pub fn controls_len(maps: usize) -> usize {
    Controls::LEN + 2 * maps
}

/// Length of the results of a recipe with `maps` maps.
pub fn results_len(maps: usize) -> usize {
    Results::LEN + maps
}

impl Recipe {
    /// Number of maps that are trained.
    pub fn maps(&self) -> usize {
        self.map.map_or(0, |term| term.maps)
    }

    /// The controls of a step, [`controls_len`] values, ready to be uploaded. Some are integers stored as the bits of
    /// an f32: they must be copied, not computed with.
    pub fn controls(&self, step: &Step<'_>) -> Vec<f32> {
        let own = UpdateStep {
            number: step.number,
            lr: step.lr,
        };
        let controls = Controls {
            clip_norm: self.clip_norm,
            ema_share: step.ema_share,
            smoothing: self.class.map_or(0.0, |term| term.label_smoothing),
            mixed: step.mixed.is_some(),
            share: step.mixed.unwrap_or(1.0),
            map_weight: self.map.map_or(0.0, |term| term.weight),
            terms: self.map.map_or(Terms::default(), |term| term.kind.terms()),
            rule: self.update.rule(),
            rates: self.update.rates(own),
            encoder: step.encoder.map(|encoder| self.update.rates(encoder)),
        };
        let mut words = controls.words().to_vec();
        if let Some(term) = self.map {
            words.extend(map_words(&term, step.known));
        }
        words
    }
}

/// `mean` and `share` of each map.
fn map_words(term: &MapTerm, known: &[usize]) -> impl Iterator<Item = f32> {
    let count = |i| known.get(i).copied().unwrap_or(0);
    let with = (0..term.maps).filter(|i| count(*i) > 0).count();
    (0..term.maps).flat_map(move |i| match count(i) {
        0 => [0.0, 0.0],
        pixels => [1.0 / pixels as f32, 1.0 / with as f32],
    })
}

/// The kernels' `Controls`.
struct Controls {
    clip_norm: f64,
    rule: Rule,
    rates: Rates,
    ema_share: f32,
    smoothing: f32,
    map_weight: f32,
    terms: Terms,
    mixed: bool,
    share: f32,
    /// `None` if the encoder's values are left as they are.
    encoder: Option<Rates>,
}

impl Controls {
    /// The kernels assert the same size for their struct.
    const LEN: usize = 30;

    /// The words in the order of the kernels' struct.
    fn words(&self) -> [f32; Self::LEN] {
        let [low, high] = halves(self.clip_norm);
        let (t, rule, rates) = (self.terms, self.rule, self.rates);
        let encoder = self.encoder.unwrap_or_default();
        [
            low,
            high,
            rates.rate,
            rates.shrinkage,
            rates.correction[0],
            rates.correction[1],
            encoder.rate,
            encoder.shrinkage,
            encoder.correction[0],
            encoder.correction[1],
            f32::from_bits(self.encoder.is_none().into()),
            rule.penalty,
            rule.epsilon,
            rule.keep[0],
            rule.take[0],
            rule.keep[1],
            rule.take[1],
            f32::from_bits(rule.nesterov.into()),
            self.ema_share,
            self.smoothing,
            self.map_weight,
            t.entropy,
            t.overlap,
            t.marked,
            t.unmarked,
            t.gamma,
            t.false_positives,
            t.false_negatives,
            f32::from_bits(self.mixed.into()),
            self.share,
        ]
    }
}

impl Results {
    /// The kernels assert the same size for their struct.
    const LEN: usize = 10;

    /// Decodes the contents of [`Board::results`]; `None` if they are too short.
    pub fn read(words: &[f32]) -> Option<Self> {
        let (words, _) = words.split_first_chunk::<{ Self::LEN }>()?;
        let [low, high, class_loss, map_loss, loss, scale, ..] = *words;
        let count = |i: usize| words[i].to_bits();
        Some(Results {
            norm: whole([low, high]),
            class_loss,
            map_loss: (count(7) > 0).then_some(map_loss),
            loss,
            scale,
            hits: count(6),
            applied: count(8) != 0,
        })
    }
}

/// Splits a double's bits into two values, the lower half first.
fn halves(v: f64) -> [f32; 2] {
    let bits = v.to_bits();
    [bits as u32, (bits >> 32) as u32].map(f32::from_bits)
}

/// The inverse of [`halves`].
fn whole([low, high]: [f32; 2]) -> f64 {
    f64::from_bits(u64::from(high.to_bits()) << 32 | u64::from(low.to_bits()))
}

/// Launches a kernel with blocks of 256 threads along x. It belongs to no node's step and is attributed to the input,
/// which has no launches of its own.
pub(super) fn launch(
    driver: &mut dyn Driver,
    kernel: &'static str,
    [x, y]: [usize; 2],
    args: &[Arg],
) -> Result<(), DeviceError> {
    // A number of blocks beyond u32 is still rejected by the launch's own check.
    let blocks = |n| u32::try_from(n).unwrap_or(u32::MAX);
    driver.launch(&Launch {
        kernel,
        grid: [blocks(x), blocks(y), 1],
        block: [Launch::THREADS, 1],
        args,
        node: NodeId(0),
    })
}

/// Elements per chunk when `len` elements are divided into chunks of one block each: at least `least`, such that there
/// are at most `most` chunks, and determined by `len` alone. `least` must be a multiple of `step`, and so is the
/// result.
pub(super) fn chunk_len(len: usize, least: usize, most: usize, step: usize) -> usize {
    len.div_ceil(most).next_multiple_of(step).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_few_and_cover_everything() {
        for len in [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 31) - 1] {
            let per_chunk = chunk_len(len, 4096, 1024, 1024);
            assert!(per_chunk >= 4096 && per_chunk.is_multiple_of(1024));
            assert!(len.div_ceil(per_chunk) <= 1024, "{len}");
        }
    }

    #[test]
    fn doubles_survive_a_round_trip() {
        for v in [0.0, -1.5, 1e300, f64::MIN_POSITIVE] {
            assert_eq!(whole(halves(v)), v);
        }
        assert!(whole(halves(f64::NAN)).is_nan());
    }
}
