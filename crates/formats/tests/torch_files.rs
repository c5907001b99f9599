//! PyTorch files, made by `torch_files/make.py`: both containers, every number type, views, wrappers, and files that
//! refer to more than tensors.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::network;
use formats::weights::{FileFormat, LoadOptions, LoadReport, TensorFile, WeightsError, load};
use model::store::ParamStore;
use tempfile::TempDir;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/torch_files")
        .join(name)
}

fn loaded(name: &str, options: &LoadOptions) -> (ParamStore, Result<LoadReport, WeightsError>) {
    let graph = network();
    let mut store = ParamStore::initialized(&graph, 1);
    let report = load(&path(name), &graph, &mut store, options);
    (store, report)
}

fn error(name: &str) -> String {
    TensorFile::read(&path(name)).unwrap_err().to_string()
}

#[test]
fn both_containers_give_every_view_and_type() {
    for name in ["zip.pth", "legacy.pth"] {
        let file = TensorFile::read(&path(name)).unwrap();
        assert_eq!(file.format(), FileFormat::Torch);
        let check = |tensor: &str, shape: &[usize], expected: &[f32]| {
            let entry = file.find(tensor).unwrap();
            assert_eq!(entry.shape, shape, "{name}: {tensor}");
            assert_eq!(file.values(entry).unwrap(), expected, "{name}: {tensor}");
        };
        check("contiguous", &[2, 3], &[0., 1., 2., 3., 4., 5.]);
        check("transposed", &[3, 2], &[0., 3., 1., 4., 2., 5.]);
        check("tail", &[1, 3], &[3., 4., 5.]);
        check("every_second", &[4], &[0., 2., 4., 6.]);
        check("scalar", &[], &[7.]);
        check("empty", &[0, 3], &[]);
        for tensor in ["parameter", "float16", "bfloat16", "float64"] {
            check(tensor, &[3], &[0., 1., 2.]);
        }
        for tensor in ["int64", "int32", "int16", "int8", "uint8", "bool"] {
            let entry = file.find(tensor).unwrap();
            assert_eq!(entry.elements(), 3, "{name}: {tensor}");
            let text = file.values(entry).unwrap_err().to_string();
            assert!(
                text.contains(tensor) && text.contains("must be F32"),
                "{text}"
            );
        }
    }
}

#[test]
fn networks_load() {
    let check = |name: &str, options: &LoadOptions, unused: &[&str]| {
        let (store, report) = loaded(name, options);
        let report = report.unwrap();
        let graph = network();
        assert_eq!(report.applied.len(), graph.params.len());
        assert_eq!(report.unused, unused);
        assert_eq!(report.ignored, ["encoder.bn.num_batches_tracked"]);
        for (id, parameter) in graph.parameters() {
            let values = parameter.to_torch(store.get(id));
            let n = values.len() as f32;
            let expected = (0..values.len()).map(|i| i as f32 / n);
            assert!(
                expected.eq(values.iter().copied()),
                "{name}: {}",
                parameter.name
            );
        }
    };
    check("network.pth", &LoadOptions::default(), &[]);
    check("protocol4.pth", &LoadOptions::default(), &[]);
    let lenient = LoadOptions {
        allow_unused: true,
        ..LoadOptions::default()
    };
    check("nested.pth", &lenient, &["mean"]);
    let strict = loaded("nested.pth", &LoadOptions::default()).1.unwrap_err();
    assert!(
        strict
            .to_string()
            .contains("Not in the network: 1 (`mean`)")
    );
}

#[test]
fn stripped_wrappers_are_listed() {
    let unwrapped = |name: &str| TensorFile::read(&path(name)).unwrap().unwrapped().to_vec();
    assert_eq!(unwrapped("network.pth"), [""; 0]);
    assert_eq!(unwrapped("protocol4.pth"), ["model"]);
    assert_eq!(unwrapped("nested.pth"), ["state_dict", "module.", "model."]);
}

#[test]
fn code_is_rejected_by_name() {
    let check = |name: &str, global: &str| {
        let text = error(name);
        assert!(
            text.contains(name) && text.contains(&format!("refers to `{global}`")),
            "{text}"
        );
    };
    check("command.pth", "posix.system");
    check("namespace.pth", "argparse.Namespace");
    check("module.pth", "torch.nn.modules.linear.Linear");
}

#[test]
fn files_without_weights_are_errors() {
    let empty = error("empty.pth");
    assert!(
        empty.contains("keys `epoch`") && empty.contains("model.state_dict()"),
        "{empty}"
    );
    assert!(error("expanded.pth").contains("reaches beyond its storage of 1 elements"));
}

/// Damage anywhere gives an error or other values, never a panic.
#[test]
fn damaged_files_are_errors() {
    let folder = TempDir::new().unwrap();
    let broken = folder.path().join("broken.pth");
    for name in ["network.pth", "legacy.pth"] {
        let good = fs::read(path(name)).unwrap();
        for len in (0..good.len()).step_by(7) {
            fs::write(&broken, &good[..len]).unwrap();
            assert!(TensorFile::read(&broken).is_err(), "{name} cut to {len}");
        }
        for at in (0..good.len()).step_by(3) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x41;
            fs::write(&broken, &bytes).unwrap();
            let _ = TensorFile::read(&broken);
        }
    }
}

#[test]
fn other_archives_and_pickles_are_rejected() {
    let folder = TempDir::new().unwrap();
    let other = folder.path().join("other.pth");
    // The end record of an archive without entries, after an entry's signature.
    let end = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    fs::write(&other, [&b"PK\x03\x04"[..], &[0; 26], &end].concat()).unwrap();
    let text = TensorFile::read(&other).unwrap_err().to_string();
    assert!(text.contains("other.pth"), "{text}");
    fs::write(&other, b"\x80\x02}q\x00.").unwrap();
    let text = TensorFile::read(&other).unwrap_err().to_string();
    assert!(text.contains("not one written by torch.save"), "{text}");
}
