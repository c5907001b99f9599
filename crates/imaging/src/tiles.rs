//! Processes large images in overlapping tiles, and blends the outputs into one map.
//!
//! Tiles are yielded row by row. [`Blender`] keeps one row of tiles open and finishes the rows that no later tile can
//! change, so it needs memory for that row and the output only.
//!
//! ```
//! use imaging::tiles::{Blender, TileConfig, Tiling};
//!
//! # fn main() -> Result<(), imaging::ImagingError> {
//! let (height, width) = (70, 100);
//! let image = vec![0.5_f32; height * width];
//! let tiling = Tiling::new(&TileConfig::same(32, 0.5), height, width)?;
//! let mut blender = Blender::new(&tiling, 1);
//! for tile in tiling.tiles() {
//!     let input = tiling.read(&image, 1, tile)?; // 32×32, for the network
//!     blender.push(tile, &input)?;
//! }
//! assert_eq!(blender.finish()?.len(), height * width);
//! # Ok(())
//! # }
//! ```

use crate::ImagingError;

/// Size of a network's input and output, and the overlap of neighbouring outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TileConfig {
    /// Rows and columns that the network reads.
    pub input: [usize; 2],
    /// Rows and columns of its output, in the middle of the input: all of it if the network pads, less if its
    /// convolutions are valid (572 → 388 in Ronneberger et al. 2015).
    pub output: [usize; 2],
    /// Minimum fraction of an output's side by which neighbours overlap, in [0, 1); nnU-Net uses 0.5.
    pub overlap: f64,
}

impl TileConfig {
    /// Square tiles of a network whose output is as large as its input.
    pub fn same(size: usize, overlap: f64) -> Self {
        Self {
            input: [size; 2],
            output: [size; 2],
            overlap,
        }
    }
}

/// A tile's position: the upper left corner of its *output* in the image, negative if the image is smaller than a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows from the image's top.
    pub top: isize,
    /// Columns from the image's left.
    pub left: isize,
}

/// How an image is covered: as few tiles as the overlap allows, evenly spaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiling {
    height: usize,
    width: usize,
    input: [usize; 2],
    output: [usize; 2],
    tops: Vec<isize>,
    lefts: Vec<isize>,
}

impl Tiling {
    /// A tiling of an image of `height`×`width`.
    ///
    /// # Errors
    /// [`ImagingError::Setting`] for a side of 0, an output larger than the input or not centred in
    /// it (an odd difference), or an overlap outside [0, 1).
    pub fn new(config: &TileConfig, height: usize, width: usize) -> Result<Self, ImagingError> {
        check(config, height, width)?;
        let [rows, columns] = config.output;
        Ok(Self {
            height,
            width,
            input: config.input,
            output: config.output,
            tops: starts(height, rows, config.overlap),
            lefts: starts(width, columns, config.overlap),
        })
    }

    /// Number of tiles, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a tiling is never empty")]
    pub fn len(&self) -> usize {
        self.tops.len() * self.lefts.len()
    }

    /// The tiles, row by row: the order that [`Blender::push`] requires.
    pub fn tiles(&self) -> impl Iterator<Item = Tile> {
        let row = |&top: &isize| self.lefts.iter().map(move |&left| Tile { top, left });
        self.tops.iter().flat_map(row)
    }

    /// The network's input for `tile`, HWC like `image`; beyond the edge, the image is mirrored (without repeating the
    /// edge), as in U-Net.
    ///
    /// # Errors
    /// [`ImagingError::Setting`] if `image` does not have height × width × channels values.
    pub fn read(
        &self,
        image: &[f32],
        channels: usize,
        tile: Tile,
    ) -> Result<Vec<f32>, ImagingError> {
        check_len("image", image.len(), self.height * self.width * channels)?;
        let [margin_y, margin_x] = self.margins();
        let columns: Vec<usize> = (0..self.input[1] as isize)
            .map(|x| mirrored(tile.left - margin_x + x, self.width))
            .collect();
        let mut input = Vec::with_capacity(self.input[0] * self.input[1] * channels);
        for y in 0..self.input[0] as isize {
            let row = mirrored(tile.top - margin_y + y, self.height) * self.width;
            for column in &columns {
                let at = (row + column) * channels;
                input.extend_from_slice(&image[at..at + channels]);
            }
        }
        Ok(input)
    }

