//! Global-norm gradient clipping (Pascanu 2013; PyTorch's `clip_grad_norm_`).

use model::store::{Group, ParamStore};

/// Norm of the gradients of all trainable values together; it does not depend on the number of threads.
pub fn norm(gradients: &ParamStore) -> f64 {
    let squares = Group::TRAINABLE.map(|group| gradients.sum_of_squares(group));
    squares.iter().sum::<f64>().sqrt()
}

/// The factor that scales a gradient of this norm down to `max_norm`; `None` if no clipping is needed (a `max_norm`
/// of 0 disables clipping).
pub fn clip_factor(norm: f64, max_norm: f64) -> Option<f32> {
    let factor = max_norm / (norm + 1e-6);
    (max_norm > 0.0 && factor < 1.0).then_some(factor as f32)
}
