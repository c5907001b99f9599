//! Networks in files: the checkpoint that a run writes, and weights of other programs.
//!
//! [`checkpoint`] holds all that a prediction needs. [`weights`] moves values to and from safetensors and PyTorch's files, in
//! the names of timm, segmentation_models.pytorch, efficientnet_pytorch and torchvision. Neither knows how a network is
//! trained: what training keeps in a checkpoint passes through as a document and buffers.

// They panic where nobody reads; `terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod checkpoint;
pub mod weights;