    /// Rows and columns by which the input surrounds the output.
    fn margins(&self) -> [isize; 2] {
        [0, 1].map(|axis| ((self.input[axis] - self.output[axis]) / 2) as isize)
    }
}

/// Blends overlapping outputs into one map.
///
/// Weights are Gaussian around a tile's middle with sigma = side / 8, as in nnU-Net, because a network is least
/// accurate at a tile's edge. Sums are divided by the sum of weights, so a constant is preserved.
#[derive(Debug)]
pub struct Blender<'t> {
    tiling: &'t Tiling,
    channels: usize,
    profiles: [Vec<f64>; 2],
    /// Weighted sums and weights of the image's rows that are still open, from row `done` on. In f64, because hundreds
    /// of tiles meet in a pixel if they overlap by nine tenths, and f32 would then change a constant by 1e-6.
    sums: Vec<f64>,
    weights: Vec<f64>,
    /// The map's finished rows.
    map: Vec<f32>,
    pushed: usize,
}

impl<'t> Blender<'t> {
    /// A blender for outputs of `channels` values per pixel.
    pub fn new(tiling: &'t Tiling, channels: usize) -> Self {
        let open = tiling.output[0].min(tiling.height) * tiling.width;
        Self {
            tiling,
            channels,
            profiles: tiling.output.map(gaussian),
            sums: vec![0.0; open * channels],
            weights: vec![0.0; open],
            map: Vec::with_capacity(tiling.height * tiling.width * channels),
            pushed: 0,
        }
    }

    /// Adds a tile's output, HWC.
    ///
    /// # Errors
    /// [`ImagingError::Setting`] for a tile out of order (see [`Tiling::tiles`]) or a wrong number
    /// of values.
    pub fn push(&mut self, tile: Tile, output: &[f32]) -> Result<(), ImagingError> {
        let [rows, columns] = self.tiling.output;
        check_len("output", output.len(), rows * columns * self.channels)?;
        if self.next_tile() != Some(tile) {
            let at = format!("{}, {}", tile.top, tile.left);
            return Err(ImagingError::setting("tile", at, "is not the next one"));
        }
        self.close_rows(tile.top.max(0) as usize);
        for (y, values) in output.chunks_exact(columns * self.channels).enumerate() {
            self.add_row(tile, y, values);
        }
        self.pushed += 1;
        Ok(())
    }

    /// The whole map, HWC.
    ///
    /// # Errors
    /// [`ImagingError::Setting`] if tiles are missing.
    pub fn finish(mut self) -> Result<Vec<f32>, ImagingError> {
        check_len("tiles", self.pushed, self.tiling.len())?;
        self.close_rows(self.tiling.height);
        Ok(self.map)
    }

    fn next_tile(&self) -> Option<Tile> {
        let across = self.tiling.lefts.len();
        Some(Tile {
            top: *self.tiling.tops.get(self.pushed / across)?,
            left: self.tiling.lefts[self.pushed % across],
        })
    }

    fn done(&self) -> usize {
        self.map.len() / (self.tiling.width * self.channels).max(1)
    }

    /// Finishes the rows above `top`: divides their sums by their weights and moves the open rows up.
    fn close_rows(&mut self, top: usize) {
        let pixels = (top - self.done().min(top)) * self.tiling.width;
        let values = pixels * self.channels;
        let sums = self.sums[..values].chunks_exact(self.channels);
        for (pixel, weight) in sums.zip(&self.weights) {
            self.map
                .extend(pixel.iter().map(|sum| (sum / weight) as f32));
        }
        self.sums.copy_within(values.., 0);
        self.weights.copy_within(pixels.., 0);
        let (sums, weights) = (self.sums.len(), self.weights.len());
        self.sums[sums - values..].fill(0.0);
        self.weights[weights - pixels..].fill(0.0);
    }

