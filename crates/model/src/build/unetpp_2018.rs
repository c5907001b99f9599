//! U-Net++ as its authors published it: Zhou et al., "UNet++: A Nested U-Net Architecture for Medical Image
//! Segmentation", DLMIA 2018, with their Keras code's 32-64-128-256-512 filters.
//!
//! `x_{i}_{j}` is the paper's x^{i,j}: `i` counts levels down, `j` columns to the right. Column 0 is the encoder; all
//! other nodes take the node below upsampled and every earlier node of their level, in this order. Deep supervision:
//! each of x^{0,1} … x^{0,4} has a 1×1 head, published as `map.1` … `map.4`. In *accurate* mode `map` is their mean (of
//! scores, which come before the softmax); in *fast* mode, with a `pruning_level` L, the network ends at x^{0,L} and
//! keeps only that node's head; nodes that only later columns need are left out.

use kernels::{Activation, Padding};

use super::head::point_map;
use super::init::he_normal;
use super::spec::ModelSpec;
use super::trunk::{EncoderFeatures, Trunk};
use crate::graph::{GraphBuilder, NodeId};

const BASE_CHANNELS: usize = 32;

/// Columns in addition to the encoder's.
pub(super) const COLUMNS: usize = 4;

/// Builds the nested network and its heads.
pub(super) fn write(g: &mut GraphBuilder, spec: &ModelSpec) -> Trunk {
    let columns = spec.pruning_level.unwrap_or(COLUMNS);
    let nested = Nested {
        base: spec.base_channels.unwrap_or(BASE_CHANNELS),
        dropout: spec.dropout,
        columns,
    };
    let rows = nested.write(g);
    let heads = match spec.pruning_level {
        None => 1..=columns,
        Some(level) => level..=level,
    };
    let map = supervised(g, &rows[0], heads, spec.map_channels());
    let encoder = rows.iter().enumerate();
    Trunk {
        features: encoder
            .map(|(i, row)| EncoderFeatures::of(g, row[0], 1 << i))
            .collect(),
        decoded: Some(rows[0][columns]),
        map: Some(map),
    }
}

/// Heads on these columns of the top level, published one by one and as their mean, which is returned.
fn supervised(
    g: &mut GraphBuilder,
    top: &[NodeId],
    columns: std::ops::RangeInclusive<usize>,
    classes: usize,
) -> NodeId {
    let mut maps = Vec::new();
    for j in columns {
        let map = point_map(g, &format!("heads.{j}"), top[j], classes);
        g.publish(format!("map.{j}"), map);
        maps.push(map);
    }
    let map = g.mean("mean", &maps);
    g.publish("map", map);
    map
}

struct Nested {
    base: usize,
    dropout: f32,
    columns: usize,
}

impl Nested {
    /// Row `i` holds x^{i,0}, x^{i,1} ….
    fn write(&self, g: &mut GraphBuilder) -> Vec<Vec<NodeId>> {
        let mut rows = self.encoder(g);
        for j in 1..=self.columns {
            for i in 0..=self.columns - j {
                let below = rows[i + 1][j - 1];
                let node = g.scope(format!("x_{i}_{j}"), |g| self.node(g, below, &rows[i]));
                rows[i].push(node);
            }
        }
        rows
    }

    fn encoder(&self, g: &mut GraphBuilder) -> Vec<Vec<NodeId>> {
        let mut x = g.input();
        let mut rows = Vec::new();
        for i in 0..=self.columns {
            x = g.scope(format!("x_{i}_0"), |g| {
                let x = match i {
                    0 => x,
                    _ => g.max_pool("pool", x, 2, 2, Padding::Symmetric(0)),
                };
                self.unit(g, x, self.base << i)
            });
            rows.push(vec![x]);
        }
        rows
    }

    fn node(&self, g: &mut GraphBuilder, below: NodeId, row: &[NodeId]) -> NodeId {
        let out = g.channels(below) / 2;
        let init = he_normal(1, g.channels(below));
        let up = g.conv_transpose2x2("up", below, out, init);
        let joined: Vec<NodeId> = std::iter::once(up).chain(row.iter().copied()).collect();
        let x = g.concat("cat", &joined);
        self.unit(g, x, out)
    }

    /// Convolution, ReLU, dropout, twice.
    fn unit(&self, g: &mut GraphBuilder, x: NodeId, out: usize) -> NodeId {
        ["conv1", "conv2"].into_iter().fold(x, |x, name| {
            let init = he_normal(3, g.channels(x));
            let x = g.conv(name, x, out, 3, 1, Padding::Symmetric(1), true, init);
            let x = g.activation(&format!("{name}.relu"), x, Activation::Relu);
            g.dropout(&format!("{name}.drop"), x, self.dropout)
        })
    }
}
