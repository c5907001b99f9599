//! mixup and cutmix against timm's (`mix/expected.json`, made by `mix/make.py`): images, boxes and shares for given
//! draws; then the draws themselves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml exempts tests, but not their helpers"
)]

use augment::{AugmentConfig, BatchKey, BatchShape, Cutmix, Mix, Mixer, Mixup};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    channels: usize,
    classes: usize,
    batches: Vec<Batch>,
}

#[derive(Deserialize)]
struct Batch {
    kind: String,
    size: (usize, usize),
    share: f64,
    centre: (usize, usize),
    smoothing: f32,
    before: Vec<f32>,
    labels: Vec<usize>,
    images: Vec<f32>,
    targets: Vec<f32>,
}

#[test]
fn images_and_shares_are_timms() {
    let expected: Expected = serde_json::from_str(include_str!("mix/expected.json")).unwrap();
    let kinds: Vec<&str> = expected.batches.iter().map(|b| b.kind.as_str()).collect();
    assert!(kinds.contains(&"mixup") && kinds.contains(&"cutmix"));
    for batch in &expected.batches {
        let mix = match batch.kind.as_str() {
            "mixup" => Mix::Blend { share: batch.share },
            _ => Mix::paste(batch.size, batch.share, batch.centre),
        };
        let shape = BatchShape {
            len: batch.labels.len(),
            height: batch.size.0,
            width: batch.size.1,
            channels: expected.channels,
        };
        let mut images = batch.before.clone();
        mix.apply(&mut images, shape);
        for (i, (found, timms)) in images.iter().zip(&batch.images).enumerate() {
            let off = (found - timms).abs();
            assert!(off <= 1e-6, "{mix:?} [{i}]: {found} instead of {timms}");
        }
        // timm's target of each image's own class, where its partner's is another.
        let partners = Mix::partners(&batch.labels);
        for (i, (own, partner)) in batch.labels.iter().zip(partners).enumerate() {
            let target = batch.targets[i * expected.classes + own];
            let spread = batch.smoothing / expected.classes as f32;
            let share = (target - spread) / (1.0 - batch.smoothing);
            let off = (share - mix.share() as f32).abs();
            assert!(
                *own == partner || off <= 1e-6,
                "{mix:?}: timm's share is {share}"
            );
        }
    }
}

/// timm refuses odd batches; here the image in the middle has no partner.
#[test]
fn the_middle_of_an_odd_batch_stays_as_it_is() {
    let shape = BatchShape {
        len: 3,
        height: 1,
        width: 2,
        channels: 1,
    };
    let mut images = [0.0, 1.0, 0.1, 0.2, 4.0, 5.0];
    Mix::Blend { share: 0.75 }.apply(&mut images, shape);
    assert_eq!(images, [1.0, 2.0, 0.1, 0.2, 3.0, 4.0]);
    assert_eq!(Mix::partners(&[7, 8, 9]), [9, 8, 7]);
}

fn mixer(mixup: Option<Mixup>, cutmix: Option<Cutmix>) -> Mixer {
    let config = AugmentConfig {
        mixup,
        cutmix,
        ..AugmentConfig::default()
    };
    Mixer::new(&config).unwrap().unwrap()
}

fn draws(mixer: Mixer, seed: u64) -> Vec<Mix> {
    let key = |batch: u64| BatchKey {
        seed,
        epoch: 1 + batch / 100,
        batch: batch % 100,
    };
    (0..4000)
        .map(|batch| mixer.draw(key(batch), (12, 20)))
        .collect()
}

fn share_of(all: &[Mix], of: impl Fn(&Mix) -> bool) -> f64 {
    all.iter().filter(|mix| of(mix)).count() as f64 / all.len() as f64
}

#[test]
fn draws_follow_the_settings_and_depend_on_the_batch_alone() {
    let mixup = Mixup {
        alpha: 0.4,
        probability: 0.8,
    };
    let cutmix = Cutmix {
        alpha: 1.0,
        probability: 0.5,
        switch: Some(0.25),
    };
    let blends = |mix: &Mix| matches!(mix, Mix::Blend { .. });
    let pastes = |mix: &Mix| matches!(mix, Mix::Paste { .. });
    let near =
        |found: f64, expected: f64| assert!((found - expected).abs() < 0.03, "{found}, {expected}");
    let both = draws(mixer(Some(mixup), Some(cutmix)), 7);
    near(share_of(&both, blends), 0.75 * 0.8);
    near(share_of(&both, pastes), 0.25 * 0.5);
    assert_eq!(both, draws(mixer(Some(mixup), Some(cutmix)), 7));
    assert_ne!(both, draws(mixer(Some(mixup), Some(cutmix)), 8));
    let one = draws(mixer(Some(mixup), None), 7);
    near(share_of(&one, blends), 0.8);
    near(share_of(&one, |mix| blends(mix) && mix.share() < 0.5), 0.4);
    let unswitched = Cutmix {
        switch: None,
        probability: 1.0,
        ..cutmix
    };
    let boxes = draws(mixer(None, Some(unswitched)), 7);
    assert_eq!(share_of(&boxes, pastes), 1.0);
    for mix in &boxes {
        let Mix::Paste {
            rows,
            columns,
            share,
        } = mix
        else {
            panic!("{mix:?}")
        };
        assert!(rows.end <= 12 && columns.end <= 20, "{mix:?}");
        let area = rows.len() * columns.len();
        assert!((1.0 - area as f64 / 240.0 - share).abs() < 1e-12, "{mix:?}");
    }
    let halves = draws(mixer(Some(mixup), Some(unswitched)), 7);
    near(share_of(&halves, pastes), 0.5);
}

#[test]
fn settings_out_of_range_are_refused_by_key() {
    let refused = |config: &str, expected: &str| {
        let config: AugmentConfig = serde_json::from_str(config).unwrap();
        let error = Mixer::new(&config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(r#"{"mixup": {"alpha": 0}}"#, "`mixup.alpha` is 0");
    refused(
        r#"{"mixup": {"alpha": 1, "probability": 2}}"#,
        "`mixup.probability`",
    );
    refused(r#"{"cutmix": {"alpha": -1}}"#, "`cutmix.alpha`");
    refused(
        r#"{"cutmix": {"alpha": 1, "probability": -1}}"#,
        "`cutmix.probability`",
    );
    refused(
        r#"{"cutmix": {"alpha": 1, "switch": 0.5}}"#,
        "`mixup` is off",
    );
    refused(
        r#"{"mixup": {"alpha": 1}, "cutmix": {"alpha": 1, "switch": 2}}"#,
        "`cutmix.switch` is 2",
    );
    assert_eq!(Mixer::new(&AugmentConfig::default()).unwrap(), None);
}
