//! Figures by subgroup: compared with scikit-learn, statsmodels and SciPy (`subgroups.json`, made by `subgroups.py` in this
//! folder), and tested for what they promise on simulated patients.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use metrics::*;
use random::Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    classes: usize,
    labels: Vec<usize>,
    logits: Vec<f64>,
    probabilities: Vec<f64>,
    patients: Vec<usize>,
    comparisons: usize,
    table: Vec<GroupingCase>,
}

#[derive(Deserialize)]
struct GroupingCase {
    name: String,
    /// Empty if unknown.
    groups: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    patients: usize,
    by_class: Vec<usize>,
    figures: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    metric: SubgroupMetric,
    value: Option<[f64; 3]>,
    rest: Option<[f64; 3]>,
    difference: Option<[f64; 3]>,
    p: Option<f64>,
    adjusted_p: Option<f64>,
}

/// The threshold of the fixtures.
fn settings() -> EvaluationSettings {
    EvaluationSettings {
        threshold: 0.25,
        ..EvaluationSettings::default()
    }
}

#[track_caller]
fn close(actual: f64, expected: f64, tolerance: f64) {
    let near = (actual - expected).abs() <= tolerance;
    assert!(near, "{actual}, expected {expected}");
}

#[track_caller]
fn same(what: &str, actual: Option<Interval>, expected: Option<[f64; 3]>) {
    let actual = actual.map(|i| [i.estimate, i.low, i.high]);
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9;
    let same = match (&actual, &expected) {
        (Some(a), Some(b)) => a.iter().zip(b).all(near),
        (None, None) => true,
        _ => false,
    };
    assert!(same, "{what}: {actual:?}, expected {expected:?}");
}

fn known(groups: &[String]) -> Vec<Option<&str>> {
    let groups = groups.iter().map(|group| Some(group.as_str()));
    groups
        .map(|group| group.filter(|g| !g.is_empty()))
        .collect()
}

#[test]
fn figures_and_tests_agree_with_statsmodels_and_scikit_learn() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("subgroups.json")).unwrap();
    for case in cases {
        let names: Vec<String> = (0..case.classes).map(|k| k.to_string()).collect();
        let predictions = Predictions {
            class_names: &names,
            labels: &case.labels,
            logits: &case.logits,
            probabilities: &case.probabilities,
            groups: Some(&case.patients),
        };
        let groups: Vec<_> = case.table.iter().map(|g| known(&g.groups)).collect();
        let named = case.table.iter().zip(&groups);
        let groupings: Vec<_> = named
            .map(|(g, groups)| Grouping {
                name: &g.name,
                groups,
            })
            .collect();
        let table = subgroups(&predictions, &settings(), &groupings).unwrap();
        assert_eq!(table.comparisons, case.comparisons);
        for (found, expected) in table.groupings.iter().zip(&case.table) {
            let unknown = expected.groups.iter().filter(|g| g.is_empty()).count();
            assert_eq!((&found.name, found.unknown), (&expected.name, unknown));
            assert_eq!(found.groups.len(), expected.rows.len());
            for (found, expected) in found.groups.iter().zip(&expected.rows) {
                check_row(found, expected);
            }
        }
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<SubgroupTable>(&json).unwrap(), table);
    }
}

fn check_row(found: &Subgroup, expected: &Row) {
    assert_eq!(
        (&found.name, found.patients),
        (&expected.name, expected.patients)
    );
    assert_eq!(found.by_class, expected.by_class);
    assert_eq!(found.n, expected.by_class.iter().sum::<usize>());
    for (found, expected) in found.figures.iter().zip(&expected.figures) {
        assert_eq!(found.metric, expected.metric);
        same("value", found.value, expected.value);
        same("rest", found.rest, expected.rest);
        same("difference", found.difference, expected.difference);
        match (found.test, expected.p, expected.adjusted_p) {
            (SubgroupTest::Tested(test), Some(p), Some(adjusted)) => {
                close(test.p, p, 1e-6);
                close(test.adjusted_p, adjusted, 1e-5);
                assert_eq!(test.flagged, adjusted < 0.05);
            }
            (SubgroupTest::Untested(_), None, None) => {}
            other => panic!("{:?}: {other:?}", found.metric),
        }
    }
}

/// Patients with one to three images each, all of the same class and groups.
struct Simulated {
    labels: Vec<usize>,
    log_odds: Vec<f64>,
    patients: Vec<usize>,
    sex: Vec<Option<&'static str>>,
    age: Vec<Option<&'static str>>,
}

const AGES: [&str; 5] = ["0-1", "2-4", "5-9", "10-17", "18+"];

