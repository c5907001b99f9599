//! The segmenter that finds the part of an image which a network sees, in the network's own checkpoint.

use std::borrow::Cow;
use std::path::Path;

use model::graph::Graph;
use model::store::ParamStore;
use serde::{Deserialize, Serialize};

use super::file::Tensors;
use super::{CheckpointError, Meta, check, read_store};

/// Prefix of the names of the tensors of the segmenter that finds a network's region.
pub const REGION: &str = "region/";

/// A trained segmenter, and how its segmentation becomes the part of the image that another network sees.
#[derive(Clone, Debug)]
pub struct Region {
    /// Structure.
    pub graph: Graph,
    /// Weights and running statistics.
    pub store: ParamStore,
    /// Metadata.
    pub meta: Meta,
    /// From the segmentation to the part of the image.
    pub rule: RegionRule,
}

/// From the segmentation of an image to the part of it that a network sees: the bounding box of the pixels of some
/// classes, with a margin; or, where these pixels are implausible, a typical box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionRule {
    /// Classes of the segmenter's map.
    pub classes: Vec<usize>,
    /// Added on each side, as a share of the image's height or width.
    pub margin: f64,
    /// What the region must be like to be used.
    pub plausible: Plausible,
    /// Top, left, bottom and right as shares of the image's height and width: used, with the margin, where no plausible
    /// region is found.
    pub typical: [f64; 4],
}

/// The least and the greatest of each property that a plausible region may have, from those of the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plausible {
    /// The region's pixels as a share of the image's.
    pub area: [f64; 2],
    /// The bounding box as a share of the image.
    pub extent: [f64; 2],
    /// Number of connected components, except those far smaller than the largest.
    pub components: [usize; 2],
}

#[derive(Serialize, Deserialize)]
pub(super) struct Document<'a> {
    graph: Cow<'a, Graph>,
    meta: Cow<'a, Meta>,
    rule: Cow<'a, RegionRule>,
}

/// A document whose contents are consistent.
pub(super) struct Checked {
    graph: Graph,
    meta: Meta,
    rule: RegionRule,
}

impl<'a> Document<'a> {
    pub(super) fn of(region: &'a Region) -> Self {
        Document {
            graph: Cow::Borrowed(&region.graph),
            meta: Cow::Borrowed(&region.meta),
            rule: Cow::Borrowed(&region.rule),
        }
    }

    pub(super) fn checked(self, path: &Path) -> Result<Checked, CheckpointError> {
        let (graph, meta, rule) = (
            self.graph.into_owned(),
            self.meta.into_owned(),
            self.rule.into_owned(),
        );
        graph.check().map_err(|source| CheckpointError::Graph {
            path: path.into(),
            source,
        })?;
        check::meta(path, &graph, &meta)?;
        check::region(path, &meta, &rule)?;
        Ok(Checked { graph, meta, rule })
    }
}

impl Checked {
    /// Reads the segmenter's tensors, whose names start with `prefix` and [`REGION`].
    pub(super) fn read(
        self,
        prefix: &str,
        tensors: &Tensors<'_>,
    ) -> Result<Region, CheckpointError> {
        let store = read_store(&format!("{prefix}{REGION}"), &self.graph, tensors)?;
        Ok(Region {
            graph: self.graph,
            store,
            meta: self.meta,
            rule: self.rule,
        })
    }
}

impl Region {
    pub(super) fn check(&self, path: &Path) -> Result<(), CheckpointError> {
        check::meta(path, &self.graph, &self.meta)?;
        check::region(path, &self.meta, &self.rule)
    }
}
