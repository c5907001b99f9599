//! Exported models: their structure, and their answers in ONNX Runtime beside ours (`tools/check_onnx.py`, if
//! PEERS_PYTHON names a Python with onnx and onnxruntime).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use export::{WeightType, to_onnx};
use formats::checkpoint::{Checkpoint, Decision, MapClasses, Meta, Preprocessing};
use image::{ImageFormat, Luma, RgbImage};
use imaging::{Fit, ImageFile};
use inference::{Bundle, Input};
use model::build::{ModelSpec, architectures, build, decoders, encoders, heads};
use model::engine::{Device, Images, Precision};
use model::graph::{Graph, Nhwc, NodeId, Op, Role};
use model::network::Network;
use model::store::ParamStore;

/// A network to export, and how it sees images.
struct Case {
    name: String,
    spec: ModelSpec,
    change: fn(&mut Meta),
    weights: WeightType,
}

impl Case {
    fn new(name: impl Into<String>, spec: ModelSpec) -> Self {
        Case {
            name: name.into(),
            spec,
            change: |_| {},
            weights: WeightType::F32,
        }
    }
}

fn spec(architecture: &str, encoder: Option<&str>, decoder: Option<&str>, head: &str) -> ModelSpec {
    ModelSpec {
        architecture: architecture.into(),
        encoder: encoder.map(Into::into),
        decoder: decoder.map(Into::into),
        head: head.into(),
        base_channels: None,
        ..ModelSpec::default()
    }
}

