//! Renders every figure, and a document that contains them, from realistic synthetic data.
//!
//! `cargo run --release -p report --example gallery -- FOLDER` (default: target/gallery)

use std::path::{Path, PathBuf};

use random::Rng;
use report::*;

type Drawn = Result<Figure, Error>;
type Draw = fn() -> Drawn;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| "target/gallery".into(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let mut document = Document::new("Gallery");
    for (name, draw) in FIGURES {
        save(&folder, name, draw()?, &mut document)?;
    }
    document.save(&folder.join("gallery.md"))?;
    println!("{} figures in {}", FIGURES.len(), folder.display());
    Ok(())
}

const FIGURES: [(&str, Draw); 16] = [
    ("class_distribution", class_distribution),
    ("class_distribution_10", class_distribution_of_ten),
    ("samples", samples),
    ("training", training),
    ("training_two", training_two),
    ("confusion", confusion),
    ("confusion_10", confusion_of_ten),
    ("roc", roc),
    ("roc_10", roc_of_ten),
    ("pr", pr),
    ("reliability", reliability),
    ("probabilities", probabilities),
    ("intensity", intensity),
    ("overlays", overlays),
    ("segmentation", segmentation),
    ("empty", || {
        Figure::empty("ROC", "no curve: cases of both classes are needed")
    }),
];

fn save(folder: &Path, name: &str, figure: Figure, document: &mut Document) -> Result<(), Error> {
    let file = format!("{name}.png");
    document.heading(2, name).figure(&file, name, "");
    figure.save(&folder.join(file))
}

fn classes() -> Vec<String> {
    ["NORMAL", "PNEUMONIA"].map(String::from).to_vec()
}

fn many_classes() -> Vec<String> {
    let names = [
        "atelectasis",
        "cardiomegaly",
        "consolidation",
        "edema",
        "effusion",
        "emphysema",
        "fibrosis",
        "hernia",
        "pleural thickening of unknown origin",
        "no finding",
    ];
    names.map(String::from).to_vec()
}

fn class_distribution() -> Drawn {
    let split = |name: &str, counts: [u64; 2]| SplitCounts {
        name: name.into(),
        counts: counts.into(),
    };
    ClassDistribution {
        title: "Images per split and class".into(),
        classes: classes(),
        splits: vec![
            split("train", [1073, 3100]),
            split("validation", [268, 775]),
            split("test", [234, 390]),
        ],
    }
    .draw()
}

fn class_distribution_of_ten() -> Drawn {
    let mut random = Rng::from_state(3);
    let mut split = |name: &str, scale: f64| SplitCounts {
        name: name.into(),
        counts: (0..10).map(|_| (scale * random.unit()) as u64).collect(),
    };
    let splits = vec![
        split("train", 9000.0),
        split("validation", 2000.0),
        split("test", 3000.0),
    ];
    ClassDistribution {
        title: "Ten classes".into(),
        classes: many_classes(),
        splits,
    }
    .draw()
}

fn samples() -> Drawn {
    let tile = |i: u32| Tile {
        image: chest(i).into(),
        caption: format!(
            "{}\nperson{}_bacteria_{}.jpeg",
            classes()[i as usize % 2],
            i * 37,
            i * 91
        ),
        border: i
            .is_multiple_of(3)
            .then_some(palette::series(i as usize / 3)),
    };
    ImageGrid {
        title: "Samples".into(),
        subtitle: "Eight images of the training split, as the network sees them".into(),
        columns: 4,
        tiles: (0..8).map(tile).collect(),
    }
    .draw()
}

fn line(name: &str, value: impl Fn(f64) -> f64) -> CurveLine {
    let points = (1..=12)
        .map(|epoch| (f64::from(epoch), value(f64::from(epoch))))
        .collect();
    CurveLine {
        name: name.into(),
        points,
    }
}

fn panels() -> Vec<CurvePanel> {
    let panel = |title: &str, lines| CurvePanel {
        title: title.into(),
        log_scale: false,
        lines,
    };
    vec![
        panel(
            "Loss",
            vec![
                line("train", |e| 0.6 * (-e / 4.0).exp() + 0.05),
                line("validation", |e| {
                    0.5 * (-e / 3.0).exp() + 0.12 + 0.012 * (e - 5.0).max(0.0) + 0.02 * e.sin()
                }),
            ],
        ),
        panel(
            "Accuracy",
            vec![
                line("train", |e| 0.99 - 0.25 * (-e / 3.0).exp()),
                line("validation", |e| {
                    0.93 - 0.2 * (-e / 2.0).exp() - 0.004 * e.sin()
                }),
            ],
        ),
        panel(
            "AUC",
            vec![
                line("train", |e| 0.999 - 0.1 * (-e / 2.0).exp()),
                line("validation", |e| 0.97 - 0.08 * (-e / 2.0).exp()),
            ],
        ),
        CurvePanel {
            title: "Learning rate".into(),
            log_scale: true,
            lines: vec![line("learning rate", |e| {
                1e-4 * 0.1f64.powi(((e - 1.0) / 4.0) as i32)
            })],
        },
    ]
}

