//! Training whose weights, moments and averages stay on a device from step to step: nothing but batches goes there, and
//! nothing but a few figures comes back.

use kernels::Nhwc;

use super::recipe::{Recipe, Results, Step};
use super::{EngineError, Images};
use crate::graph::NodeId;
use crate::store::ParamStore;

/// What steps change, as the host holds it before and after.
#[derive(Clone, Debug)]
pub struct State {
    /// Weights and running statistics.
    pub params: ParamStore,
    /// The rule's first and second moment, of each the groups that train; empty where the rule has none
    /// ([`Update::moments`](super::recipe::Update::moments)).
    pub moments: [[Vec<f32>; 2]; 2],
    /// The moving average, where the recipe keeps one.
    pub average: Option<ParamStore>,
}

/// What all steps have in common.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Losses, clipping, update rule.
    pub recipe: &'a Recipe,
    /// A factor for each class of the class loss; `None` where all count alike.
    pub class_weights: Option<&'a [f32]>,
    /// Class scores, if the recipe has a class loss, then the maps that it teaches.
    pub outputs: &'a [NodeId],
    /// Shape of the largest batch of images.
    pub images: Nhwc,
}

/// A step's batch.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Normalized pixels.
    pub images: Images<'a>,
    /// Where dropout and drop path are drawn from.
    pub seed: u64,
    /// Number, learning rate and so on.
    pub step: Step<'a>,
    /// A class below the network's number of classes for each image; empty without a class loss.
    pub labels: &'a [usize],
    /// Of each map that is taught and has a known pixel, what is known of its pixels; else nothing.
    pub pixels: &'a [Option<Pixels<'a>>],
}

/// The truth of a map's pixels.
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    /// As the loss takes it; 0 where unknown.
    pub values: &'a [f32],
    /// Weights; 0 where the truth is unknown.
    pub weights: &'a [f32],
}

/// An engine's own training. One step is queued while the one before it runs.
pub trait Resident {
    /// Takes the state over. Until [`Resident::end`] the engine does nothing else.
    ///
    /// # Errors
    /// A batch that does not fit the device's memory, or what the device says.
    fn begin(&mut self, start: &Start<'_>, state: &State) -> Result<(), EngineError>;

    /// Queues a step, and waits for the results of the one queued before it, if there is one.
    ///
    /// # Errors
    /// What the device says.
    fn queue(&mut self, input: &Input<'_>) -> Result<Option<Results>, EngineError>;

    /// Waits for the results of the last step that was queued.
    ///
    /// # Errors
    /// What the device says.
    fn wait(&mut self) -> Result<Option<Results>, EngineError>;

    /// Forgets what has begun, if anything has, and the steps with it.
    fn abandon(&mut self);

    /// Gives the state back, whatever the steps have made of it.
    ///
    /// # Errors
    /// What the device says.
    fn end(&mut self, state: &mut State) -> Result<(), EngineError>;
}
