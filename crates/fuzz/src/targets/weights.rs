//! Weights of other programs: safetensors and PyTorch files.

use std::fs;
use std::path::Path;

use anyhow::Result;
use formats::weights::TensorFile;

use crate::formats::safetensors::{self, Tensor};
use crate::formats::{json, pickle, torch};
use crate::seeds::two;
use crate::{Case, Outcome, Rng, Session, Target, mutate};

const SAFETENSORS: &str = "weights.safetensors";
const BESIDE: &str = "weights.safetensors.json";
const TORCH: &str = "weights.pth";

/// One in this many accepted files is also inspected as by `weights inspect`, which compares it with every encoder.
const INSPECTED: u64 = 16;

pub(super) struct Safetensors;

impl Target for Safetensors {
    fn name(&self) -> &'static str {
        "safetensors"
    }

    fn about(&self) -> &'static str {
        "weights with right and wrong headers, and the JSON next to them: refused, or written again and read back equal"
    }

    fn short(&self) -> u64 {
        3000
    }

    fn file(&self) -> &'static str {
        SAFETENSORS
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(Weights {
            seeds: vec![encoder(), types()],
        }))
    }
}

struct Weights {
    seeds: Vec<Vec<u8>>,
}

/// A few tensors in timm's names, so that files are recognised.
fn encoder() -> Vec<u8> {
    let tensor = |name: &str, shape: &[usize]| Tensor {
        name: name.into(),
        dtype: "F32",
        shape: shape.into(),
        bytes: (0..shape.iter().product::<usize>())
            .flat_map(|i| (i as f32).to_le_bytes())
            .collect(),
    };
    let tensors = [
        tensor("conv_stem.weight", &[8, 3, 3, 3]),
        tensor("bn1.weight", &[8]),
        tensor("bn1.bias", &[8]),
        tensor("blocks.0.0.conv_dw.weight", &[8, 1, 3, 3]),
        tensor("classifier.weight", &[2, 8]),
        tensor("empty", &[0, 3]),
        tensor("scalar", &[]),
    ];
    let about = [
        ("encoder", "efficientnet_lite0"),
        ("mean", "[0.5, 0.5, 0.5]"),
        ("std", "[0.5, 0.5, 0.5]"),
    ];
    safetensors::file(&tensors, &about)
}

/// All number types, with the prefixes of wrapper modules.
fn types() -> Vec<u8> {
    const TYPES: [(&str, usize); 8] = [
        ("F32", 4),
        ("F16", 2),
        ("BF16", 2),
        ("F64", 8),
        ("I64", 8),
        ("U8", 1),
        ("BOOL", 1),
        ("F8_E4M3", 1),
    ];
    let tensors = TYPES.map(|(dtype, width)| Tensor {
        name: format!("module.{dtype}.weight"),
        dtype,
        shape: vec![2, 3],
        bytes: (0..6 * width).map(|i| (i * 5) as u8).collect(),
    });
    safetensors::file(&tensors, &[])
}

impl Session for Weights {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let (seed, other) = two(rng, &self.seeds);
        let case = Case::file(SAFETENSORS, safetensors::mutate(rng, seed, other));
        match rng.once_in(4) {
            true => {
                let about = br#"{"encoder": "tf_efficientnet_lite0", "mean": "[0.5]", "std": "[0.5]", "padding": "tf_same"}"#;
                case.with(BESIDE, json::mutate_text(rng, about))
            }
            false => case,
        }
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let path = input.join(SAFETENSORS);
        let file = match TensorFile::read(&path) {
            Err(error) => return Outcome::refused(error, SAFETENSORS),
            Ok(file) => file,
        };
        match values(&file) {
            Err(outcome) => outcome,
            Ok(tensors) => {
                inspect(&path);
                read_back(tensors, &input.join("again.safetensors"))
            }
        }
    }
}

/// A tensor as it was read.
type Read = (String, Vec<usize>, Vec<f32>);

/// All tensors whose values can be read; an unsupported type is not a fault of the file.
fn values(file: &TensorFile) -> Result<Vec<Read>, Outcome> {
    let mut all = vec![];
    for entry in file.entries() {
        if let Ok(values) = file.values(entry) {
            if Some(values.len())
                != entry
                    .shape
                    .iter()
                    .try_fold(1_usize, |n, side| n.checked_mul(*side))
            {
                let text = format!(
                    "{} has {} values for {:?}",
                    entry.name,
                    values.len(),
                    entry.shape
                );
                return Err(Outcome::Wrong(text));
            }
            if values.iter().any(|v| !v.is_finite()) {
                return Err(Outcome::Wrong(format!(
                    "{} has values that are not finite",
                    entry.name
                )));
            }
            all.push((entry.name.clone(), entry.shape.clone(), values));
        }
    }
    Ok(all)
}

fn inspect(path: &Path) {
    let len = fs::metadata(path).map_or(0, |m| m.len());
    if len.is_multiple_of(INSPECTED) {
        // Any result is fine, except a panic.
        let _ = weights::inspect(path);
    }
}

