//! Network files: the checkpoint that a run writes, and weights of other programs.
//!
//! A [`checkpoint`] holds everything that a prediction needs. [`weights`] reads and writes safetensors and reads
//! PyTorch files, in the names of timm, segmentation_models.pytorch, efficientnet_pytorch and torchvision. Neither
//! depends on how a network is trained: the training state in a checkpoint passes through as a document and buffers.
//!
//! A crate of its own because `model` should not depend on file formats, and tools that only inspect or convert weights
//! should not depend on training.
//!
//! ```no_run
//! use std::path::Path;
//! use formats::checkpoint::Checkpoint;
//! let checkpoint = Checkpoint::load(Path::new("runs/pneumonia/latest/model.safetensors"))?;
//! println!("{} parameters, classes {:?}", checkpoint.graph.parameter_count(), checkpoint.meta.classes);
//! # Ok::<(), formats::checkpoint::CheckpointError>(())
//! ```

// These macros panic on a closed pipe; use `terminal` to print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod checkpoint;
pub mod weights;
