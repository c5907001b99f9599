//! The phantoms: neither too easy nor too hard, and as their settings require.

#![allow(clippy::unwrap_used, reason = "test helpers")]

use std::path::Path;
use std::sync::LazyLock;

use crate::common::config;
use dataset::phantom::{ClassImages, Phantom, PhantomConfig, PhantomFormat, generate};
use dataset::{Eda, EdaConfig, IndexConfig, Manifest, MaskConfig, index};
use imaging::{Decoder, Fit, Frame};

const SIZE: usize = 96;

fn made(dir: &Path, settings: &PhantomConfig) -> (Phantom, Manifest) {
    let made = generate(&dir.join("phantom"), settings).unwrap();
    let config = IndexConfig {
        masks: Some(MaskConfig::tree(&made.opacity)),
        ..config(&made.images)
    };
    let manifest = index(&config).unwrap();
    (made, manifest)
}

/// The default phantom, generated once for the tests that only read it.
static DEFAULT: LazyLock<(Phantom, Manifest)> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("default");
    // The output of an older generator would be mistaken for this one's.
    let _old = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    made(&dir, &PhantomConfig::default())
});

/// Mann–Whitney's U over the pairs, ties half.
fn auc(scores: &[(f64, usize)]) -> f64 {
    let of = |label| scores.iter().filter(move |s| s.1 == label).map(|s| s.0);
    let pairs = of(1).flat_map(|p| {
        of(0).map(move |n| {
            if p > n {
                1.0
            } else if p == n {
                0.5
            } else {
                0.0
            }
        })
    });
    let (sum, n) = pairs.fold((0.0, 0), |(sum, n), win: f64| (sum + win, n + 1));
    sum / f64::from(n)
}

fn grey(path: &Path) -> Vec<f32> {
    let frame = Frame {
        height: SIZE,
        width: SIZE,
        channels: 1,
        fit: Fit::Stretch,
    };
    let framed = Decoder::default().framed(path, frame).unwrap();
    framed.image.values()
}

fn mean_where(image: &[f32], keep: impl Fn(usize) -> bool) -> f64 {
    let kept = image.iter().enumerate().filter(|(i, _)| keep(*i));
    let (sum, n) = kept.fold((0.0, 0), |(sum, n), (_, &v)| (sum + f64::from(v), n + 1));
    sum / f64::from(n.max(1))
}

#[test]
fn counts_names_prevalence_and_patients_match_kaggles() {
    let (made, manifest) = &*DEFAULT;
    assert_eq!((made.count, manifest.rows().len()), (464, 464));
    let eda = Eda::new(manifest, &EdaConfig::default()).unwrap();
    let counts: Vec<Vec<usize>> = eda
        .splits
        .iter()
        .map(|s| s.classes.iter().map(|c| c.images).collect())
        .collect();
    assert_eq!(counts, [[83, 237], [8, 8], [48, 80]]);
    assert!(eda.leaked_patients.is_empty() && eda.duplicates.is_empty());
    assert_eq!(
        (manifest.unmatched_patients(), eda.images_per_patient.len()),
        (0, 3)
    );
    let brightness = |w: &&String| w.contains("brighter");
    assert_eq!(eda.warnings.iter().find(brightness), None);
}

#[test]
fn the_opacity_separates_the_classes_but_brightness_alone_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let other = PhantomConfig {
        seed: 1,
        ..PhantomConfig::default()
    };
    let other = made(dir.path(), &other);
    for (seed, (made, manifest)) in [(0, &*DEFAULT), (1, &other)] {
        let rows = manifest.rows();
        let mean: Vec<(f64, usize)> = rows.iter().map(|r| (r.mean, r.class)).collect();
        let std: Vec<(f64, usize)> = rows.iter().map(|r| (r.std, r.class)).collect();
        for (name, scores) in [("mean", mean), ("standard deviation", std)] {
            let auc = auc(&scores);
            let auc = auc.max(1.0 - auc);
            assert!(auc < 0.65, "seed {seed}: AUC of the {name} is {auc:.3}");
        }
        let oracle = auc(&oracle(made, manifest));
        assert!(
            (0.9..0.999).contains(&oracle),
            "seed {seed}: AUC of the oracle is {oracle:.3}"
        );
        eprintln!("seed {seed}: oracle {oracle:.3}");
    }
}

