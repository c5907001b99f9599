//! The end of a step on the device, after the backward pass: the gradients' norm, whether the step may be made, clipping,
//! the update rule and the moving average. Three launches, the same in every step.

use super::driver::{Address, DeviceError, Driver, Launch};
use super::step::{Board, chunk_len, launch};
use crate::engine::recipe::Recipe;
use crate::store::{Group, ParamMap};

/// Groups start at multiples of so many values; `GROUP` of the kernels.
const GROUP: usize = 64;

/// Values that a thread of an update works on.
const VALUES_A_THREAD: usize = 4;

/// Gradients of a chunk, at least, and chunks, at most, of the norm's partial sums.
const LEAST_GRADIENTS: usize = 4096;
const MOST_CHUNKS: usize = 1024;

/// How a run of memory holds the groups of parameters: `Decayed`, `Plain`, and where it has them `Buffers`, one after the
/// other, each from a multiple of 64 values on. Gradients and moments end with `Plain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    lens: [usize; 3],
}

impl Groups {
    /// Of a graph's parameters.
    pub fn new(map: &ParamMap) -> Self {
        Groups {
            lens: Group::ALL.map(|group| map.len(group)),
        }
    }

    /// Values of a group.
    pub fn len(&self, group: Group) -> usize {
        self.lens[group as usize]
    }

    /// Whether a group has no values.
    pub fn is_empty(&self, group: Group) -> bool {
        self.len(group) == 0
    }

    /// Where a group starts.
    pub fn start(&self, group: Group) -> usize {
        let before = self.lens[..group as usize].iter();
        before.map(|len| len.next_multiple_of(GROUP)).sum()
    }

    /// Length of a run of the trainable groups: gradients, a moment, the bf16 copy (counted in its own halves).
    pub fn trainable(&self) -> usize {
        self.start(Group::Plain) + self.len(Group::Plain)
    }

    /// Length of a run of all groups: weights, averages.
    pub fn all(&self) -> usize {
        self.start(Group::Buffers) + self.len(Group::Buffers)
    }

    /// Values of scratch that [`update`] needs.
    pub fn scratch(&self) -> usize {
        2 * self.chunks().0
    }

    /// Chunks of the gradients, and their length.
    fn chunks(&self) -> (usize, usize) {
        let lens = Group::TRAINABLE.map(|group| self.len(group));
        let per_chunk = chunk_len(lens.iter().sum(), LEAST_GRADIENTS, MOST_CHUNKS, 1024);
        let chunks: usize = lens.iter().map(|len| len.div_ceil(per_chunk)).sum();
        (chunks.max(1), per_chunk)
    }
}

/// Where an update finds what it changes; all aligned to 256 bytes.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Weights and running statistics, a run of all groups.
    pub weights: Address,
    /// A run of the trainable groups.
    pub gradients: Address,
    /// The rule's moments, runs of the trainable groups, zero before the first step; one that the rule does not have
    /// ([`Update::moments`](crate::engine::recipe::Update::moments)) is not looked at.
    pub moments: [Address; 2],
    /// The moving average, a run of all groups; not looked at where the recipe has none.
    pub average: Address,
    /// Gets the new weights of `Decayed` in bf16, two bytes each; `None` where nobody reads such.
    pub halves: Option<Address>,
    /// Room for [`Groups::scratch`] values.
    pub scratch: Address,
}

/// Makes a step with the gradients, or none where the loss or their norm is no finite number, and completes the results.
///
/// # Errors
/// What the device says.
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
    // Running statistics take part in the average alone.
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
        board.controls.into(),
        board.results.into(),
    ];
    let blocks: usize = [decayed, plain, buffers].map(blocks).iter().sum();
    launch(driver, recipe.update.kernel(), [blocks.max(1), 1], &update)
}

/// Rounds `len` weights to bf16, as [`update`] does: for the copy of weights that the host has written.
///
/// # Errors
/// What the device says.
pub fn weights_to_bf16(
    driver: &mut dyn Driver,
    weights: Address,
    halves: Address,
    len: usize,
) -> Result<(), DeviceError> {
    let args = [weights.into(), halves.into(), len.into()];
    launch(driver, "weights_to_bf16", [blocks(len).max(1), 1], &args)
}

/// Blocks of a group.
fn blocks(len: usize) -> usize {
    len.div_ceil(VALUES_A_THREAD * Launch::THREADS as usize)
}
