//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// From a folder of medical images to a trained, honestly judged network and a report that a person can read.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline: from the data folder to runs/PIPELINE/TIME/report.md
    ///
    /// Where the data folder is absent, the pipeline's demo runs on phantoms that the program draws; the report says
    /// so in its first line.
    Pipeline(PipelineArgs),
    /// List pipelines, encoders, decoders, heads and stages
    List,
    /// Show the network of a pipeline: nodes, shapes, parameters, multiply-adds
    Describe {
        #[command(flatten)]
        settings: Settings,
    },
    /// Ask a trained network about images: class, probability, overlay, and a JSON trace a line
    Predict(PredictArgs),
    /// Check everything that CI checks, cheapest first
    Test(TestArgs),
    /// Time training and inference on random images, one JSON object a line
    Bench(BenchArgs),
}

/// Which pipeline, and what to change in it.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// A name under pipelines/, or a .toml file such as a run's resolved.toml
    pub(crate) name: String,
    /// The folder of the images, instead of the pipeline's data.dir
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Run the pipeline's demo on phantoms even where the data folder is there
    #[arg(long, conflicts_with = "data")]
    pub(crate) demo: bool,
    /// Where to compute: auto, cpu or cuda
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Change a setting: train.epochs=8, model.decoder=unet, evaluate.threshold={sensitivity=0.95}
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PipelineArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Go on with the newest unfinished run of this pipeline
    #[arg(long)]
    pub(crate) resume: bool,
    /// Threads to use; the result does not depend on it
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// The folder of all runs, instead of runs/
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// A run's folder (runs/pneumonia/latest) or a checkpoint (model.safetensors)
    pub(crate) model: PathBuf,
    /// JPEG or PNG files
    #[arg(required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// Where the overlays go, instead of beside the images
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Leave out the phantom run at the end
    #[arg(long)]
    pub(crate) fast: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Encoder (see `cargo xtask list`)
    #[arg(long, default_value = "efficientnet_b1")]
    pub(crate) encoder: String,
    /// Decoder
    #[arg(long, default_value = "unetpp")]
    pub(crate) decoder: String,
    /// Image side in pixels
    #[arg(long, default_value_t = 224)]
    pub(crate) size: usize,
    /// Images a training step
    #[arg(long, default_value_t = 8)]
    pub(crate) batch: usize,
    /// Threads
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Repeats, of which the median counts
    #[arg(long, default_value_t = 5)]
    pub(crate) repeats: usize,
    /// Also run a PyTorch script with the same arguments, with this Python
    #[arg(long, value_name = "PYTHON", requires = "script")]
    pub(crate) peers: Option<PathBuf>,
    /// That script: takes --arch --encoder --size --batch --threads --repeats --what
    #[arg(long, value_name = "PATH", requires = "peers")]
    pub(crate) script: Option<PathBuf>,
}
