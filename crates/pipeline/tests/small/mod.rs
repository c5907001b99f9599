//! The smallest network with all results.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use formats::checkpoint::{Checkpoint, MapClasses, Meta, Preprocessing};
use model::graph::{GraphBuilder, Init, Padding};
use model::store::ParamStore;

const SIDE: usize = 16;

/// A classifier whose class map was trained on masks, so that a prediction consists of overlay, mask and class.
pub(crate) fn checkpoint() -> Checkpoint {
    let mut g = GraphBuilder::new(3);
    let padding = Padding::Symmetric(0);
    let map = g.conv("map", g.input(), 2, 1, 1, padding, true, Init::Normal(0.3));
    g.publish("map", map);
    let pooled = g.global_avg_pool("pool", map);
    let logits = g.linear("head", pooled, 2, Init::Normal(0.5));
    g.publish("logits", logits);
    let graph = g.finish(1).unwrap();
    let preprocessing = Preprocessing::stretched((SIDE, SIDE), vec![0.5; 3], vec![0.25; 3]);
    let mut meta = Meta::new(["WELL", "ILL"], preprocessing);
    meta.map = Some(MapClasses {
        classes: vec!["background".into(), "lung".into()],
        values: vec![0, 255],
    });
    let store = ParamStore::initialized(&graph, 1);
    Checkpoint::new(graph, store, meta)
}
