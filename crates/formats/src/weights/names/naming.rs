//! A family's tables applied to a graph: what each of the encoder's parameters is called in a file.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{Blocks, Table};
use super::{Computes, Family};
use model::graph::Graph;

/// Prefix of the encoder's parameters in a graph.
pub(in super::super) const ENCODER: &str = "encoder.";

/// A family's names for one graph's encoder.
#[derive(Debug)]
pub(in super::super) struct Naming {
    family: Family,
    blocks: usize,
    /// File's name to graph's.
    ours: BTreeMap<String, String>,
}

/// Where a tensor of a file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Target<'n> {
    /// This parameter.
    Parameter(&'n str),
    /// The layers after the last stage.
    Tail,
    /// Outside the encoder.
    Elsewhere,
}

impl Naming {
    pub(in super::super) fn new(family: Family, graph: &Graph) -> Naming {
        let names = graph.params.iter().map(|p| p.name.as_str());
        let places = Places::of(names.clone());
        let theirs = |name: &str| places.theirs(family.table(), name.strip_prefix(ENCODER)?);
        Naming {
            family,
            blocks: places.0.len(),
            ours: names
                .filter_map(|name| Some((theirs(name)?, name.to_owned())))
                .collect(),
        }
    }

    pub(in super::super) fn family(&self) -> Family {
        self.family
    }

    /// How the family's network of this size computes, if its names imply it.
    pub(in super::super) fn computes(&self) -> Computes {
        Computes::of_family(self.family, self.blocks)
    }

    /// A tensor's name without the prefix of the family's encoder; `None` if it lacks the prefix.
    pub(in super::super) fn in_encoder<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.family.table().encoder)
    }

    /// Where the file's tensor belongs.
    pub(in super::super) fn target(&self, name: &str) -> Target<'_> {
        let table = self.family.table();
        if let Some(ours) = self.ours.get(name) {
            return Target::Parameter(ours);
        }
        let rest = name.strip_prefix(table.encoder);
        match rest.is_some_and(|rest| table.tail.iter().any(|t| rest.starts_with(t))) {
            true => Target::Tail,
            false => Target::Elsewhere,
        }
    }

    /// Graph's name to file's.
    #[cfg(test)]
    pub(in super::super) fn theirs(&self) -> BTreeMap<&str, &str> {
        self.ours
            .iter()
            .map(|(theirs, ours)| (ours.as_str(), theirs.as_str()))
            .collect()
    }
}

/// Each block's index, counted across all stages.
struct Places(BTreeMap<(usize, usize), usize>);

impl Places {
    fn of<'a>(names: impl Iterator<Item = &'a str>) -> Places {
        let blocks: BTreeSet<(usize, usize)> = names
            .filter_map(|name| block(name.strip_prefix(ENCODER)?))
            .map(|(stage, block, _)| (stage, block))
            .collect();
        Places(blocks.into_iter().zip(0..).collect())
    }

    /// The family's name for a parameter of the encoder, given without the encoder's prefix.
    fn theirs(&self, table: &Table, name: &str) -> Option<String> {
        let place = block(name);
        let (rows, layer) = match place {
            None => (table.outside, name),
            Some((0, _, layer)) => (table.separable, layer),
            Some((_, _, layer)) => (table.inverted, layer),
        };
        let row = rows.iter().find_map(|(ours, theirs)| {
            let leaf = layer.strip_prefix(ours)?;
            leaf.starts_with('.').then(|| format!("{theirs}{leaf}"))
        })?;
        let block = match place {
            None => String::new(),
            Some((s, b, _)) => match table.blocks {
                Blocks::ByStage => format!("blocks.{s}.{b}."),
                Blocks::Flat => format!("_blocks.{}.", self.0.get(&(s, b))?),
                Blocks::Features => format!("features.{}.{b}.block.", s + 1),
            },
        };
        Some(format!("{}{block}{row}", table.encoder))
    }
}

/// Stage, block and layer of `blocks.STAGE.BLOCK.LAYER`.
fn block(name: &str) -> Option<(usize, usize, &str)> {
    let mut parts = name.strip_prefix("blocks.")?.splitn(3, '.');
    let stage = parts.next()?.parse().ok()?;
    let block = parts.next()?.parse().ok()?;
    Some((stage, block, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::build::{ModelSpec, build};

    fn encoder(name: &str) -> ModelSpec {
        ModelSpec {
            encoder: Some(name.into()),
            decoder: Some("none".into()),
            head: "bottleneck".into(),
            ..ModelSpec::default()
        }
    }

    fn check(family: Family, spec: &ModelSpec, expected: &[(&str, &str)]) {
        let graph = build(spec).unwrap();
        let naming = Naming::new(family, &graph);
        let theirs = naming.theirs();
        for param in graph.params.iter().filter(|p| p.name.starts_with(ENCODER)) {
            assert!(theirs.contains_key(param.name.as_str()), "{}", param.name);
        }
        for (ours, other) in expected {
            assert_eq!(theirs.get(ours), Some(other), "{family}");
        }
    }

    #[test]
    fn every_parameter_has_a_name_in_every_family() {
        let all = [
            "efficientnet_b0",
            "tf_efficientnet_b7",
            "efficientnet_lite0",
            "tf_efficientnet_lite4",
        ];
        for family in Family::ALL {
            for name in all {
                check(family, &encoder(name), &[]);
            }
            // Its encoder includes conv_head and its norm.
            let keras = ModelSpec {
                architecture: "eff_unet_keras".into(),
                ..ModelSpec::default()
            };
            check(family, &keras, &[]);
        }
    }

    #[test]
    fn names_match_each_family() {
        let (first, last) = (
            "encoder.blocks.0.1.conv_pw.weight",
            "encoder.blocks.6.1.bn3.running_var",
        );
        let se = "encoder.blocks.1.0.se.conv_reduce.bias";
        let check = |family, names: [&str; 3]| {
            check(
                family,
                &encoder("efficientnet_b1"),
                &[(first, names[0]), (se, names[1]), (last, names[2])],
            );
        };
        check(
            Family::Timm,
            [
                "blocks.0.1.conv_pw.weight",
                "blocks.1.0.se.conv_reduce.bias",
                "blocks.6.1.bn3.running_var",
            ],
        );
        check(
            Family::SmpOwn,
            [
                "encoder._blocks.1._project_conv.weight",
                "encoder._blocks.2._se_reduce.bias",
                "encoder._blocks.22._bn2.running_var",
            ],
        );
        check(
            Family::Torchvision,
            [
                "features.1.1.block.2.0.weight",
                "features.2.0.block.2.fc1.bias",
                "features.7.1.block.3.1.running_var",
            ],
        );
    }
}
