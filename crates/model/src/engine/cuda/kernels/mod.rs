//! The kernels' CUDA C source, joined into one program for a precision.

use ::kernels::Precision;

/// Functions specific to the GPU; the tests' host provides its own.
const INTRINSICS: &str = include_str!("intrinsics.cu");

/// Files in the order in which they are joined: definitions come before their uses.
const FILES: &[&str] = &[
    include_str!("values.cu"),
    include_str!("elementwise.cu"),
    include_str!("reduce.cu"),
    include_str!("norm.cu"),
    include_str!("linear.cu"),
    include_str!("depthwise.cu"),
    include_str!("spatial.cu"),
    include_str!("region_pool.cu"),
    include_str!("gemm.cu"),
    include_str!("conv.cu"),
    include_str!("conv3x3.cu"),
    include_str!("conv_few.cu"),
    include_str!("conv_transpose.cu"),
    include_str!("step.cu"),
    include_str!("class_loss.cu"),
    include_str!("map_loss.cu"),
    include_str!("optimizer.cu"),
];

/// The whole program.
pub fn source(precision: Precision) -> String {
    source_with(precision, INTRINSICS)
}

/// The program with another device's intrinsics in place of the GPU's.
pub fn source_with(precision: Precision, intrinsics: &str) -> String {
    let define = format!("#define PRECISION {}", precision.to_string().to_uppercase());
    let first = [define.as_str(), include_str!("common.cu"), intrinsics];
    first
        .into_iter()
        .chain(FILES.iter().copied())
        .collect::<Vec<_>>()
        .join("\n")
}
