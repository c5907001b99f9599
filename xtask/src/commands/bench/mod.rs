//! `cargo xtask bench`: one process per measurement, peers interleaved with ours, tables, and a file with all times.

mod child;
mod machine;
mod peers;
mod plan;
mod results;
mod show;
mod table;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use bench::Device;
use bench::launches::time_launches;
use bench::ops::time_ops;
use bench::roofline::Roofline;
use bench::{InferencePrecision, Measurement, Precision, Task, Workload};
use serde_json::json;
use terminal::{Interrupt, Progress};

use crate::cli::{BenchArgs, What};
use crate::commands::{print, set_threads};
use machine::Machine;
use peers::{Peer, Python};
use plan::{Case, Cases, F32, Job, Program};
use results::{Failure, Launches, Ops, Results, Sample};
use table::milliseconds;

/// Runs all requested measurements; failed ones are reported at the end and make the exit code 1.
pub(crate) fn run(root: &Path, args: &BenchArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let bench = Bench::new(root, args)?;
    let machine = Machine::here();
    let head = show::machine(&machine, bench.threads, &bench.network());
    let mut results = bench.measure_all(interrupt)?;
    if args.ops || args.what.contains(&What::Ops) {
        bench.time_ops(interrupt, &mut results)?;
    }
    print(&format!("{head}{}", show::tables(&results, &bench.cases)))?;
    if let Some(path) = &args.json {
        bench.write(path, &machine, &results)?;
    }
    Ok(if results.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The hidden command behind each of our measurements: prints one JSON object to stdout.
pub(crate) fn measure(workload: &str, interrupt: &Interrupt) -> Result<ExitCode> {
    let workload: Workload = serde_json::from_str(workload)
        .context("`measure` is started by `bench`, which passes it a workload as JSON")?;
    set_threads(workload.threads)?;
    let measurement = bench::measure(&workload, interrupt)?;
    let line = serde_json::to_string(&measurement).context("a result cannot be written as JSON")?;
    print(&format!("{line}\n"))
}

/// Arguments that have been checked.
struct Bench<'a> {
    args: &'a BenchArgs,
    threads: usize,
    device: Device,
    cases: Cases,
    python: Option<Python>,
    peers: Vec<Peer>,
}

impl<'a> Bench<'a> {
    /// Checks everything that can be checked before the first measurement.
    fn new(root: &Path, args: &'a BenchArgs) -> Result<Self> {
        let threads = args
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let mut bench = Bench {
            args,
            threads,
            device: settings::device(&args.device, Precision::F32)?.device,
            cases: Cases::new(args),
            python: None,
            peers: vec![],
        };
        bench.check()?;
        if let Some(python) = &args.peers {
            let python = Python::new(root, python)?;
            bench.peers = peers::selected(python.peers(&args.device)?, &args.only)?;
            bench.python = Some(python);
        }
        Ok(bench)
    }

    fn check(&self) -> Result<()> {
        let asked = Case {
            task: Task::Train,
            size: self.args.size,
            batch: self.args.batch,
        };
        for case in self.cases.scale.iter().chain([&asked]) {
            self.workload(*case, F32).graph()?;
        }
        for path in [&self.args.onnx, &self.args.images].into_iter().flatten() {
            if !path.exists() {
                bail!("{}: no such file or folder", path.display());
            }
        }
        let Some(file) = &self.args.json else {
            return Ok(());
        };
        // Checked now rather than after minutes of measuring.
        match file.parent() {
            Some(folder) if folder.as_os_str().is_empty() || folder.is_dir() => Ok(()),
            _ => bail!("--json {}: no such folder", file.display()),
        }
    }

    fn network(&self) -> String {
        format!("{} on {}", self.args.decoder, self.args.encoder)
    }

    fn workload(&self, case: Case, precision: InferencePrecision) -> Workload {
        Workload {
            encoder: self.args.encoder.clone(),
            decoder: self.args.decoder.clone(),
            task: case.task,
            device: self.device,
            precision,
            size: case.size,
            batch: case.batch,
            threads: self.threads,
            repeats: self.args.repeats,
        }
    }

    fn measure_all(&self, interrupt: &Interrupt) -> Result<Results> {
        let mut jobs = self.cases.jobs(&self.peers, self.args.rounds);
        jobs.retain(|job| match &job.program {
            Program::This(precision) => self.precisions().contains(precision),
            Program::Peer(_) => true,
        });
        let progress = Progress::Shown.job("bench", "measurements", jobs.len() as u64);
        let mut results = Results::default();
        for job in jobs {
            interrupt.check()?;
            if !results.failed(job.case, &job.program) {
                let outcome = self.measure_one(&job);
                // Ctrl-C also reaches the measuring process, whose end is not a failure then.
                interrupt.check()?;
                progress.say(&keep(&mut results, job, outcome));
            }
            progress.advance(1);
        }
        Ok(results)
    }

    fn measure_one(&self, job: &Job) -> Result<Measurement> {
        let command = match (&job.program, &self.python) {
            (Program::This(precision), _) => child::ours(&self.workload(job.case, *precision))?,
            (Program::Peer(peer), Some(python)) => {
                python.measure(peer, job.case, self.args, self.threads)
            }
            (Program::Peer(_), None) => bail!("there is no Python"),
        };
        child::run(command)
    }

    /// The precisions of ours to measure: those requested that the device supports.
    fn precisions(&self) -> Vec<InferencePrecision> {
        let has = |precision: InferencePrecision| match precision.float() {
            Some(precision) => self.device.has(precision),
            None => self.device == Device::Cpu,
        };
        let asked = self.args.precision.iter().copied();
        asked.filter(|precision| has(*precision)).collect()
    }

    /// Times the operations in this process, because their memory is not measured.
    fn time_ops(&self, interrupt: &Interrupt, results: &mut Results) -> Result<()> {
        let case = |task| Case {
            task,
            size: self.args.size,
            batch: self.args.batch,
        };
        if self.device == Device::Cuda {
            // On a GPU all of them are floating point.
            for precision in self.precisions() {
                interrupt.check()?;
                results.launches.push(Launches {
                    precision: precision.to_string(),
                    rows: time_launches(&self.workload(case(Task::Train), precision))?,
                });
            }
            return Ok(());
        }
        set_threads(self.threads)?;
        results.roofline = Some(Roofline::measure());
        // Operations are those of a floating-point plan; int8 is measured in whole calls only.
        let float = self
            .precisions()
            .into_iter()
            .filter(|p| p.float().is_some());
        let float: Vec<InferencePrecision> = float.collect();
        for case in [Task::Infer, Task::Train].map(case) {
            for precision in &float {
                let work = self.workload(case, *precision);
                let progress = Progress::Shown.job("bench", "operations", 0);
                let rows = time_ops(&work, interrupt, &mut |done, of| {
                    progress.set_total(of as u64);
                    progress.at(done as u64);
                })?;
                results.ops.push(Ops {
                    case,
                    precision: *precision,
                    rows,
                });
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, machine: &Machine, results: &Results) -> Result<()> {
        let value = json!({
            "version": pipeline::VERSION,
            "machine": machine,
            "encoder": self.args.encoder,
            "decoder": self.args.decoder,
            "threads": self.threads,
            "device": self.device,
            "repeats": self.args.repeats,
            "rounds": self.args.rounds,
            "peers": self.peers,
            "results": results,
        });
        let text =
            serde_json::to_string_pretty(&value).context("results cannot be written as JSON")?;
        files::write(path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Stores an outcome; returns a line that describes it.
fn keep(results: &mut Results, job: Job, outcome: Result<Measurement>) -> String {
    let head = format!("{}, {}", job.case, job.program);
    match outcome {
        Ok(measurement) => {
            let line = format!("{head}: {} ms", milliseconds(measurement.median()));
            results.samples.push(Sample {
                round: job.round,
                program: job.program,
                beside: job.beside,
                measurement,
                case: job.case,
            });
            line
        }
        Err(error) => {
            let message = format!("{error:#}");
            let line = format!("{head}: {message}");
            results.failures.push(Failure {
                program: job.program,
                case: job.case,
                message,
            });
            line
        }
    }
}