    fn add_row(&mut self, tile: Tile, y: usize, values: &[f32]) {
        let row = tile.top + y as isize;
        if row < 0 || row >= self.tiling.height as isize {
            return;
        }
        let start = (row as usize - self.done()) * self.tiling.width;
        let weight_y = self.profiles[0][y];
        for (x, pixel) in values.chunks_exact(self.channels).enumerate() {
            let column = tile.left + x as isize;
            if column < 0 || column >= self.tiling.width as isize {
                continue;
            }
            let at = start + column as usize;
            let weight = weight_y * self.profiles[1][x];
            self.weights[at] += weight;
            let sums = &mut self.sums[at * self.channels..(at + 1) * self.channels];
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += weight * f64::from(*value);
            }
        }
    }
}

/// First positions of the tiles along one side, as in nnU-Net: the last tile is flush with the end. An image smaller
/// than a tile is centred in it.
fn starts(side: usize, tile: usize, overlap: f64) -> Vec<isize> {
    if side <= tile {
        return vec![-(((tile - side) / 2) as isize)];
    }
    let step = (tile as f64 * (1.0 - overlap)).floor().max(1.0);
    let gaps = ((side - tile) as f64 / step).ceil() as usize;
    (0..=gaps)
        .map(|i| ((side - tile) * i / gaps) as isize)
        .collect()
}

/// The index of the pixel that a mirrored image shows at `at`; the edge itself is not repeated.
fn mirrored(at: isize, side: usize) -> usize {
    let period = (2 * side.saturating_sub(1)).max(1) as isize;
    let at = at.rem_euclid(period) as usize;
    if at < side { at } else { period as usize - at }
}

/// A Gaussian of sigma = `side` / 8 around the middle, 1 there.
fn gaussian(side: usize) -> Vec<f64> {
    let (middle, sigma) = ((side as f64 - 1.0) / 2.0, side as f64 / 8.0);
    let at = |i: usize| (-0.5 * ((i as f64 - middle) / sigma).powi(2)).exp();
    (0..side).map(at).collect()
}

fn check(config: &TileConfig, height: usize, width: usize) -> Result<(), ImagingError> {
    if height == 0 || width == 0 {
        let size = format!("{height}x{width}");
        return Err(ImagingError::setting("image", size, "has no pixels"));
    }
    let pairs = config.input.into_iter().zip(config.output);
    for (input, output) in pairs {
        if output == 0 || output > input || (input - output) % 2 == 1 {
            let reason = format!("must be at least 1 and centred in the input's {input}");
            return Err(ImagingError::setting("output", output, &reason));
        }
    }
    if !(0.0..1.0).contains(&config.overlap) {
        let reason = "must be at least 0 and below 1";
        return Err(ImagingError::setting("overlap", config.overlap, reason));
    }
    Ok(())
}

