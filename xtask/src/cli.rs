//! The command-line arguments.

use std::net::SocketAddr;
use std::path::PathBuf;

use bench::InferencePrecision;
use clap::builder::RangedU64ValueParser;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// From a folder of medical images to a trained, rigorously evaluated network and a readable report.
#[derive(Debug, Parser)]
#[command(version = VERSION, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Log more detail: -v stages, -vv batches, -vvv every file (or select targets with RUST_LOG)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The version, and the commit that it was built from if that is known.
const VERSION: &str = env!("VERSION_AND_COMMIT");

/// The command line, under the name by which the user calls this program.
pub(crate) fn command(name: &'static str) -> clap::Command {
    Cli::command().name(name).bin_name(name)
}

/// The arguments of this process; ends it if they are wrong, or ask for help.
pub(crate) fn parse() -> Cli {
    let matches = command(terminal::program()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline: from the data folder to runs/PIPELINE/TIME/report.md
    ///
    /// If the data folder is absent, the pipeline's demo runs on phantoms drawn by the program; the first line of the
    /// report says so.
    Pipeline(PipelineArgs),
    /// Run an experiment: one pipeline over seeds, folds and a grid of settings, to runs/EXPERIMENT/TIME/report.md
    ///
    /// The settings of all runs are checked before the first one starts. experiments/README.md has every key.
    Experiment(PipelineArgs),
    /// List pipelines, experiments, encoders, decoders, heads and stages
    List,
    /// Show the network of a pipeline: nodes, shapes, parameters, multiply-adds
    Describe {
        #[command(flatten)]
        settings: Settings,
    },
    /// Apply a trained network to images: tables of results, overlays and masks
    ///
    /// Writes predictions.csv, .parquet and .jsonl, and overlays and masks under images/, to predictions/TIME/ or --out.
    /// The lines of .jsonl, which say everything that a prediction depends on, also go to stdout if it is not a terminal.
    /// An image that cannot be predicted is a row with its reason, and the exit code is then 1. With --shard it is 0 once
    /// the share is complete, because a scheduler would run the share again in vain, and no lines go to stdout, which a
    /// scheduler would store a second time.
    Predict(PredictArgs),
    /// Join the shards of `predict` in a folder, or say what is missing
    ///
    /// `predict --shard` does so by itself where its share is the last one. This command checks that every image is there
    /// exactly once and that all shards belong to the same job, and writes the tables that one process would write, to
    /// the byte. If anything is missing it names it, writes nothing, and the exit code is 1.
    Merge(MergeArgs),
    /// Compare finished runs on the same test images: differences with intervals and p-values, settings, disagreements
    ///
    /// Prints a report in Markdown. Runs whose test images differ are refused.
    Compare(CompareArgs),
    /// Join the networks of finished runs into one checkpoint, which predicts with the mean of their calibrated scores
    ///
    /// The threshold is the mean of the runs' calibrated thresholds, which were chosen on validation. The checkpoint can be
    /// used wherever a single network's can, such as in `predict`.
    Ensemble(EnsembleArgs),
    /// Write a trained network as an ONNX model, which contains the whole answer: resizing, network, calibration, map
    ///
    /// crates/export documents inputs, outputs and metadata.
    Export(ExportArgs),
    /// Answer over HTTP what `predict` writes: one or many images in a request, limits on everything, an audit log
    ///
    /// docs/serving.md has the requests and answers; GET /openapi.json describes them for programs.
    Serve(ServeArgs),
    /// Look at a finished run in a browser: worklist, images with their maps, decision threshold
    ///
    /// docs/viewer.md shows the pages. `serve` has the same pages, and one for new images.
    View(ViewArgs),
    /// List the figures that docs/results.md claims; with a name, measure one of them again and compare
    Results(ResultsArgs),
    /// Evaluate a trained model on another data set: metrics with intervals, errors, calibration, shift of the images
    ///
    /// Threshold and calibration are the checkpoint's; nothing is chosen on these images. Writes a report to
    /// runs/evaluations/TIME/.
    Evaluate(EvaluateArgs),
    /// Run all checks of CI, fastest first
    Test(TestArgs),
    /// Try to break the program: mutated inputs for all its readers, killed and disturbed runs, then a table
    ///
    /// docs/reliability.md states what is tested and what must hold. Failing inputs are kept and can be run again with
    /// --replay.
    #[cfg(target_os = "linux")]
    Torture(TortureArgs),
    /// Measure the speed and memory of training and inference on random images, optionally against peers
    ///
    /// Every measurement runs in a process of its own. Results are reliable only on an otherwise idle machine.
    Bench(BenchArgs),
    /// Inspect weights files, convert them, fetch known ones, compare them with other programs
    #[command(subcommand)]
    Weights(Weights),
    /// Print the script that completes commands and options in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the program's manual page, or write those of all commands
    Man {
        /// Folder for the pages of all commands
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// One measurement of `bench`, which starts this command in a process of its own
    #[command(hide = true)]
    Measure {
        /// A workload as JSON
        workload: String,
    },
}

/// The pipeline, and changes to its settings.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// A name (see `cargo xtask list`), or a .toml file such as a run's resolved.toml
    pub(crate) name: String,
    /// Folder of the images, instead of the pipeline's data.dir
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Run the pipeline's demo on phantoms even if the data folder exists
    #[arg(long, conflicts_with = "data")]
    pub(crate) demo: bool,
    /// Device to compute on: auto, cpu or cuda
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
    /// Continue the newest unfinished run of this name
    #[arg(long)]
    pub(crate) resume: bool,
    /// Number of threads; the result does not depend on it
    #[arg(long, value_name = "N", value_parser = count(1024))]
    pub(crate) threads: Option<usize>,
    /// Folder of all runs, instead of runs/
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// A run's folder (runs/pneumonia/latest) or a checkpoint (model.safetensors)
    pub(crate) model: PathBuf,
    /// Images (JPEG, PNG, TIFF, BMP, WebP, DICOM), folders of them, patterns ("films/**/*.png"), tables with a column of
    /// paths (.csv, .tsv, .parquet), or - for a list of paths on stdin
    #[arg(required = true, value_name = "IMAGES")]
    pub(crate) images: Vec<PathBuf>,
    /// Folder for predictions.csv, .parquet and .jsonl, and for overlays and masks, instead of predictions/TIME. A folder
    /// that a killed process has begun is continued
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The column of tables that holds the images' paths, relative to the table's folder
    #[arg(long, value_name = "NAME")]
    pub(crate) column: Option<String>,
    /// Images predicted at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) batch_size: u16,
    /// Predict only the I-th of N shares of the images. Give all processes the same images and the same --out; the last
    /// one joins the tables. In a Slurm array, auto takes each task as a share. auto/N takes task I as the share I/N,
    /// also where only some of the tasks run, and index I of a Kubernetes Indexed Job as (I + 1)/N
    #[arg(long, value_name = "I/N", requires = "out", value_parser = shard)]
    pub(crate) shard: Option<predictions::Shard>,
    /// Predict no class where a person should decide, by the limit on errors that the network's evaluation has found
    #[arg(long)]
    pub(crate) abstain: bool,
    /// Write neither overlays nor masks
    #[arg(long, conflicts_with = "dicom_out")]
    pub(crate) no_pictures: bool,
    /// Also write the results of DICOM images as DICOM: NAME.seg.dcm (a segmentation of the most probable class, or with
    /// =fractional of probabilities), NAME.overlay.dcm and NAME.sr.dcm (a structured report), for the same patient and
    /// study
    #[arg(
        long,
        value_enum,
        value_name = "SEGMENTS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "binary"
    )]
    pub(crate) dicom_out: Option<DicomSegments>,
    /// Use a network that was trained on phantoms only
    #[arg(long)]
    pub(crate) allow_phantom_model: bool,
    /// Device to compute on: auto, cpu or cuda
    #[arg(long, default_value = "cpu", value_parser = ["auto", "cpu", "cuda"])]
    pub(crate) device: String,
    /// Precision to compute in; auto is bf16 where the device multiplies it, and int8 needs a run with the stage "quantize"
    #[arg(long, default_value = "f32", value_parser = ["auto", "f32", "tf32", "bf16", "int8"])]
    pub(crate) precision: String,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The folder that was given to `predict` as --out
    pub(crate) folder: PathBuf,
}

