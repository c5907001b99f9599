//! "Did you mean …?"

/// The candidate most similar to `name`, if any is similar enough.
pub fn nearest<'c>(name: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let scored = candidates.iter().map(|c| {
        (
            strsim::jaro_winkler(&name.to_lowercase(), &c.to_lowercase()),
            *c,
        )
    });
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.7).then_some(best.1)
}

/// `; did you mean "epochs"?`, or nothing.
pub(crate) fn did_you_mean(name: &str, candidates: &[&str]) -> String {
    nearest(name, candidates)
        .map(|best| format!("; did you mean \"{best}\"?"))
        .unwrap_or_default()
}
