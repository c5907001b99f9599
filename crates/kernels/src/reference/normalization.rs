//! Bias, activations and batch normalization.

use crate::Activation;

/// Adds `bias[c]` to every pixel.
pub fn bias_forward(x: &[f64], bias: &[f64]) -> Vec<f64> {
    x.iter()
        .enumerate()
        .map(|(i, v)| v + bias[i % bias.len()])
        .collect()
}

/// Sum over pixels of each channel.
pub fn bias_backward(dy: &[f64], channels: usize) -> Vec<f64> {
    let mut db = vec![0.0; channels];
    for (i, g) in dy.iter().enumerate() {
        db[i % channels] += g;
    }
    db
}

/// The activation's value at `x`.
pub fn activation_value(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::Relu6 => x.clamp(0.0, 6.0),
    }
}

/// The activation's derivative at `x`; zero at the kinks of ReLU and ReLU6, as in PyTorch.
pub fn activation_derivative(kind: Activation, x: f64) -> f64 {
    let s = 1.0 / (1.0 + (-x).exp());
    match kind {
        Activation::Silu => s * (1.0 + x * (1.0 - s)),
        Activation::Sigmoid => s * (1.0 - s),
        Activation::Relu => f64::from(u8::from(x > 0.0)),
        Activation::Relu6 => f64::from(u8::from(x > 0.0 && x < 6.0)),
    }
}

/// `y = act(x)`.
pub fn activation_forward(kind: Option<Activation>, x: &[f64]) -> Vec<f64> {
    x.iter()
        .map(|&v| kind.map_or(v, |kind| activation_value(kind, v)))
        .collect()
}

/// `dx = dy · act'(x)`.
pub fn activation_backward(kind: Option<Activation>, x: &[f64], dy: &[f64]) -> Vec<f64> {
    x.iter()
        .zip(dy)
        .map(|(&v, g)| g * kind.map_or(1.0, |kind| activation_derivative(kind, v)))
        .collect()
}

/// Mean and biased variance of each channel.
pub fn batch_norm_statistics(z: &[f64], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (z.len() / channels) as f64;
    let mean: Vec<f64> = bias_backward(z, channels)
        .iter()
        .map(|s| s / count)
        .collect();
    let squares: Vec<f64> = z
        .iter()
        .enumerate()
        .map(|(i, v)| (v - mean[i % channels]).powi(2))
        .collect();
    let var = bias_backward(&squares, channels)
        .iter()
        .map(|s| s / count)
        .collect();
    (mean, var)
}

/// `y = act(gamma · (z − mean) / √(var + eps) + beta)`.
pub fn batch_norm_forward(
    z: &[f64],
    gamma: &[f64],
    beta: &[f64],
    mean: &[f64],
    var: &[f64],
    eps: f64,
    activation: Option<Activation>,
) -> Vec<f64> {
    let c = gamma.len();
    let normal = |i: usize| (z[i] - mean[i % c]) / (var[i % c] + eps).sqrt();
    let a: Vec<f64> = (0..z.len())
        .map(|i| gamma[i % c] * normal(i) + beta[i % c])
        .collect();
    activation_forward(activation, &a)
}

/// `(dz, dgamma, dbeta)` of [`batch_norm_forward`]. With `train`, `mean` and `var` are computed from `z`, and
/// gradients flow through them too (Ioffe & Szegedy 2015, §3).
pub fn batch_norm_backward(
    z: &[f64],
    dy: &[f64],
    gamma: &[f64],
    beta: &[f64],
    mean: &[f64],
    var: &[f64],
    eps: f64,
    activation: Option<Activation>,
    train: bool,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (c, count) = (gamma.len(), (z.len() / gamma.len()) as f64);
    let normal: Vec<f64> = (0..z.len())
        .map(|i| (z[i] - mean[i % c]) / (var[i % c] + eps).sqrt())
        .collect();
    let a: Vec<f64> = (0..z.len())
        .map(|i| gamma[i % c] * normal[i] + beta[i % c])
        .collect();
    let g = activation_backward(activation, &a, dy);
    let dbeta = bias_backward(&g, c);
    let products: Vec<f64> = g.iter().zip(&normal).map(|(g, n)| g * n).collect();
    let dgamma = bias_backward(&products, c);
    let through_statistics = |i: usize| (dbeta[i % c] + normal[i] * dgamma[i % c]) / count;
    let dz = (0..z.len())
        .map(|i| {
            gamma[i % c] / (var[i % c] + eps).sqrt()
                * (g[i] - if train { through_statistics(i) } else { 0.0 })
        })
        .collect();
    (dz, dgamma, dbeta)
}
