//! Losses on the device: values are written to the step's results, gradients to where the backward pass reads them.
//! They run after the forward pass and before the backward pass.
//!
//! A class loss is one launch, a map loss three. Launches and their arguments depend on shapes only: the numbers of
//! known pixels of a batch's masks are in the controls ([`super::step`]), and a map without a known pixel gets a loss
//! and a gradient of 0.

use super::driver::{Address, Arg, DeviceError, Driver};
use super::step::{Board, chunk_len, launch};
use crate::engine::recipe::{ClassKind, ClassTerm, MapTerm};

/// Minimum of pixels per chunk: four per thread.
const MIN_PIXELS: usize = 1024;

/// Maximum of chunks per map: the last stage adds them in one block.
const MAX_CHUNKS: usize = 512;

/// Partial sums per chunk for a loss on one class, and its slopes; `ONE_TERMS` and `ONE_SLOPES` of the kernels.
const ONE_TERMS: usize = 4;
const ONE_SLOPES: usize = 3;

/// Classes summed by one block, and its partial sums; `TILE` and `ALL_TERMS` of the kernels.
const TILE: usize = 4;
const ALL_TERMS: usize = 1 + 3 * TILE;

/// Memory that a class loss reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct ClassLoss {
    /// Scores, `[n, classes]`.
    pub logits: Address,
    /// `n` class numbers from [`label_words`], each below `classes`: the host rejects others.
    pub labels: Address,
    /// The classes of the images' partners in the same form; read where images are mixed.
    pub partners: Address,
    /// One factor per class; `None` if all have the same weight.
    pub weights: Option<Address>,
    /// Receives the gradient of the loss with respect to the scores, in their shape.
    pub gradient: Address,
    /// Number of images in the batch.
    pub n: usize,
    /// Number of classes.
    pub classes: usize,
}

/// Labels in the form in which they are uploaded: each a `u32` stored as the bits of an f32.
pub fn label_words(labels: &[usize]) -> Vec<f32> {
    labels.iter().map(|y| f32::from_bits(*y as u32)).collect()
}

/// Computes the loss of a batch's class scores, the number of correct predictions, and the gradient: one launch.
///
/// # Errors
/// Any error of the device.
pub fn class_loss(
    driver: &mut dyn Driver,
    term: &ClassTerm,
    board: Board,
    at: &ClassLoss,
) -> Result<(), DeviceError> {
    let kernel = match term.kind {
        ClassKind::CrossEntropy => "class_cross_entropy",
        ClassKind::SoftmaxBce => "class_softmax_bce",
    };
    let args = [
        at.logits.into(),
        at.labels.into(),
        at.partners.into(),
        at.weights.into(),
        at.gradient.into(),
        at.n.into(),
        at.classes.into(),
        board.controls.into(),
        board.results.into(),
    ];
    launch(driver, kernel, [1, 1], &args)
}

/// Memory that the loss of one map reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct MapLoss {
    /// Scores before the softmax, `[pixels, classes]`.
    pub map: Address,
    /// For each pixel: 0 to 1 for losses on one class, a class number below `classes` for losses over all classes (the
    /// host rejects others); 0 where the truth is unknown.
    pub values: Address,
    /// The pixels' weights; 0 where the truth is unknown.
    pub weights: Address,
    /// Receives the gradient of the total loss with respect to the map, in its shape.
    pub gradient: Address,
    /// Room for [`map_scratch`] values, used from the first launch until the gradient is complete.
    pub scratch: Address,
    /// Pixels of all images of the batch.
    pub pixels: usize,
    /// Channels of the map.
    pub classes: usize,
}

/// Number of scratch values that a map of this shape needs.
pub fn map_scratch(term: &MapTerm, pixels: usize, classes: usize) -> usize {
    slopes_at(term, pixels, classes) + slopes_len(term, classes)
}

