//! Extreme data give a figure or an error, and errors name the path.

// clippy.toml allows unwrap in tests, but not in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use report::*;

const NAN: f64 = f64::NAN;

fn drawn(name: &str, figure: Result<Figure, Error>) {
    let figure = figure.unwrap_or_else(|error| panic!("{name}: {error}"));
    let ink = figure
        .image()
        .pixels()
        .filter(|p| p.0.iter().all(|&v| v < 120))
        .count();
    assert!(ink > 50, "{name}: the figure has no text");
}

fn refused(figure: Result<Figure, Error>, expected: &str) {
    assert_eq!(figure.unwrap_err().to_string(), expected);
}

fn long_names(n: usize) -> Vec<String> {
    (0..n)
        .map(|i| format!("{i} a_very_long_name_without_any_space_{}", "x".repeat(200)))
        .collect()
}

#[test]
fn class_distributions() {
    let draw = |classes: Vec<String>, splits: Vec<Vec<u64>>| {
        let splits = splits.into_iter().map(|counts| SplitCounts {
            name: "split ".repeat(30),
            counts,
        });
        ClassDistribution {
            title: "t".repeat(500),
            classes,
            splits: splits.collect(),
        }
        .draw()
    };
    drawn("nothing", draw(vec![], vec![]));
    drawn("no class", draw(vec![], vec![vec![]]));
    drawn("zeros", draw(long_names(2), vec![vec![0, 0]]));
    drawn(
        "one empty split",
        draw(long_names(2), vec![vec![1, 0], vec![0, 0]]),
    );
    drawn("one class", draw(long_names(1), vec![vec![7]]));
    drawn("huge", draw(long_names(1), vec![vec![u64::MAX / 4]]));
    drawn("ten", draw(long_names(10), vec![vec![5; 10]; 3]));
    drawn("sixty", draw(long_names(60), vec![vec![5; 60]; 3]));
    refused(
        ClassDistribution {
            classes: vec!["a".into()],
            splits: vec![SplitCounts {
                name: "val".into(),
                counts: vec![1, 2],
            }],
            ..Default::default()
        }
        .draw(),
        "class distribution: counts of split `val`: expected 1 values, found 2",
    );
}

#[test]
fn training_curves() {
    let draw = |points: Vec<(f64, f64)>, log_scale| {
        let line = CurveLine {
            name: long_names(1).remove(0),
            points,
        };
        let panel = CurvePanel {
            title: "Loss".into(),
            log_scale,
            lines: vec![line],
        };
        TrainingCurves {
            title: "T".into(),
            panels: vec![panel],
            best_epoch: Some(3.0),
        }
        .draw()
    };
    for log in [false, true] {
        drawn("empty", draw(vec![], log));
        drawn("one point", draw(vec![(1.0, 0.5)], log));
        drawn("flat", draw(vec![(1.0, 0.5), (2.0, 0.5)], log));
        drawn("NaN", draw(vec![(1.0, NAN), (NAN, 1.0)], log));
        drawn(
            "gaps",
            draw(
                vec![(1.0, 0.5), (2.0, NAN), (3.0, f64::INFINITY), (4.0, 0.2)],
                log,
            ),
        );
        drawn(
            "zero and negative",
            draw(vec![(0.0, 0.0), (1.0, -1.0)], log),
        );
        drawn("huge", draw(vec![(1.0, 1e300), (1e6, -1e300)], log));
        drawn("tiny", draw(vec![(1.0, 1e-300), (2.0, 1e-308)], log));
        drawn(
            "many",
            draw((0..5000).map(|i| (f64::from(i), 0.1)).collect(), log),
        );
    }
    drawn("no panels", TrainingCurves::default().draw());
    let empty_panel = CurvePanel {
        title: "AUC".into(),
        ..Default::default()
    };
    let line = CurveLine {
        name: "train".into(),
        points: vec![(1.0, 1.0)],
    };
    let full = CurvePanel {
        lines: vec![line],
        ..Default::default()
    };
    let panels = vec![empty_panel, full];
    drawn(
        "one empty panel",
        TrainingCurves {
            panels,
            ..Default::default()
        }
        .draw(),
    );
}

#[test]
fn confusion_matrices() {
    let draw = |classes: Vec<String>, counts| {
        ConfusionHeatmap {
            title: "C".into(),
            classes,
            counts,
        }
        .draw()
    };
    drawn("nothing", draw(vec![], vec![]));
    drawn("zeros", draw(long_names(2), vec![vec![0; 2]; 2]));
    drawn("one class", draw(long_names(1), vec![vec![3]]));
    drawn("ten", draw(long_names(10), vec![vec![123_456; 10]; 10]));
    drawn("forty", draw(long_names(40), vec![vec![1; 40]; 40]));
    refused(
        draw(vec!["a".into(), "b".into()], vec![vec![1, 2], vec![1]]),
        "confusion matrix: row of class `b`: expected 2 values, found 1",
    );
}

