//! Steps of optimizers against the reference, sums of squares and moving averages; with one thread and with several.

#![allow(clippy::unwrap_used, reason = "tests")]

use kernels::reference;
use kernels::update::{Kind, Rates, Rule, Weights, move_average, sum_of_squares, update};

/// Several tasks, the last of them incomplete and no multiple of a vector.
const N: usize = 3 * 16 * 1024 + 5;

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = random::Rng::stream(seed, 0);
    (0..n).map(|_| rng.normal_f32()).collect()
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(work)
}

fn rule(kind: Kind, keep: [f32; 2]) -> Rule {
    Rule {
        kind,
        penalty: 0.0,
        epsilon: 1e-4,
        keep,
        take: keep.map(|keep| 1.0 - keep),
        nesterov: false,
    }
}

/// Each kind with and without what it may have.
fn rules() -> Vec<(Rule, Rates)> {
    let rates = Rates {
        rate: 0.01,
        shrinkage: 0.0,
        correction: [2.0, 5.0],
    };
    let adam = rule(Kind::Adam, [0.9, 0.99]);
    let sgd = rule(Kind::Sgd, [0.9, 0.0]);
    let rms = rule(Kind::RmsProp, [0.5, 0.9]);
    let mut all = vec![
        adam,
        sgd,
        rms,
        Rule {
            nesterov: true,
            ..sgd
        },
        rule(Kind::Sgd, [0.0; 2]),
        rule(Kind::RmsProp, [0.0, 0.9]),
    ];
    let penalized: Vec<Rule> = all
        .iter()
        .map(|rule| Rule {
            penalty: 0.1,
            ..*rule
        })
        .collect();
    all.extend(penalized);
    let shrinking = Rates {
        shrinkage: 0.02,
        ..rates
    };
    let all = all.into_iter().map(|rule| (rule, rates));
    all.chain([(adam, shrinking)]).collect()
}

#[test]
fn steps_match_the_reference() {
    let (start, gradients) = (random(N, 1), random(N, 2));
    for (rule, rates) in rules() {
        let moments = [random(N, 3), random(N, 4).iter().map(|v| v.abs()).collect()];
        let used = rule.moments();
        let run = |threads: usize| {
            let mut values = start.clone();
            let mut moments: [Vec<f32>; 2] = [0, 1].map(|i| match used[i] {
                true => moments[i].clone(),
                false => vec![],
            });
            in_pool(threads, || {
                let moments = moments.each_mut().map(|moment| &mut moment[..]);
                let weights = Weights {
                    values: &mut values,
                    moments,
                };
                update(&rule, &rates, weights, &gradients, 0.5);
            });
            (values, moments)
        };
        let found = run(1);
        assert_eq!(found, run(3), "{rule:?}");
        for i in 0..N {
            let before = [0, 1].map(|m| {
                if used[m] {
                    f64::from(moments[m][i])
                } else {
                    0.0
                }
            });
            let (p, g) = (f64::from(start[i]), 0.5 * f64::from(gradients[i]));
            let (expected, after) = reference::update::update(&rule, &rates, p, g, before);
            close(found.0[i], expected, &rule);
            for (moment, after) in found.1.iter().zip(after) {
                if let Some(moment) = moment.get(i) {
                    close(*moment, after, &rule);
                }
            }
        }
    }
}

fn close(found: f32, expected: f64, rule: &Rule) {
    let off = (f64::from(found) - expected).abs();
    assert!(
        off <= 2e-6 * expected.abs().max(1.0),
        "{rule:?}: {found} instead of {expected}"
    );
}

#[test]
fn sums_of_squares_do_not_depend_on_threads() {
    for n in [0, 1, 7, 8, 9, 1000, 5 * 64 * 1024 + 3] {
        let values = random(n, 5);
        let found = in_pool(1, || sum_of_squares(&values));
        assert_eq!(found, in_pool(3, || sum_of_squares(&values)), "{n}");
        let expected: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
        assert!(
            (found - expected).abs() <= 1e-12 * expected,
            "{n}: {found} instead of {expected}"
        );
    }
}

#[test]
fn averages_move_by_their_share() {
    let (start, values) = (random(N, 6), random(N, 7));
    let run = |threads: usize| {
        let mut average = start.clone();
        in_pool(threads, || move_average(&mut average, &values, 0.25));
        average
    };
    let found = run(1);
    assert_eq!(found, run(3));
    for ((found, start), value) in found.iter().zip(&start).zip(&values) {
        assert!((found - (0.75 * start + 0.25 * value)).abs() < 1e-6);
    }
}

#[test]
#[should_panic(expected = "update: length of the gradients")]
fn gradients_of_another_length_are_refused() {
    let rule = rule(Kind::Sgd, [0.0; 2]);
    let weights = Weights {
        values: &mut [0.0; 3],
        moments: [&mut [], &mut []],
    };
    update(&rule, &Rates::default(), weights, &[0.0; 2], 1.0);
}
