//! The benchmark's lines, and a peer's beside them.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use pipeline::Interrupt;
use pipeline::bench::{Bench, bench};

use crate::cli::BenchArgs;
use crate::print;

pub(crate) fn run(args: &BenchArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("cannot set the number of threads")?;
    let what = Bench {
        encoder: args.encoder.clone(),
        decoder: args.decoder.clone(),
        size: args.size,
        batch: args.batch,
        repeats: args.repeats,
    };
    bench(&what, interrupt, &mut |line| {
        let text = serde_json::to_string(line).context("a result cannot be written as JSON")?;
        print(&format!("{text}\n")).map(drop)
    })?;
    if let (Some(python), Some(script)) = (&args.peers, &args.script) {
        let mut peer = Command::new(python);
        peer.arg(script).args([
            "--what",
            "infer,train",
            "--arch",
            &args.decoder,
            "--encoder",
            &format!("tu-{}", args.encoder),
        ]);
        for (name, value) in [
            ("--size", args.size),
            ("--batch", args.batch),
            ("--threads", threads),
            ("--repeats", args.repeats),
        ] {
            peer.arg(name).arg(value.to_string());
        }
        let status = peer
            .status()
            .with_context(|| format!("cannot run {}", python.display()))?;
        if !status.success() {
            bail!("{} ended with {status}", script.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
