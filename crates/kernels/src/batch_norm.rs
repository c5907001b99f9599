//! Batch normalization.
use crate::reference::{normalization as rn, wide, write};
use crate::{Accumulate, Activation};
/// statistics
pub fn statistics(z: &[f32], channels: usize, mean: &mut [f32], var: &mut [f32]) {
    let (m, v) = rn::batch_norm_statistics(&wide(z), channels);
    write(mean, &m, Accumulate::Replace);
    write(var, &v, Accumulate::Replace);
}
/// running
pub fn update_running(
    running_mean: &mut [f32],
    running_var: &mut [f32],
    mean: &[f32],
    var: &[f32],
    count: usize,
    momentum: f32,
) {
    let unbias = count as f32 / (count.max(2) - 1) as f32;
    for (r, m) in running_mean.iter_mut().zip(mean) {
        *r = (1.0 - momentum) * *r + momentum * m;
    }
    for (r, v) in running_var.iter_mut().zip(var) {
        *r = (1.0 - momentum) * *r + momentum * v * unbias;
    }
}
/// fold
pub fn fold(
    gamma: &[f32],
    beta: &[f32],
    mean: &[f32],
    var: &[f32],
    eps: f32,
    scale: &mut [f32],
    shift: &mut [f32],
) {
    for c in 0..gamma.len() {
        scale[c] = gamma[c] / (var[c] + eps).sqrt();
        shift[c] = beta[c] - mean[c] * scale[c];
    }
}
/// y = act(z*scale + shift)
pub fn apply(
    z: &[f32],
    scale: &[f32],
    shift: &[f32],
    activation: Option<Activation>,
    y: &mut [f32],
) {
    let c = scale.len();
    let a: Vec<f64> = z
        .iter()
        .enumerate()
        .map(|(i, &v)| f64::from(v * scale[i % c] + shift[i % c]))
        .collect();
    write(
        y,
        &rn::activation_forward(activation, &a),
        Accumulate::Replace,
    );
}
/// train
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
    backward(
        z, dy, gamma, beta, mean, var, eps, activation, dz, dgamma, dbeta, acc, true,
    );
}
/// eval
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
    backward(
        z, dy, gamma, beta, mean, var, eps, activation, dz, dgamma, dbeta, acc, false,
    );
}
fn backward(
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
    train: bool,
) {
    let (a, b, c) = rn::batch_norm_backward(
        &wide(z),
        &wide(dy),
        &wide(gamma),
        &wide(beta),
        &wide(mean),
        &wide(var),
        f64::from(eps),
        activation,
        train,
    );
    write(dz, &a, Accumulate::Replace);
    write(dgamma, &b, acc);
    write(dbeta, &c, acc);
}