/// All architectures, decoders and heads that can be combined; of the encoders the smaller ones of each family, or all
/// with `ONNX_ALL`.
fn registry() -> Vec<Case> {
    let all = std::env::var_os("ONNX_ALL").is_some();
    let small = |name: &str| {
        ["b0", "b1", "lite0", "lite1"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let mut cases = vec![];
    for architecture in architectures() {
        for head in heads() {
            if architecture.name == "encoder_decoder" {
                for decoder in decoders() {
                    let spec = spec(
                        architecture.name,
                        Some("efficientnet_b0"),
                        Some(decoder.name),
                        head.name,
                    );
                    cases.push(Case::new(
                        format!("b0, {}, {}", decoder.name, head.name),
                        spec,
                    ));
                }
            } else {
                let mut spec = spec(architecture.name, None, None, head.name);
                spec.base_channels = architecture.keys.contains(&"base_channels").then_some(8);
                cases.push(Case::new(
                    format!("{}, {}", architecture.name, head.name),
                    spec,
                ));
            }
        }
    }
    for encoder in encoders()
        .iter()
        .filter(|encoder| all || small(encoder.name))
    {
        let spec = spec("encoder_decoder", Some(encoder.name), Some("unetpp"), "cam");
        cases.push(Case::new(format!("{}, unetpp, cam", encoder.name), spec));
    }
    cases.retain(|case| build(&case.spec).is_ok());
    cases
}

/// Ways to see images, and kinds of answers, with a small network each.
fn variants() -> Vec<Case> {
    let lite = |head: &str| {
        spec(
            "encoder_decoder",
            Some("efficientnet_lite0"),
            Some("unet"),
            head,
        )
    };
    let case = |name: &str, spec, change: fn(&mut Meta)| Case {
        change,
        ..Case::new(name, spec)
    };
    let grey = ModelSpec {
        in_channels: 1,
        ..lite("cam")
    };
    let four = ModelSpec {
        classes: 4,
        map_classes: Some(3),
        ..lite("bottleneck")
    };
    vec![
        case("letterbox", lite("cam"), |meta| {
            meta.preprocessing.fit = Fit::Pad
        }),
        case("mirrored", lite("cam"), |meta| meta.inference.mirror = true),
        case("mirrored segmenter", lite("none"), |meta| {
            meta.inference.mirror = true
        }),
        case("one channel", grey, |_| {}),
        case("four classes", four.clone(), |_| {}),
        case("four classes, decided by the biases", four, |meta| {
            meta.decision = Some(Decision::new(None, 1.7, vec![0.0, 9.0, 0.0, 9.5]));
        }),
        case("no decision", lite("cam"), |meta| meta.decision = None),
        Case {
            weights: WeightType::F16,
            ..Case::new("f16 weights", lite("cam"))
        },
        Case {
            weights: WeightType::Bf16,
            ..Case::new("bf16 weights", lite("cam"))
        },
    ]
}

/// Random values as after training: no running statistic at its initial value.
fn trained(graph: &Graph) -> ParamStore {
    let mut store = ParamStore::initialized(graph, 7);
    for (id, param) in graph.parameters() {
        let (role, n) = (param.role, id.index());
        for (i, value) in store.get_mut(id).iter_mut().enumerate() {
            let wave = ((i * 37 + n * 11) % 101) as f32 / 101.0 - 0.5;
            match role {
                Role::RunningMean | Role::Bias => *value += 0.2 * wave,
                Role::RunningVar | Role::Scale => *value *= 1.0 + wave,
                Role::Weight => {}
            }
        }
    }
    store
}

/// Scales the layers that make the outputs, so that scores are between −4 and 4 as after training: random weights of a
/// deep network give probabilities of 0 and 1, which would agree whatever the scores.
fn tempered(graph: &Graph, mut store: ParamStore, side: usize) -> ParamStore {
    let values = |store: &ParamStore, name: &str| {
        let network = Network::with_store(graph.clone(), store.clone());
        let shape = Nhwc {
            n: 1,
            h: side,
            w: side,
            c: graph.in_channels(),
        };
        let data: Vec<f32> = (0..side * side * shape.c)
            .map(|i| (i as f32 * 0.37).sin())
            .collect();
        let images = Images { data: &data, shape };
        network.infer(images, &[name]).unwrap().remove(0).data
    };
    for name in ["map", "logits"] {
        let Some(output) = graph.output(name) else {
            continue;
        };
        let largest = values(&store, name)
            .into_iter()
            .fold(0f32, |most, v| most.max(v.abs()));
        let factor = (4.0 / largest.max(1e-9)).min(1.0);
        for id in last_layers(graph, output) {
            for param in &graph.node(id).params {
                store
                    .get_mut(*param)
                    .iter_mut()
                    .for_each(|value| *value *= factor);
            }
        }
    }
    store
}

/// The layers with weights that a value comes from, without any other such layer in between.
fn last_layers(graph: &Graph, id: NodeId) -> Vec<NodeId> {
    let node = graph.node(id);
    match node.op {
        Op::Conv2d { .. } | Op::Linear { .. } | Op::ConvTranspose2x2 { .. } => vec![id],
        _ => node
            .inputs
            .iter()
            .flat_map(|input| last_layers(graph, *input))
            .collect(),
    }
}

fn side(graph: &Graph) -> usize {
    match graph.smallest_size {
        0 => 64,
        smallest => smallest + 2 * graph.size_multiple,
    }
}

/// Writes the checkpoint of a case; its path and the size of its input.
fn checkpoint(case: &Case, folder: &Path) -> (PathBuf, usize) {
    let graph = build(&case.spec).unwrap();
    let side = side(&graph);
    let channels = case.spec.in_channels;
    let mean = [0.45, 0.5, 0.4][..channels].to_vec();
    let std = [0.25, 0.2, 0.3][..channels].to_vec();
    let mut preprocessing = Preprocessing::stretched((side, side), mean, std);
    // Its map is smaller than its input, which only windows allow.
    let segments = case.spec.head == "none";
    preprocessing.window = (graph.smallest_size > 0 && segments).then_some((side, side));
    let classes = (0..case.spec.classes).map(|class| format!("class {class}"));
    let mut meta = Meta::new(classes, preprocessing);
    let map = graph.output("map").map(|map| graph.node(map).channels);
    let masks = case.spec.head != "cam";
    meta.map = map.filter(|_| masks).map(|channels| MapClasses {
        classes: (0..channels).map(|class| format!("part {class}")).collect(),
        values: (0..).map(|value| 10 * value).take(channels).collect(),
    });
    let two = case.spec.classes == 2;
    meta.decision = graph.output("logits").map(|_| {
        let bias = (0..case.spec.classes).map(|class| 0.1 * class as f64);
        Decision::new(two.then_some(0.03), 1.7, bias.collect())
    });
    (case.change)(&mut meta);
    let store = tempered(&graph, trained(&graph), side);
    let path = folder.join("model.safetensors");
    Checkpoint::new(graph, store, meta).save(&path).unwrap();
    (path, side)
}

/// Pictures of smooth shapes and noise, as PNG: two of the network's size, and one larger and oblong.
fn pictures(side: usize, colour: bool) -> Vec<RgbImage> {
    let sizes = [(side, side), (side, side), (3 * side - 7, 2 * side + 5)];
    let picture = |(k, (h, w)): (usize, (usize, usize))| {
        RgbImage::from_fn(w as u32, h as u32, |x, y| {
            let wave = |f: f32| {
                90.0 * ((x as f32 * f / w as f32).sin() + (y as f32 * 5.0 / h as f32).cos())
            };
            let noise = (x * 7919 + y * 104_729 + k as u32 * 31) % 40;
            let value = |f: f32| (128.0 + wave(f + k as f32) / 2.0 + noise as f32) as u8;
            match colour {
                true => image::Rgb([value(3.0), value(7.0), value(11.0)]),
                false => image::Rgb([value(3.0); 3]),
            }
        })
    };
    sizes.into_iter().enumerate().map(picture).collect()
}

fn png(picture: &RgbImage, colour: bool) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    match colour {
        true => picture.write_to(&mut bytes, ImageFormat::Png).unwrap(),
        false => {
            let grey = image::GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
                Luma([picture.get_pixel(x, y).0[0]])
            });
            grey.write_to(&mut bytes, ImageFormat::Png).unwrap();
        }
    }
    bytes.into_inner()
}

