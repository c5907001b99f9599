//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Measure the speed and memory of training and inference on random images, beside peers if asked
    ///
    /// Every measurement has a process of its own. Figures are only as good as the machine is quiet.
    Bench(BenchArgs),
    /// One measurement of `bench`, in the process that it starts for it
    #[command(hide = true)]
    Measure {
        /// A workload as JSON
        workload: String,
    },
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
    /// Images a training step, and of the larger inference batch
    #[arg(long, default_value_t = 8)]
    pub(crate) batch: usize,
    /// Threads, ours and the peers'; all cores where it is left out
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Timed calls of a measurement, of which the median counts; three more go before them
    #[arg(long, default_value_t = 5)]
    pub(crate) repeats: usize,
    /// How often each measurement is made, in turn with all the others
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// What to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "infer,train,memory"
    )]
    pub(crate) what: Vec<What>,
    /// Short for `ops` in --what
    #[arg(long)]
    pub(crate) ops: bool,
    /// Also measure PyTorch, ONNX Runtime and OpenVINO, as far as this Python has them
    ///
    /// Each of a peer's measurements follows one of ours, so that a slow moment of the machine hits both.
    /// tools/bench_peers.py is what runs, and says what to install.
    #[arg(long, value_name = "PYTHON")]
    pub(crate) peers: Option<PathBuf>,
    /// Write the machine, the settings, versions and every single time to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Batches for --what scale
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1,4,8,16"
    )]
    pub(crate) scale_batches: Vec<usize>,
    /// Image sides for --what scale
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "128,224,320"
    )]
    pub(crate) scale_sizes: Vec<usize>,
}

/// What a benchmark measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Inference at batch 1 and at --batch
    Infer,
    /// Training steps at --batch
    Train,
    /// Each operation of a training step at its shapes: where the time goes
    Ops,
    /// Peak memory of inference and of a training step
    Memory,
    /// Both over several batches and image sizes: whether the cost of a pixel stays the same
    Scale,
}
