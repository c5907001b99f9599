//! The peers: which ones a Python has, and the command of one measurement.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use bench::Task;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::child;
use super::plan::Case;
use crate::cli::BenchArgs;

/// Another program that computes the same network, as the script's `list` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Peer {
    #[serde(rename = "peer")]
    pub(super) name: String,
    pub(super) precision: String,
    pub(super) tasks: Vec<Task>,
    pub(super) version: String,
}

impl Peer {
    /// Whether `wanted` is its name, or its name and precision: `torch:f32`.
    fn is(&self, wanted: &str) -> bool {
        wanted == self.name || wanted == self.label()
    }

    fn label(&self) -> String {
        format!("{}:{}", self.name, self.precision)
    }
}

/// Those of the peers that are wanted; all if none is named.
///
/// # Errors
/// A name that is none of theirs.
pub(super) fn selected(mut peers: Vec<Peer>, wanted: &[String]) -> Result<Vec<Peer>> {
    if let Some(unknown) = wanted.iter().find(|w| !peers.iter().any(|p| p.is(w))) {
        let known: Vec<String> = peers.iter().map(Peer::label).collect();
        bail!("--only {unknown}: the peers are {}", known.join(", "));
    }
    peers.retain(|peer| wanted.is_empty() || wanted.iter().any(|w| peer.is(w)));
    Ok(peers)
}

/// A Python, the script that it runs, and a folder for files that the script keeps between its processes.
pub(super) struct Python {
    python: PathBuf,
    script: PathBuf,
    scratch: TempDir,
}

impl Python {
    pub(super) fn new(root: &Path, python: &Path) -> Result<Self> {
        let scratch = tempfile::tempdir().context("cannot create a folder for the peers")?;
        Ok(Python {
            python: python.into(),
            script: root.join("tools/bench_peers.py"),
            scratch,
        })
    }

    /// The peers that this Python has on a device.
    ///
    /// # Errors
    /// The program does not exist, the script fails or prints something else, or there is no peer.
    pub(super) fn peers(&self, device: &str) -> Result<Vec<Peer>> {
        let mut command = self.command("list");
        command.args(["--device", device]);
        let output = command.output().with_context(|| {
            let python = self.python.display();
            format!("cannot run {python} (--peers takes the path of a Python)")
        })?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let why = child::last_lines(&said);
            bail!(
                "{} list ended with {}{why}",
                self.script.display(),
                output.status
            );
        }
        if !said.trim().is_empty() {
            terminal::say(said.trim_end());
        }
        let peers = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not a peer: {line}")))
            .collect::<Result<Vec<Peer>>>()?;
        if peers.is_empty() {
            bail!("{} has none of the peers", self.python.display());
        }
        Ok(peers)
    }

    /// The command of one measurement.
    pub(super) fn measure(
        &self,
        peer: &Peer,
        case: Case,
        args: &BenchArgs,
        threads: usize,
    ) -> Command {
        let mut command = self.command("run");
        let task = match case.task {
            Task::Infer => "infer",
            Task::Train => "train",
        };
        command.arg("--scratch").arg(self.scratch.path());
        for (name, value) in [
            ("--peer", peer.name.clone()),
            ("--precision", peer.precision.clone()),
            ("--task", task.into()),
            ("--encoder", args.encoder.clone()),
            ("--decoder", args.decoder.clone()),
            ("--size", case.size.to_string()),
            ("--batch", case.batch.to_string()),
            ("--device", args.device.clone()),
            ("--threads", threads.to_string()),
            ("--repeats", args.repeats.to_string()),
        ] {
            command.arg(name).arg(value);
        }
        for (name, path) in [("--onnx", &args.onnx), ("--images", &args.images)] {
            if let Some(path) = path {
                command.arg(name).arg(path);
            }
        }
        command
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg(what);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, precision: &str) -> Peer {
        Peer {
            name: name.into(),
            precision: precision.into(),
            tasks: vec![],
            version: "1".into(),
        }
    }

    #[test]
    fn peers_are_selected_by_name_and_precision() {
        let all = vec![
            peer("torch", "f32"),
            peer("torch", "bf16"),
            peer("openvino", "int8"),
        ];
        let labels = |wanted: &[&str]| -> Result<Vec<String>> {
            let wanted: Vec<String> = wanted.iter().map(|&w| w.into()).collect();
            let peers = selected(all.clone(), &wanted)?;
            Ok(peers.iter().map(Peer::label).collect())
        };
        assert_eq!(labels(&[]).unwrap().len(), 3);
        assert_eq!(
            labels(&["openvino", "torch:f32"]).unwrap(),
            ["torch:f32", "openvino:int8"]
        );
        let error = labels(&["torch:int8"]).unwrap_err().to_string();
        assert!(
            error.contains("torch:f32, torch:bf16, openvino:int8"),
            "{error}"
        );
    }
}
