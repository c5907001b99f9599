//! Batch normalization (Ioffe & Szegedy 2015) over the last axis, with the activation that follows it fused in.
//!
//! `z` is the input, `a = z · scale + shift` the normalized value and `y = act(a)`. The backward passes recompute `a`
//! instead of reading it, because a read from memory is slower than the activation.

use crate::map::{Map, Rows, map_rows};
use crate::reduce::{Terms, store, sum_pixels};
use crate::simd::{Kind, Simd, activate, activation_gradient, with_kind};
use crate::{Accumulate, Activation};

/// Mean and biased variance of each channel over all pixels of `z`.
///
/// Sums are taken about the mean of a sample of pixels, so that a large mean does not swamp a small variance.
pub fn statistics(z: &[f32], channels: usize, mean: &mut [f32], var: &mut [f32]) {
    assert!(
        mean.len() == channels && var.len() == channels,
        "batch_norm::statistics: not one value per channel"
    );
    assert!(!z.is_empty(), "batch_norm::statistics: no pixels");
    let count = (z.len() / channels) as f64;
    let origin = sample_mean(z, channels);
    let sums = sum_pixels(Moments, [z], [&origin], channels);
    for c in 0..channels {
        let offset = sums[c] / count;
        mean[c] = (f64::from(origin[c]) + offset) as f32;
        // `max` would hide a NaN.
        let variance = sums[channels + c] / count - offset * offset;
        var[c] = if variance < 0.0 { 0.0 } else { variance as f32 };
    }
}

/// `running = (1 − momentum) · running + momentum · batch`, with the variance unbiased by n / (n − 1), as in PyTorch.
/// `count` is the number n of pixels.
pub fn update_running(
    running_mean: &mut [f32],
    running_var: &mut [f32],
    mean: &[f32],
    var: &[f32],
    count: usize,
    momentum: f32,
) {
    let unbias = count as f32 / count.saturating_sub(1).max(1) as f32;
    for (running, mean) in running_mean.iter_mut().zip(mean) {
        *running += momentum * (mean - *running);
    }
    for (running, var) in running_var.iter_mut().zip(var) {
        *running += momentum * (var * unbias - *running);
    }
}

/// The factors of the normalization: `scale = gamma / √(var + eps)`, `shift = beta − mean · scale`.
pub fn fold(
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f32,
    scale: &mut [f32],
    shift: &mut [f32],
) {
    let c = gamma.len();
    let same = [beta.len(), mean.len(), var.len(), scale.len(), shift.len()]
        .iter()
        .all(|&len| len == c);
    assert!(same, "batch_norm::fold: a slice does not have {c} values");
    for i in 0..c {
        scale[i] = gamma[i] / (var[i] + eps).sqrt();
        shift[i] = beta[i] - mean[i] * scale[i];
    }
}

/// `y = act(z · scale + shift)`.
pub fn apply(
    z: &[f32],
    scale: &[f32],
    shift: &[f32],
    activation: Option<Activation>,
    y: &mut [f32],
) {
    let rows = Rows {
        sample: z.len(),
        channels: scale.len(),
    };
    with_kind!(activation, |kind| map_rows(
        Apply(kind),
        [z],
        [scale, shift],
        rows,
        y,
        Accumulate::Replace,
    ));
}

/// Gradients of `y = act(batch_norm(z))` where `mean` and `var` are the statistics of `z`. `dz` is overwritten and must
/// not alias another slice; `dgamma` and `dbeta` are replaced or added to.
pub fn backward_train(
    z: &[f32],
    dy: &[f32],
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f32,
    activation: Option<Activation>,
    dz: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    acc: Accumulate,
) {
    let norm = Normalization {
        gamma,
        beta,
        mean,
        var,
        eps,
    };
    let sums = backward_sums(z, dy, norm, activation);
    let c = gamma.len();
    store(&sums[..c], dbeta, acc);
    store(&sums[c..], dgamma, acc);
    backward_input(z, dy, norm, activation, (&sums, z.len() / c), dz);
}

/// A normalization: its parameters, and the statistics that it uses.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a> {
    /// Factor by channel.
    pub gamma: &'a [f32],
    /// Summand by channel.
    pub beta: &'a [f32],
    /// Mean by channel.
    pub mean: &'a [f32],
    /// Biased variance by channel.
    pub var: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

/// The sums over all pixels that the gradients of `y = act(batch_norm(z))` consist of, with g the gradient of the
/// normalized value: `Σ g` by channel, which is beta's gradient, then `Σ g · (z − mean) / √(var + eps)`, gamma's. Those of
/// images whose statistics are taken together add up.
pub fn backward_sums(
    z: &[f32],
    dy: &[f32],
    norm: Normalization<'_>,
    activation: Option<Activation>,
) -> Vec<f64> {
    Channels::new(norm).sums(z, dy, norm.mean, activation)
}

/// The input's gradient of `y = act(batch_norm(z))`, where mean and variance are those of `pixels` pixels, of which `z` has
/// some or all, from the sums over all of them ([`backward_sums`]). `dz` is overwritten.
pub fn backward_input(
    z: &[f32],
    dy: &[f32],
    norm: Normalization<'_>,
    activation: Option<Activation>,
    (sums, pixels): (&[f64], usize),
    dz: &mut [f32],
) {
    let channels = Channels::new(norm);
    let c = norm.gamma.len();
    let per_pixel = 1.0 / pixels as f64;
    let mut through_var = vec![0.0; c];
    let mut through_mean = vec![0.0; c];
    for i in 0..c {
        let scale = f64::from(channels.scale[i]) * per_pixel;
        through_mean[i] = (scale * sums[i]) as f32;
        through_var[i] = (scale * sums[c + i] * f64::from(channels.deviation[i])) as f32;
    }
    let params = [
        &*channels.scale,
        &channels.shift,
        norm.mean,
        &through_mean,
        &through_var,
    ];
    let rows = Rows {
        sample: z.len(),
        channels: c,
    };
    with_kind!(activation, |kind| map_rows(
        TrainInput(kind),
        [z, dy],
        params,
        rows,
        dz,
        Accumulate::Replace,
    ));
}

