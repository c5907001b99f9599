//! A measurement in a process of its own.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use bench::{Measurement, Workload};

/// Number of lines that are shown of a failed process's stderr.
const LINES: usize = 6;

/// The process of one of our measurements: this program again.
pub(super) fn ours(workload: &Workload) -> Result<Command> {
    let this = std::env::current_exe().context("cannot find the path of this program")?;
    let workload =
        serde_json::to_string(workload).context("a workload cannot be written as JSON")?;
    let mut command = Command::new(this);
    command.arg("measure").arg(workload);
    Ok(command)
}

/// Runs the process and parses the last line that it prints.
///
/// # Errors
/// It cannot start, fails (with the last lines of its stderr), or prints no measurement.
pub(super) fn run(mut command: Command) -> Result<Measurement> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("ended with {}{}", output.status, last_lines(&said));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = printed.lines().last().unwrap_or_default();
    let measurement: Measurement = serde_json::from_str(line)
        .with_context(|| format!("printed no measurement: {line:?}{}", last_lines(&said)))?;
    if measurement.seconds.is_empty() {
        bail!("printed no times");
    }
    Ok(measurement)
}

/// The last lines of a process's output, indented below a message.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LINES);
    lines[from..].iter().map(|l| format!("\n    {l}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let text: String = (0..20).map(|i| format!("line {i}\n\n")).collect();
        let last = last_lines(&text);
        assert_eq!(last.lines().count(), 1 + LINES);
        assert!(last.ends_with("    line 19") && !last.contains("line 13"));
        assert_eq!(last_lines(""), "");
    }
}
