//! Steps of optimizers, and what belongs to them: sums of squares and moving averages, over all weights at a time.
//!
//! The order of operations is that of dfdx's optimizers and of the CUDA kernels: all three give the same bits. These are
//! plain loops: a step of a whole network's weights takes some milliseconds, most of them for reading and writing memory.

use rayon::prelude::*;

use crate::parallel::CHUNK;

/// Values whose squares are added up by themselves; the sums are then added in their order.
const BLOCK: usize = 4 * CHUNK;

/// Independent sums of a block, which a processor adds at the same time.
const LANES: usize = 8;

/// What a step subtracts from a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Kingma and Ba 2015; with [`Rates::shrinkage`], Loshchilov and Hutter 2019. Two moments.
    Adam,
    /// Stochastic gradient descent. The first moment is the velocity.
    Sgd,
    /// Hinton 2012, with epsilon under the root as in TensorFlow. The first moment is the velocity, the second the mean
    /// square.
    RmsProp,
}

/// A kind of step with the settings that are the same in each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The kind.
    pub kind: Kind,
    /// Factor of the L2 penalty, added to the gradient; 0 for none.
    pub penalty: f32,
    /// Keeps the denominator above 0.
    pub epsilon: f32,
    /// Share of each moment that is kept; 0 for no velocity.
    pub keep: [f32; 2],
    /// Share of what is new in each moment.
    pub take: [f32; 2],
    /// Whether SGD looks ahead along the velocity.
    pub nesterov: bool,
}

impl Rule {
    /// Whether the rule has a first and a second moment.
    pub fn moments(&self) -> [bool; 2] {
        let velocity = self.keep[0] != 0.0;
        match self.kind {
            Kind::Adam => [true, true],
            Kind::Sgd => [velocity, false],
            Kind::RmsProp => [velocity, true],
        }
    }
}

/// The settings of a step that depend on the learning rate and on the number of the step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Learning rate.
    pub rate: f32,
    /// Share by which Adam shrinks the weights; 0 for none.
    pub shrinkage: f32,
    /// Factors that correct Adam's moments for their start at 0.
    pub correction: [f32; 2],
}

/// What a step changes: weights and their moments. A moment that the rule does not have is empty.
pub struct Weights<'w> {
    /// The weights.
    pub values: &'w mut [f32],
    /// First and second moment.
    pub moments: [&'w mut [f32]; 2],
}

/// Makes a step with these gradients times `scale`.
///
/// # Panics
/// If lengths differ.
pub fn update(rule: &Rule, rates: &Rates, weights: Weights<'_>, gradients: &[f32], scale: f32) {
    let Weights { values, moments } = weights;
    let n = values.len();
    assert_eq!(gradients.len(), n, "update: length of the gradients");
    let expected = rule.moments().map(|used| if used { n } else { 0 });
    let lens = moments.each_ref().map(|moment| moment.len());
    assert_eq!(lens, expected, "update: lengths of the moments");
    let step = Step { rule, rates, scale };
    let [first, second] = moments;
    let parts = values.par_chunks_mut(CHUNK);
    let parts = parts.zip(gradients.par_chunks(CHUNK));
    match rule.kind {
        Kind::Sgd if rule.keep[0] == 0.0 => parts.for_each(|(p, g)| step.plain(p, g)),
        Kind::Sgd => parts
            .zip(first.par_chunks_mut(CHUNK))
            .for_each(|((p, g), velocity)| step.sgd(p, g, velocity)),
        Kind::RmsProp if rule.keep[0] == 0.0 => parts
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|((p, g), square)| step.rms(p, g, square)),
        Kind::RmsProp => parts
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((p, g), velocity), square)| step.rms_velocity(p, g, velocity, square)),
        Kind::Adam => parts
            .zip(first.par_chunks_mut(CHUNK))
            .zip(second.par_chunks_mut(CHUNK))
            .for_each(|(((p, g), m), v)| step.adam(p, g, m, v)),
    }
}