/// Computes the loss of the map with this number (from 0, as in the recipe) and its gradient: three launches.
///
/// # Errors
/// Any error of the device.
pub fn map_loss(
    driver: &mut dyn Driver,
    term: &MapTerm,
    board: Board,
    number: usize,
    at: &MapLoss,
) -> Result<(), DeviceError> {
    match term.kind.is_multiclass() {
        true => over_classes(driver, term, board, number, at),
        false => on_one_class(driver, term, board, number, at),
    }
}

fn on_one_class(
    driver: &mut dyn Driver,
    term: &MapTerm,
    board: Board,
    number: usize,
    at: &MapLoss,
) -> Result<(), DeviceError> {
    let MapLoss {
        pixels, classes, ..
    } = *at;
    let (chunks, per_chunk) = chunks(pixels);
    let slopes = at.scratch.plus(slopes_at(term, pixels, classes));
    let (controls, number, class) = (board.controls.into(), number.into(), term.class.into());
    let sums = [
        at.map.into(),
        at.values.into(),
        at.weights.into(),
        at.scratch.into(),
        pixels.into(),
        per_chunk.into(),
        classes.into(),
        class,
        controls,
        number,
    ];
    launch(driver, "map_one_sums", [chunks, 1], &sums)?;
    let finish = [
        at.scratch.into(),
        slopes.into(),
        chunks.into(),
        controls,
        number,
        board.results.into(),
    ];
    launch(driver, "map_one_finish", [1, 1], &finish)?;
    let gradient = [
        at.map.into(),
        at.values.into(),
        at.weights.into(),
        slopes.into(),
        at.gradient.into(),
        pixels.into(),
        classes.into(),
        class,
        controls,
        number,
    ];
    launch_pixels(driver, "map_one_gradient", pixels, &gradient)
}

fn over_classes(
    driver: &mut dyn Driver,
    term: &MapTerm,
    board: Board,
    number: usize,
    at: &MapLoss,
) -> Result<(), DeviceError> {
    let MapLoss {
        pixels, classes, ..
    } = *at;
    let (chunks, per_chunk) = chunks(pixels);
    let slopes = at.scratch.plus(slopes_at(term, pixels, classes));
    let (controls, number) = (board.controls.into(), number.into());
    let sums = [
        at.map.into(),
        at.values.into(),
        at.weights.into(),
        at.scratch.into(),
        pixels.into(),
        per_chunk.into(),
        classes.into(),
        controls,
        number,
    ];
    let tiles = classes.div_ceil(TILE);
    launch(driver, "map_all_sums", [chunks, tiles], &sums)?;
    let finish = [
        at.scratch.into(),
        slopes.into(),
        chunks.into(),
        classes.into(),
        controls,
        number,
        board.results.into(),
    ];
    launch(driver, "map_all_finish", [1, 1], &finish)?;
    let gradient = [
        at.map.into(),
        at.values.into(),
        at.weights.into(),
        slopes.into(),
        at.gradient.into(),
        pixels.into(),
        classes.into(),
        controls,
        number,
    ];
    launch_pixels(driver, "map_all_gradient", pixels, &gradient)
}

fn launch_pixels(
    driver: &mut dyn Driver,
    kernel: &'static str,
    pixels: usize,
    args: &[Arg],
) -> Result<(), DeviceError> {
    launch(driver, kernel, [pixels.div_ceil(256), 1], args)
}

/// Number of chunks of a map, and pixels per chunk.
fn chunks(pixels: usize) -> (usize, usize) {
    let per_chunk = chunk_len(pixels, MIN_PIXELS, MAX_CHUNKS, 256);
    (pixels.div_ceil(per_chunk), per_chunk)
}

/// Offset of the slopes in the scratch: after the partial sums.
fn slopes_at(term: &MapTerm, pixels: usize, classes: usize) -> usize {
    let (chunks, _) = chunks(pixels);
    match term.kind.is_multiclass() {
        true => classes.div_ceil(TILE) * chunks * ALL_TERMS,
        false => chunks * ONE_TERMS,
    }
}

fn slopes_len(term: &MapTerm, classes: usize) -> usize {
    match term.kind.is_multiclass() {
        true => 1 + 2 * classes,
        false => ONE_SLOPES,
    }
}