fn read_back(tensors: Vec<Read>, path: &Path) -> Outcome {
    let written = tensors.iter().map(|(name, shape, values)| Tensor {
        name: name.clone(),
        dtype: "F32",
        shape: shape.clone(),
        bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    });
    let bytes = safetensors::file(&written.collect::<Vec<_>>(), &[]);
    if let Err(error) = fs::write(path, bytes) {
        return Outcome::Wrong(format!("cannot write {}: {error}", path.display()));
    }
    let again = match TensorFile::read(path) {
        Err(error) => return Outcome::Wrong(format!("written again, it is refused: {error}")),
        Ok(file) => values(&file),
    };
    // A prefix common to all names is stripped, so names may differ.
    let bits = |tensors: &[Read]| {
        let bits = |(_, shape, values): &Read| {
            (
                shape.clone(),
                values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            )
        };
        let mut all: Vec<_> = tensors.iter().map(bits).collect();
        all.sort();
        all
    };
    match again {
        Err(outcome) => outcome,
        Ok(again) => Outcome::accepted_if(bits(&again) == bits(&tensors), || {
            "written again, it has other values".into()
        }),
    }
}

pub(super) struct Torch;

impl Target for Torch {
    fn name(&self) -> &'static str {
        "pth"
    }

    fn about(&self) -> &'static str {
        "PyTorch files, zip with right checksums and the legacy format: pickles, storages, shapes, strides"
    }

    fn short(&self) -> u64 {
        3000
    }

    fn file(&self) -> &'static str {
        TORCH
    }

    fn open(&self, _: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(TorchFiles {
            seeds: archives().into_iter().chain(legacies()).collect(),
        }))
    }
}

fn tensors() -> Vec<pickle::Tensor> {
    let of = |name, storage, elements, offset, shape: &[usize], strides: &[usize]| pickle::Tensor {
        name,
        storage,
        elements,
        offset,
        shape: shape.into(),
        strides: strides.into(),
    };
    vec![
        of("conv_stem.weight", 0, 54, 0, &[2, 3, 3, 3], &[27, 9, 3, 1]),
        of("bn1.weight", 1, 8, 2, &[2], &[2]),
        of("transposed", 0, 54, 0, &[3, 18], &[1, 3]),
        of("scalar", 1, 8, 7, &[], &[]),
    ]
}

fn archives() -> Vec<Vec<u8>> {
    let wrapped =
        |wrappers: &[&str]| torch::archive(pickle::state_dict(&tensors(), wrappers), &[54, 8]);
    vec![wrapped(&[]), wrapped(&["state_dict"])]
}

fn legacies() -> Vec<Vec<u8>> {
    vec![torch::legacy(
        &pickle::state_dict(&tensors(), &[]),
        &[54, 8],
    )]
}

struct TorchFiles {
    seeds: Vec<Vec<u8>>,
}

impl Session for TorchFiles {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let (seed, other) = two(rng, &self.seeds);
        Case::file(TORCH, torch::mutate(rng, seed, other))
    }

    fn run(&mut self, input: &Path) -> Outcome {
        let path = input.join(TORCH);
        match TensorFile::read(&path) {
            Err(error) => Outcome::refused(error, TORCH),
            Ok(file) => match values(&file) {
                Err(outcome) => outcome,
                Ok(_) => {
                    inspect(&path);
                    Outcome::Accepted
                }
            },
        }
    }
}

pub(super) struct DamagedTorch;

impl Target for DamagedTorch {
    fn name(&self) -> &'static str {
        "pth-damaged"
    }

    fn about(&self) -> &'static str {
        "PyTorch zip files with flipped bits and lost bytes: refused, or read with the original values"
    }

    fn short(&self) -> u64 {
        3000
    }

    fn file(&self) -> &'static str {
        TORCH
    }

    fn open(&self, home: &Path) -> Result<Box<dyn Session>> {
        let seeds = archives();
        let mut known = vec![];
        for bytes in &seeds {
            fs::write(home.join(TORCH), bytes)?;
            let file = TensorFile::read(&home.join(TORCH))?;
            known.push(values(&file).map_err(|outcome| anyhow::anyhow!("{outcome:?}"))?);
        }
        Ok(Box::new(DamagedFiles { seeds, known }))
    }
}

struct DamagedFiles {
    seeds: Vec<Vec<u8>>,
    known: Vec<Vec<Read>>,
}

impl Session for DamagedFiles {
    fn case(&mut self, rng: &mut Rng) -> Case {
        let mut bytes = two(rng, &self.seeds).0.to_vec();
        mutate::damage(rng, &mut bytes);
        Case::file(TORCH, bytes)
    }

    fn run(&mut self, input: &Path) -> Outcome {
        match TensorFile::read(&input.join(TORCH)) {
            Err(error) => Outcome::refused(error, TORCH),
            Ok(file) => match values(&file) {
                Err(outcome) => outcome,
                Ok(tensors) => Outcome::accepted_if(self.known.contains(&tensors), || {
                    "a damaged file is accepted and holds other weights".into()
                }),
            },
        }
    }
}