/// How a DICOM segmentation states where a class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DicomSegments {
    /// A bit per pixel and class: the most probable class
    Binary,
    /// The probability of each class, in 255ths
    Fractional,
}

#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// A run's folder (runs/pneumonia/latest)
    pub(crate) run: PathBuf,
    /// Folder of the run's images, if they are no longer where its settings say
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8090")]
    pub(crate) bind: SocketAddr,
    /// File whose first line is the token that readers must state, as the password that browsers ask for
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Let everyone look who can reach the address, also from other machines
    #[arg(long, conflicts_with = "token_file")]
    pub(crate) no_token: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A run's folder (runs/pneumonia/latest) or a checkpoint (model.safetensors)
    pub(crate) model: PathBuf,
    /// Folder of the run's images for the worklist, if they are no longer where its settings say
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) bind: SocketAddr,
    /// File whose first line is the token that clients must state (Authorization: Bearer TOKEN)
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Let everyone ask who can reach the address, also from other machines
    #[arg(long, conflicts_with = "token_file")]
    pub(crate) no_token: bool,
    /// Images predicted at once, at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) batch_size: u16,
    /// Requests at once, at most; more are answered with 503
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) queue: u16,
    /// The same from one address; more are answered with 429
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) per_client: Option<u16>,
    /// Largest request, in MiB
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) max_megabytes: u16,
    /// Largest image, in millions of pixels, if the network's own limit is not lower
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) max_megapixels: u16,
    /// Seconds for a request to arrive, and as many for its answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// DICOMweb service (http://HOST/dicom-web) that takes the results of images sent to /dicomweb/studies by STOW-RS
    #[arg(long, value_name = "URL")]
    pub(crate) archive: Option<String>,
    /// File whose first line is the value of the header Authorization for the archive, such as Bearer TOKEN
    #[arg(long, value_name = "FILE", requires = "archive")]
    pub(crate) archive_authorization: Option<PathBuf>,
    /// File that every answer is recorded in, instead of predictions/audit.jsonl: hashes and classes, no names, no pixels
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Use a network that was trained on phantoms only
    #[arg(long)]
    pub(crate) allow_phantom_model: bool,
    /// Device to compute on: auto, cpu or cuda
    #[arg(long, default_value = "cpu", value_parser = ["auto", "cpu", "cuda"])]
    pub(crate) device: String,
    /// Precision to compute in; auto is bf16 where the device multiplies it, and int8 needs a run with the stage "quantize"
    #[arg(long, default_value = "f32", value_parser = ["auto", "f32", "tf32", "bf16", "int8"])]
    pub(crate) precision: String,
}

