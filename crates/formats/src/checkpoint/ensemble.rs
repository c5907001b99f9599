//! Several trained networks in one checkpoint, whose outputs are averaged.

use std::borrow::Cow;
use std::path::Path;

use model::graph::Graph;
use serde::{Deserialize, Serialize};

use super::file::{Entry, Tensors};
use super::{
    Checkpoint, CheckpointError, Decision, Meta, REGION, check, entries, read_store, region,
};

/// The networks besides the first, and how the mean of all becomes a prediction.
#[derive(Clone, Debug)]
pub struct Ensemble {
    /// The other networks, each with a decision of its own, whose temperature and bias calibrate its scores.
    pub others: Vec<Checkpoint>,
    /// Applied to the mean of all networks' calibrated scores.
    pub decision: Decision,
}

/// Prefix of the names of the tensors of the other networks, followed by a number from 1.
pub const MEMBER: &str = "member/";

fn prefix(number: usize) -> String {
    format!("{MEMBER}{number}/")
}

#[derive(Serialize, Deserialize)]
pub(super) struct Document<'a> {
    decision: Cow<'a, Decision>,
    others: Vec<Member<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Member<'a> {
    graph: Cow<'a, Graph>,
    meta: Cow<'a, Meta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<region::Document<'a>>,
}

/// A document whose contents are consistent.
pub(super) struct Checked {
    decision: Decision,
    others: Vec<(Graph, Meta, Option<region::Checked>)>,
}

impl<'a> Document<'a> {
    pub(super) fn of(ensemble: &'a Ensemble) -> Self {
        let member = |member: &'a Checkpoint| Member {
            graph: Cow::Borrowed(&member.graph),
            meta: Cow::Borrowed(&member.meta),
            region: member.region.as_deref().map(region::Document::of),
        };
        Document {
            decision: Cow::Borrowed(&ensemble.decision),
            others: ensemble.others.iter().map(member).collect(),
        }
    }

    pub(super) fn checked(self, path: &Path, first: &Meta) -> Result<Checked, CheckpointError> {
        let mut others = vec![];
        for member in self.others {
            let (graph, meta) = (member.graph.into_owned(), member.meta.into_owned());
            graph.check().map_err(|source| CheckpointError::Graph {
                path: path.into(),
                source,
            })?;
            check::meta(path, &graph, &meta)?;
            let region = member.region.map(|r| r.checked(path)).transpose()?;
            others.push((graph, meta, region));
        }
        let metas: Vec<&Meta> = others.iter().map(|(_, meta, _)| meta).collect();
        check::ensemble(path, first, &metas, &self.decision)?;
        Ok(Checked {
            decision: self.decision.into_owned(),
            others,
        })
    }
}

impl Checked {
    pub(super) fn read(self, tensors: &Tensors<'_>) -> Result<Ensemble, CheckpointError> {
        let member =
            |(i, (graph, meta, region)): (usize, (Graph, Meta, Option<region::Checked>))| {
                let prefix = prefix(i + 1);
                let store = read_store(&prefix, &graph, tensors)?;
                let region = region
                    .map(|region| region.read(&prefix, tensors))
                    .transpose()?;
                Ok(Checkpoint {
                    region: region.map(Box::new),
                    ..Checkpoint::new(graph, store, meta)
                })
            };
        let others = self.others.into_iter().enumerate().map(member);
        Ok(Ensemble {
            others: others.collect::<Result<_, CheckpointError>>()?,
            decision: self.decision,
        })
    }
}

impl Ensemble {
    pub(super) fn check(&self, path: &Path, first: &Meta) -> Result<(), CheckpointError> {
        for member in &self.others {
            check::meta(path, &member.graph, &member.meta)?;
            if let Some(region) = &member.region {
                region.check(path)?;
            }
        }
        let metas: Vec<&Meta> = self.others.iter().map(|member| &member.meta).collect();
        check::ensemble(path, first, &metas, &self.decision)
    }

    pub(super) fn entries(&self) -> Vec<(String, Entry<'static>)> {
        let numbered = self.others.iter().enumerate();
        let of_member = |(i, member): (usize, &Checkpoint)| {
            let prefix = prefix(i + 1);
            let mut own = entries(&prefix, &member.graph, &member.store);
            if let Some(region) = &member.region {
                own.extend(entries(
                    &format!("{prefix}{REGION}"),
                    &region.graph,
                    &region.store,
                ));
            }
            own
        };
        numbered.flat_map(of_member).collect()
    }

    /// Names of all tensors of the other networks.
    pub(super) fn names(&self) -> Vec<String> {
        let numbered = self.others.iter().enumerate();
        let of_member = |(i, member): (usize, &Checkpoint)| {
            let prefix = prefix(i + 1);
            let own = member
                .graph
                .params
                .iter()
                .map(|p| format!("{prefix}{}", p.name));
            let region = member.region.iter().flat_map(|region| &region.graph.params);
            let region = region.map(|p| format!("{prefix}{REGION}{}", p.name));
            own.chain(region).collect::<Vec<_>>()
        };
        numbered.flat_map(of_member).collect()
    }
}
