//! Weights files: safetensors for reading and writing, PyTorch's `.pth` for reading; in PyTorch's layout, and in the
//! names of timm, segmentation_models.pytorch, efficientnet_pytorch and torchvision ([`Family`]).
//!
//! Loading reports what it did and by default rejects an incomplete load: a network that is partly random because a
//! name did not match looks like a bad network, not like an error.
//!
//! ```
//! use model::build::{ModelSpec, build};
//! use model::store::ParamStore;
//! use formats::weights::{LoadOptions, SaveOptions, load, save};
//! let lite = ModelSpec { encoder: Some("efficientnet_lite0".into()), ..ModelSpec::default() };
//! let graph = build(&lite)?;
//! let mut store = ParamStore::initialized(&graph, 1);
//! let path = std::env::temp_dir().join("model_weights_example.safetensors");
//! save(&path, &graph, &store, &SaveOptions::default())?;
//! let report = load(&path, &graph, &mut store, &LoadOptions::default())?;
//! assert_eq!(report.applied.len(), graph.params.len());
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod about;
mod error;
mod file;
mod fit;
mod load;
mod names;
mod recognise;
mod save;
mod tensors;
mod torch;
mod wrapping;

pub use about::{About, InputNormalization, beside_path};
pub use error::{Names, WeightsError};
pub use file::{FileFormat, TensorFile, metadata};
pub use load::{LoadOptions, LoadReport, load, load_encoder, load_encoder_file, load_file};
pub use names::{Conventions, Family};
pub use recognise::{Candidate, Recognised, recognise};
pub use save::{FileDtype, SMP_NAMES, SaveOptions, save};
pub use tensors::TensorEntry;
use tensors::Tensors;
