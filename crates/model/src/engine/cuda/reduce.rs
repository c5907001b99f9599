//! Sums over pixels for each channel, in two stages: the division of the pixels into chunks, and the second stage.

use super::driver::{Address, Arg, DeviceError, Launch};
use super::pass::{Done, Pass};
use super::variants::{Variants, variants};
use crate::plan::Kind;

/// With more chunks the second stage would take longer than the first.
const MAX_CHUNKS: usize = 512;

/// Number of blocks that keeps a large GPU busy.
const BLOCKS: usize = 1056;

/// Minimum of rows per thread for a chunk to be worth its partial sums.
const ROWS_PER_THREAD: usize = 4;

/// Division of `rows × channels` values, by shapes alone, so that sums do not depend on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    channels: usize,
    /// Channels per thread.
    width: usize,
    /// Threads of a block along the channels; a power of two. The other dimension of its 256 threads is rows.
    lanes: usize,
    pub(super) chunks: usize,
    pub(super) rows_per_chunk: usize,
}

impl Columns {
    /// Divides `segments` segments among threads that process `width` channels of at least `least` rows.
    pub(super) fn new(
        segments: usize,
        rows: usize,
        channels: usize,
        width: usize,
        least: usize,
    ) -> Self {
        let lanes = lanes(channels.div_ceil(width));
        let groups = Launch::THREADS as usize / lanes;
        let tiles = channels.div_ceil(lanes * width);
        let most = (BLOCKS / (segments * tiles)).clamp(1, MAX_CHUNKS);
        let wanted = (rows / (groups * least)).clamp(1, most);
        let rows_per_chunk = rows.div_ceil(wanted);
        Columns {
            channels,
            width,
            lanes,
            chunks: rows.div_ceil(rows_per_chunk),
            rows_per_chunk,
        }
    }

    /// Length of the partial sums of `segments` segments and `terms` terms.
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
        let tiles = self.channels.div_ceil(self.lanes * self.width);
        let grid = [tiles, self.chunks, segments];
        pass.launch(kernel, grid, [lanes, Launch::THREADS / lanes], args)
    }
}

/// Number of threads along `groups` groups of channels: the largest that leaves few of them idle.
fn lanes(groups: usize) -> usize {
    let idle = |lanes: &usize| groups.div_ceil(*lanes) * lanes - groups;
    let few = |lanes: &usize| 3 * idle(lanes) <= groups;
    let widths = [32, 16, 8, 4, 2, 1];
    widths.into_iter().find(few).unwrap_or(1)
}

/// Divides and launches the first stage of a sum over a tensor's pixels with the kernel for its elements.
pub(super) fn launch_columns(
    pass: &mut Pass<'_>,
    names: Variants,
    kind: Kind,
    (segments, rows, channels, terms): (usize, usize, usize, usize),
    args: impl FnOnce(Address, Columns) -> Vec<Arg>,
) -> Result<(Address, Columns), DeviceError> {
    let (kernel, width) = pass.elements.choose(names, kind, channels);
    let cut = Columns::new(segments, rows, channels, width, ROWS_PER_THREAD);
    let partials = pass.scratch(cut.partials(segments, terms));
    cut.launch(pass, kernel, segments, &args(partials, cut))?;
    Ok((partials, cut))
}

/// `to[segment, i] (+)= factor · Σ partials[segment, chunk, i]`, with `width` values per segment.
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
    let (grid, block) = shares(segments * width, chunks);
    pass.launch("sum_partials", grid, block, &args)
}

/// Grid and block of a second stage: columns by subsets of their chunks, with more subsets if there are fewer columns.
pub(super) fn shares(columns: usize, chunks: usize) -> ([usize; 3], [u32; 2]) {
    let threads = Launch::THREADS as usize;
    let enough = |shares: &usize| columns * shares >= BLOCKS * threads / 4 || 4 * shares >= chunks;
    let shares = [1, 8, 32, 128].into_iter().find(enough).unwrap_or(threads);
    let across = threads / shares;
    (
        [columns.div_ceil(across), 1, 1],
        [across as u32, shares as u32],
    )
}

/// `to[segment, c] (+)= factor · Σ x[segment, row, c]` over the `rows` of each segment.
pub(super) fn channel_sums(
    pass: &mut Pass<'_>,
    (x, kind): (Address, Kind),
    to: Address,
    (segments, rows, channels): (usize, usize, usize),
    factor: f32,
    add: bool,
) -> Done {
    let names = variants!("channel_sums");
    let shape = (segments, rows, channels, 1);
    let (partials, cut) = launch_columns(pass, names, kind, shape, |partials, cut| {
        vec![
            x.into(),
            partials.into(),
            rows.into(),
            cut.rows_per_chunk.into(),
            channels.into(),
        ]
    })?;
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
                for width in [1, 2, 8] {
                    let cut = Columns::new(1, rows, channels, width, ROWS_PER_THREAD);
                    assert!(cut.chunks * cut.rows_per_chunk >= rows);
                    assert!(
                        (cut.chunks - 1) * cut.rows_per_chunk < rows,
                        "{rows} {channels}"
                    );
                    assert!(cut.chunks <= MAX_CHUNKS);
                    assert!(256 % cut.lanes == 0 && cut.lanes <= 32);
                }
            }
        }
    }

    #[test]
    fn few_threads_are_idle() {
        for (groups, expected) in [
            (1, 1),
            (2, 2),
            (3, 4),
            (5, 2),
            (12, 16),
            (18, 8),
            (30, 32),
            (60, 32),
        ] {
            assert_eq!(lanes(groups), expected, "{groups}");
        }
    }
}
