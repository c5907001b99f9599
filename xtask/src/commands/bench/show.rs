//! The results as readable tables.

use std::fmt::Write as _;

use bench::ops::{Part, Row, Timing, Work};
use bench::roofline::Roofline;
use bench::{Accuracy, InferencePrecision, Task, launches};

use super::machine::Machine;
use super::plan::{Case, Cases, Program};
use super::results::{Launches, Ops, Results};
use super::table::{Table, mebibytes, milliseconds, significant};

/// Rows that take a smaller share of a step than this are merged; the JSON file has all of them.
const WORTH_A_LINE: f64 = 0.002;

/// The line above all tables.
pub(super) fn machine(machine: &Machine, threads: usize, network: &str) -> String {
    let Machine { cpu, cores, .. } = machine;
    format!(
        "{network}; {threads} threads on {cpu}, {cores} cores ({})\n",
        machine.features.join(" ")
    )
}

/// All requested tables, and the failures.
pub(super) fn tables(results: &Results, cases: &Cases) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    for case in &cases.speed {
        let _ = write!(text, "\n{}", speed(results, *case));
        text += &compared(results, *case);
    }
    if !cases.memory.is_empty() {
        let _ = write!(text, "\n{}", memory(results, &cases.memory));
    }
    for task in [Task::Infer, Task::Train] {
        let of_task = cases.scale.iter().filter(|case| case.task == task);
        let of_task: Vec<Case> = of_task.copied().collect();
        for precision in InferencePrecision::ALL {
            let this = Program::This(precision);
            if of_task
                .iter()
                .any(|case| results.seconds(*case, &this).is_some())
            {
                let _ = write!(text, "\n{}", scale(results, &of_task, &this));
            }
        }
    }
    if let Some(roofline) = &results.roofline {
        let _ = write!(text, "\n{}", limits(roofline));
        for Ops {
            case,
            precision,
            rows,
        } in &results.ops
        {
            let _ = write!(text, "\n{}", ops(*case, *precision, rows, roofline));
            text += &whole_call(results, *case, *precision);
        }
    }
    for Launches { precision, rows } in &results.launches {
        let _ = write!(text, "\n{}", launches(precision, rows));
    }
    for failure in &results.failures {
        let (program, case) = (&failure.program, failure.case);
        let _ = write!(text, "\nfailed: {program}, {case}: {}\n", failure.message);
    }
    text
}

