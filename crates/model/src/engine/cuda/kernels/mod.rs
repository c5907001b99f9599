//! The kernels' CUDA C, joined into one program for a precision.

use ::kernels::Precision;

/// What the GPU alone has; the tests' host brings its own.
const INTRINSICS: &str = include_str!("intrinsics.cu");

/// Files in the order in which they are joined: what is shared comes before what uses it.
const FILES: &[&str] = &[
    include_str!("values.cu"),
    include_str!("elementwise.cu"),
    include_str!("reduce.cu"),
    include_str!("norm.cu"),
    include_str!("linear.cu"),
    include_str!("depthwise.cu"),
    include_str!("spatial.cu"),
    include_str!("gemm.cu"),
    include_str!("conv.cu"),
    include_str!("conv3x3.cu"),
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

/// The program with another device's words in place of the GPU's.
pub fn source_with(precision: Precision, intrinsics: &str) -> String {
    let define = format!("#define PRECISION {}", precision.to_string().to_uppercase());
    let first = [define.as_str(), include_str!("common.cu"), intrinsics];
    first
        .into_iter()
        .chain(FILES.iter().copied())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the text's first parenthesis closes.
    fn closing(text: &str) -> usize {
        let mut depth = 0;
        for (i, c) in text.char_indices() {
            match c {
                '(' => depth += 1,
                ')' if depth == 1 => return i,
                ')' => depth -= 1,
                _ => {}
            }
        }
        panic!("no closing parenthesis: {text}");
    }

    /// A kernel that does not wait would read what the one before it has not written: no test on the host would show it.
    #[test]
    fn every_kernel_waits_for_those_before_it() {
        let mut kernels = 0;
        for file in FILES {
            for (at, word) in file.match_indices("KERNEL(") {
                let line = file[..at].rsplit('\n').next().unwrap_or_default();
                let longer = line.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
                if longer || line.contains("//") || line.contains("#define") {
                    continue;
                }
                let rest = &file[at + word.len() - 1..];
                let body = rest[closing(rest) + 1..].replace('\\', " ");
                let body = body.trim_start().strip_prefix('{').unwrap_or_default();
                let first = body.trim_start();
                assert!(first.starts_with("begin_kernel();"), "{}", &rest[..80]);
                kernels += 1;
            }
        }
        assert!(kernels > 40, "{kernels}");
    }
}
