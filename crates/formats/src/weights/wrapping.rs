//! Prefixes that wrappers put in front of a model's names: `DataParallel`, `torch.compile`, Lightning modules.

use super::tensors::Tensors;

const PREFIXES: [&str; 4] = ["module.", "_orig_mod.", "model.", "net."];

/// Strips the prefixes, however many are nested, and records them. A wrapper may have a few tensors of its own (a loss,
/// the input's mean) in addition to the model's, so it is enough if most names have the prefix; the others are left
/// unchanged.
pub(super) fn strip(tensors: &mut Tensors) {
    while let Some(prefix) = PREFIXES.into_iter().find(|p| is_wrapper(tensors, p)) {
        for entry in &mut tensors.entries {
            if let Some(rest) = entry.name.strip_prefix(prefix) {
                entry.name = rest.into();
            }
        }
        tensors.unwrapped.push(prefix.into());
    }
}

fn is_wrapper(tensors: &Tensors, prefix: &str) -> bool {
    let wrapped = tensors
        .entries
        .iter()
        .filter(|t| t.name.starts_with(prefix))
        .count();
    2 * wrapped > tensors.entries.len()
}