#[test]
fn roc_and_pr_curves() {
    let cases: [(&str, Vec<(f64, f64)>); 5] = [
        ("empty", vec![]),
        ("one point", vec![(0.5, 0.5)]),
        ("NaN", vec![(NAN, NAN); 3]),
        ("outside", vec![(-1.0, 2.0), (5.0, -3.0)]),
        ("repeated", vec![(0.1, 0.1); 1000]),
    ];
    for (name, points) in cases {
        let marked = Some(MarkedPoint {
            label: "t".into(),
            x: NAN,
            y: 0.5,
        });
        let roc = RocLine {
            name: long_names(1).remove(0),
            points: points.clone(),
            auc: Some(NAN),
            interval: Some((NAN, NAN)),
            operating_point: marked.clone(),
        };
        drawn(
            name,
            RocCurves {
                title: "ROC".into(),
                curves: vec![roc; 12],
            }
            .draw(),
        );
        let pr = PrLine {
            points,
            prevalence: Some(NAN),
            operating_point: marked,
            ..Default::default()
        };
        drawn(
            name,
            PrCurves {
                title: "PR".into(),
                curves: vec![pr],
            }
            .draw(),
        );
    }
    drawn(
        "no curves",
        RocCurves {
            title: "ROC".into(),
            curves: vec![],
        }
        .draw(),
    );
}

#[test]
fn reliability_and_histograms() {
    let bin = |count, value| ReliabilityMark {
        bounds: (0.0, value),
        predicted: value,
        observed: value,
        interval: Some((value, NAN)),
        count,
    };
    for (name, bins) in [
        ("no bins", vec![]),
        ("empty bins", vec![bin(0, 0.5)]),
        ("one bin", vec![bin(1, 0.5)]),
        ("NaN", vec![bin(3, NAN)]),
    ] {
        let curve = ReliabilityLine {
            name: "m".into(),
            bins,
            note: "ECE –".into(),
        };
        drawn(
            name,
            ReliabilityDiagram {
                title: "R".into(),
                curves: vec![curve],
            }
            .draw(),
        );
    }
    let histogram = |range, counts| {
        let series = vec![HistogramSeries {
            name: "a".into(),
            counts,
        }];
        let markers = vec![
            Marker {
                at: NAN,
                label: "m".into(),
            },
            Marker {
                at: 9.0,
                label: "n".into(),
            },
        ];
        Histogram {
            title: "H".into(),
            range,
            series,
            markers,
            ..Default::default()
        }
        .draw()
    };
    drawn("no bins", histogram((0.0, 1.0), vec![]));
    drawn("zeros", histogram((0.0, 1.0), vec![0; 4]));
    drawn("one bin", histogram((0.0, 1.0), vec![1]));
    drawn("many bins", histogram((-1e9, 1e9), vec![1; 3000]));
    let expected = "histogram: range: expected finite bounds, the lower first, found 1..1";
    refused(histogram((1.0, 1.0), vec![1]), expected);
}

#[test]
fn images() {
    drawn(
        "no tiles",
        ImageGrid {
            title: "G".into(),
            ..Default::default()
        }
        .draw(),
    );
    let tile = |w, h| Tile {
        image: image::RgbImage::new(w, h).into(),
        caption: long_names(1).remove(0),
        border: Some(palette::WRONG),
    };
    for columns in [0, 1, 100] {
        let tiles = vec![tile(0, 0), tile(1, 1), tile(1, 300), tile(300, 1)];
        drawn(
            "odd shapes",
            ImageGrid {
                columns,
                tiles,
                ..Default::default()
            }
            .draw(),
        );
    }
    drawn(
        "no cases",
        OverlayPanels {
            title: "O".into(),
            ..Default::default()
        }
        .draw(),
    );
    drawn(
        "no cases",
        SegmentationPanels {
            title: "E".into(),
            ..Default::default()
        }
        .draw(),
    );
    let dot = Plane::new(1, 1, vec![f32::NAN]).unwrap();
    let case = OverlayCase {
        name: long_names(1).remove(0),
        image: dot.clone(),
        map: Plane::new(3, 2, vec![f32::INFINITY; 6]).unwrap(),
        truth_mask: None,
        truth: String::new(),
        predicted: long_names(1).remove(0),
        probability: NAN,
    };
    drawn(
        "a dot",
        OverlayPanels {
            cases: vec![case],
            ..Default::default()
        }
        .draw(),
    );
}

#[test]
fn planes_cannot_be_resized_to_nothing() {
    assert!(Plane::new(1, 1, vec![0.0]).unwrap().resized(0, 5).is_err());
}

#[test]
fn files_are_written_atomically_and_errors_name_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let figure = Figure::empty("title", "reason").unwrap();
    let path = folder.path().join("a figure.png");
    figure.save(&path).unwrap();
    figure.save(&path).unwrap();
    let read = image::open(&path).unwrap().to_rgb8();
    assert_eq!(&read, figure.image());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no temporary file may be left"
    );

    let missing = folder.path().join("no such folder").join("report.md");
    let error = Document::new("x").save(&missing).unwrap_err().to_string();
    assert!(
        error.contains("no such folder") && error.contains("report.md"),
        "{error}"
    );
    // The target is a folder: the rename fails, and the temporary file is removed.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(
        figure
            .save(&taken)
            .unwrap_err()
            .to_string()
            .contains("taken")
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
