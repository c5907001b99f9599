//! What can be typed.

use std::path::PathBuf;

use bench::Precision;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// From a folder of medical images to a trained, honestly judged network and a report that a person can read.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Say more of what is done: -v stages, -vv batches, -vvv every file (or name targets in RUST_LOG)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
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
    /// Compare finished runs on the same test images: differences with intervals and p-values, settings, disagreements
    ///
    /// Prints a report in Markdown. Runs whose test images differ are refused.
    Compare(CompareArgs),
    /// Check everything that CI checks, cheapest first
    Test(TestArgs),
    /// Try to break the program: mutated inputs for all that it reads, runs killed and robbed, then a table
    ///
    /// docs/reliability.md says what is tried and what must hold. Failing inputs are kept, to be tried again by
    /// --replay.
    #[cfg(target_os = "linux")]
    Torture(TortureArgs),
    /// Measure the speed and memory of training and inference on random images, beside peers if asked
    ///
    /// Every measurement has a process of its own. Figures are only as good as the machine is quiet.
    Bench(BenchArgs),
    /// Look at weights files, convert them, fetch known ones, compare them with other programs
    #[command(subcommand)]
    Weights(Weights),
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
    #[arg(long, value_name = "N", value_parser = count(1024))]
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
    /// Ask a network that has seen nothing but phantoms
    #[arg(long)]
    pub(crate) allow_phantom_model: bool,
    /// Where to compute: auto, cpu or cuda
    #[arg(long, default_value = "cpu", value_parser = ["auto", "cpu", "cuda"])]
    pub(crate) device: String,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Two or more run folders, such as runs/pneumonia/latest
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// Also write compare.md and compare.json to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Leave out the phantom run at the end
    #[arg(long)]
    pub(crate) fast: bool,
}

#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct TortureArgs {
    /// For how long
    #[arg(long, default_value_t = 5.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Kinds of inputs and accidents, instead of all
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Which cases: the same number, the same inputs; by the clock where it is left out
    #[arg(long, value_parser = clap::value_parser!(u64).range(..1 << 32))]
    pub(crate) seed: Option<u64>,
    /// Where what fails is kept, instead of fuzz-failures/
    #[arg(long, value_name = "DIR")]
    pub(crate) failures: Option<PathBuf>,
    /// Try one input again: a folder below fuzz-failures/, or with --as any file
    #[arg(long, value_name = "PATH")]
    pub(crate) replay: Option<PathBuf>,
    /// What the file of --replay is read as: png, checkpoint …
    #[arg(long = "as", value_name = "TARGET", requires = "replay")]
    pub(crate) target: Option<String>,
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
    #[arg(long, default_value_t = 224, value_parser = count(8192))]
    pub(crate) size: usize,
    /// Images a training step, and of the larger inference batch
    #[arg(long, default_value_t = 8, value_parser = count(4096))]
    pub(crate) batch: usize,
    /// Where to compute: cpu or cuda; of the peers, PyTorch can be asked for the same
    #[arg(long, default_value = "cpu", value_parser = ["cpu", "cuda"])]
    pub(crate) device: String,
    /// Of ours, the precisions to measure; a peer is always measured in all of its own
    #[arg(long, value_delimiter = ',', default_value = "f32,tf32,bf16", value_parser = precision)]
    pub(crate) precision: Vec<Precision>,
    /// Threads, ours and the peers'; all cores where it is left out
    #[arg(long, value_parser = count(1024))]
    pub(crate) threads: Option<usize>,
    /// Timed calls of a measurement, of which the median counts; three more go before them
    #[arg(long, default_value_t = 5, value_parser = count(10_000))]
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
    /// Short for `ops` in --what: where a training step's time goes, on a GPU by kernel
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
        value_parser = count(4096),
        default_value = "1,4,8,16"
    )]
    pub(crate) scale_batches: Vec<usize>,
    /// Image sides for --what scale
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        value_parser = count(8192),
        default_value = "128,224,320"
    )]
    pub(crate) scale_sizes: Vec<usize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Weights {
    /// List a file's tensors, whose names they are, and which networks they fit
    ///
    /// Reads safetensors and PyTorch's .pth and .pt; no code in a file is ever run.
    Inspect {
        /// A weights file
        file: PathBuf,
    },
    /// Write any file that can be read as safetensors in timm's, smp's or our names
    Convert(ConvertArgs),
    /// Get known weights from the Hugging Face hub into the cache; model.pretrained takes their names then
    Fetch(FetchArgs),
    /// Compare what two programs compute from the same weights (see tools/check_weights.py)
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A safetensors file, a checkpoint, or a file of PyTorch's
    pub(crate) file: PathBuf,
    /// The file to write
    #[arg(long, value_name = "OUT.safetensors")]
    pub(crate) to: PathBuf,
    /// Whose names to write; timm's has the encoder alone
    #[arg(long = "as", value_enum, default_value = "ours")]
    pub(crate) names: Names,
    #[command(flatten)]
    pub(crate) known: KnownArgs,
    /// What the input was normalized with, where the file does not say it
    #[arg(long, value_enum)]
    pub(crate) normalization: Option<Normalization>,
    /// Write halves instead of f32
    #[arg(long)]
    pub(crate) half: bool,
    /// Leave out tensors that our network lacks, instead of refusing the file
    #[arg(long)]
    pub(crate) allow_unused: bool,
    /// Replace OUT if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// What a weights file may not say of itself.
#[derive(Clone, Debug, Args)]
pub(crate) struct KnownArgs {
    /// The encoder, where several have these names and shapes
    #[arg(long)]
    pub(crate) encoder: Option<String>,
    /// Whose padding and batch-norm epsilon the weights were trained with, where the file does not say it
    #[arg(long, value_enum)]
    pub(crate) trained_in: Option<TrainedIn>,
}

/// Paddings and epsilons with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrainedIn {
    /// SAME padding of the image at hand, 1e-3
    Tensorflow,
    /// Symmetric padding, 1e-5
    Pytorch,
}