/// Like [`backward_train`], but `mean` and `var` are constants (running statistics).
pub fn backward_eval(
    z: &[f32],
    dy: &[f32],
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f32,
    activation: Option<Activation>,
    dz: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    acc: Accumulate,
) {
    let channels = Channels::new(Normalization {
        gamma,
        beta,
        mean,
        var,
        eps,
    });
    let sums = channels.sums(z, dy, mean, activation);
    let c = gamma.len();
    store(&sums[..c], dbeta, acc);
    store(&sums[c..], dgamma, acc);
    let (scale, shift) = (&channels.scale, &channels.shift);
    backward_eval_input(z, dy, scale, shift, activation, dz, Accumulate::Replace);
}

/// `dz (+)= scale · act'(z · scale + shift) · dy`: the input's gradient alone, where mean and variance are constants;
/// `scale` and `shift` are from [`fold`].
pub fn backward_eval_input(
    z: &[f32],
    dy: &[f32],
    scale: &[f32],
    shift: &[f32],
    activation: Option<Activation>,
    dz: &mut [f32],
    acc: Accumulate,
) {
    let rows = Rows {
        sample: z.len(),
        channels: scale.len(),
    };
    with_kind!(activation, |kind| map_rows(
        EvalInput(kind),
        [z, dy],
        [scale, shift],
        rows,
        dz,
        acc,
    ));
}

/// The mean of up to 32 pixels spread over `z`.
fn sample_mean(z: &[f32], channels: usize) -> Vec<f32> {
    let pixels = z.len() / channels;
    let count = pixels.min(32);
    let mut mean = vec![0.0; channels];
    for i in 0..count {
        let pixel = &z[pixels * i / count * channels..][..channels];
        mean.iter_mut()
            .zip(pixel)
            .for_each(|(mean, value)| *mean += value / count as f32);
    }
    mean
}

/// The per-channel values that both backward passes need.
struct Channels {
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// 1 / √(var + eps).
    deviation: Vec<f32>,
}

impl Channels {
    fn new(norm: Normalization<'_>) -> Self {
        let Normalization {
            gamma,
            beta,
            mean,
            var,
            eps,
        } = norm;
        let (mut scale, mut shift) = (vec![0.0; gamma.len()], vec![0.0; gamma.len()]);
        fold(gamma, beta, mean, var, eps, &mut scale, &mut shift);
        Self {
            scale,
            shift,
            deviation: var.iter().map(|var| 1.0 / (var + eps).sqrt()).collect(),
        }
    }

    /// `Σ g` and `Σ g · (z − mean) / √(var + eps)` with g the gradient of `a`.
    fn sums(
        &self,
        z: &[f32],
        dy: &[f32],
        mean: &[f32],
        activation: Option<Activation>,
    ) -> Vec<f64> {
        let c = self.scale.len();
        let params = [&*self.scale, &self.shift, mean];
        let mut sums = with_kind!(activation, |kind| sum_pixels(
            ParameterTerms(kind),
            [z, dy],
            params,
            c
        ));
        for (sum, deviation) in sums[c..].iter_mut().zip(&self.deviation) {
            *sum *= f64::from(*deviation);
        }
        sums
    }
}

#[derive(Clone, Copy)]
struct Moments;

impl Terms<1, 1, 2> for Moments {
    #[inline(always)]
    fn terms<S: Simd>(self, s: S, [z]: [S::V; 1], [origin]: [S::V; 1]) -> [S::V; 2] {
        let d = s.sub(z, origin);
        [d, s.mul(d, d)]
    }
}

#[derive(Clone, Copy)]
struct Apply<K>(K);

impl<K: Kind> Map<1, 2> for Apply<K> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [z]: [S::V; 1], [scale, shift]: [S::V; 2]) -> S::V {
        activate(s, K::ACTIVATION, s.mul_add(z, scale, shift))
    }
}

#[derive(Clone, Copy)]
struct ParameterTerms<K>(K);

impl<K: Kind> Terms<2, 3, 2> for ParameterTerms<K> {
    #[inline(always)]
    fn terms<S: Simd>(
        self,
        s: S,
        [z, dy]: [S::V; 2],
        [scale, shift, mean]: [S::V; 3],
    ) -> [S::V; 2] {
        let g = activation_gradient(s, K::ACTIVATION, s.mul_add(z, scale, shift), dy);
        [g, s.mul(g, s.sub(z, mean))]
    }
}

#[derive(Clone, Copy)]
struct TrainInput<K>(K);

impl<K: Kind> Map<2, 5> for TrainInput<K> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [z, dy]: [S::V; 2], params: [S::V; 5]) -> S::V {
        let [scale, shift, mean, through_mean, through_var] = params;
        let g = activation_gradient(s, K::ACTIVATION, s.mul_add(z, scale, shift), dy);
        let direct = s.sub(s.mul(g, scale), through_mean);
        s.sub(direct, s.mul(s.sub(z, mean), through_var))
    }
}

#[derive(Clone, Copy)]
struct EvalInput<K>(K);

impl<K: Kind> Map<2, 2> for EvalInput<K> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, [z, dy]: [S::V; 2], [scale, shift]: [S::V; 2]) -> S::V {
        s.mul(
            scale,
            activation_gradient(s, K::ACTIVATION, s.mul_add(z, scale, shift), dy),
        )
    }
}
