//! The command line: thin, because the work is done in other crates. Exit codes: 0 success, 1 error, 2 wrong usage,
//! 130 interrupted.

// `println!` and `eprintln!` panic if the stream is closed; `terminal` prints without panicking.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod commands;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use terminal::{Interrupt, Interrupted};

use cli::Command;
use commands::{INTERRUPTED, own_source, print, report, request, root};

fn main() -> ExitCode {
    decoding::keep_freed_memory();
    let interrupt = Interrupt::default();
    let cli = cli::parse();
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

/// Writes events to stderr at the level set by `-v` or by the environment variable `RUST_LOG`; none without either.
/// They show where a run is stuck.
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
        Command::Pipeline(args) => commands::pipeline::run(&args, interrupt),
        Command::Experiment(args) => commands::experiment::run(&args, interrupt),
        Command::List => print(&pipeline::list(&root())),
        Command::Describe { settings } => print(&pipeline::describe(&request(&settings, None))?),
        Command::Predict(args) => commands::predict::run(&args, interrupt),
        Command::Merge(args) => commands::merge::run(&args, interrupt),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Ensemble(args) => commands::ensemble::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Serve(args) => commands::serve::run(&args, interrupt),
        Command::View(args) => commands::view::run(&args, interrupt),
        Command::Results(args) => commands::results::run(&own_source()?, &args, interrupt),
        Command::Evaluate(args) => commands::evaluate::run(&args, interrupt),
        Command::Test(args) => commands::test::run(&own_source()?, &args),
        #[cfg(target_os = "linux")]
        Command::Torture(args) => commands::torture::run(&own_source()?, &args, interrupt),
        Command::Bench(args) => commands::bench::run(&root(), &args, interrupt),
        Command::Weights(what) => print(&commands::weights::run(what, interrupt)?),
        Command::Completions { shell } => print(&commands::shell::completions(shell)?),
        Command::Man { to } => commands::shell::man(to.as_deref()),
        Command::Measure { workload } => commands::bench::measure(&workload, interrupt),
    }
}

/// The first Ctrl-C requests a stop at the next safe point; the second ends the process at once.
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
