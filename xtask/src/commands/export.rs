//! `cargo xtask export`: a trained network as an ONNX model.

use std::process::ExitCode;

use ::export::to_onnx;
use anyhow::{Context as _, Result, bail};

use super::print;
use crate::cli::{ExportArgs, WeightType};

pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode> {
    if args.to.extension().is_none_or(|e| e != "onnx") {
        bail!("{}: name a file that ends in .onnx", args.to.display());
    }
    let weights = match args.weights {
        WeightType::F32 => ::export::WeightType::F32,
        WeightType::F16 => ::export::WeightType::F16,
        WeightType::Bf16 => ::export::WeightType::Bf16,
    };
    let from = ::pipeline::find_checkpoint(&args.model)?;
    let model =
        to_onnx(&from, weights).with_context(|| format!("cannot export {}", from.display()))?;
    let written = || format!("cannot write {}", args.to.display());
    if let Some(folder) = args.to.parent().filter(|f| !f.as_os_str().is_empty()) {
        files::create_folder(folder).with_context(written)?;
    }
    files::write(&args.to, &model).with_context(written)?;
    let megabytes = model.len() as f64 / 1e6;
    print(&format!("{} ({megabytes:.1} MB)\n", args.to.display()))
}
