//! Weights files: both directions, what does not fit, bad files, and the pretrained encoders of the shared folder.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::network;
use formats::weights::{
    FileDtype, LoadOptions, LoadReport, SMP_NAMES, SaveOptions, WeightsError, load, load_encoder,
    metadata, save,
};
use half::{bf16, f16};
use model::build::{ModelSpec, build};
use model::graph::Graph;
use model::store::{Group, ParamStore};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

fn encoder_only(encoder: &str, in_channels: usize) -> Graph {
    build(&ModelSpec {
        encoder: Some(encoder.into()),
        decoder: Some("none".into()),
        head: "bottleneck".into(),
        in_channels,
        ..ModelSpec::default()
    })
    .unwrap()
}

fn saved(folder: &TempDir, graph: &Graph, store: &ParamStore, options: &SaveOptions) -> PathBuf {
    let path = folder.path().join("weights.safetensors");
    save(&path, graph, store, options).unwrap();
    path
}

fn strict(path: &Path, graph: &Graph) -> (ParamStore, Result<LoadReport, WeightsError>) {
    let mut store = ParamStore::initialized(graph, 99);
    let report = load(path, graph, &mut store, &LoadOptions::default());
    (store, report)
}

fn error(path: &Path, graph: &Graph) -> String {
    strict(path, graph).1.unwrap_err().to_string()
}

fn assert_same(a: &ParamStore, b: &ParamStore, tolerance: f32) {
    for group in Group::ALL {
        let worst = a
            .group(group)
            .iter()
            .zip(b.group(group))
            .map(|(a, b)| (a - b).abs() / a.abs().max(1e-3))
            .fold(0.0, f32::max);
        assert!(worst <= tolerance, "{group:?}: {worst}");
    }
}

#[test]
fn values_round_trip() {
    let folder = TempDir::new().unwrap();
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let check = |dtype, tolerance| {
        let path = saved(
            &folder,
            &graph,
            &store,
            &SaveOptions {
                dtype,
                ..SaveOptions::default()
            },
        );
        let (back, report) = strict(&path, &graph);
        assert_eq!(
            report.unwrap().applied,
            graph
                .params
                .iter()
                .map(|param| param.name.clone())
                .collect::<Vec<_>>()
        );
        assert_same(&store, &back, tolerance);
    };
    check(FileDtype::F32, 0.0);
    check(FileDtype::F16, 1e-3);
}

/// The length of a header of 640 + 65536·n bytes, up to 1408 + …, begins like a pickle: 0x80 and a protocol of 2 to 5.
#[test]
fn a_header_whose_length_looks_like_a_pickle_is_read() {
    let folder = TempDir::new().unwrap();
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let padded = |bytes: usize| SaveOptions {
        metadata: BTreeMap::from([("note".into(), "n".repeat(bytes))]),
        ..SaveOptions::default()
    };
    let length = |path: &Path| u64::from_le_bytes(fs::read(path).unwrap()[..8].try_into().unwrap());
    let bare = length(&saved(&folder, &graph, &store, &padded(0)));
    for protocol in 2..=5 {
        let wanted = (0..16).map(|n| (n << 16) + (protocol << 8) + 0x80);
        let wanted = wanted.into_iter().find(|&wanted| wanted > bare).unwrap();
        let path = saved(&folder, &graph, &store, &padded((wanted - bare) as usize));
        assert_eq!(length(&path), wanted);
        let (back, report) = strict(&path, &graph);
        report.unwrap();
        assert_same(&store, &back, 0.0);
    }
}

#[test]
fn half_precision_files_are_read() {
    let folder = TempDir::new().unwrap();
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let check = |dtype, encode: fn(f32) -> [u8; 2], tolerance| {
        let path = folder.path().join("half.safetensors");
        write(&path, &graph, &store, dtype, |v| encode(v).to_vec());
        let (back, report) = strict(&path, &graph);
        report.unwrap();
        assert_same(&store, &back, tolerance);
    };
    check(Dtype::F16, |v| f16::from_f32(v).to_le_bytes(), 1e-3);
    check(Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes(), 4e-3);
}

