//! The measurements, and the statistics computed from them.

use bench::ops::Row;
use bench::roofline::Roofline;
use bench::{Accuracy, InferencePrecision, Measurement, Memory, launches, median};
use serde::{Serialize, Serializer};

use super::peers::Peer;
use super::plan::{Case, Program};

/// The measurement of one process.
#[derive(Debug, Serialize)]
pub(super) struct Sample {
    pub(super) round: u32,
    #[serde(serialize_with = "as_text")]
    pub(super) program: Program,
    /// The peer whose measurement follows this one of ours.
    #[serde(serialize_with = "peer_as_text")]
    pub(super) beside: Option<Peer>,
    #[serde(flatten)]
    pub(super) measurement: Measurement,
    #[serde(skip)]
    pub(super) case: Case,
}

/// A process that failed; its case is not tried again.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    #[serde(serialize_with = "as_text")]
    pub(super) program: Program,
    pub(super) case: Case,
    pub(super) message: String,
}

/// All results.
#[derive(Debug, Default, Serialize)]
pub(super) struct Results {
    pub(super) samples: Vec<Sample>,
    pub(super) failures: Vec<Failure>,
    pub(super) roofline: Option<Roofline>,
    pub(super) ops: Vec<Ops>,
    pub(super) launches: Vec<Launches>,
}

/// The operations of inference or of a training step in one precision.
#[derive(Debug, Serialize)]
pub(super) struct Ops {
    pub(super) case: Case,
    pub(super) precision: InferencePrecision,
    pub(super) rows: Vec<Row>,
}

/// The kernels of a training step on a GPU in one precision.
#[derive(Debug, Serialize)]
pub(super) struct Launches {
    pub(super) precision: String,
    pub(super) rows: Vec<launches::Row>,
}

/// Our images per second divided by a peer's, over all rounds.
#[derive(Debug, PartialEq)]
pub(super) struct Ratio {
    pub(super) median: f64,
    pub(super) min: f64,
}

impl Results {
    pub(super) fn failed(&self, case: Case, program: &Program) -> bool {
        let mut failures = self.failures.iter();
        failures.any(|f| f.case == case && f.program == *program)
    }

    /// The programs that measured a case, in the order of their first measurements, ours before the peers.
    pub(super) fn programs(&self, case: Case) -> Vec<&Program> {
        let mut programs: Vec<&Program> = vec![];
        for sample in self.samples.iter().filter(|s| s.case == case) {
            if !programs.contains(&&sample.program) {
                programs.push(&sample.program);
            }
        }
        programs.sort_by_key(|p| matches!(p, Program::Peer(_)));
        programs
    }

    /// Seconds per call: the median over processes of each process's median.
    pub(super) fn seconds(&self, case: Case, program: &Program) -> Option<f64> {
        let medians: Vec<f64> = self
            .of(case, program)
            .map(|s| s.measurement.median())
            .collect();
        (!medians.is_empty()).then(|| median(&medians))
    }

    /// The largest peak, with the memory in use before it.
    pub(super) fn memory(&self, case: Case, program: &Program) -> Option<Memory> {
        self.of(case, program)
            .filter_map(|s| s.measurement.memory)
            .max_by_key(|memory| memory.peak)
    }

    /// The same in every round: it is computed once.
    pub(super) fn accuracy(&self, case: Case, program: &Program) -> Option<&Accuracy> {
        self.of(case, program)
            .find_map(|sample| sample.measurement.accuracy.as_ref())
    }

    /// Compares each process of a peer with ours that ran just before it.
    pub(super) fn ratio(&self, case: Case, ours: &Program, peer: &Peer) -> Option<Ratio> {
        let program = Program::Peer(peer.clone());
        let theirs: Vec<&Sample> = self.of(case, &program).collect();
        let pairs: Vec<f64> = self
            .of(case, ours)
            .filter(|s| s.beside.as_ref() == Some(peer))
            .filter_map(|s| Some((s, theirs.iter().find(|t| t.round == s.round)?)))
            .map(|(ours, theirs)| theirs.measurement.median() / ours.measurement.median())
            .collect();
        (!pairs.is_empty()).then(|| Ratio {
            median: median(&pairs),
            min: pairs.iter().copied().fold(f64::INFINITY, f64::min),
        })
    }

    fn of<'a>(&'a self, case: Case, program: &Program) -> impl Iterator<Item = &'a Sample> {
        let samples = self.samples.iter();
        samples.filter(move |s| s.case == case && s.program == *program)
    }
}

fn as_text<S: Serializer>(program: &Program, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(program)
}

fn peer_as_text<S: Serializer>(peer: &Option<Peer>, to: S) -> Result<S::Ok, S::Error> {
    match peer {
        Some(peer) => to.collect_str(&Program::Peer(peer.clone())),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::plan::F32;
    use super::*;
    use bench::Task;

    pub(in super::super) const CASE: Case = Case {
        task: Task::Train,
        size: 64,
        batch: 2,
    };

    pub(in super::super) fn peer() -> Peer {
        Peer {
            name: "torch".into(),
            precision: "f32".into(),
            tasks: vec![Task::Train],
            version: "1".into(),
        }
    }

    fn sample(round: u32, program: Program, seconds: f64, peak: u64) -> Sample {
        let ours = matches!(program, Program::This(_));
        Sample {
            round,
            program,
            beside: ours.then(peer),
            measurement: Measurement {
                seconds: vec![seconds],
                memory: Some(Memory { before: 1, peak }),
                task: CASE.task,
                precision: "f32".into(),
                size: CASE.size,
                batch: CASE.batch,
                threads: 1,
                accuracy: None,
            },
            case: CASE,
        }
    }

    /// Three rounds, of which the last is slow for both, and a fourth that only our process finished.
    pub(in super::super) fn results() -> Results {
        let mut results = Results::default();
        for (round, ours, theirs) in [(1, 1.0, 1.5), (2, 1.0, 1.2), (3, 4.0, 8.0)] {
            let this = Program::This(F32);
            results.samples.push(sample(round, this, ours, 3 << 20));
            let theirs = sample(round, Program::Peer(peer()), theirs, 5 << 20);
            results.samples.push(theirs);
        }
        let last = sample(4, Program::This(F32), 1.0, 4 << 20);
        results.samples.push(last);
        results
    }

    #[test]
    fn ratios_compare_neighbouring_measurements() {
        let (results, this) = (results(), Program::This(F32));
        let ratio = results.ratio(CASE, &this, &peer()).unwrap();
        assert_eq!((ratio.median, ratio.min), (1.5, 1.2));
        assert_eq!(results.seconds(CASE, &this), Some(1.0));
        assert_eq!(results.memory(CASE, &this).unwrap().peak, 4 << 20);
        let other = Case { batch: 3, ..CASE };
        assert!(results.ratio(other, &this, &peer()).is_none());
        assert!(results.seconds(other, &this).is_none());
    }
}
