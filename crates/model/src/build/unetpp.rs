//! U-Net++'s decoder in segmentation_models.pytorch's layout. Zhou et al., DLMIA 2018.
//!
//! Blocks `x_{d}_{l}` form a triangle; both indices count from the bottleneck up. `l` is the size of the block's output
//! (0 is reduction 16), `d` where its diagonal starts: `x_{k}_{k}` takes the encoder's features, and each later block
//! of row `d` takes the one before it, with all blocks and features of its own size as skips.

use super::decoder::{CHANNELS, Norm, up_block};
use super::trunk::EncoderFeatures;
use crate::graph::{GraphBuilder, NodeId};

/// Writes the triangle and the last, full-size block `x_0_4`, which has no skip.
pub(super) fn write(g: &mut GraphBuilder, features: &[EncoderFeatures]) -> NodeId {
    let encoded: Vec<EncoderFeatures> = features.iter().rev().copied().collect();
    let last = encoded.len() - 1;
    // Row d of the triangle as far as it is built.
    let mut rows: Vec<Vec<NodeId>> = vec![Vec::new(); last];
    for span in 0..last {
        for d in 0..last - span {
            let l = d + span;
            let below = rows[d].last().copied().unwrap_or(encoded[d].value);
            let out = if d == 0 {
                CHANNELS[l]
            } else {
                encoded[l + 1].channels
            };
            let block = up_block(
                g,
                &format!("x_{d}_{l}"),
                below,
                &skips(&rows, &encoded, d, l),
                out,
                Norm::TORCH,
            );
            rows[d].push(block);
        }
    }
    let top = rows
        .first()
        .and_then(|row| row.last())
        .copied()
        .unwrap_or(encoded[0].value);
    let (name, out) = (format!("x_0_{last}"), CHANNELS[last]);
    up_block(g, &name, top, &[], out, Norm::TORCH)
}

/// Blocks `x_{d+1}_{l}` … `x_{l}_{l}`, then the encoder's features of that size.
fn skips(rows: &[Vec<NodeId>], encoded: &[EncoderFeatures], d: usize, l: usize) -> Vec<NodeId> {
    let blocks = (d + 1..=l).map(|row| rows[row][l - row]);
    blocks.chain([encoded[l + 1].value]).collect()
}
