//! Words of messages.

/// How similar a name must be to be suggested (Jaro–Winkler), as for the keys of settings.
const SIMILAR: f64 = 0.7;

/// `; did you mean "Effusion"?`, or nothing.
pub(crate) fn did_you_mean(name: &str, known: &[&str]) -> String {
    let lower = name.to_lowercase();
    let scored = known
        .iter()
        .map(|k| (strsim::jaro_winkler(&lower, &k.to_lowercase()), k));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, best)) if score > SIMILAR => format!("; did you mean {best:?}?"),
        _ => String::new(),
    }
}