fn check_len(key: &'static str, found: usize, wanted: usize) -> Result<(), ImagingError> {
    if found == wanted {
        return Ok(());
    }
    let reason = format!("must be {wanted}");
    Err(ImagingError::setting(key, found, &reason))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mirrors_without_repeating_the_edge() {
        let row: Vec<usize> = (-3..7).map(|at| mirrored(at, 4)).collect();
        assert_eq!(row, [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]);
        assert_eq!((mirrored(-5, 1), mirrored(9, 1)), (0, 0));
        assert_eq!((mirrored(-1, 2), mirrored(2, 2)), (1, 0));
    }

    #[test]
    fn positions_match_nnunet() {
        // compute_steps_for_sliding_window((110,), (64,), 0.5) = [0, 23, 46]
        assert_eq!(starts(110, 64, 0.5), [0, 23, 46]);
        assert_eq!(starts(64, 64, 0.5), [0]);
        assert_eq!(starts(60, 64, 0.5), [-2]);
    }

    #[test]
    fn weights_are_gaussian_with_a_sigma_of_an_eighth() {
        let weights = gaussian(64);
        let expected = (-0.5 * (31.5_f64 / 8.0).powi(2)).exp();
        assert!((weights[0] - expected).abs() < 1e-12 && weights[0] == weights[63]);
    }

    #[test]
    fn wrong_sizes_and_order_are_reported() {
        let text = |config: TileConfig| Tiling::new(&config, 9, 9).unwrap_err().to_string();
        let good = TileConfig::same(4, 0.5);
        let output = [3, 4];
        assert!(text(TileConfig { output, ..good }).contains("output = 3"));
        let overlap = 1.0;
        assert!(text(TileConfig { overlap, ..good }).contains("overlap = 1"));
        assert!(Tiling::new(&good, 0, 9).is_err());
        let tiling = Tiling::new(&good, 9, 9).unwrap();
        let second = tiling.tiles().nth(1).unwrap();
        let mut blender = Blender::new(&tiling, 1);
        assert!(blender.push(second, &[0.0; 16]).is_err());
        assert!(
            blender
                .push(tiling.tiles().next().unwrap(), &[0.0; 15])
                .is_err()
        );
        assert!(blender.finish().is_err());
    }

    /// Inputs cropped to the outputs' middle: the output of a network that copies.
    fn copied(tiling: &Tiling, image: &[f32], channels: usize) -> Vec<f32> {
        let mut blender = Blender::new(tiling, channels);
        let [margin_y, margin_x] = tiling.margins().map(|m| m as usize);
        for tile in tiling.tiles() {
            let input = tiling.read(image, channels, tile).unwrap();
            let rows = input.chunks_exact(tiling.input[1] * channels);
            let cut = margin_x * channels..(margin_x + tiling.output[1]) * channels;
            let rows = rows.skip(margin_y).take(tiling.output[0]);
            let output: Vec<f32> = rows.flat_map(|row| row[cut.clone()].to_vec()).collect();
            blender.push(tile, &output).unwrap();
        }
        blender.finish().unwrap()
    }

    proptest! {
        #[test]
        fn every_pixel_is_covered_and_restored(
            (height, width) in (1_usize..70, 1_usize..70),
            output in [1_usize..40, 1_usize..40],
            margin in [0_usize..9, 0_usize..9],
            overlap in 0.0_f64..0.9,
            channels in 1_usize..3,
        ) {
            let input = [output[0] + 2 * margin[0], output[1] + 2 * margin[1]];
            let tiling = Tiling::new(&TileConfig { input, output, overlap }, height, width).unwrap();
            let image: Vec<f32> = (0..height * width * channels).map(|i| (i % 97) as f32 / 97.0).collect();
            let back = copied(&tiling, &image, channels);
            prop_assert_eq!(back.len(), image.len());
            prop_assert!(back.iter().zip(&image).all(|(a, b)| (a - b).abs() < 1e-6));
            let constant = vec![0.731_f32; image.len()];
            prop_assert!(copied(&tiling, &constant, channels).iter().all(|v| (v - 0.731).abs() < 1e-6));
        }

        #[test]
        fn neighbours_have_the_requested_overlap(side in 1_usize..3000, tile in 1_usize..600, overlap in 0.0_f64..0.9) {
            let starts = starts(side, tile, overlap);
            let step = ((tile as f64 * (1.0 - overlap)).floor().max(1.0)) as isize;
            prop_assert!(starts.windows(2).all(|pair| pair[1] > pair[0] && pair[1] - pair[0] <= step));
            let last = starts.last().unwrap() + tile as isize;
            prop_assert!(side <= tile || (starts[0] == 0 && last == side as isize));
        }
    }
}