/// Whose names to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Names {
    /// This program's
    Ours,
    /// timm's
    Timm,
    /// segmentation_models.pytorch's, with a tu- encoder
    Smp,
}

/// Input normalizations with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Normalization {
    /// ImageNet's mean and deviation
    Imagenet,
    /// To -1 … 1
    Half,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// A known name, such as tf_efficientnet_lite0.in1k
    #[arg(required_unless_present = "list")]
    pub(crate) name: Option<String>,
    /// List the known names
    #[arg(long)]
    pub(crate) list: bool,
    /// The cache, instead of $XDG_CACHE_HOME/eff-unet/weights
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// A mirror of the hub; HF_ENDPOINT does the same
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// A branch, tag or commit instead of the known one
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// The SHA-256 that the file must have
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The weights
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) known: KnownArgs,
    /// Write images and outputs here, for tools/check_weights.py to check
    #[arg(long, value_name = "OUT", required_unless_present = "sample")]
    pub(crate) write_sample: Option<PathBuf>,
    /// Check the images and outputs that tools/check_weights.py wrote here
    #[arg(long, value_name = "FILE", conflicts_with = "write_sample")]
    pub(crate) sample: Option<PathBuf>,
    /// Image side of a written sample, in pixels
    #[arg(long, default_value_t = 96, value_parser = count(8192))]
    pub(crate) size: usize,
    /// Largest difference allowed, over the largest magnitude
    #[arg(long, default_value_t = 1e-3)]
    pub(crate) tolerance: f32,
    /// Replace a written sample
    #[arg(long)]
    pub(crate) force: bool,
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

/// A number from 1 to `most`.
fn count(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

#[cfg(target_os = "linux")]
fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text
        .parse()
        .ok()
        .filter(|minutes| (0.0..=10_000.0).contains(minutes));
    minutes.ok_or_else(|| "a number of minutes".into())
}

fn precision(name: &str) -> Result<Precision, String> {
    let known = Precision::ALL.into_iter().find(|p| p.to_string() == name);
    known.ok_or_else(|| "one of f32, tf32, bf16".into())
}