impl Simulated {
    /// `centre(class, female)` is the mean log-odds of a class's patients.
    fn draw(rng: &mut Rng, patients: usize, centre: impl Fn(usize, bool) -> f64) -> Self {
        let mut all = Self {
            labels: vec![],
            log_odds: vec![],
            patients: vec![],
            sex: vec![],
            age: vec![],
        };
        for patient in 0..patients {
            let (label, female) = (rng.below(2), rng.chance(0.5));
            let age = AGES[rng.below(10).min(4)];
            let own = centre(label, female) + 0.8 * rng.normal();
            for _ in 0..=rng.below(3) {
                all.labels.push(label);
                all.log_odds.push(own + 0.6 * rng.normal());
                all.patients.push(patient);
                all.sex.push(Some(if female { "F" } else { "M" }));
                all.age.push(Some(age));
            }
        }
        all
    }

    fn table(&self) -> SubgroupTable {
        let logits: Vec<f64> = self.log_odds.iter().flat_map(|x| [0.0, *x]).collect();
        let probabilities: Vec<f64> = logits.chunks(2).flat_map(softmax).collect();
        let predictions = Predictions {
            class_names: &["normal", "pneumonia"],
            labels: &self.labels,
            logits: &logits,
            probabilities: &probabilities,
            groups: Some(&self.patients),
        };
        let groupings = [("sex", &self.sex), ("age", &self.age)];
        let groupings = groupings.map(|(name, groups)| Grouping { name, groups });
        subgroups(&predictions, &EvaluationSettings::default(), &groupings).unwrap()
    }
}

/// Φ⁻¹ of the share of positive log-odds, in units of log-odds (an image's standard deviation is 1).
fn centre(share: f64) -> f64 {
    normal_quantile(share)
}

#[test]
fn a_table_without_differences_is_mostly_without_flags() {
    let runs = 400;
    for (patients, share) in [(120, 0.9), (400, 0.97)] {
        let flagged = |stream: &u64| {
            let mut rng = Rng::stream(41, *stream);
            let data = Simulated::draw(&mut rng, patients, |label, _| match label {
                1 => centre(share),
                _ => centre(1.0 - share),
            });
            data.table().flagged().next().is_some()
        };
        let wrong = (0..runs).filter(flagged).count();
        println!(
            "{patients} patients, {share}: a flag in {wrong} of {runs} tables without a difference"
        );
        // 20 would be expected of exact tests, standard deviation 4.4.
        assert!(wrong <= 29, "{wrong}");
    }
}

/// Tests on their own, without the adjustment.
#[test]
fn each_test_keeps_its_level() {
    let (runs, mut tests, mut below) = (300, 0, 0);
    for stream in 0..runs {
        let mut rng = Rng::stream(42, stream);
        let data = Simulated::draw(&mut rng, 150, |label, _| match label {
            1 => centre(0.95),
            _ => centre(0.15),
        });
        for figure in data
            .table()
            .groupings
            .iter()
            .flat_map(|g| &g.groups)
            .flat_map(|g| &g.figures)
        {
            if let SubgroupTest::Tested(test) = figure.test {
                tests += 1;
                below += usize::from(test.p < 0.05);
            }
        }
    }
    let share = below as f64 / tests as f64;
    println!("p < 0.05 in {share:.4} of {tests} tests without a difference");
    assert!(share < 0.05, "{share}");
}

#[test]
fn a_planted_gap_is_flagged_mostly() {
    let runs = 200;
    let mut found = 0;
    for stream in 0..runs {
        let mut rng = Rng::stream(43, stream);
        // About 150 patients with and as many without the disease.
        let data = Simulated::draw(&mut rng, 300, |label, female| match (label, female) {
            (1, true) => centre(0.75),
            (1, false) => centre(0.95),
            _ => centre(0.1),
        });
        let table = data.table();
        let flagged = table
            .flagged()
            .any(|named| named.group == "F" && named.figure.metric == SubgroupMetric::Sensitivity);
        found += usize::from(flagged);
        if flagged {
            let worst = table.worst().unwrap();
            assert!(matches!(worst.figure.test, SubgroupTest::Tested(test) if test.flagged));
            assert_ne!(worst.group, "M");
        }
    }
    // Expected of z = 3.4 against Holm's limit: about 160.
    println!("sensitivity .75 against .95, 150 patients: flagged in {found} of {runs}");
    assert!(found >= 140, "{found}");
}

#[test]
fn intervals_of_differences_cover_them() {
    let runs = 400;
    let mut covered = 0;
    for stream in 0..runs {
        let mut rng = Rng::stream(44, stream);
        let data = Simulated::draw(&mut rng, 120, |label, female| match (label, female) {
            (1, true) => centre(0.8),
            (1, false) => centre(0.97),
            _ => centre(0.1),
        });
        let table = data.table();
        let female = &table.groupings[0].groups[0];
        let interval = female.figures[1].difference.unwrap();
        covered += usize::from(interval.low <= -0.17 && -0.17 <= interval.high);
    }
    println!("intervals of a difference of sensitivities cover it in {covered} of {runs}");
    // 380 expected, standard deviation 4.4.
    assert!(covered >= 366, "{covered}");
}

