//! Training whose weights, moments and averages stay on a device between steps: only batches are copied there, and only
//! a few numbers are copied back.

use kernels::Nhwc;

use super::recipe::{Recipe, Results, Step};
use super::{EngineError, Images};
use crate::graph::NodeId;
use crate::store::ParamStore;

/// The state that steps change, as held by the host before and after training.
#[derive(Clone, Debug)]
pub struct State {
    /// Weights and running statistics.
    pub params: ParamStore,
    /// The rule's first and second moments, each for the trainable groups; empty if the rule has none
    /// ([`Update::moments`](super::recipe::Update::moments)).
    pub moments: [[Vec<f32>; 2]; 2],
    /// The moving average, if the recipe keeps one.
    pub average: Option<ParamStore>,
}

/// Settings common to all steps.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Losses, clipping, update rule.
    pub recipe: &'a Recipe,
    /// One factor per class for the class loss; `None` if all have the same weight.
    pub class_weights: Option<&'a [f32]>,
    /// Class scores, if the recipe has a class loss, then the maps that are trained.
    pub outputs: &'a [NodeId],
    /// Shape of the largest batch of images.
    pub images: Nhwc,
}

/// A step's batch.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Normalized pixels.
    pub images: Images<'a>,
    /// Seed of dropout and drop path.
    pub seed: u64,
    /// Step number, learning rate and so on.
    pub step: Step<'a>,
    /// A class below the network's number of classes for each image; empty without a class loss.
    pub labels: &'a [usize],
    /// The class of each image's partner, where images are mixed ([`Step::mixed`]); otherwise empty.
    pub partners: &'a [usize],
    /// For each trained map, the truth of its pixels; `None` if no pixel is known.
    pub pixels: &'a [Option<Pixels<'a>>],
}

/// The truth of a map's pixels.
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    /// Values in the form that the loss takes; 0 where the truth is unknown.
    pub values: &'a [f32],
    /// Weights; 0 where the truth is unknown.
    pub weights: &'a [f32],
}

/// An engine's own training. One step is queued while the previous one runs.
pub trait Resident {
    /// Takes over the state. Until [`Resident::end`] the engine cannot be used for anything else.
    ///
    /// # Errors
    /// A batch that does not fit the device's memory, or any error of the device.
    fn begin(&mut self, start: &Start<'_>, state: &State) -> Result<(), EngineError>;

    /// Queues a step, and waits for the results of the previously queued one, if there is one.
    ///
    /// # Errors
    /// Any error of the device.
    fn queue(&mut self, input: &Input<'_>) -> Result<Option<Results>, EngineError>;

    /// Waits for the results of the last queued step.
    ///
    /// # Errors
    /// Any error of the device.
    fn wait(&mut self) -> Result<Option<Results>, EngineError>;

    /// Discards the training in progress, if any, with the results of its steps.
    fn abandon(&mut self);

    /// Ends the training and copies the state back.
    ///
    /// # Errors
    /// Any error of the device.
    fn end(&mut self, state: &mut State) -> Result<(), EngineError>;
}
