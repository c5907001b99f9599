//! The element type of each value in memory, if not all are f32.

use kernels::Window;

use super::steps::Readers;
use crate::graph::{Graph, NodeId, Op};

/// Type of an element in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Four bytes.
    #[default]
    F32,
    /// Two bytes: the upper half of an f32.
    Bf16,
    /// One byte: a code ([`kernels::quantized::Affine`]); inference on the CPU only.
    U8,
}

impl Kind {
    /// Number of four-byte words that hold `elements` elements.
    pub fn words(self, elements: usize) -> usize {
        match self {
            Kind::F32 => elements,
            Kind::Bf16 => elements.div_ceil(2),
            Kind::U8 => elements.div_ceil(4),
        }
    }
}

/// The kind of every node's value and gradient if feature maps are of kind `features`. Values that are small or enter a
/// loss remain f32: vectors (one value per channel, in squeeze-excite and heads), and class maps, which no convolution
/// reads.
pub(super) fn kinds(graph: &Graph, features: Kind, readers: &Readers) -> Vec<Kind> {
    if features == Kind::F32 {
        return vec![Kind::F32; graph.nodes.len()];
    }
    let vectors = vectors(graph);
    let maps = maps(graph, readers, &vectors);
    let f32 = vectors
        .iter()
        .zip(&maps)
        .map(|(vector, map)| *vector || *map);
    f32.map(|f32| if f32 { Kind::F32 } else { features })
        .collect()
}

/// The kind of every node's value if the values of nodes for which `coded` holds are stored as codes, except what [`kinds`]
/// leaves in f32.
pub(super) fn coded_kinds(graph: &Graph, coded: &[bool], readers: &Readers) -> Vec<Kind> {
    let mut kinds = kinds(graph, Kind::U8, readers);
    for (kind, coded) in kinds.iter_mut().zip(coded) {
        *kind = if *coded { *kind } else { Kind::F32 };
    }
    kinds
}

/// The kind of every node's value in inference with bf16 maps on the CPU: the images stay f32, too.
pub(super) fn bf16_kinds(graph: &Graph, readers: &Readers) -> Vec<Kind> {
    let mut kinds = kinds(graph, Kind::Bf16, readers);
    kinds[NodeId::INPUT.index()] = Kind::F32;
    kinds
}

/// Averages over all pixels, and values computed from such values alone without a window.
fn vectors(graph: &Graph) -> Vec<bool> {
    let mut vectors = vec![false; graph.nodes.len()];
    for id in graph.ids() {
        let node = graph.node(id);
        vectors[id.index()] = match node.op {
            Op::Input { .. } => false,
            Op::GlobalAvgPool | Op::RegionPool | Op::Linear { .. } => true,
            Op::Conv2d { window, .. } => window == Window::POINT && all(&vectors, &node.inputs),
            Op::Depthwise { .. } | Op::ConvTranspose2x2 { .. } | Op::Upsample2x { .. } => false,
            Op::MaxPool { .. } | Op::Crop { .. } => false,
            _ => all(&vectors, &node.inputs),
        };
    }
    vectors
}

/// Values of convolutions that no convolution or norm reads, directly or through other nodes, and values computed from
/// them alone. A map that is combined with a feature map counts as a feature map.
fn maps(graph: &Graph, readers: &Readers, vectors: &[bool]) -> Vec<bool> {
    let mut maps = vec![false; graph.nodes.len()];
    let feeds = feeds_features(graph, readers);
    let mut spoiled = vec![false; graph.nodes.len()];
    loop {
        for id in graph.ids() {
            let node = graph.node(id);
            let starts = matches!(node.op, Op::Conv2d { .. });
            let follows = node
                .inputs
                .iter()
                .all(|x| maps[x.index()] || vectors[x.index()]);
            maps[id.index()] = !vectors[id.index()]
                && !feeds[id.index()]
                && !spoiled[id.index()]
                && !node.inputs.is_empty()
                && (starts || follows);
        }
        let mut again = false;
        for id in graph
            .ids()
            .filter(|id| !maps[id.index()] && !vectors[id.index()])
        {
            for x in &graph.node(id).inputs {
                again |= maps[x.index()] && !std::mem::replace(&mut spoiled[x.index()], true);
            }
        }
        if !again {
            return maps;
        }
    }
}

/// Whether a convolution or norm reads a value, directly or through nodes without parameters.
fn feeds_features(graph: &Graph, readers: &Readers) -> Vec<bool> {
    let mut feeds = vec![false; graph.nodes.len()];
    for id in graph.ids().rev().filter(|id| readers.are_any(*id)) {
        let node = graph.node(id);
        let features = matches!(
            node.op,
            Op::Conv2d { .. }
                | Op::Depthwise { .. }
                | Op::ConvTranspose2x2 { .. }
                | Op::BatchNorm { .. }
        );
        let pools = matches!(
            node.op,
            Op::GlobalAvgPool | Op::RegionPool | Op::Linear { .. }
        );
        let passes = feeds[id.index()] && !pools;
        if features || passes {
            node.inputs.iter().for_each(|x| feeds[x.index()] = true);
        }
    }
    feeds
}

fn all(marked: &[bool], nodes: &[NodeId]) -> bool {
    !nodes.is_empty() && nodes.iter().all(|id| marked[id.index()])
}