#[derive(Debug, Args)]
pub(crate) struct ResultsArgs {
    /// A result of the list
    pub(crate) name: Option<String>,
    /// Folder of the images, if the result is about real ones
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Change a setting, such as model.pretrained=FILE
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Folder of all runs, instead of runs/
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A run's folder (runs/pneumonia/latest) or a checkpoint (model.safetensors)
    pub(crate) model: PathBuf,
    /// The model to write
    #[arg(long, value_name = "FILE.onnx")]
    pub(crate) to: PathBuf,
    /// How weights are stored: f16 and bf16 halve the file, and change probabilities
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = WeightType::F32)]
    pub(crate) weights: WeightType,
}

/// How the weights of an exported model are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightType {
    /// As trained
    F32,
    /// IEEE half precision
    F16,
    /// bfloat16
    Bf16,
}

#[derive(Debug, Args)]
pub(crate) struct EnsembleArgs {
    /// Two or more runs: folders, such as runs/pneumonia/latest, or checkpoints
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The checkpoint to write, such as ensemble.safetensors
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
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
pub(crate) struct EvaluateArgs {
    /// A run's folder (runs/pneumonia/latest) or a checkpoint (model.safetensors)
    #[arg(value_name = "RUN_OR_CHECKPOINT")]
    pub(crate) model: PathBuf,
    /// Folder of the images: one folder for each class, with or without folders for the splits
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Table that lists the images, instead of a folder for each class; its columns are named by data.csv
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Images to evaluate: of the run's splits if the data are its own, otherwise of the folders' or the table's
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) split: EvaluatedSplit,
    /// Pipeline that names classes and patients, for a checkpoint outside a run's folder
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// Change a setting: data.names={Pneumonia=\"PNEUMONIA\"}, evaluate.bootstrap=500
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Device to compute on, instead of the run's: auto, cpu or cuda
    #[arg(long, value_parser = ["auto", "cpu", "cuda"])]
    pub(crate) device: Option<String>,
    /// Folder for the results, instead of runs/evaluations/TIME
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Use a model that was trained on phantoms only
    #[arg(long)]
    pub(crate) allow_phantom_model: bool,
}

