//! The kernels' CUDA C, joined into one program.

/// Files in the order in which they are joined: what is shared comes before what uses it.
const FILES: [&str; 13] = [
    include_str!("common.cu"),
    include_str!("elementwise.cu"),
    include_str!("reduce.cu"),
    include_str!("norm.cu"),
    include_str!("depthwise.cu"),
    include_str!("spatial.cu"),
    include_str!("gemm.cu"),
    include_str!("conv.cu"),
    include_str!("conv_transpose.cu"),
    include_str!("step.cu"),
    include_str!("class_loss.cu"),
    include_str!("map_loss.cu"),
    include_str!("optimizer.cu"),
];

/// The whole program.
pub fn source() -> String {
    FILES.join("\n")
}
