//! Checks that backward passes are the derivatives of the forward pass, and the adjoints of linear maps.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use kernels::Accumulate;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn gradients(case: &Case, dy: &[f32]) -> Vec<Vec<f32>> {
    let mut gradients: Vec<Vec<f32>> = case.inputs.iter().map(|x| vec![0.0; x.len()]).collect();
    (case.backward)(&case.inputs, dy, Accumulate::Replace, &mut gradients);
    gradients
}

/// Values checked per input.
const SAMPLES: usize = 40;

/// Every k-th value, with k such that about [`SAMPLES`] are left.
fn sample<T: Copy>(values: &[T]) -> Vec<T> {
    values
        .iter()
        .copied()
        .step_by(values.len().div_ceil(SAMPLES))
        .collect()
}

/// Central differences of ⟨dy, f(x)⟩ with respect to a sample of every input, with f the reference in `f64`.
fn finite_differences(case: &Case, dy: &[f64]) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-5;
    let mut inputs: Vec<Vec<f64>> = case.inputs.iter().map(|x| wide(x)).collect();
    let mut all = Vec::new();
    for t in 0..inputs.len() {
        let mut gradient = Vec::new();
        for i in sample(&(0..inputs[t].len()).collect::<Vec<_>>()) {
            let x = inputs[t][i];
            inputs[t][i] = x + STEP;
            let above = dot(dy, &(case.reference_forward)(&inputs));
            inputs[t][i] = x - STEP;
            let below = dot(dy, &(case.reference_forward)(&inputs));
            inputs[t][i] = x;
            gradient.push((above - below) / (2.0 * STEP));
        }
        all.push(gradient);
    }
    all
}

#[test]
fn backward_is_the_derivative_of_forward() {
    for case in small_cases() {
        let outputs = (case.forward)(&case.inputs).len();
        let dy = Random::new(7).tensor(outputs);
        let expected = finite_differences(&case, &wide(&dy));
        for (i, (got, expected)) in gradients(&case, &dy).iter().zip(&expected).enumerate() {
            check(
                &format!("{}, gradient {i}", case.name),
                &sample(got),
                expected,
                1e-4,
            );
        }
    }
}

/// ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ with the kernels only.
#[test]
fn backward_is_the_adjoint_of_a_linear_forward() {
    for case in small_cases()
        .iter()
        .filter(|case| case.linear && !case.name.starts_with("add"))
    {
        // The other inputs are parameters, except where the operation is linear in all of them together.
        let joint = case.name.starts_with("concat");
        let ax = (case.forward)(&case.inputs);
        let y = Random::new(11).tensor(ax.len());
        let left = dot(&wide(&ax), &wide(&y));
        let inputs = if joint { case.inputs.len() } else { 1 };
        let aty = gradients(case, &y);
        let right: f64 = (0..inputs)
            .map(|i| dot(&wide(&case.inputs[i]), &wide(&aty[i])))
            .sum();
        let scale = wide(&ax)
            .iter()
            .zip(&y)
            .map(|(a, y)| (a * f64::from(*y)).abs())
            .sum::<f64>()
            .max(1.0);
        assert!(
            (left - right).abs() <= 1e-5 * scale,
            "{}: {left} and {right}",
            case.name
        );
    }
}