fn predictions<'a>(labels: &'a [usize], p: &'a [f64]) -> Predictions<'a, &'static str> {
    Predictions {
        class_names: &["normal", "pneumonia"],
        labels,
        logits: p,
        probabilities: p,
        groups: None,
    }
}

#[test]
fn small_groups_and_groups_of_one_class_are_shown_but_not_tested() {
    // Twenty virus images, five bacteria images, and thirty normal ones without a cause.
    let labels: Vec<usize> = (0..55).map(|i| usize::from(i < 25)).collect();
    let p: Vec<f64> = (0..55)
        .map(|i| {
            if i < 22 {
                0.6 + 0.01 * f64::from(i)
            } else {
                0.3
            }
        })
        .flat_map(|p| [1.0 - p, p])
        .collect();
    let cause: Vec<Option<&str>> = (0..55)
        .map(|i| match i {
            0..20 => Some("virus"),
            20..25 => Some("bacteria"),
            _ => None,
        })
        .collect();
    let everyone = vec![Some("hospital"); 55];
    let groupings = [("cause", &cause), ("site", &everyone)];
    let groupings = groupings.map(|(name, groups)| Grouping { name, groups });
    let table = subgroups(
        &predictions(&labels, &p),
        &EvaluationSettings::default(),
        &groupings,
    );
    let table = table.unwrap();
    let [auc, sensitivity, specificity, brier] = table.groupings[0].groups[0].figures[..] else {
        panic!("four figures")
    };
    assert_eq!((auc.value, specificity.value), (None, None));
    assert_eq!(auc.test, SubgroupTest::Untested(Untested::Undefined));
    assert_eq!(specificity.test, auc.test);
    let value = sensitivity.value.unwrap();
    assert_eq!((value.estimate, value.n), (0.4, 5));
    assert_eq!(sensitivity.rest.unwrap().estimate, 1.0);
    let difference = sensitivity.difference.unwrap();
    close(difference.estimate, -0.6, 1e-12);
    assert_eq!(
        sensitivity.test,
        SubgroupTest::Untested(Untested::TooFewPatients)
    );
    assert_eq!(brier.test, sensitivity.test);
    assert_eq!(table.groupings[0].unknown, 30);
    let site = &table.groupings[1].groups[0];
    assert!(
        site.figures
            .iter()
            .all(|f| f.test == SubgroupTest::Untested(Untested::NoRest))
    );
    assert_eq!((table.comparisons, table.worst()), (0, None));
}

#[test]
fn without_a_flag_the_lowest_figure_is_the_worst() {
    let mut rng = Rng::stream(45, 0);
    let data = Simulated::draw(&mut rng, 600, |label, _| match label {
        1 => centre(0.95),
        _ => centre(0.2),
    });
    let table = data.table();
    assert_eq!(table.flagged().count(), 0);
    let worst = table.worst().unwrap();
    let lowest = table.lowest(SubgroupMetric::Specificity).unwrap();
    assert_eq!(worst, lowest);
    let sensitivity = table.lowest(SubgroupMetric::Sensitivity).unwrap();
    assert!(sensitivity.figure.value.unwrap().estimate > lowest.figure.value.unwrap().estimate);
    assert_eq!(table.lowest(SubgroupMetric::Accuracy), None);
    // The two sexes are one comparison, five ages are five.
    assert_eq!(table.comparisons, 4 * 6);
    let [female, male] = &table.groupings[0].groups[..] else {
        panic!("two groups")
    };
    for (a, b) in female.figures.iter().zip(&male.figures) {
        assert_eq!(a.test, b.test);
        close(
            a.difference.unwrap().estimate,
            -b.difference.unwrap().estimate,
            1e-15,
        );
    }
}

#[test]
fn bad_input_is_an_error() {
    let (labels, p) = ([0, 1], [0.6, 0.4, 0.3, 0.7]);
    let settings = EvaluationSettings::default();
    let with = |groupings: &[Grouping<'_, &str>], settings: &EvaluationSettings| {
        subgroups(&predictions(&labels, &p), settings, groupings)
    };
    let groups = [Some("F"), None];
    let sex = Grouping {
        name: "sex",
        groups: &groups,
    };
    assert!(with(&[sex], &settings).is_ok());
    assert!(with(&[], &settings).is_err());
    assert!(
        with(
            &[Grouping {
                groups: &groups[1..],
                ..sex
            }],
            &settings
        )
        .is_err()
    );
    let twice = with(&[sex, sex], &settings).unwrap_err().to_string();
    assert!(twice.contains("sex"), "{twice}");
    assert!(
        with(
            &[sex],
            &EvaluationSettings {
                level: 1.0,
                ..settings
            }
        )
        .is_err()
    );
    // Unknown everywhere.
    let none = with(
        &[Grouping {
            groups: &[None, None],
            ..sex
        }],
        &settings,
    )
    .unwrap();
    assert_eq!(
        (none.groupings[0].unknown, none.groupings[0].groups.len()),
        (2, 0)
    );
}