/// The images to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvaluatedSplit {
    /// Those of the test split
    Test,
    /// Those of the validation split
    Val,
    /// Those of the training split
    Train,
    /// All
    All,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Skip the phantom run at the end
    #[arg(long)]
    pub(crate) fast: bool,
}

#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct TortureArgs {
    /// Duration in minutes
    #[arg(long, default_value_t = 5.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Kinds of inputs and faults to test, instead of all
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Seed of the cases: the same number gives the same inputs; from the clock by default
    #[arg(long, value_parser = clap::value_parser!(u64).range(..1 << 32))]
    pub(crate) seed: Option<u64>,
    /// Folder for failing inputs and runs, instead of fuzz-failures/
    #[arg(long, value_name = "DIR")]
    pub(crate) failures: Option<PathBuf>,
    /// Run one input again: a folder below fuzz-failures/, or any file with --as
    #[arg(long, value_name = "PATH")]
    pub(crate) replay: Option<PathBuf>,
    /// Target that reads the file of --replay: png, checkpoint …
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
    /// Images per training step, and in the larger inference batch
    #[arg(long, default_value_t = 8, value_parser = count(4096))]
    pub(crate) batch: usize,
    /// Device to compute on: cpu or cuda; of the peers, PyTorch supports both
    #[arg(long, default_value = "cpu", value_parser = ["cpu", "cuda"])]
    pub(crate) device: String,
    /// Precisions of this program to measure; peers are measured in all of theirs, or those of --only
    ///
    /// int8 is measured for inference on a CPU, with ranges determined on random images; f32 is always what --ops times.
    #[arg(long, value_delimiter = ',', default_value = "f32,tf32,bf16,int8")]
    pub(crate) precision: Vec<InferencePrecision>,
    /// Number of threads of this program and the peers; all cores by default
    #[arg(long, value_parser = count(1024))]
    pub(crate) threads: Option<usize>,
    /// Timed calls per measurement, of which the median is taken, after three warm-up calls
    #[arg(long, default_value_t = 5, value_parser = count(10_000))]
    pub(crate) repeats: usize,
    /// Number of times each measurement is repeated, interleaved with all the others
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
    /// Short for `ops` in --what: where the time of inference and of a training step goes; on a GPU of a training step, by
    /// kernel
    #[arg(long)]
    pub(crate) ops: bool,
    /// Also measure PyTorch, ONNX Runtime and OpenVINO, as far as they are installed in this Python
    ///
    /// Each measurement of a peer follows one of this program, so that a temporary slowdown of the machine affects
    /// both. PyTorch is measured eager and compiled, ONNX Runtime and OpenVINO also after quantization to int8; of
    /// inference below f32 the table shows how far the answers are from the same library's in f32. The script
    /// tools/bench_peers.py states what to install.
    #[arg(long, value_name = "PYTHON")]
    pub(crate) peers: Option<PathBuf>,
    /// Peers to measure, by name or by name and precision: openvino,torch:f32
    ///
    /// A precision that the processor does not multiply is emulated by some peers, in minutes per measurement.
    #[arg(long, value_name = "PEER", value_delimiter = ',', requires = "peers")]
    pub(crate) only: Vec<String>,
    /// Trained network for ONNX Runtime and OpenVINO, as `export` wrote it; random weights by default
    ///
    /// Name its encoder, decoder and image size too. The speed of this program does not depend on the weights.
    #[arg(long, value_name = "FILE.onnx", requires = "peers")]
    pub(crate) onnx: Option<PathBuf>,
    /// Folder of PNG and JPEG images for --onnx: half of them calibrate int8, on the others answers are compared
    #[arg(long, value_name = "DIR", requires = "onnx")]
    pub(crate) images: Option<PathBuf>,
    /// Write the machine, the settings, the versions and all times to this file
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
    /// List a file's tensors, the naming scheme they follow, and the networks they fit
    ///
    /// Reads safetensors and PyTorch's .pth and .pt; no code in a file is ever executed.
    Inspect {
        /// A weights file
        file: PathBuf,
    },
    /// Convert any readable weights file to safetensors with the names of timm, smp or this program
    Convert(ConvertArgs),
    /// Download known weights from the Hugging Face hub into the cache; model.pretrained then accepts their names
    Fetch(FetchArgs),
    /// Compare the outputs of two programs with the same weights (see tools/check_weights.py)
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A safetensors file, a checkpoint, or a PyTorch file
    pub(crate) file: PathBuf,
    /// The file to write
    #[arg(long, value_name = "OUT.safetensors")]
    pub(crate) to: PathBuf,
    /// Naming scheme to write; timm's contains only the encoder
    #[arg(long = "as", value_enum, default_value = "ours")]
    pub(crate) names: Names,
    #[command(flatten)]
    pub(crate) known: KnownArgs,
    /// Input normalization of the training, if the file does not state it
    #[arg(long, value_enum)]
    pub(crate) normalization: Option<Normalization>,
    /// Write half precision instead of f32
    #[arg(long)]
    pub(crate) half: bool,
    /// Leave out tensors that this program's network does not have, instead of refusing the file
    #[arg(long)]
    pub(crate) allow_unused: bool,
    /// Replace OUT if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// What a weights file may not state.
