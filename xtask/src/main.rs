//! The command line: thin, for all work is `pipeline`'s. Exit codes: 0 good, 1 error, 2 wrong usage, 130 interrupted.

// They panic where nobody reads; `terminal` prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod cli;
mod test;
#[cfg(target_os = "linux")]
mod torture;
mod weights;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use pipeline::predict::Predictor;
use settings::Request;
use terminal::{Interrupt, Interrupted, Progress};

use cli::{Cli, Command, PipelineArgs, PredictArgs, Settings};

const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let interrupt = Interrupt::default();
    let cli = Cli::parse();
    log(cli.verbose);
    let result = on_ctrl_c(&interrupt).and_then(|()| dispatch(cli.command, &interrupt));
    match result {
        Ok(code) => code,
        Err(error) if error.downcast_ref::<Interrupted>().is_some() => {
            terminal::say("interrupted");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Events of the program's parts, on stderr, as `-v` or the environment's `RUST_LOG` asks; none without either. So a run
/// that stands still shows where.
fn log(verbose: u8) {
    let level = match verbose {
        0 => "off",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .log_internal_errors(false)
        .init();
}

fn dispatch(command: Command, interrupt: &Interrupt) -> Result<ExitCode> {
    match command {
        Command::Pipeline(args) => run_pipeline(&args, interrupt),
        Command::List => print(&pipeline::list(&root())),
        Command::Describe { settings } => print(&pipeline::describe(&request(&settings, None))?),
        Command::Predict(args) => predict(&args, interrupt),
        Command::Test(args) => test::run(&root(), &args),
        #[cfg(target_os = "linux")]
        Command::Torture(args) => torture::run(&root(), &args, interrupt),
        Command::Bench(args) => bench::run(&root(), &args, interrupt),
        Command::Weights(what) => print(&weights::run(what, interrupt)?),
        Command::Measure { workload } => bench::measure(&workload, interrupt),
    }
}

/// The first Ctrl-C asks to stop at the next safe point, the second ends at once.
fn on_ctrl_c(interrupt: &Interrupt) -> Result<()> {
    let interrupt = interrupt.clone();
    ctrlc::set_handler(move || {
        if interrupt.raise() {
            std::process::exit(INTERRUPTED.into());
        }
        terminal::say("\nstopping at the next safe point (Ctrl-C again to stop at once)");
    })
    .context("cannot listen for Ctrl-C")
}

fn run_pipeline(args: &PipelineArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    if let Some(threads) = args.threads {
        set_threads(threads)?;
    }
    let request = request(&args.settings, args.out.as_deref());
    match pipeline::run(&request, args.resume, Progress::Shown, interrupt) {
        Ok(finished) => {
            // The run is done, whether or not anybody can read where.
            let report = finished.folder.join("report.md");
            let _ = terminal::print(&format!("{}\n", report.display()));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.downcast_ref::<Interrupted>().is_some() => {
            terminal::say(&format!(
                "interrupted; what is done is kept. Go on with:\n  {}",
                resume_command(args)
            ));
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error),
    }
}

fn set_threads(threads: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("cannot set the number of threads")
}

/// The command that was typed, with `--resume`.
fn resume_command(args: &PipelineArgs) -> String {
    let typed = std::env::args().skip(1).map(|arg| quoted(&arg));
    let resume = (!args.resume).then(|| "--resume".to_owned());
    ["cargo".to_owned(), "xtask".to_owned()]
        .into_iter()
        .chain(typed)
        .chain(resume)
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.into()
    } else {
        format!("'{}'", arg.replace('\'', r"'\''"))
    }
}

fn predict(args: &PredictArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let predictor = Predictor::open_on(
        &args.model,
        settings::device(&args.device, ::bench::Precision::F32)?.device,
    )?;
    if predictor.taught_on_phantoms() && !args.allow_phantom_model {
        bail!(
            "{} has seen nothing but phantoms: what it says of a real image means nothing. Train on real images \
             (`cargo xtask pipeline NAME --data DIR`), or pass --allow-phantom-model to ask it about a phantom",
            args.model.display()
        );
    }
    let files = pipeline::beside(&args.images, args.out.as_deref());
    tidy(&files);
    // All images are answered, and their pictures written, whether or not the answers find a reader.
    let (mut failed, mut unheard) = (0, Ok(()));
    for (image, files) in args.images.iter().zip(files) {
        interrupt.check()?;
        // One bad file says nothing about the next.
        match predictor.predict_as(image, &files) {
            Ok(prediction) => {
                let line = serde_json::to_string(&prediction)
                    .context("the trace cannot be written as JSON")?;
                terminal::say(&format!("{}: {}", image.display(), prediction.in_words()));
                unheard = unheard.and(terminal::print(&format!("{line}\n")));
            }
            Err(error) => {
                report(&error);
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} images have no answer", args.images.len());
    }
    unheard.context("not all answers could be written to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Removes what killed processes have left half written in the folders of these files.
fn tidy(files: &[PathBuf]) {
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    folders.into_iter().for_each(files::sweep);
}

fn request(settings: &Settings, out: Option<&Path>) -> Request {
    Request {
        pipeline: settings.name.clone(),
        root: root(),
        data: settings.data.clone(),
        device: settings.device.clone(),
        set: settings.set.clone(),
        demo: settings.demo,
        dry: false,
        out: out.map(Path::to_path_buf),
    }
}

/// The workspace that this program was built in; where that is gone, the current folder.
fn root() -> PathBuf {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    if built_in.join("pipelines").is_dir() {
        built_in.into()
    } else {
        PathBuf::from(".")
    }
}

/// To stdout; a reader that has gone away (`| head`) is no error.
fn print(text: &str) -> Result<ExitCode> {
    terminal::print(text).context("cannot write what was asked for to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes, each once: libraries' texts often hold their cause's.
fn report(error: &anyhow::Error) {
    let mut said = error.to_string();
    terminal::say(&format!("error: {said}"));
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            terminal::say(&format!("  because: {cause}"));
        }
        said = cause;
    }
}
