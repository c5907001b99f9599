//! Linear layers on one vector per image: heads, and squeeze-excite's convolutions of a single pixel.

use kernels::{Activation, Window};

use super::driver::Launch;
use super::epilogue::code;
use super::pass::{Done, Pass};
use crate::graph::{NodeId, Op};
use crate::plan::Kind;

/// Whether a node is a linear layer: f32 vectors in and out.
pub(super) fn is_linear(pass: &Pass<'_>, id: NodeId) -> bool {
    let x = pass.input(id, 0);
    let single = match pass.graph.node(id).op {
        Op::Conv2d { window, .. } => window == Window::POINT,
        Op::Linear { .. } => true,
        _ => false,
    };
    let pixel = pass.shape(x).h == 1 && pass.shape(x).w == 1;
    // A norm after it needs the moments, which only a matrix product computes.
    let alone = pass.norm_of_product(id).is_none();
    single && alone && pixel && pass.kind(x) == Kind::F32 && pass.kind(id) == Kind::F32
}

/// `out = act(x · w + bias)`.
pub(super) fn forward(
    pass: &mut Pass<'_>,
    id: NodeId,
    activation: Option<Activation>,
    out: NodeId,
) -> Done {
    let x = pass.input(id, 0);
    let (n, cin, cout) = (pass.shape(x).n, pass.shape(x).c, pass.shape(id).c);
    let args = [
        pass.value(x).into(),
        pass.param(id, 0).into(),
        pass.param(id, 1).into(),
        pass.value(out).into(),
        cin.into(),
        cout.into(),
        code(activation),
    ];
    // A long sum is divided into more parts.
    let outputs = if cin >= 128 { 8 } else { 32 };
    let block = [outputs as u32, Launch::THREADS / outputs as u32];
    pass.launch(
        "linear_forward",
        [cout.div_ceil(outputs), n, 1],
        block,
        &args,
    )
}

pub(super) fn backward(pass: &mut Pass<'_>, id: NodeId) -> Done {
    let x = pass.input(id, 0);
    let (n, cin, cout) = (pass.shape(x).n, pass.shape(x).c, pass.shape(id).c);
    let dy = pass.grad(id);
    if let Some(dw) = pass.param_grad(id, 0) {
        let db = pass.param_grad(id, 1);
        let args = [
            pass.value(x).into(),
            dy.into(),
            dw.into(),
            db.into(),
            n.into(),
            cin.into(),
            cout.into(),
        ];
        let rows = cin + usize::from(db.is_some());
        pass.launch_elements("linear_backward_weight", rows * cout, &args)?;
    }
    let Some((dx, add)) = pass.gradient_to_write(x) else {
        return Ok(());
    };
    let args = [
        dy.into(),
        pass.param(id, 0).into(),
        dx.into(),
        cin.into(),
        cout.into(),
        add.into(),
    ];
    pass.launch(
        "linear_backward_input",
        [cin.div_ceil(8), n, 1],
        [32, 8],
        &args,
    )
}
