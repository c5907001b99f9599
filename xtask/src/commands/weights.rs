//! `cargo xtask weights`: passes the arguments to the crate `weights`.

use anyhow::{Context as _, Result};
use terminal::{Interrupt, Progress};
use weights::{self, Conventions, Conversion, Download, InputNormalization, Known, Sample};

use crate::cli::{
    CheckArgs, ConvertArgs, FetchArgs, KnownArgs, Names, Normalization, TrainedIn, Weights,
};

/// Runs the command; returns its output for stdout.
pub(crate) fn run(what: Weights, interrupt: &Interrupt) -> Result<String> {
    match what {
        Weights::Inspect { file } => weights::inspect(&file),
        Weights::Convert(args) => convert(args),
        Weights::Fetch(args) => fetch(args, interrupt),
        Weights::Check(args) => check(args),
    }
}

fn convert(args: ConvertArgs) -> Result<String> {
    let normalization = args.normalization.map(|named| match named {
        Normalization::Imagenet => InputNormalization::imagenet(),
        Normalization::Half => InputNormalization::half(),
    });
    weights::convert(&Conversion {
        from: args.file,
        to: args.to,
        names: match args.names {
            Names::Ours => weights::Names::Ours,
            Names::Timm => weights::Names::Timm,
            Names::Smp => weights::Names::Smp,
        },
        known: known(args.known),
        normalization,
        half: args.half,
        allow_unused: args.allow_unused,
        force: args.force,
    })
}

fn known(args: KnownArgs) -> Known {
    Known {
        encoder: args.encoder,
        trained_in: args.trained_in.map(|program| match program {
            TrainedIn::Tensorflow => Conventions::TENSORFLOW,
            TrainedIn::Pytorch => Conventions::PYTORCH,
        }),
    }
}

fn fetch(args: FetchArgs, interrupt: &Interrupt) -> Result<String> {
    if args.list {
        return Ok(weights::known());
    }
    let download = Download {
        name: args.name.unwrap_or_default(),
        cache: args.cache,
        endpoint: args.endpoint,
        revision: args.revision,
        sha256: args.sha256,
    };
    weights::fetch(&download, Progress::Shown, interrupt)
}

fn check(args: CheckArgs) -> Result<String> {
    let what = |sample| Sample {
        weights: args.file.clone(),
        known: known(args.known.clone()),
        sample,
    };
    if let Some(out) = args.write_sample.clone() {
        return weights::write_sample(&what(out), args.size, args.force);
    }
    let sample = args.sample.clone().context("no --sample")?;
    weights::compare(&what(sample), args.tolerance)
}