/// One row per program; rows of peers have the speedup of each of our precisions over the peer.
fn speed(results: &Results, case: Case) -> Table {
    let programs = results.programs(case);
    let ours: Vec<&Program> = programs
        .iter()
        .copied()
        .filter(|p| matches!(p, Program::This(_)))
        .collect();
    let peers = ours.len() < programs.len();
    let accuracies = programs.iter().any(|p| results.accuracy(case, p).is_some());
    let mut header = vec![
        "program".to_owned(),
        "ms/call".to_owned(),
        "images/s".to_owned(),
    ];
    if accuracies {
        header.push("beside f32".into());
    }
    for program in ours.iter().filter(|_| peers) {
        header.push(format!("{program} speedup"));
        header.push("min".into());
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = Table::new(case.to_string(), &header);
    for program in &programs {
        let seconds = results.seconds(case, program).unwrap_or(f64::NAN);
        let mut row = vec![
            program.to_string(),
            milliseconds(seconds),
            significant(case.batch as f64 / seconds),
        ];
        if accuracies {
            let accuracy = results.accuracy(case, program);
            row.push(accuracy.map_or_else(String::new, beside_f32));
        }
        row.extend(
            ours.iter()
                .flat_map(|this| ratios(results, case, this, program)),
        );
        table.row(row);
    }
    table
}

/// `0.0012, 99.1 %`: how far the probabilities differ, and the pixels of the map that agree.
fn beside_f32(accuracy: &Accuracy) -> String {
    let probabilities = accuracy.probabilities.map(|d| format!("{d:.4}"));
    let map = accuracy.map.map(|part| share(part, 1.0));
    let parts: Vec<String> = probabilities.into_iter().chain(map).collect();
    parts.join(", ")
}

/// What the column of [`beside_f32`] means; empty where there is none.
fn compared(results: &Results, case: Case) -> String {
    let programs = results.programs(case);
    let accuracies = programs.iter().filter_map(|p| results.accuracy(case, p));
    let mut of: Vec<&str> = vec![];
    for accuracy in accuracies {
        if !of.contains(&accuracy.of.as_str()) {
            of.push(&accuracy.of);
        }
    }
    if of.is_empty() {
        return String::new();
    }
    format!(
        "beside f32: mean difference of the probabilities from the same library's in f32, and pixels of the map with the \
         same class ({})\n",
        of.join("; ")
    )
}

fn ratios(results: &Results, case: Case, this: &Program, program: &Program) -> Vec<String> {
    let Program::Peer(peer) = program else {
        return vec![];
    };
    match results.ratio(case, this, peer) {
        Some(ratio) => [ratio.median, ratio.min].map(|r| format!("{r:.2}")).into(),
        None => vec!["-".into(), "-".into()],
    }
}

fn memory(results: &Results, cases: &[Case]) -> Table {
    let mut table = Table::new(
        "peak memory in MiB: of the whole process, and in excess of its memory after loading its libraries",
        &["program", "peak", "network"],
    );
    for case in cases {
        for program in results.programs(*case) {
            let name = format!("{case}: {program}");
            table.row(match results.memory(*case, program) {
                Some(m) => vec![
                    name,
                    mebibytes(m.peak),
                    mebibytes(m.peak.saturating_sub(m.before)),
                ],
                None => vec![name, "not measured".into(), "not measured".into()],
            });
        }
    }
    table
}

/// The last column is the cost per pixel relative to the first row: a jump shows a sudden loss of efficiency.
fn scale(results: &Results, cases: &[Case], this: &Program) -> Table {
    let task = match cases.first().map(|case| case.task) {
        Some(Task::Train) => "training",
        _ => "inference",
    };
    let header = ["size", "batch", "ms/call", "images/s", "cost per pixel"];
    let mut table = Table::new(format!("{task} by size and batch, {this}"), &header);
    let mut first = None;
    for case in cases {
        let Some(seconds) = results.seconds(*case, this) else {
            continue;
        };
        let pixel = seconds / (case.batch * case.size * case.size) as f64;
        let relative = pixel / *first.get_or_insert(pixel);
        table.row(vec![
            format!("{0}x{0}", case.size),
            case.batch.to_string(),
            milliseconds(seconds),
            significant(case.batch as f64 / seconds),
            format!("{relative:.2}"),
        ]);
    }
    table
}

/// What the machine can do at best.
fn limits(roofline: &Roofline) -> String {
    let giga = |value: f64| significant(value / 1e9);
    format!(
        "measured limits: {} GFLOP/s in f32, {} in bf16; {} GB/s from first-level caches, {} from second-level caches, {} \
         from memory\n",
        giga(roofline.f32),
        giga(roofline.bf16),
        giga(roofline.first_level),
        giga(roofline.second_level),
        giga(roofline.memory)
    )
}

/// Most expensive first: the parts of one operation, then the total of all of them in a call, and what it takes at least
/// by the measured limits.
fn ops(case: Case, precision: InferencePrecision, rows: &[Row], roofline: &Roofline) -> Table {
    let total: f64 = rows.iter().map(Row::seconds).sum();
    let header = [
        "operation",
        "count",
        "forward",
        "input grad",
        "weight grad",
        "total ms",
        "share",
        "least ms",
    ];
    let title = format!(
        "operations, {case}, {precision}: each timed on its own, ms per operation, with GFLOP/s (of a direct convolution, \
         where it is by Winograd's algorithm) or GB/s"
    );
    let mut table = Table::new(title, &header);
    let (shown, small): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .partition(|row| row.seconds() >= WORTH_A_LINE * total);
    for row in shown {
        let mut cells = vec![row.operation.clone(), row.count.to_string()];
        cells.extend(PARTS.map(|part| row.part(part).map_or_else(|| "-".into(), timing)));
        cells.extend(totals(&[row], total, roofline));
        table.row(cells);
    }
    if !small.is_empty() {
        sum(
            &mut table,
            &format!("{} smaller rows", small.len()),
            &small,
            total,
            roofline,
        );
    }
    let all: Vec<&Row> = rows.iter().collect();
    sum(&mut table, "all", &all, total, roofline);
    table
}

/// Most expensive first; small ones are merged.
fn launches(precision: &str, rows: &[launches::Row]) -> Table {
    let total: f64 = rows.iter().map(|row| row.seconds).sum();
    let title = format!("launches of a training step in {precision}, each timed within the step");
    let mut table = Table::new(
        title,
        &["kernel", "operation", "count", "total ms", "share"],
    );
    let mut line = |kernel: &str, operation: &str, rows: &[&launches::Row]| {
        let seconds: f64 = rows.iter().map(|row| row.seconds).sum();
        let count: usize = rows.iter().map(|row| row.count).sum();
        table.row(vec![
            kernel.into(),
            operation.into(),
            count.to_string(),
            milliseconds(seconds),
            share(seconds, total),
        ]);
    };
    let (shown, small): (Vec<&launches::Row>, Vec<_>) = rows
        .iter()
        .partition(|row| row.seconds >= WORTH_A_LINE * total);
    for row in shown {
        line(&row.kernel, &row.operation, &[row]);
    }
    line(&format!("{} smaller rows", small.len()), "", &small);
    line("all", "", &rows.iter().collect::<Vec<_>>());
    table
}

/// The time of a whole call, to compare with the sum of the operations.
fn whole_call(results: &Results, case: Case, precision: InferencePrecision) -> String {
    let seconds = results.seconds(case, &Program::This(precision));
    let more = match case.task {
        Task::Infer => "copies and colder caches",
        Task::Train => "the loss, the optimizer, copies and colder caches",
    };
    seconds.map_or_else(String::new, |seconds| {
        format!(
            "The whole takes {} ms, which includes {more}.\n",
            milliseconds(seconds)
        )
    })
}

/// Total seconds of some rows, their share, and what they take at least.
fn totals(rows: &[&Row], total: f64, roofline: &Roofline) -> [String; 3] {
    let seconds: f64 = rows.iter().map(|row| row.seconds()).sum();
    let least: f64 = rows.iter().map(|row| roofline.floor_of(row)).sum();
    [
        milliseconds(seconds),
        share(seconds, total),
        milliseconds(least),
    ]
}

const PARTS: [Part; 3] = [Part::Forward, Part::Input, Part::Weight];

/// Several rows as one, whose parts are totals over all operations.
fn sum(table: &mut Table, name: &str, rows: &[&Row], total: f64, roofline: &Roofline) {
    let count: usize = rows.iter().map(|row| row.count).sum();
    let part = |part| {
        let of_row = |row: &&Row| row.part(part).map_or(0.0, |t| row.count as f64 * t.seconds);
        milliseconds(rows.iter().map(of_row).sum())
    };
    let mut cells = vec![name.to_owned(), count.to_string()];
    cells.extend(PARTS.map(|p| format!("all {}", part(p))));
    cells.extend(totals(rows, total, roofline));
    table.row(cells);
}

fn timing(timing: &Timing) -> String {
    let (amount, unit) = match timing.work {
        Work::Flops(n) => (n, "GFLOP/s"),
        Work::Bytes(n) => (n, "GB/s"),
    };
    let rate = amount as f64 / timing.seconds / 1e9;
    format!(
        "{} {:>4} {unit:<7}",
        milliseconds(timing.seconds),
        format!("{rate:.0}")
    )
}

fn share(seconds: f64, total: f64) -> String {
    format!("{:.1} %", 100.0 * seconds / total)
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::{CASE, results};
    use super::*;
    use crate::commands::bench::plan::F32;
    use bench::Precision;

    #[test]
    fn peers_are_listed_below_ours_with_ratios() {
        let text = speed(&results(), CASE).to_string();
        let expected = "\
training step, batch 2, 64x64
  program    ms/call  images/s  this f32 speedup   min
  this f32      1000      2.00
  torch f32     1500      1.33              1.50  1.20
";
        assert_eq!(text, expected);
        let text = memory(&results(), &[CASE]).to_string();
        assert!(text.contains("this f32      4        4"), "{text}");
    }

    #[test]
    fn accuracies_have_a_column_where_a_program_states_one() {
        let mut results = results();
        let theirs = results.samples.iter_mut().filter(|s| s.beside.is_none());
        for sample in theirs {
            sample.measurement.accuracy = Some(Accuracy {
                of: "random weights, 2 random images".into(),
                probabilities: Some(0.00123),
                map: Some(0.991),
            });
        }
        let text = speed(&results, CASE).to_string();
        let expected = "\
training step, batch 2, 64x64
  program    ms/call  images/s      beside f32  this f32 speedup   min
  this f32      1000      2.00
  torch f32     1500      1.33  0.0012, 99.1 %              1.50  1.20
";
        assert_eq!(text, expected);
        let note = compared(&results, CASE);
        assert!(
            note.ends_with("same class (random weights, 2 random images)\n"),
            "{note}"
        );
    }

    #[test]
    fn the_cost_per_pixel_is_relative_to_the_first_row() {
        let mut results = results();
        let mut second = results.samples.remove(0);
        second.case.batch = 4;
        second.measurement.seconds = vec![3.0];
        let larger = second.case;
        results.samples.push(second);
        let text = scale(&results, &[CASE, larger], &Program::This(F32)).to_string();
        let costs: Vec<&str> = text
            .lines()
            .skip(2)
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        assert_eq!(costs, ["1.00", "1.50"], "{text}");
    }

    #[test]
    fn small_operations_share_a_line() {
        let row = |name: &str, count, seconds| Row {
            operation: name.into(),
            winograd: true,
            count,
            timings: vec![Timing {
                part: Part::Forward,
                work: Work::Flops(1_000_000_000),
                precision: Precision::F32,
                seconds,
            }],
        };
        let roofline = Roofline {
            f32: 1e9,
            bf16: 2e9,
            first_level: 4e9,
            second_level: 3e9,
            memory: 2e9,
        };
        let rows = [row("conv", 2, 0.5), row("a", 1, 1e-4), row("b", 3, 1e-4)];
        let text = ops(CASE, F32, &rows, &roofline).to_string();
        // Two convolutions of 10^9 operations each, a quarter of which is left.
        let conv = text.lines().find(|line| line.starts_with("  conv"));
        assert!(conv.is_some_and(|line| line.ends_with(" 500")), "{text}");
        assert!(text.contains("500    2 GFLOP/s"), "{text}");
        assert!(text.contains("2 smaller rows      4"), "{text}");
        assert!(!text.contains("\n  b "), "{text}");
    }
}
