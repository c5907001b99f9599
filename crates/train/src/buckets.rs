//! The division of what processes add up into buckets, in the order in which a backward pass completes them: while it
//! computes the next ones, a bucket is under way to the other processes.

use std::ops::Range;
use std::sync::mpsc::Sender;

use model::graph::{Graph, NodeId};
use model::network::Watch;
use model::store::{Group, ParamMap, ParamStore};

/// Numbers of a bucket, at least: 4 MiB. Smaller ones would cost more messages, larger ones leave more to be sent after the
/// backward pass, whose last bucket has the parameters of the first nodes.
const LEAST: usize = 1 << 20;

/// All numbers that are added up: buckets of gradients, and then the changes of the running statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets {
    gradients: Vec<Bucket>,
    /// Where the changes of the running statistics are among all numbers.
    statistics: Range<usize>,
}

/// Gradients of nodes that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bucket {
    /// The first node: the gradients are final once they are for this node and all after it.
    from: NodeId,
    /// Positions in each trainable group.
    groups: [Range<usize>; 2],
    /// Where they are among all numbers.
    at: Range<usize>,
}

impl Buckets {
    pub(super) fn new(graph: &Graph, map: &ParamMap) -> Self {
        Self::of_at_least(LEAST, graph, map)
    }

    fn of_at_least(least: usize, graph: &Graph, map: &ParamMap) -> Self {
        let starts = starts(graph, map);
        let mut buckets = Buckets::default();
        let mut ends = Group::TRAINABLE.map(|group| map.len(group));
        for (id, start) in graph.ids().rev().zip(starts.iter().rev()) {
            let [decayed, plain] = [start[0]..ends[0], start[1]..ends[1]];
            let len = decayed.len() + plain.len();
            if len >= least || (id == NodeId::INPUT && len > 0) {
                let at = buckets.len();
                buckets.gradients.push(Bucket {
                    from: id,
                    groups: [decayed, plain],
                    at: at..at + len,
                });
                buckets.statistics = at + len..at + len;
                ends = *start;
            }
        }
        buckets.statistics.end += map.len(Group::Buffers);
        buckets
    }

    /// Number of all numbers.
    pub(super) fn len(&self) -> usize {
        self.statistics.end
    }

    /// Where the numbers of each bucket are among all, those of the statistics last.
    pub(super) fn places(&self) -> impl Iterator<Item = Range<usize>> {
        let gradients = self.gradients.iter().map(|bucket| bucket.at.clone());
        gradients.chain([self.statistics.clone()])
    }

    /// All gradients times `weight`, in the order of the buckets.
    pub(super) fn pack(&self, gradients: &ParamStore, weight: f32, values: &mut Vec<f32>) {
        for bucket in &self.gradients {
            bucket.pack(gradients, weight, values);
        }
    }

    /// Writes all gradients, each a sum divided by `images`; returns the rest, the changes of the running statistics.
    pub(super) fn spread<'w>(
        &self,
        whole: &'w [f32],
        images: f32,
        gradients: &mut ParamStore,
    ) -> &'w [f32] {
        for Bucket { groups, at, .. } in &self.gradients {
            let mut rest = &whole[at.clone()];
            for (group, range) in Group::TRAINABLE.into_iter().zip(groups) {
                let (own, others) = rest.split_at(range.len());
                let means = gradients.group_mut(group)[range.clone()]
                    .iter_mut()
                    .zip(own);
                means.for_each(|(gradient, sum)| *gradient = sum / images);
                rest = others;
            }
        }
        &whole[self.statistics.clone()]
    }
}

impl Bucket {
    fn pack(&self, gradients: &ParamStore, weight: f32, values: &mut Vec<f32>) {
        for (group, range) in Group::TRAINABLE.into_iter().zip(&self.groups) {
            let own = &gradients.group(group)[range.clone()];
            values.extend(own.iter().map(|g| g * weight));
        }
    }
}

/// For each node, the number of values of the nodes before it in each trainable group, which are the group's first.
fn starts(graph: &Graph, map: &ParamMap) -> Vec<[usize; 2]> {
    let mut ends = [0; 2];
    let mut starts = vec![];
    for id in graph.ids() {
        starts.push(ends);
        for param in &graph.node(id).params {
            let (group, range) = map.place(*param);
            if let Some(end) = ends.get_mut(group as usize) {
                *end = range.end.max(*end);
            }
        }
    }
    starts
}

/// Sends buckets of gradients, times `weight`, as soon as a backward pass has completed them.
pub(super) fn sending(buckets: &Buckets, weight: f32, to: Sender<Vec<f32>>) -> Watch {
    let mut rest = buckets.gradients.clone().into_iter().peekable();
    Box::new(move |gradients, done| {
        while let Some(bucket) = rest.next_if(|bucket| bucket.from >= done) {
            let mut values = Vec::with_capacity(bucket.at.len());
            bucket.pack(gradients, weight, &mut values);
            // Nobody receives it if the exchange has failed, which the receiver reports.
            let _ = to.send(values);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use model::graph::{GraphBuilder, Init, Padding};

    use super::*;

    fn graph() -> Graph {
        let mut g = GraphBuilder::new(1);
        let mut x = g.input();
        for i in 0..5 {
            let same = Padding::Symmetric(1);
            x = g.conv(
                &format!("conv{i}"),
                x,
                4,
                3,
                1,
                same,
                true,
                Init::Normal(0.4),
            );
            x = g.batch_norm(&format!("bn{i}"), x, 1e-5, 0.1);
        }
        g.publish("map", x);
        g.finish(1).unwrap()
    }

    /// Every number once, those of the last nodes first; and back.
    #[test]
    fn buckets_divide_all_gradients() {
        let graph = graph();
        let map = std::sync::Arc::new(ParamMap::new(&graph));
        let mut gradients = ParamStore::zeros(map.clone());
        for group in Group::TRAINABLE {
            let values = gradients.group_mut(group).iter_mut().enumerate();
            values.for_each(|(i, v)| *v = (i + 1000 * group as usize) as f32);
        }
        for (least, n) in [(1, 10), (100, 5), (200, 3), (usize::MAX, 1)] {
            let buckets = Buckets::of_at_least(least, &graph, &map);
            assert_eq!(buckets.gradients.len(), n, "{least}");
            let places: Vec<_> = buckets.places().collect();
            assert_eq!(places[0].start, 0);
            assert!(places.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(places[n].len(), map.len(Group::Buffers));
            let mut packed = vec![];
            buckets.pack(&gradients, 2.0, &mut packed);
            assert_eq!(packed.len(), places[n].start);
            let mut whole = packed.clone();
            whole.resize(buckets.len(), 7.0);
            let mut back = ParamStore::zeros(map.clone());
            let rest = buckets.spread(&whole, 2.0, &mut back);
            assert!(rest.iter().all(|v| *v == 7.0));
            for group in Group::TRAINABLE {
                assert_eq!(back.group(group), gradients.group(group));
            }
            // Told node by node, they arrive in the same order, and none before its first node is done.
            let (to, from) = channel();
            let mut send = sending(&buckets, 2.0, to);
            let mut arrived: Vec<f32> = vec![];
            for done in graph.ids().rev() {
                send(&gradients, done);
                while let Ok(values) = from.try_recv() {
                    let bucket = buckets
                        .gradients
                        .iter()
                        .find(|b| b.at.start == arrived.len());
                    assert!(bucket.unwrap().from >= done);
                    arrived.extend(values);
                }
            }
            assert_eq!(arrived, packed);
        }
    }
}
