//! Whether a file's tensor fits a parameter, and how a stem is adapted to another number of image channels.

use model::graph::{Graph, NodeId, ParamId, ParamSpec, WeightLayout};

/// How a file's tensor fits a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Exact,
    /// The stem's kernels for three channels are summed into one: a grey image in the network corresponds to the same
    /// grey in all three channels of the file's network.
    Summed,
    /// The stem's kernels for one channel are copied to `n`, divided by `n`: grey given as RGB has the same response.
    Spread(usize),
}

impl Fit {
    /// How a tensor of `shape` fits; `None` if it does not.
    pub(super) fn of(spec: &ParamSpec, shape: &[usize], stem: bool) -> Option<Fit> {
        let wanted = spec.torch_shape();
        match (shape, wanted.as_slice()) {
            (a, b) if a == b => Some(Fit::Exact),
            ([o, 3, k @ ..], [p, 1, l @ ..]) if stem && (o, k) == (p, l) => Some(Fit::Summed),
            ([o, 1, k @ ..], [p, n, l @ ..]) if stem && (o, k) == (p, l) => Some(Fit::Spread(*n)),
            _ => None,
        }
    }

    /// Adapts `[out, in, kh, kw]` values to the network's input channels.
    pub(super) fn apply(self, values: Vec<f32>, spec: &ParamSpec) -> Vec<f32> {
        let taps = spec
            .shape
            .first()
            .zip(spec.shape.get(1))
            .map_or(1, |(kh, kw)| (kh * kw).max(1));
        match self {
            Fit::Exact => values,
            Fit::Summed => values
                .chunks(3 * taps)
                .flat_map(|rgb| (0..taps).map(move |t| rgb.iter().skip(t).step_by(taps).sum()))
                .collect(),
            Fit::Spread(n) => values
                .chunks(taps)
                .flat_map(|grey| (0..n).flat_map(move |_| grey.iter().map(move |v| v / n as f32)))
                .collect(),
        }
    }

    /// A sentence for the report, if anything was changed.
    pub(super) fn describe(self, name: &str) -> Option<String> {
        match self {
            Fit::Exact => None,
            Fit::Summed => Some(format!("{name}: kernels of 3 image channels summed into 1")),
            Fit::Spread(n) => Some(format!(
                "{name}: kernels of 1 image channel spread over {n}"
            )),
        }
    }
}

/// Kernels of the convolutions that read the image.
pub(super) fn stems(graph: &Graph) -> Vec<ParamId> {
    let reads_image = |inputs: &[NodeId]| inputs.first() == Some(&NodeId::INPUT);
    let kernels = graph
        .nodes
        .iter()
        .filter(|n| reads_image(&n.inputs))
        .flat_map(|n| n.params.iter().copied());
    kernels
        .filter(|id| graph.param(*id).layout == WeightLayout::Conv)
        .collect()
}