/// Brightness in the opacity minus that at the mirrored place in the other lung; normal images are
/// scored with the opacities of the pneumonia images in turn.
fn oracle(made: &Phantom, manifest: &Manifest) -> Vec<(f64, usize)> {
    let sick: Vec<_> = manifest.rows().iter().filter(|r| r.class == 1).collect();
    let score = |(i, record): (usize, &dataset::ImageRecord)| {
        let asked = if record.class == 1 {
            record
        } else {
            sick[i % sick.len()]
        };
        let opacity = grey(&manifest.mask_files(asked)[0]);
        let lungs = grey(
            &made
                .lungs
                .join(Path::new(&record.path).with_extension("png")),
        );
        let image = grey(&manifest.image_file(record));
        let mirrored = |i: usize| i / SIZE * SIZE + (SIZE - 1 - i % SIZE);
        let here = |i: usize| opacity[i] > 0.5 && lungs[i] > 0.5;
        let there = |i: usize| opacity[mirrored(i)] > 0.5 && lungs[i] > 0.5 && opacity[i] < 0.5;
        (
            mean_where(&image, here) - mean_where(&image, there),
            record.class,
        )
    };
    manifest.rows().iter().enumerate().map(score).collect()
}

#[test]
fn opacities_are_in_lungs_and_only_in_pneumonia_images() {
    let (made, manifest) = &*DEFAULT;
    for record in manifest.rows() {
        let mask = Path::new(&record.path).with_extension("png");
        let (lungs, opacity) = (
            grey(&made.lungs.join(&mask)),
            grey(&made.opacity.join(&mask)),
        );
        let share = |values: &[f32]| f64::from(values.iter().sum::<f32>()) / values.len() as f64;
        assert!(
            (0.15..0.45).contains(&share(&lungs)),
            "{}: lungs {}",
            record.path,
            share(&lungs)
        );
        assert_eq!(
            share(&opacity) > 0.005,
            record.class == 1,
            "{}: {}",
            record.path,
            share(&opacity)
        );
        assert!(
            opacity.iter().zip(&lungs).all(|(o, l)| o <= l),
            "{}",
            record.path
        );
    }
}

fn small() -> PhantomConfig {
    let few = ClassImages {
        normal: 3,
        pneumonia: 4,
    };
    PhantomConfig {
        size: 32,
        train: few,
        val: few,
        test: few,
        ..PhantomConfig::default()
    }
}

#[test]
fn the_same_seed_makes_the_same_bytes_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let fingerprint = |name: &str, threads: usize, settings: PhantomConfig| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let folder = dir.path().join(name);
        let made = pool.install(|| generate(&folder, &settings)).unwrap();
        index(&config(&made.images)).unwrap().fingerprint()
    };
    let one = fingerprint("one", 1, small());
    assert_eq!(one, fingerprint("four", 4, small()));
    assert_ne!(
        one,
        fingerprint("seed", 2, PhantomConfig { seed: 1, ..small() })
    );
    let png = fingerprint(
        "png",
        2,
        PhantomConfig {
            format: PhantomFormat::Png,
            ..small()
        },
    );
    assert_ne!(one, png);
}

#[test]
fn an_existing_phantom_is_kept_and_other_folders_are_never_changed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("phantom");
    let made = generate(&folder, &small()).unwrap();
    assert_eq!(generate(&folder, &small()).unwrap(), made);
    let text = generate(&folder, &PhantomConfig { seed: 9, ..small() })
        .unwrap_err()
        .to_string();
    assert!(text.contains("phantom"), "{text}");
    assert!(made.images.join("train").is_dir());
    assert!(!dir.path().join("phantom.partial").exists());
    let empty = tempfile::tempdir().unwrap();
    assert!(generate(empty.path(), &small()).is_ok());
}

#[test]
fn phantoms_of_an_earlier_version_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("phantom");
    generate(&folder, &small()).unwrap();
    let stamp = folder.join("phantom.txt");
    let now = std::fs::read_to_string(&stamp).unwrap();
    let (_, settings) = now.split_once('\n').unwrap();
    std::fs::write(&stamp, format!("painting 0\n{settings}")).unwrap();
    std::fs::write(folder.join("images/old.jpeg"), "of that version").unwrap();
    generate(&folder, &small()).unwrap();
    assert_eq!(std::fs::read_to_string(&stamp).unwrap(), now);
    assert!(!folder.join("images/old.jpeg").exists());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Eight threads request the same phantom at once, with files left by a killed process: one generates it, and all find
/// it complete.
#[test]
fn concurrent_requests_generate_a_phantom_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("phantom");
    std::fs::create_dir_all(dir.path().join("phantom.partial/images")).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let made = generate(&folder, &small()).unwrap();
                assert_eq!(
                    index(&config(&made.images)).unwrap().rows().len(),
                    made.count
                );
            });
        }
    });
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn settings_out_of_range_are_named() {
    let check = |settings: PhantomConfig, expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let text = generate(dir.path(), &settings).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    check(PhantomConfig { size: 8, ..small() }, "size");
    check(
        PhantomConfig {
            difficulty: 1.5,
            ..small()
        },
        "difficulty",
    );
    check(
        PhantomConfig {
            images_per_patient: 0,
            ..small()
        },
        "images_per_patient",
    );
    check(
        PhantomConfig {
            val: ClassImages {
                normal: 0,
                pneumonia: 1,
            },
            ..small()
        },
        "every class",
    );
}