fn training() -> Drawn {
    TrainingCurves {
        title: "Training".into(),
        panels: panels(),
        best_epoch: Some(5.0),
    }
    .draw()
}

fn training_two() -> Drawn {
    let panels = panels().into_iter().take(3).collect();
    TrainingCurves {
        title: "Training, three panels".into(),
        panels,
        best_epoch: Some(12.0),
    }
    .draw()
}

fn confusion() -> Drawn {
    let counts = vec![vec![181, 53], vec![9, 381]];
    ConfusionHeatmap {
        title: "Confusion matrix, test split".into(),
        classes: classes(),
        counts,
    }
    .draw()
}

fn confusion_of_ten() -> Drawn {
    let mut random = Rng::from_state(5);
    let mut cell = |r: usize, c: usize| (random.unit() * if r == c { 400.0 } else { 30.0 }) as u64;
    let counts = (0..10)
        .map(|r| {
            (0..10)
                .map(|c| if r == 7 { 0 } else { cell(r, c) })
                .collect()
        })
        .collect();
    ConfusionHeatmap {
        title: "Ten classes".into(),
        classes: many_classes(),
        counts,
    }
    .draw()
}

/// A staircase close to 1 − (1 − x)^power.
fn staircase(power: f64, steps: usize, seed: u64) -> Vec<(f64, f64)> {
    let mut random = Rng::from_state(seed);
    let mut points = vec![(0.0, 0.0)];
    let (mut x, mut y) = (0.0f64, 0.0f64);
    while x < 1.0 && y < 1.0 {
        if random.unit() < 0.5 + 0.5 * (1.0 - (1.0 - x).powf(power) - y) * 8.0 {
            y = (y + 1.0 / steps as f64).min(1.0);
        } else {
            x = (x + 1.0 / steps as f64).min(1.0);
        }
        points.push((x, y));
    }
    points.push((1.0, 1.0));
    points
}

fn roc() -> Drawn {
    let curve = |name: &str, power, seed, auc, marked| RocLine {
        name: name.into(),
        points: staircase(power, 234, seed),
        auc: Some(auc),
        interval: Some((auc - 0.012, auc + 0.011)),
        operating_point: marked,
    };
    let marked = MarkedPoint {
        label: "threshold 0.43".into(),
        x: 0.226,
        y: 0.977,
    };
    let curves = vec![
        curve("U-Net++ / EfficientNet-Lite1", 14.0, 1, 0.952, Some(marked)),
        curve(
            "baseline: logistic regression, 48×48 pixels",
            6.0,
            2,
            0.889,
            None,
        ),
    ];
    RocCurves {
        title: "ROC, test split (234 NORMAL, 390 PNEUMONIA)".into(),
        curves,
    }
    .draw()
}

fn roc_of_ten() -> Drawn {
    let curve = |(i, name): (usize, String)| RocLine {
        name,
        points: staircase(3.0 + 2.0 * i as f64, 80, i as u64 + 9),
        auc: Some(0.80 + 0.018 * i as f64),
        interval: None,
        operating_point: None,
    };
    let curves = many_classes().into_iter().enumerate().map(curve).collect();
    RocCurves {
        title: "ROC, one class against the rest".into(),
        curves,
    }
    .draw()
}

fn pr() -> Drawn {
    let points = (0..=200).map(|i| f64::from(i) / 200.0);
    let points = points
        .map(|r| (r, 1.0 - 0.36 * r.powi(9) - 0.01 * (r * 40.0).sin().abs()))
        .collect();
    PrCurves {
        title: "Precision and recall, test split".into(),
        curves: vec![PrLine {
            name: "PNEUMONIA".into(),
            points,
            average_precision: Some(0.968),
            interval: Some((0.957, 0.978)),
            prevalence: Some(0.625),
            operating_point: Some(MarkedPoint {
                label: "threshold 0.43".into(),
                x: 0.977,
                y: 0.69,
            }),
        }],
    }
    .draw()
}

fn reliability() -> Drawn {
    let bin = |i: u32, bend: f64| {
        let low = f64::from(i) / 10.0;
        let observed = (low + 0.05 + bend * (low + 0.05 - 0.5)).clamp(0.0, 1.0);
        ReliabilityMark {
            bounds: (low, low + 0.1),
            predicted: low + 0.05,
            observed,
            interval: Some(((observed - 0.09).max(0.0), (observed + 0.09).min(1.0))),
            count: [160, 31, 14, 0, 9, 12, 18, 25, 61, 294][i as usize],
        }
    };
    let curve = |name: &str, bend, note: &str| ReliabilityLine {
        name: name.into(),
        bins: (0..10).map(|i| bin(i, bend)).collect(),
        note: note.into(),
    };
    ReliabilityDiagram {
        title: "Reliability, test split".into(),
        curves: vec![
            curve("as trained", -0.5, "ECE 0.118, Brier 0.091"),
            curve(
                "temperature 1.8 (from validation)",
                -0.1,
                "ECE 0.031, Brier 0.078",
            ),
        ],
    }
    .draw()
}