/// A step of a part of the weights.
struct Step<'s> {
    rule: &'s Rule,
    rates: &'s Rates,
    scale: f32,
}

impl Step<'_> {
    /// A gradient, scaled and with the penalty. Whether there is one is the same for all weights.
    fn gradient(&self, p: f32, g: f32) -> f32 {
        let g = g * self.scale;
        match self.rule.penalty > 0.0 {
            true => g + self.rule.penalty * p,
            false => g,
        }
    }

    fn plain(&self, values: &mut [f32], gradients: &[f32]) {
        for (p, g) in values.iter_mut().zip(gradients) {
            *p -= self.gradient(*p, *g) * self.rates.rate;
        }
    }

    fn sgd(&self, values: &mut [f32], gradients: &[f32], velocity: &mut [f32]) {
        let (keep, rate) = (self.rule.keep[0], self.rates.rate);
        for ((p, g), velocity) in values.iter_mut().zip(gradients).zip(velocity) {
            let g = self.gradient(*p, *g);
            *velocity = g + keep * *velocity;
            *p -= match self.rule.nesterov {
                true => (g + keep * *velocity) * rate,
                false => *velocity * rate,
            };
        }
    }

    fn rms(&self, values: &mut [f32], gradients: &[f32], square: &mut [f32]) {
        for ((p, g), square) in values.iter_mut().zip(gradients).zip(square) {
            *p -= self.over_root(*p, *g, square) * self.rates.rate;
        }
    }

    fn rms_velocity(
        &self,
        values: &mut [f32],
        gradients: &[f32],
        velocity: &mut [f32],
        square: &mut [f32],
    ) {
        let (keep, rate) = (self.rule.keep[0], self.rates.rate);
        let moments = velocity.iter_mut().zip(square);
        for ((p, g), (velocity, square)) in values.iter_mut().zip(gradients).zip(moments) {
            *velocity = *velocity * keep + self.over_root(*p, *g, square);
            *p -= *velocity * rate;
        }
    }

    /// Moves the mean square; the gradient divided by its root.
    fn over_root(&self, p: f32, g: f32, square: &mut f32) -> f32 {
        let g = self.gradient(p, g);
        *square += self.rule.take[1] * (g * g - *square);
        g / (*square + self.rule.epsilon).sqrt()
    }

    fn adam(&self, values: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Rule {
            epsilon,
            keep,
            take,
            ..
        } = *self.rule;
        let Rates {
            rate,
            shrinkage,
            correction,
        } = *self.rates;
        let moments = first.iter_mut().zip(second);
        for ((p, g), (m, v)) in values.iter_mut().zip(gradients).zip(moments) {
            let g = self.gradient(*p, *g);
            *m = *m * keep[0] + g * take[0];
            *v = *v * keep[1] + g * g * take[1];
            let change = rate * (*m * correction[0]) / ((*v * correction[1]).sqrt() + epsilon);
            *p -= match shrinkage > 0.0 {
                true => change + shrinkage * *p,
                false => change,
            };
        }
    }
}

/// The sum of the squares, in double precision and in an order that does not depend on the number of threads.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let blocks: Vec<f64> = values.par_chunks(BLOCK).map(squares).collect();
    blocks.into_iter().sum()
}

fn squares(block: &[f32]) -> f64 {
    let (whole, rest) = block.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for values in whole {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    let rest = rest.iter().map(|value| f64::from(*value).powi(2));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

/// `average += share · (value − average)`.
///
/// # Panics
/// If lengths differ.
pub fn move_average(average: &mut [f32], values: &[f32], share: f32) {
    assert_eq!(average.len(), values.len(), "move_average: lengths");
    let parts = average.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK));
    parts.for_each(|(average, values)| {
        for (average, value) in average.iter_mut().zip(values) {
            *average += share * (value - *average);
        }
    });
}
