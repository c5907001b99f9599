//! What must be equal between processes of a run, and between the processes that begin a run and continue it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use model::network::Network;
use model::store::Group;
use serde::{Deserialize, Serialize};

use crate::context::{Context, Data};

/// What must be equal on all processes before they train together.
#[derive(Serialize, Deserialize)]
struct Basis {
    version: String,
    settings: Vec<(String, String)>,
    data: String,
    weights: String,
}

/// Compares version, settings, images and initial weights with those of the other processes.
///
/// # Errors
/// What differs, and on which process.
pub(crate) fn compare(context: &Context<'_>, data: &Data, network: &Network) -> Result<()> {
    if context.processes.size() == 1 {
        return Ok(());
    }
    let store = network.store();
    let mut bytes = vec![];
    for group in Group::ALL {
        bytes.extend(store.group(group).iter().flat_map(|v| v.to_le_bytes()));
    }
    let own = Basis {
        version: crate::VERSION.into(),
        settings: context.settings.leaves.clone(),
        data: data.manifest.fingerprint(),
        weights: files::sha256::hex(&bytes),
    };
    let words = context.processes.gather(&serde_json::to_vec(&own)?)?;
    let mut all = Vec::with_capacity(words.len());
    for (rank, word) in words.iter().enumerate() {
        let basis: Basis = serde_json::from_slice(word)
            .with_context(|| format!("process {rank} runs another version of this program"))?;
        all.push(basis);
    }
    match all
        .iter()
        .enumerate()
        .find_map(|(rank, other)| Some((rank, differs(&all[0], other)?)))
    {
        Some((rank, what)) => bail!("process {rank} cannot train with process 0: {what}"),
        None => Ok(()),
    }
}

fn differs(first: &Basis, other: &Basis) -> Option<String> {
    if first.version != other.version {
        let (a, b) = (&first.version, &other.version);
        return Some(format!("it runs version {b}, process 0 version {a}"));
    }
    if let Some([key, first, other]) = difference(&first.settings, &other.settings) {
        return Some(format!(
            "its {key} is {other}, that of process 0 is {first}"
        ));
    }
    if first.data != other.data {
        return Some("it finds other images in its data folder".into());
    }
    (first.weights != other.weights).then(|| "its initial weights differ".into())
}

/// The first key whose value differs, and both values.
pub(crate) fn difference(
    before: &[(String, String)],
    now: &[(String, String)],
) -> Option<[String; 3]> {
    let (before, now): (BTreeMap<_, _>, BTreeMap<_, _>) = (
        before.iter().cloned().collect(),
        now.iter().cloned().collect(),
    );
    let value = |map: &BTreeMap<String, String>, key: &String| {
        map.get(key)
            .cloned()
            .unwrap_or_else(|| "its default".into())
    };
    let key = before
        .keys()
        .chain(now.keys())
        .find(|key| before.get(*key) != now.get(*key))?;
    Some([key.clone(), value(&before, key), value(&now, key)])
}
