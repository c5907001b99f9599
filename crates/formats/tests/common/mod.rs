//! Helpers shared by the tests.

use model::graph::{Activation, Graph, GraphBuilder, Init, Padding};

/// The network of `torch_files/make.py`, with every parameter layout once.
pub(crate) fn network() -> Graph {
    let mut g = GraphBuilder::new(3);
    let init = Init::Normal(0.5);
    let x = g.conv(
        "encoder.stem",
        g.input(),
        4,
        3,
        1,
        Padding::Symmetric(1),
        true,
        init,
    );
    let x = g.depthwise("encoder.dw", x, 5, 1, Padding::Symmetric(2), init);
    let x = g.batch_norm("encoder.bn", x, 1e-5, 0.1);
    let x = g.activation("encoder.act", x, Activation::Relu);
    let x = g.conv_transpose2x2("decoder.up", x, 6, init);
    let x = g.global_avg_pool("pool", x);
    let x = g.linear("head", x, 2, init);
    g.publish("logits", x);
    g.finish(1).unwrap()
}
