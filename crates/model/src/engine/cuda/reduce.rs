//! Sums over pixels for each channel, in two stages: how the pixels are cut, and the second stage.

use super::driver::{Address, Arg, Launch};
use super::pass::{Done, Pass};

/// Chunks beyond these would make the second stage, a thread a channel, the longer one.
const MOST_CHUNKS: usize = 256;

/// Rows that a thread should at least sum, so that a chunk is worth its partial sums.
const ROWS_A_THREAD: usize = 16;

/// How `rows × channels` values are cut: by shapes alone, so that sums do not depend on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    channels: usize,
    /// Channels of a block; a power of two. The other side of its 256 threads are rows.
    lanes: usize,
    pub(super) chunks: usize,
    pub(super) rows_per_chunk: usize,
}

impl Columns {
    pub(super) fn new(rows: usize, channels: usize) -> Self {
        let lanes = channels.next_power_of_two().min(32);
        let groups = Launch::THREADS as usize / lanes;
        let wanted = (rows / (groups * ROWS_A_THREAD)).clamp(1, MOST_CHUNKS);
        let rows_per_chunk = rows.div_ceil(wanted);
        Columns {
            channels,
            lanes,
            chunks: rows.div_ceil(rows_per_chunk),
            rows_per_chunk,
        }
    }

    /// Length of the partial sums of so many segments and terms.
    pub(super) fn partials(&self, segments: usize, terms: usize) -> usize {
        segments * self.chunks * terms * self.channels
    }

    /// Launches the first stage.
    pub(super) fn launch(
        &self,
        pass: &mut Pass<'_>,
        kernel: &'static str,
        segments: usize,
        args: &[Arg],
    ) -> Done {
        let lanes = self.lanes as u32;
        let grid = [self.channels.div_ceil(self.lanes), self.chunks, segments];
        pass.launch(kernel, grid, [lanes, Launch::THREADS / lanes], args)
    }
}

/// `to[segment, i] (+)= factor · Σ partials[segment, chunk, i]`, with `width` values a segment.
pub(super) fn sum_partials(
    pass: &mut Pass<'_>,
    partials: Address,
    to: Address,
    (segments, chunks, width): (usize, usize, usize),
    factor: f32,
    add: bool,
) -> Done {
    let args = [
        partials.into(),
        to.into(),
        segments.into(),
        chunks.into(),
        width.into(),
        factor.into(),
        add.into(),
    ];
    pass.launch_elements("sum_partials", segments * width, &args)
}

/// `to[segment, c] (+)= factor · Σ x[segment, row, c]` over the `rows` of each segment.
pub(super) fn channel_sums(
    pass: &mut Pass<'_>,
    x: Address,
    to: Address,
    (segments, rows, channels): (usize, usize, usize),
    factor: f32,
    add: bool,
) -> Done {
    let cut = Columns::new(rows, channels);
    let partials = pass.scratch(cut.partials(segments, 1));
    let args = [
        x.into(),
        partials.into(),
        rows.into(),
        cut.rows_per_chunk.into(),
        channels.into(),
    ];
    cut.launch(pass, "channel_sums", segments, &args)?;
    sum_partials(
        pass,
        partials,
        to,
        (segments, cut.chunks, channels),
        factor,
        add,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_rows_once() {
        for rows in [1, 2, 15, 16, 255, 4096, 100_003, 3_000_000] {
            for channels in [1, 2, 3, 16, 24, 32, 33, 1280] {
                let cut = Columns::new(rows, channels);
                assert!(cut.chunks * cut.rows_per_chunk >= rows);
                assert!(
                    (cut.chunks - 1) * cut.rows_per_chunk < rows,
                    "{rows} {channels}"
                );
                assert!(cut.chunks <= MOST_CHUNKS);
                assert!(256 % cut.lanes == 0 && cut.lanes <= 32);
            }
        }
    }
}
