//! The end of a step on the device, after the backward pass: the gradients' norm, whether the step is applied,
//! clipping, the update rule and the moving average. Three launches, the same in every step.

use super::driver::{Address, DeviceError, Driver, Launch};
use super::step::{Board, chunk_len, launch};
use crate::engine::recipe::Recipe;
use crate::store::{Group, ParamMap};

/// Groups start at multiples of this many values; `GROUP` of the kernels.
const GROUP: usize = 64;

/// Values per thread of an update.
const VALUES_PER_THREAD: usize = 4;

/// Minimum of gradients per chunk, and maximum of chunks, for the norm's partial sums.
const MIN_GRADIENTS: usize = 4096;
const MAX_CHUNKS: usize = 1024;

/// Layout of the parameter groups in a contiguous range of memory: `Decayed`, `Plain`, and (if present) `Buffers`, one
/// after another, each starting at a multiple of 64 values. Gradients and moments end with `Plain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    lens: [usize; 3],
}

impl Groups {
    /// The layout of a graph's parameters.
    pub fn new(map: &ParamMap) -> Self {
        Groups {
            lens: Group::ALL.map(|group| map.len(group)),
        }
    }

    /// Number of values in a group.
    pub fn len(&self, group: Group) -> usize {
        self.lens[group as usize]
    }

    /// Whether a group has no values.
    pub fn is_empty(&self, group: Group) -> bool {
        self.len(group) == 0
    }

    /// Offset of a group.
    pub fn start(&self, group: Group) -> usize {
        let before = self.lens[..group as usize].iter();
        before.map(|len| len.next_multiple_of(GROUP)).sum()
    }

    /// Length of a range of the trainable groups: gradients, a moment, the bf16 copy (counted in bf16 values).
    pub fn trainable(&self) -> usize {
        self.start(Group::Plain) + self.len(Group::Plain)
    }

    /// Length of a range of all groups: weights, averages.
    pub fn all(&self) -> usize {
        self.start(Group::Buffers) + self.len(Group::Buffers)
    }

    /// Number of scratch values that [`update`] needs.
    pub fn scratch(&self) -> usize {
        2 * self.chunks().0
    }

    /// Number of chunks of the gradients, and their length.
    fn chunks(&self) -> (usize, usize) {
        let lens = Group::TRAINABLE.map(|group| self.len(group));
        let per_chunk = chunk_len(lens.iter().sum(), MIN_GRADIENTS, MAX_CHUNKS, 1024);
        let chunks: usize = lens.iter().map(|len| len.div_ceil(per_chunk)).sum();
        (chunks.max(1), per_chunk)
    }
}

/// Addresses of the memory that an update reads and changes; all aligned to 256 bytes.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Weights and running statistics, a range of all groups.
    pub weights: Address,
    /// Gradients, a range of the trainable groups.
    pub gradients: Address,
    /// The rule's moments, ranges of the trainable groups, zero before the first step; one that the rule does not have
    /// ([`Update::moments`](crate::engine::recipe::Update::moments)) is ignored.
    pub moments: [Address; 2],
    /// The moving average, a range of all groups; ignored if the recipe has none.
    pub average: Address,
    /// Receives the new weights of `Decayed` in bf16, two bytes each; `None` if they are not used.
    pub halves: Option<Address>,
    /// Room for [`Groups::scratch`] values.
    pub scratch: Address,
}

/// Applies the step, unless the loss or the gradients' norm is not finite, and completes the results.
///
/// # Errors
/// Any error of the device.
pub fn update(
    driver: &mut dyn Driver,
    recipe: &Recipe,
    board: Board,
    groups: &Groups,
    at: &State,
) -> Result<(), DeviceError> {
    let [decayed, plain, buffers] = groups.lens;
    let (chunks, per_chunk) = groups.chunks();
    let squares = [
        at.gradients.into(),
        at.scratch.into(),
        decayed.into(),
        plain.into(),
        per_chunk.into(),
    ];
    launch(driver, "gradient_squares", [chunks, 1], &squares)?;
    let results = [
        at.scratch.into(),
        chunks.into(),
        recipe.maps().into(),
        usize::from(recipe.class.is_some()).into(),
        board.controls.into(),
        board.results.into(),
    ];
    launch(driver, "step_results", [1, 1], &results)?;
    let [first, second] = recipe.update.moments();
    let [m, v] = at.moments;
    // Running statistics are only used for the average.
    let buffers = if recipe.averages { buffers } else { 0 };
    let update = [
        at.weights.into(),
        at.gradients.into(),
        first.then_some(m).into(),
        second.then_some(v).into(),
        recipe.averages.then_some(at.average).into(),
        at.halves.into(),
        decayed.into(),
        plain.into(),
        buffers.into(),
        recipe.encoder[0].into(),
        recipe.encoder[1].into(),
        board.controls.into(),
        board.results.into(),
    ];
    let blocks: usize = [decayed, plain, buffers].map(blocks).iter().sum();
    launch(driver, recipe.update.kernel(), [blocks.max(1), 1], &update)
}

/// Rounds `len` weights to bf16, as [`update`] does: for the copy of weights written by the host.
///
/// # Errors
/// Any error of the device.
pub fn weights_to_bf16(
    driver: &mut dyn Driver,
    weights: Address,
    halves: Address,
    len: usize,
) -> Result<(), DeviceError> {
    let args = [weights.into(), halves.into(), len.into()];
    launch(driver, "weights_to_bf16", [blocks(len).max(1), 1], &args)
}

/// Number of blocks for a group of `len` values.
fn blocks(len: usize) -> usize {
    len.div_ceil(VALUES_PER_THREAD * Launch::THREADS as usize)
}
