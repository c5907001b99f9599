//! Weights in the order in which the tiles read them.

use crate::parallel::{Shared, for_each};
use crate::simd::{Factors, lanes};
use crate::size;
use std::ops::Range;

/// Maximum width of a panel, in vectors.
const WIDEST: usize = 3;

/// Maximum width on this machine: with sixteen registers, the sums of a tile of three vectors and its factors need all of
/// them, and the compiler keeps a sum in memory.
fn widest() -> usize {
    if lanes() == 16 { WIDEST } else { 2 }
}

/// How the rows of the matrix `[taps · inputs, outputs]` are stored in the given weights.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// `w[tap, input, output]`: in the same order.
    Forward,
    /// `w[last tap − tap, output, input]`: rotated by 180° and transposed, for the gradient with respect to the input.
    Backward,
    /// `w[output, tap, input]`: a plain transpose over all taps.
    Transposed,
    /// `w[input, half, output]`: one of the two halves of each row.
    Half(usize),
}

/// Output channels `0..outputs` as panels of one to [`WIDEST`] vectors, as equal as possible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels {
    pub(crate) outputs: usize,
    vectors: usize,
    pub(crate) count: usize,
}

impl Panels {
    pub(crate) fn new(outputs: usize) -> Self {
        let vectors = outputs.div_ceil(lanes());
        Self {
            outputs,
            vectors,
            count: vectors.div_ceil(widest()),
        }
    }

    /// First channel and number of vectors of a panel.
    pub(crate) fn panel(self, index: usize) -> (usize, usize) {
        let vectors = crate::parallel::part(self.vectors, self.count, index);
        (vectors.start * lanes(), vectors.len())
    }

    /// Values per row of the widest panel.
    pub(crate) fn width(self) -> usize {
        self.vectors.div_ceil(self.count.max(1)) * lanes()
    }

    /// Channels of a panel.
    pub(crate) fn channels(self, index: usize) -> Range<usize> {
        let (start, vectors) = self.panel(index);
        start..(start + vectors * lanes()).min(self.outputs)
    }
}

/// Length of a packed matrix of `rows` × `outputs`; for narrow factors, `rows` counts words.
pub(crate) fn packed_len(rows: usize, outputs: usize) -> usize {
    size([rows, outputs.next_multiple_of(16)])
}

/// Packs `[taps · inputs, outputs]` panel by panel: row after row of `vectors · lanes` words, zero-padded.
pub(crate) fn pack<F: Factors>(
    w: &[f32],
    order: Order,
    taps: usize,
    inputs: usize,
    outputs: usize,
    packed: &mut [f32],
) {
    assert!(F::EACH == 1 || taps == 1, "words hold inputs of one tap");
    let (panels, rows) = (Panels::new(outputs), taps * inputs.div_ceil(F::EACH));
    let packed = Shared::new(packed);
    for_each(panels.count, |index| {
        let (start, vectors) = panels.panel(index);
        let (channels, width) = (panels.channels(index), vectors * lanes());
        // SAFETY: panels are disjoint, each `rows` rows of its own channels.
        let panel = unsafe { packed.part(rows * start..rows * (start + width)) };
        for (row, into) in panel.chunks_exact_mut(width).enumerate() {
            let (into, rest) = into.split_at_mut(channels.len());
            let (tap, input) = (row * F::EACH / inputs, row * F::EACH % inputs);
            copy_row(
                w,
                order,
                [taps, inputs, outputs],
                tap,
                input,
                channels.clone(),
                into,
            );
            if !F::IN_PLACE {
                let mut upper = [0.0; WIDEST * 16];
                let upper = &mut upper[..channels.len()];
                if F::EACH == 2 && input + 1 < inputs {
                    copy_row(
                        w,
                        order,
                        [taps, inputs, outputs],
                        tap,
                        input + 1,
                        channels.clone(),
                        upper,
                    );
                }
                for (word, upper) in into.iter_mut().zip(upper) {
                    *word = F::word(*word, *upper);
                }
            }
            rest.fill(0.0);
        }
    });
}

fn copy_row(
    w: &[f32],
    order: Order,
    [taps, inputs, outputs]: [usize; 3],
    tap: usize,
    input: usize,
    channels: Range<usize>,
    into: &mut [f32],
) {
    let contiguous = |start: usize| &w[start + channels.start..start + channels.end];
    match order {
        Order::Forward => into.copy_from_slice(contiguous((tap * inputs + input) * outputs)),
        Order::Half(half) => into.copy_from_slice(contiguous((input * 2 + half) * outputs)),
        Order::Backward => {
            let w = &w[(taps - 1 - tap) * inputs * outputs..];
            for (into, output) in into.iter_mut().zip(channels) {
                *into = w[output * inputs + input];
            }
        }
        Order::Transposed => {
            for (into, output) in into.iter_mut().zip(channels) {
                *into = w[(output * taps + tap) * inputs + input];
            }
        }
    }
}
