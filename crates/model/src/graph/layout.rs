//! Conversion between the kernels' order of elements and PyTorch's, as given by [`WeightLayout`].

use super::{ParamSpec, WeightLayout};

impl ParamSpec {
    /// The values in PyTorch's order; `stored` has [`ParamSpec::len`] of them.
    pub fn to_torch(&self, stored: &[f32]) -> Vec<f32> {
        torch_order(self).map(|i| stored[i]).collect()
    }

    /// Fills `stored` from values in PyTorch's order; both have [`ParamSpec::len`] values.
    pub fn store_torch(&self, torch: &[f32], stored: &mut [f32]) {
        for (i, value) in torch_order(self).zip(torch) {
            stored[i] = *value;
        }
    }
}

/// For each element in PyTorch's order, its index in the stored order.
fn torch_order(spec: &ParamSpec) -> impl Iterator<Item = usize> + use<> {
    let axes = axes(spec.layout);
    let [a, b, c, d] = axes.map(|axis| {
        axis.map_or(Axis { len: 1, step: 0 }, |i| Axis {
            len: spec.shape[i],
            step: spec.shape[i + 1..].iter().product(),
        })
    });
    a.offsets().flat_map(move |i| {
        b.offsets().flat_map(move |j| {
            c.offsets()
                .flat_map(move |k| d.offsets().map(move |l| i + j + k + l))
        })
    })
}

/// The stored axis for each of PyTorch's (up to) four axes, padded in front.
fn axes(layout: WeightLayout) -> [Option<usize>; 4] {
    match layout {
        WeightLayout::Vector => [None, None, None, Some(0)],
        WeightLayout::Linear => [None, None, Some(1), Some(0)],
        WeightLayout::Conv => [Some(3), Some(2), Some(0), Some(1)],
        WeightLayout::Depthwise => [Some(2), None, Some(0), Some(1)],
        WeightLayout::ConvTranspose => [Some(0), Some(3), Some(1), Some(2)],
    }
}

#[derive(Clone, Copy)]
struct Axis {
    len: usize,
    step: usize,
}

impl Axis {
    fn offsets(self) -> impl Iterator<Item = usize> {
        (0..self.len).map(move |i| i * self.step)
    }
}
