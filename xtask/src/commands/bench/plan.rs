//! The measurements and their order.

use std::fmt;

use bench::{InferencePrecision, Precision, Task};
use serde::Serialize;

use super::peers::Peer;
use crate::cli::{BenchArgs, What};

/// A task at a batch and an image size, as measured for this program and for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Case {
    pub(super) task: Task,
    pub(super) size: usize,
    pub(super) batch: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { size, batch, .. } = self;
        let task = match self.task {
            Task::Infer => "inference",
            Task::Train => "training step",
        };
        write!(f, "{task}, batch {batch}, {size}x{size}")
    }
}

/// The program that computes a case.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Program {
    This(InferencePrecision),
    Peer(Peer),
}

/// What the others are compared with.
pub(super) const F32: InferencePrecision = InferencePrecision::Float(Precision::F32);

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Program::This(precision) => write!(f, "this {precision}"),
            Program::Peer(peer) => write!(f, "{} {}", peer.name, peer.precision),
        }
    }
}

/// One process to start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) round: u32,
    pub(super) case: Case,
    pub(super) program: Program,
    /// The peer whose measurement follows this one of ours, if any: a ratio compares neighbouring measurements.
    pub(super) beside: Option<Peer>,
}

/// The cases selected by `--what`; peers do not run those of `scale`.
#[derive(Debug, Default)]
pub(super) struct Cases {
    pub(super) speed: Vec<Case>,
    pub(super) memory: Vec<Case>,
    pub(super) scale: Vec<Case>,
}

impl Cases {
    pub(super) fn new(args: &BenchArgs) -> Self {
        let case = |task, size, batch| Case { task, size, batch };
        let infer = [1, args.batch].map(|batch| case(Task::Infer, args.size, batch));
        let infer = &infer[..if args.batch == 1 { 1 } else { 2 }];
        let train = &[case(Task::Train, args.size, args.batch)];
        let mut cases = Cases::default();
        for what in &args.what {
            match what {
                What::Infer => cases.speed.extend(infer),
                What::Train => cases.speed.extend(train),
                What::Memory => cases.memory.extend(infer.iter().chain(train)),
                What::Scale => cases.scale.extend(scale(args)),
                What::Ops => {}
            }
        }
        for list in [&mut cases.speed, &mut cases.memory, &mut cases.scale] {
            unique(list);
        }
        cases
    }

    /// Every process of a benchmark in order. Each peer runs right after ours in every round, so that a temporary
    /// slowdown of the machine affects both. Memory does not vary over time, so one round is enough.
    pub(super) fn jobs(&self, peers: &[Peer], rounds: u32) -> Vec<Job> {
        let mut jobs = vec![];
        for round in 1..=rounds {
            let mut beside = self.speed.clone();
            if round == 1 {
                beside.extend(&self.memory);
            }
            unique(&mut beside);
            for case in &beside {
                jobs.extend(with_peers(round, *case, peers));
            }
            let rest = self.scale.iter().filter(|case| !beside.contains(case));
            jobs.extend(rest.flat_map(|case| ours(round, *case, None)));
        }
        jobs
    }
}

/// Sizes in the outer loop, so that neighbouring rows of a table differ only in the batch.
fn scale(args: &BenchArgs) -> Vec<Case> {
    let mut cases = vec![];
    for task in [Task::Infer, Task::Train] {
        for &size in &args.scale_sizes {
            let batches = args.scale_batches.iter();
            cases.extend(batches.map(|&batch| Case { task, size, batch }));
        }
    }
    cases
}

fn with_peers(round: u32, case: Case, peers: &[Peer]) -> Vec<Job> {
    let able: Vec<&Peer> = peers
        .iter()
        .filter(|peer| peer.tasks.contains(&case.task))
        .collect();
    if able.is_empty() {
        return ours(round, case, None);
    }
    let mut jobs = vec![];
    for peer in able {
        jobs.extend(ours(round, case, Some(peer)));
        jobs.push(Job {
            round,
            case,
            program: Program::Peer(peer.clone()),
            beside: None,
        });
    }
    jobs
}

fn ours(round: u32, case: Case, beside: Option<&Peer>) -> Vec<Job> {
    let job = |precision| Job {
        round,
        case,
        program: Program::This(precision),
        beside: beside.cloned(),
    };
    let precisions = InferencePrecision::ALL.into_iter();
    let able = precisions.filter(|p| case.task == Task::Infer || p.float().is_some());
    able.map(job).collect()
}

fn unique(cases: &mut Vec<Case>) {
    let mut seen = vec![];
    cases.retain(|case| {
        let new = !seen.contains(case);
        seen.push(*case);
        new
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn jobs(arguments: &[&str], peers: &[Peer]) -> Vec<String> {
        let line = ["xtask", "bench", "--size=64"];
        let parsed = Cli::try_parse_from(line.iter().chain(arguments)).unwrap();
        let Command::Bench(args) = parsed.command else {
            panic!("not bench");
        };
        let say = |job: Job| format!("{}: {}, {}", job.round, job.program, job.case);
        let jobs = Cases::new(&args).jobs(peers, args.rounds);
        // Each of our f32 jobs is followed by those in other precisions, which are left out here.
        let single = |job: &String| !job.contains(": this") || job.contains("this f32");
        jobs.into_iter().map(say).filter(single).collect()
    }

    fn peer(name: &str, tasks: &[Task]) -> Peer {
        Peer {
            name: name.into(),
            precision: "f32".into(),
            tasks: tasks.to_vec(),
            version: "1".into(),
        }
    }

    #[test]
    fn each_peer_follows_ours_for_the_tasks_it_supports() {
        let peers = [
            peer("torch", &[Task::Infer, Task::Train]),
            peer("openvino", &[Task::Infer]),
        ];
        assert_eq!(
            jobs(&["--what=train,infer", "--batch=1", "--rounds=1"], &peers),
            [
                "1: this f32, training step, batch 1, 64x64",
                "1: torch f32, training step, batch 1, 64x64",
                "1: this f32, inference, batch 1, 64x64",
                "1: torch f32, inference, batch 1, 64x64",
                "1: this f32, inference, batch 1, 64x64",
                "1: openvino f32, inference, batch 1, 64x64",
            ]
        );
    }

    #[test]
    fn rounds_repeat_speed_and_scale_but_not_memory() {
        assert_eq!(
            jobs(&["--what=memory,infer", "--rounds=2"], &[]),
            [
                "1: this f32, inference, batch 1, 64x64",
                "1: this f32, inference, batch 8, 64x64",
                "1: this f32, training step, batch 8, 64x64",
                "2: this f32, inference, batch 1, 64x64",
                "2: this f32, inference, batch 8, 64x64",
            ]
        );
        let scale = ["--scale-batches=1,4", "--scale-sizes=32,64", "--rounds=1"];
        let all = jobs(&[&["--what=scale,train"][..], &scale].concat(), &[]);
        assert_eq!(all.len(), 1 + 8, "{all:?}");
        assert!(jobs(&["--what=ops"], &[]).is_empty());
    }
}