/// The probabilities of the map's classes in the network's frame.
fn maps(bundle: &Bundle, file: &ImageFile) -> Vec<f32> {
    let framed = file.framed(bundle.frame()).unwrap();
    let input = Input {
        data: &bundle.normalized(&framed.image.values()),
        n: 1,
        shape: bundle.input_shape(),
    };
    bundle.maps(input, bundle.meta().inference.mirror).unwrap()
}

/// Writes the model of a case with our answers to its pictures; a line for the list that `tools/check_onnx.py` reads.
fn written(case: &Case, folder: &Path) -> serde_json::Value {
    fs::create_dir_all(folder).unwrap();
    let (path, side) = checkpoint(case, folder);
    let model = to_onnx(&path, case.weights).unwrap();
    let bundle = Bundle::load(&path, Device::Cpu, Precision::F32).unwrap();
    fs::write(folder.join("model.onnx"), model).unwrap();
    let windowed = bundle.meta().preprocessing.window.is_some();
    let mut answers = vec![];
    for (i, picture) in pictures(side, case.spec.in_channels == 3)
        .iter()
        .enumerate()
    {
        let bytes = png(picture, case.spec.in_channels == 3);
        let name = folder.join(format!("{i}.png"));
        fs::write(&name, &bytes).unwrap();
        let own_size = (picture.height() as usize, picture.width() as usize) == (side, side);
        if windowed && !own_size {
            continue;
        }
        let file = ImageFile::of_bytes(&name, &bytes, bundle.decoder()).unwrap();
        let answer = bundle
            .answer(std::slice::from_ref(&file))
            .unwrap()
            .remove(0);
        if case.spec.classes > 2 && !bundle.segments() {
            let top = answer.probabilities.iter().copied().fold(0.0, f64::max);
            let class = answer.class.unwrap();
            assert_eq!(answer.probabilities[class], top, "{}", case.name);
        }
        // In the network's frame, where nothing has been resized back.
        let map = own_size.then(|| match (bundle.segments(), &answer.map) {
            (true, _) => Some((maps(&bundle, &file), bundle.map_classes().len(), None)),
            (false, Some(map)) => Some((map.clone(), 1, Some(bundle.shown()))),
            (false, None) => None,
        });
        let map = map.flatten().map(|(values, channels, shown)| {
            let raw: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            let file = folder.join(format!("{i}.map"));
            fs::write(&file, raw).unwrap();
            serde_json::json!({ "file": file, "channels": channels, "shown": shown })
        });
        answers.push(serde_json::json!({
            "image": name, "logits": answer.logits, "probabilities": answer.probabilities,
            "class": answer.class, "map": map, "own_size": own_size,
        }));
    }
    let exact = case.weights == WeightType::F32;
    serde_json::json!({ "name": case.name, "model": folder.join("model.onnx"), "exact": exact, "answers": answers })
}

#[test]
fn onnx_runtime_gives_our_answers() {
    let Some(python) = std::env::var_os("PEERS_PYTHON") else {
        eprintln!("skipped: PEERS_PYTHON names no Python with onnx and onnxruntime");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/check_onnx.py");
    let mut rows = String::new();
    for (i, case) in registry().into_iter().chain(variants()).enumerate() {
        let own = folder.path().join(i.to_string());
        let list = serde_json::json!([written(&case, &own)]);
        fs::write(own.join("cases.json"), list.to_string()).unwrap();
        let done = Command::new(&python)
            .arg(&tool)
            .arg(own.join("cases.json"))
            .output();
        let done = done.unwrap();
        let (out, errors) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        assert!(done.status.success(), "{}: {out}{errors}", case.name);
        rows.push_str(&out);
        fs::remove_dir_all(own).unwrap();
    }
    // Shown with --nocapture.
    eprintln!("{rows}");
}

/// What every reader of ONNX expects, checked where there is no Python.
#[test]
fn models_are_well_formed() {
    let folder = tempfile::tempdir().unwrap();
    for case in variants() {
        let (path, _) = checkpoint(&case, folder.path());
        let model = to_onnx(&path, case.weights).unwrap();
        let again = to_onnx(&path, case.weights).unwrap();
        assert!(model == again, "{}: not deterministic", case.name);
        let text = String::from_utf8_lossy(&model);
        for part in ["probabilities", "full_scale", "weights_sha256", "class 0"] {
            let expected = part != "probabilities" || case.spec.head != "none";
            assert!(text.contains(part) == expected, "{}: {part}", case.name);
        }
        // The only input of ArgMax, the node that writes `class` where there is no threshold, as fields of its message.
        let decides = text.contains("\x0a\x0dprobabilities\x12\x05class");
        let decided = case.spec.classes > 2 || case.name == "no decision";
        assert_eq!(decides, decided, "{}", case.name);
    }
    let half = |weights| {
        let case = &variants()[7];
        let (path, _) = checkpoint(case, folder.path());
        to_onnx(&path, weights).unwrap().len()
    };
    let (full, half) = (half(WeightType::F32), half(WeightType::F16));
    assert!(half < full * 6 / 10, "{half} of {full} bytes");
}
