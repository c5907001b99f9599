//! Global-norm gradient clipping (Pascanu 2013; PyTorch's `clip_grad_norm_`).

/// Sum of squares in f64, added in storage order so that it does not depend on the number of threads.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum()
}

/// The factor that scales a gradient of this norm down to `max_norm`; `None` if no clipping is needed (a `max_norm`
/// of 0 disables clipping).
pub fn clip_factor(norm: f64, max_norm: f64) -> Option<f32> {
    let factor = max_norm / (norm + 1e-6);
    (max_norm > 0.0 && factor < 1.0).then_some(factor as f32)
}