fn probabilities() -> Drawn {
    let mut random = Rng::from_state(11);
    let mut values = |n: usize, power: f64| {
        (0..n)
            .map(|_| random.unit().powf(power))
            .collect::<Vec<_>>()
    };
    let (normal, pneumonia) = (values(234, 4.0), values(390, 0.2));
    Histogram {
        title: "Predicted probability of pneumonia, test split".into(),
        x_label: "probability".into(),
        range: (0.0, 1.0),
        series: vec![
            HistogramSeries::from_values("NORMAL", &normal, (0.0, 1.0), 20),
            HistogramSeries::from_values("PNEUMONIA", &pneumonia, (0.0, 1.0), 20),
        ],
        as_share: true,
        markers: vec![
            Marker {
                at: 0.43,
                label: "threshold 0.43 (from validation)".into(),
            },
            Marker {
                at: 0.5,
                label: "0.5".into(),
            },
        ],
    }
    .draw()
}

fn intensity() -> Drawn {
    let hump = |center: f64, scale: f64| {
        let height = |i: u32| ((-((f64::from(i) - center) / 40.0).powi(2)).exp() * scale) as u64;
        (0..64).map(|i| height(i * 4)).collect()
    };
    Histogram {
        title: "Grey values, training split".into(),
        x_label: "grey value (0–255)".into(),
        range: (0.0, 255.0),
        series: vec![
            HistogramSeries {
                name: "NORMAL".into(),
                counts: hump(120.0, 120_000.0),
            },
            HistogramSeries {
                name: "PNEUMONIA".into(),
                counts: hump(145.0, 320_000.0),
            },
        ],
        as_share: false,
        markers: vec![],
    }
    .draw()
}

fn overlays() -> Drawn {
    let case = |i: u32| OverlayCase {
        name: format!("person{}_bacteria_{}.jpeg", 80 + i, 390 + i),
        image: chest(i),
        map: opacity_map(i, 28),
        truth_mask: (i != 1)
            .then(|| opacity_map(i, 224))
            .map(|map| threshold(&map, 0.9)),
        truth: classes()[usize::from(i != 1)].clone(),
        predicted: classes()[1].clone(),
        probability: 0.993 - 0.2 * f64::from(i),
    };
    OverlayPanels {
        title: "Where the class map points: PNEUMONIA".into(),
        threshold: OVERLAY_THRESHOLD,
        colormap: Colormap::Inferno,
        cases: (0..3).map(case).collect(),
    }
    .draw()
}

fn segmentation() -> Drawn {
    let labels = |map: &Plane, at: f32| {
        let classes = map.values().iter().map(|v| u8::from(*v >= at));
        Labels::new(224, 224, classes.collect()).unwrap_or_else(|error| unreachable!("{error}"))
    };
    let case = |i: u32| SegmentationCase {
        image: chest(i),
        truth: labels(&opacity_map(i, 224), 0.8),
        predicted: labels(&opacity_map(i + 1, 224), 0.6),
        caption: format!("person{}_bacteria.jpeg, Dice 0.{}", 80 + i, 91 - 3 * i),
    };
    SegmentationPanels {
        title: "Segmentation, test split".into(),
        classes: ["background", "opacity"].map(str::to_owned).into(),
        cases: (0..3).map(case).collect(),
    }
    .draw()
}

/// A synthetic chest radiograph: a body with two dark lungs, ribs and noise.
fn chest(seed: u32) -> Plane {
    let mut random = Rng::from_state(u64::from(seed) + 1);
    let shift = f32::from((seed % 5) as u8) * 0.02;
    let value = |x: u32, y: u32| {
        let (x, y) = (x as f32 / 224.0 - 0.5 + shift, y as f32 / 224.0 - 0.5);
        let lung = |cx: f32| {
            (1.0 - ((x - cx) / 0.15).powi(2) - ((y + 0.02) / 0.33).powi(2)).clamp(0.0, 0.35)
        };
        let ribs = 0.05 * (y * 60.0 + x.abs() * 25.0).sin();
        let body = 0.72 - 0.5 * (x * x + 0.3 * y * y) * 2.0;
        body - 1.3 * (lung(-0.19) + lung(0.19)) + ribs + 0.05 * random.unit() as f32
    };
    plane(224, value)
}

fn opacity_map(seed: u32, side: u32) -> Plane {
    let center = 0.25 + 0.06 * (seed % 7) as f32;
    plane(side, |x, y| {
        let (x, y) = (
            (x as f32 + 0.5) / side as f32,
            (y as f32 + 0.5) / side as f32,
        );
        let distance = ((x - center) / 0.16).powi(2) + ((y - 0.62) / 0.2).powi(2);
        1.0 / (1.0 + (5.0 * (distance - 1.4)).exp())
    })
}

fn threshold(map: &Plane, at: f32) -> Plane {
    let (side, _) = map.dimensions();
    plane(side, |x, y| {
        f32::from(u8::from(map.get(x, y).is_some_and(|v| v >= at)))
    })
}

fn plane(side: u32, value: impl FnMut(u32, u32) -> f32) -> Plane {
    Plane::from_fn(side, side, value).unwrap_or_else(|error| unreachable!("{error}"))
}