/// Writes a file with the library's own writer.
fn write(
    path: &Path,
    graph: &Graph,
    store: &ParamStore,
    dtype: Dtype,
    encode: impl Fn(f32) -> Vec<u8>,
) {
    let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> = graph
        .parameters()
        .map(|(id, spec)| {
            let bytes = spec
                .to_torch(store.get(id))
                .into_iter()
                .flat_map(&encode)
                .collect();
            (spec.name.as_str(), spec.torch_shape(), bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(n, s, d)| (*n, TensorView::new(dtype, s.clone(), d).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn layouts_match_pytorch() {
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let check = |name: &str, torch_index: &[usize], stored_index: &[usize]| {
        let id = graph.find_param(name).unwrap();
        let (spec, flat) = (graph.param(id), |shape: &[usize], at: &[usize]| {
            shape.iter().zip(at).fold(0, |sum, (n, i)| sum * n + i)
        });
        let torch = spec.to_torch(store.get(id));
        assert_eq!(
            torch[flat(&spec.torch_shape(), torch_index)],
            store.get(id)[flat(&spec.shape, stored_index)],
            "{name}"
        );
    };
    // [out, in, kh, kw] and [kh, kw, in, out]; [c, 1, kh, kw] and [kh, kw, c]; [in, out, kh, kw] and [in, kh, kw, out].
    check("encoder.stem.weight", &[3, 1, 0, 2], &[0, 2, 1, 3]);
    check("encoder.dw.weight", &[2, 0, 4, 1], &[4, 1, 2]);
    check("decoder.up.weight", &[3, 5, 0, 1], &[3, 0, 1, 5]);
    check("head.weight", &[1, 4], &[4, 1]);
}

#[test]
fn files_are_reproducible_and_carry_metadata() {
    let folder = TempDir::new().unwrap();
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let entries: BTreeMap<String, String> = (0..9)
        .map(|i| (format!("key{i}"), format!("value \"{i}\" é")))
        .collect();
    let options = SaveOptions {
        metadata: entries.clone(),
        ..SaveOptions::default()
    };
    let first = fs::read(saved(&folder, &graph, &store, &options)).unwrap();
    let path = saved(&folder, &graph, &store, &options);
    assert_eq!(first, fs::read(&path).unwrap());
    assert_eq!(metadata(&path).unwrap(), entries);
    strict(&path, &graph).1.unwrap();
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "a temporary file was left"
    );
}

#[test]
fn smp_names_round_trip() {
    let folder = TempDir::new().unwrap();
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let rename = SMP_NAMES
        .map(|(a, b)| (a.to_string(), b.to_string()))
        .to_vec();
    let path = saved(
        &folder,
        &graph,
        &store,
        &SaveOptions {
            rename,
            ..SaveOptions::default()
        },
    );
    let bytes = fs::read(&path).unwrap();
    let names: Vec<String> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .names()
        .into_iter()
        .map(String::from)
        .collect();
    assert!(
        names.contains(&"encoder.model.stem.weight".into())
            && names.contains(&"classification_head.3.bias".into())
    );
    let (back, report) = strict(&path, &graph);
    report.unwrap();
    assert_same(&store, &back, 0.0);
}

#[test]
fn mismatches_are_errors_unless_allowed() {
    let folder = TempDir::new().unwrap();
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let path = saved(
        &folder,
        &graph,
        &store,
        &SaveOptions {
            only: "encoder.".into(),
            ..SaveOptions::default()
        },
    );
    let text = error(&path, &graph);
    assert!(text.contains("weights.safetensors does not fit this network (7 of 11 parameters found). Missing from the file: 4 (`decoder.up.weight`, `decoder.up.bias`, `head.weight`, …)."), "{text}");
    let (kept, _) = strict(&path, &graph);
    assert_same(&kept, &ParamStore::initialized(&graph, 99), 0.0);

    let mut partly = ParamStore::initialized(&graph, 2);
    let options = LoadOptions {
        allow_missing: true,
        ..LoadOptions::default()
    };
    let report = load(&path, &graph, &mut partly, &options).unwrap();
    assert_eq!((report.applied.len(), report.missing.len()), (7, 4));

    let rename = vec![("encoder.".to_string(), "backbone.".to_string())];
    let path = saved(
        &folder,
        &graph,
        &store,
        &SaveOptions {
            rename: rename.clone(),
            ..SaveOptions::default()
        },
    );
    let text = error(&path, &graph);
    assert!(
        text.contains("Missing from the file: 7 (")
            && text.contains("Not in the network: 7 (`backbone.bn.bias`"),
        "{text}"
    );
    let rename = rename.into_iter().map(|(a, b)| (b, a)).collect();
    load(
        &path,
        &graph,
        &mut partly,
        &LoadOptions {
            rename,
            ..LoadOptions::default()
        },
    )
    .unwrap();
    assert_same(&partly, &store, 0.0);
}

#[test]
fn weights_of_another_architecture_are_rejected() {
    let folder = TempDir::new().unwrap();
    let lite0 = encoder_only("efficientnet_lite0", 3);
    let path = saved(
        &folder,
        &lite0,
        &ParamStore::initialized(&lite0, 1),
        &SaveOptions::default(),
    );
    let check = |graph: &Graph, expected: &str| {
        let text = error(&path, graph);
        assert!(
            text.contains(expected) && text.contains("another architecture"),
            "{text}"
        );
    };
    check(
        &encoder_only("efficientnet_lite1", 3),
        "Missing from the file:",
    );
    check(
        &encoder_only("efficientnet_b0", 3),
        "`encoder.blocks.0.0.se.conv_reduce.weight`",
    );
    check(&encoder_only("efficientnet_lite4", 3), "Of another shape:");
    check(
        &build(&ModelSpec {
            classes: 3,
            encoder: Some("efficientnet_lite0".into()),
            decoder: Some("none".into()),
            head: "bottleneck".into(),
            ..ModelSpec::default()
        })
        .unwrap(),
        "`head.weight: file [2, 320], network [3, 320]`",
    );
    let mut other = ParamStore::initialized(&network(), 1);
    let all = LoadOptions {
        allow_missing: true,
        allow_unused: true,
        ..LoadOptions::default()
    };
    let nothing = load(&path, &network(), &mut other, &all);
    assert!(nothing.is_err(), "a load that applies nothing is an error");
}

#[test]
fn bad_files_are_named() {
    let folder = TempDir::new().unwrap();
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let good = fs::read(saved(&folder, &graph, &store, &SaveOptions::default())).unwrap();
    let check = |name: &str, bytes: Option<&[u8]>, expected: &str| {
        let path = folder.path().join(name);
        if let Some(bytes) = bytes {
            fs::write(&path, bytes).unwrap();
        }
        let text = error(&path, &graph);
        assert!(text.contains(name) && text.contains(expected), "{text}");
    };
    check("absent", None, "does not exist");
    check("", None, "cannot read");
    check("empty", Some(b""), "neither a safetensors file");
    check(
        "text",
        Some(b"weights, honestly, these are weights"),
        "neither a safetensors file",
    );
    check(
        "pickle.pth",
        Some(b"\x80\x02}q\x00(X\x0b\x00\x00\x00conv_stem.w"),
        "not one written by torch.save",
    );
    check(
        "short_header",
        Some(&good[..40]),
        "neither a safetensors file",
    );
    check("cut", Some(&good[..good.len() - 10]), "truncated");

    write(
        &folder.path().join("ints"),
        &graph,
        &store,
        Dtype::I32,
        |v| (v as i32).to_le_bytes().to_vec(),
    );
    check(
        "ints",
        None,
        "is of type I32: weights must be F32, F16, BF16 or F64",
    );
    write(
        &folder.path().join("nan"),
        &graph,
        &store,
        Dtype::F32,
        |_| f32::NAN.to_le_bytes().to_vec(),
    );
    check("nan", None, "holds NaN");
    assert!(matches!(
        metadata(&folder.path().join("text")),
        Err(WeightsError::Format { .. })
    ));
}

#[test]
fn write_errors_name_the_path_and_leave_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let graph = network();
    let store = ParamStore::initialized(&graph, 1);
    let inside_a_file =
        saved(&folder, &graph, &store, &SaveOptions::default()).join("x.safetensors");
    let text = save(&inside_a_file, &graph, &store, &SaveOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("cannot write") && text.contains("x.safetensors"),
        "{text}"
    );
    let directory = folder.path().join("taken");
    fs::create_dir(&directory).unwrap();
    assert!(save(&directory, &graph, &store, &SaveOptions::default()).is_err());
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "a temporary file was left"
    );
}

#[test]
fn stems_convert_between_grey_and_colour() {
    let folder = TempDir::new().unwrap();
    let (rgb, grey) = (
        encoder_only("efficientnet_lite0", 3),
        encoder_only("efficientnet_lite0", 1),
    );
    let check = |from: &Graph, to: &Graph, expected: fn(&[f32], usize) -> f32, text: &str| {
        let source = ParamStore::initialized(from, 1);
        let path = saved(&folder, from, &source, &SaveOptions::default());
        let (store, report) = strict(&path, to);
        assert_eq!(
            report.unwrap().adapted,
            [format!("encoder.conv_stem.weight: {text}")]
        );
        let stem = |g: &Graph, s: &ParamStore| {
            let stem = g.find_param("encoder.conv_stem.weight").unwrap();
            g.param(stem).to_torch(s.get(stem))
        };
        let (a, b) = (stem(from, &source), stem(to, &store));
        assert!((0..b.len()).all(|i| (b[i] - expected(&a, i)).abs() < 1e-6));
    };
    check(
        &rgb,
        &grey,
        |a, i| (0..3).map(|c| a[i / 9 * 27 + c * 9 + i % 9]).sum(),
        "kernels of 3 image channels summed into 1",
    );
    check(
        &grey,
        &rgb,
        |a, i| a[i / 27 * 9 + i % 9] / 3.0,
        "kernels of 1 image channel spread over 3",
    );
}

#[test]
fn a_bare_timm_encoder_loads() {
    let folder = TempDir::new().unwrap();
    let graph = build(&ModelSpec {
        encoder: Some("efficientnet_b0".into()),
        ..ModelSpec::default()
    })
    .unwrap();
    let source = ParamStore::initialized(&graph, 1);
    let bare = SaveOptions {
        only: "encoder.".into(),
        rename: vec![("encoder.".into(), String::new())],
        ..SaveOptions::default()
    };
    let path = saved(&folder, &graph, &source, &bare);
    add_timms_tail(&path);
    let mut store = ParamStore::initialized(&graph, 2);
    let report = load_encoder(&path, &graph, &mut store).unwrap();
    let in_encoder = |n: &str| n.starts_with("encoder.");
    assert_eq!(
        report.applied.len(),
        graph.params.iter().filter(|p| in_encoder(&p.name)).count()
    );
    assert_eq!(
        report.ignored,
        [
            "bn1.num_batches_tracked",
            "bn2.weight",
            "classifier.weight",
            "conv_head.weight"
        ]
    );
    assert!(report.missing.is_empty() && report.unused.is_empty());
    let untouched = ParamStore::initialized(&graph, 2);
    for (id, parameter) in graph.parameters() {
        let name = &parameter.name;
        let expected = if in_encoder(name) {
            &source
        } else {
            &untouched
        };
        assert_eq!(store.get(id), expected.get(id), "{name}");
    }
    let lite = encoder_only("efficientnet_lite0", 3);
    let text = load_encoder(&path, &lite, &mut ParamStore::initialized(&lite, 1))
        .unwrap_err()
        .to_string();
    assert!(text.contains("check model.encoder"), "{text}");
}

/// Adds tensors that a timm classifier has in addition to its encoder.
fn add_timms_tail(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (one, count) = (1f32.to_le_bytes(), 7i64.to_le_bytes());
    let mut all: Vec<(String, TensorView<'_>)> = tensors.tensors();
    for name in ["conv_head.weight", "bn2.weight", "classifier.weight"] {
        all.push((
            name.into(),
            TensorView::new(Dtype::F32, vec![1], &one).unwrap(),
        ));
    }
    all.push((
        "bn1.num_batches_tracked".into(),
        TensorView::new(Dtype::I64, vec![], &count).unwrap(),
    ));
    fs::write(path, safetensors::serialize(all, None).unwrap()).unwrap();
}

#[test]
fn the_encoder_of_a_whole_model_loads() {
    let folder = TempDir::new().unwrap();
    let unet = build(&ModelSpec {
        encoder: Some("efficientnet_lite0".into()),
        decoder: Some("unet".into()),
        ..ModelSpec::default()
    })
    .unwrap();
    let path = saved(
        &folder,
        &unet,
        &ParamStore::initialized(&unet, 1),
        &SaveOptions::default(),
    );
    let plain = encoder_only("efficientnet_lite0", 3);
    let report = load_encoder(&path, &plain, &mut ParamStore::initialized(&plain, 2)).unwrap();
    assert_eq!(report.applied.len(), plain.params.len() - 2);
    assert!(report.ignored.iter().any(|n| n.starts_with("decoder.")));
}

#[test]
#[ignore = "reads ../shared, which is not in the repository: cargo xtask test runs it if that exists"]
fn shared_pretrained_lite_encoders_load() {
    for name in ["tf_efficientnet_lite0", "tf_efficientnet_lite1"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/weights")
            .join(format!("{name}.in1k.safetensors"));
        let graph = build(&ModelSpec {
            encoder: Some(name.into()),
            in_channels: 1,
            ..ModelSpec::default()
        })
        .unwrap();
        let report = load_encoder(&path, &graph, &mut ParamStore::initialized(&graph, 1)).unwrap();
        assert!(report.missing.is_empty() && report.unused.is_empty());
        assert_eq!(report.adapted.len(), 1);
        println!(
            "{name}: {} applied, ignored {:?}",
            report.applied.len(),
            report.ignored
        );
    }
}

/// Keras's Eff-UNet includes conv_head and its norm, which the other encoders ignore.
#[test]
fn layers_after_the_last_stage_load_if_the_network_has_them() {
    let folder = TempDir::new().unwrap();
    let keras = build(&ModelSpec {
        architecture: "eff_unet_keras".into(),
        ..ModelSpec::default()
    })
    .unwrap();
    let store = ParamStore::initialized(&keras, 1);
    let options = SaveOptions {
        rename: vec![("encoder.".into(), String::new())],
        only: "encoder.".into(),
        ..SaveOptions::default()
    };
    let timm = saved(&folder, &keras, &store, &options);
    let mut other = ParamStore::initialized(&keras, 2);
    let report = load_encoder(&timm, &keras, &mut other).unwrap();
    assert_eq!(report.ignored, [""; 0]);
    for name in ["encoder.conv_head.weight", "encoder.bn2.running_var"] {
        assert!(report.applied.iter().any(|n| n == name), "{name}");
        let id = keras.find_param(name).unwrap();
        assert_eq!(other.get(id), store.get(id));
    }

    let plain = encoder_only("tf_efficientnet_b1", 3);
    let report = load_encoder(&timm, &plain, &mut ParamStore::initialized(&plain, 2)).unwrap();
    assert!(report.ignored.iter().any(|n| n == "conv_head.weight"));

    let whole = saved(&folder, &keras, &store, &SaveOptions::default());
    let (back, report) = strict(&whole, &keras);
    assert_eq!(report.unwrap().applied.len(), keras.params.len());
    assert_same(&store, &back, 0.0);
}
