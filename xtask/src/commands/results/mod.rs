//! `cargo xtask results`: runs what docs/results.md claims, and compares.

mod claims;

use std::path::Path;
use std::process::ExitCode;

use ::settings::Request;
use anyhow::{Context as _, Result, bail};
use terminal::{Interrupt, Progress};

use super::print;
use crate::cli::ResultsArgs;
use claims::{Claim, Claims, Measured};

pub(crate) fn run(root: &Path, args: &ResultsArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let claims = Claims::read(&root.join(claims::FILE))?;
    let Some(name) = &args.name else {
        return print(&list(&claims));
    };
    let Some(measured) = claims.result.iter().find(|result| result.name == *name) else {
        let known: Vec<&str> = claims.result.iter().map(|r| r.name.as_str()).collect();
        bail!("no result \"{name}\"; choose from {}", known.join(", "));
    };
    if measured.data.is_some() && args.data.is_none() {
        bail!(
            "this result is about real images: pass --data DIR ({})",
            measured.needs
        );
    }
    let request = request(root, measured, args);
    let finished = pipeline::run(&request, false, Progress::Shown, interrupt)?;
    let rows: Result<Vec<Row>> = measured
        .claims
        .iter()
        .map(|claim| compared(claim, &finished.folder))
        .collect();
    let rows = rows?;
    print(&table(&rows))?;
    match rows.iter().all(|row| row.agrees) {
        true => Ok(ExitCode::SUCCESS),
        false => bail!(
            "{} claims something else than this run shows; its report is {}",
            claims::FILE,
            finished.folder.join("report.md").display()
        ),
    }
}

fn request(root: &Path, measured: &Measured, args: &ResultsArgs) -> Request {
    let replaced = |key: &&String| !args.set.iter().any(|set| key_of(set) == key_of(key));
    let own = measured.set.iter().filter(replaced);
    Request {
        data: args.data.clone(),
        demo: measured.data.is_none(),
        set: own.chain(&args.set).cloned().collect(),
        out: args.out.clone(),
        ..Request::new(root, &measured.pipeline)
    }
}

fn key_of(assignment: &str) -> &str {
    assignment.split('=').next().unwrap_or_default()
}

/// What is claimed, and how long it takes to check.
fn list(claims: &Claims) -> String {
    let mut text = String::from("result  minutes on two cores  needs\n");
    for result in &claims.result {
        text += &format!(
            "{}  {}  {}\n    {} pipeline {}{}\n",
            result.name,
            result.minutes,
            result.needs,
            terminal::program(),
            result.pipeline,
            result
                .set
                .iter()
                .map(|set| format!(" --set {set}"))
                .collect::<String>()
        );
        for claim in &result.claims {
            text += &format!("    {} {} ({})\n", claim.value, claim.what, claim.key);
        }
    }
    let program = terminal::program();
    text + &format!("\nCheck one with: {program} results NAME --data DIR\n")
}

/// A claim next to what a run shows.
struct Row {
    what: String,
    claimed: String,
    found: f64,
    agrees: bool,
}

fn compared(claim: &Claim, run: &Path) -> Result<Row> {
    let path = run.join(&claim.file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let json: serde_json::Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not valid JSON", path.display()))?;
    let found = json.pointer(&claim.key).and_then(serde_json::Value::as_f64);
    let found = found.with_context(|| format!("{} has no number at {}", claim.file, claim.key))?;
    Ok(Row {
        what: claim.what.clone(),
        claimed: claim.value.clone(),
        found,
        agrees: claim.agrees(found)?,
    })
}

fn table(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let verdict = if row.agrees { "agrees" } else { "DIFFERS" };
        format!(
            "{verdict}  claimed {}, found {:.6}: {}\n",
            row.claimed, row.found, row.what
        )
    };
    rows.iter().map(line).collect()
}
