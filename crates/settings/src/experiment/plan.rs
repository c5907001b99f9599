//! The combinations of seeds, folds and grid values, and what each changes in the pipeline.

use dataset::{FoldBy, OfficialVal};

use super::file::ExperimentFile;
use super::grid::indices;
use crate::load::Change;
use crate::tree::{Node, Origin, Value};

/// What varies, with its places in the file.
pub(super) struct Plan<'p> {
    pub(super) file: &'p ExperimentFile,
    /// What happens to the `val` folder's images, with folds.
    pub(super) official_val: Option<OfficialVal>,
}

/// What a run combines.
pub(super) struct Combination {
    /// From 0.
    pub(super) setting: usize,
    /// Index of the seed.
    pub(super) seed: usize,
    /// From 1.
    pub(super) fold: Option<usize>,
}

impl Plan<'_> {
    fn sizes(&self) -> Vec<usize> {
        self.file
            .grid
            .iter()
            .map(|axis| axis.values.len())
            .collect()
    }

    pub(super) fn combinations(&self) -> Vec<Combination> {
        let folds: Vec<Option<usize>> = match self.file.raw.folds {
            Some(folds) => (1..=folds).map(Some).collect(),
            None => vec![None],
        };
        let mut all = vec![];
        for setting in 0..self.sizes().iter().product() {
            for seed in 0..self.file.raw.seeds.len() {
                all.extend(folds.iter().map(|&fold| Combination {
                    setting,
                    seed,
                    fold,
                }));
            }
        }
        all
    }

    /// `setting-2-seed-1-fold-3`, counted from 1, without what does not vary.
    pub(super) fn name(&self, combination: &Combination) -> String {
        let setting = match self.file.grid.is_empty() {
            true => String::new(),
            false => format!("setting-{}-", combination.setting + 1),
        };
        let fold = combination.fold.map(|fold| format!("-fold-{fold}"));
        let seed = self.file.raw.seeds[combination.seed];
        format!("{setting}seed-{seed}{}", fold.unwrap_or_default())
    }

    pub(super) fn changes(&self, combination: &Combination) -> Vec<Change> {
        let indices = indices(&self.sizes(), combination.setting);
        let of_grid = self.file.grid.iter().zip(indices);
        let mut changes: Vec<Change> = of_grid
            .map(|(axis, i)| (axis.key.clone(), axis.values[i].clone()))
            .collect();
        let seed = Value::Integer(self.file.raw.seeds[combination.seed].cast_signed());
        changes.push(("pipeline.seed".into(), self.node("seeds", seed)));
        if let (Some(fold), Some(folds)) = (combination.fold, self.file.raw.folds) {
            let mut validation = self.node("folds", Value::Table(Default::default()));
            let official_val = match self.official_val {
                Some(OfficialVal::Drop) => "drop",
                _ => "merge_into_train",
            };
            validation.put("folds_by", self.folds_by());
            for (key, value) in [
                ("policy", Value::Text("fold".into())),
                ("fold", Value::Integer(fold as i64)),
                ("folds", Value::Integer(folds as i64)),
                ("official_val", Value::Text(official_val.into())),
            ] {
                validation.put(key, self.node("folds", value));
            }
            changes.push(("data.validation".into(), validation));
        }
        changes
    }

    /// The value of `data.validation.folds_by` of every run.
    fn folds_by(&self) -> Node {
        let text = |text: &str| self.node("folds_by", Value::Text(text.into()));
        match &self.file.raw.folds_by {
            Some(FoldBy::Appearance) => text("appearance"),
            Some(FoldBy::Class) | None => text("class"),
            Some(FoldBy::Column(name)) => {
                let mut table = self.node("folds_by", Value::Table(Default::default()));
                table.put("column", text(name));
                table
            }
        }
    }

    /// A value that is derived from a key of the experiment.
    fn node(&self, key: &str, value: Value) -> Node {
        let origin = self
            .file
            .tree
            .get(&format!("experiment.{key}"))
            .map(|node| node.origin.clone());
        let origin = origin.unwrap_or(Origin::Implied);
        Node { value, origin }
    }
}
