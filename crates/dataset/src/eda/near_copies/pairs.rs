//! The pairs that were found: how many of each kind, and the closest.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Most pairs that are listed.
const LISTED: usize = 500;

/// Two near-identical images by their positions, in ascending order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) images: [u32; 2],
    pub(super) correlation: f64,
    pub(super) mirrored: bool,
    pub(super) crosses_splits: bool,
    pub(super) crosses_patients: bool,
    pub(super) crosses_classes: bool,
}

/// Numbers of pairs, and those to list.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pairs {
    pub(super) all: usize,
    pub(super) across_splits: usize,
    pub(super) across_patients: usize,
    pub(super) across_classes: usize,
    pub(super) truncated: bool,
    /// In the order of the list.
    pub(super) closest: Vec<Pair>,
}

impl Pairs {
    pub(super) fn of(pairs: Vec<Pair>) -> Self {
        let count = |what: fn(&Pair) -> bool| pairs.iter().filter(|pair| what(pair)).count();
        let mut all = Self {
            all: pairs.len(),
            across_splits: count(|pair| pair.crosses_splits),
            across_patients: count(|pair| pair.crosses_patients),
            across_classes: count(|pair| pair.crosses_classes),
            truncated: false,
            closest: pairs,
        };
        all.shorten();
        all
    }

    /// With other pairs, of which none is the same.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.all += other.all;
        self.across_splits += other.across_splits;
        self.across_patients += other.across_patients;
        self.across_classes += other.across_classes;
        self.truncated |= other.truncated;
        self.closest.extend(other.closest);
        self.shorten();
        self
    }

    fn shorten(&mut self) {
        self.closest.sort_by(Pair::order);
        self.closest.truncate(LISTED);
    }
}

impl Pair {
    /// The order of the list: what matters most, then the closest.
    fn order(&self, other: &Self) -> Ordering {
        let rank = |pair: &Self| {
            let crosses = [
                pair.crosses_splits,
                pair.crosses_classes,
                pair.crosses_patients,
            ];
            crosses.map(|crosses| !crosses)
        };
        (rank(self).cmp(&rank(other)))
            .then(other.correlation.total_cmp(&self.correlation))
            .then(self.images.cmp(&other.images))
    }
}