#[derive(Clone, Debug, Args)]
pub(crate) struct KnownArgs {
    /// The encoder, if several have these names and shapes
    #[arg(long)]
    pub(crate) encoder: Option<String>,
    /// Padding and batch-norm epsilon that the weights were trained with, if the file does not state them
    #[arg(long, value_enum)]
    pub(crate) trained_in: Option<TrainedIn>,
}

/// Named paddings and epsilons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrainedIn {
    /// SAME padding, which depends on the image size, and epsilon 1e-3
    Tensorflow,
    /// Symmetric padding and epsilon 1e-5
    Pytorch,
}

/// Naming schemes of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Names {
    /// This program's
    Ours,
    /// timm's
    Timm,
    /// segmentation_models.pytorch's, with a tu- encoder
    Smp,
}

/// Named input normalizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Normalization {
    /// ImageNet's mean and standard deviation
    Imagenet,
    /// Mean and standard deviation 0.5, which gives values from -1 to 1
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
    /// Cache folder, instead of $XDG_CACHE_HOME/eff-unet/weights
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Mirror of the hub; the environment variable HF_ENDPOINT has the same effect
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Branch, tag or commit, instead of the known one
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// Expected SHA-256 of the file
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The weights
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) known: KnownArgs,
    /// Write images and outputs to this file, for tools/check_weights.py to check
    #[arg(long, value_name = "OUT", required_unless_present = "sample")]
    pub(crate) write_sample: Option<PathBuf>,
    /// Check the images and outputs that tools/check_weights.py wrote to this file
    #[arg(long, value_name = "FILE", conflicts_with = "write_sample")]
    pub(crate) sample: Option<PathBuf>,
    /// Image side of a written sample, in pixels
    #[arg(long, default_value_t = 96, value_parser = count(8192))]
    pub(crate) size: usize,
    /// Largest allowed difference, relative to the largest magnitude
    #[arg(long, default_value_t = 1e-3)]
    pub(crate) tolerance: f32,
    /// Replace an existing sample
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
    /// Each operation of inference and of a training step at its actual shapes, beside what the machine can do at best
    Ops,
    /// Peak memory of inference and of a training step
    Memory,
    /// Inference and training over several batches and image sizes: whether the cost per pixel stays the same
    Scale,
}

/// A share, as given or as the environment tells it: read here, so that what is wrong with it is wrong usage.
fn shard(text: &str) -> Result<predictions::Shard, String> {
    let share: predictions::Share = text.parse()?;
    share.shard(&|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))
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
