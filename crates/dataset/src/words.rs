//! Words of messages.

/// How similar a name must be to be suggested (Jaro–Winkler).
const SIMILAR: f64 = 0.7;

/// The known name most similar to `name`, whatever its case, if any is similar enough.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let similarity = |k: &str| strsim::jaro_winkler(&name.to_lowercase(), &k.to_lowercase());
    let scored = known.iter().map(|k| (similarity(k), *k));
    let (score, best) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > SIMILAR).then_some(best)
}

/// `; did you mean "epochs"?`, or nothing.
pub fn did_you_mean(name: &str, known: &[&str]) -> String {
    nearest(name, known)
        .map(|best| format!("; did you mean \"{best}\"?"))
        .unwrap_or_default()
}

/// `1 image`, `2 images`.
pub(crate) fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `1 image has`, `2 images have`.
pub(crate) fn counted_with(n: usize, what: &str, one: &str, many: &str) -> String {
    format!("{} {}", counted(n, what), if n == 1 { one } else { many })
}
