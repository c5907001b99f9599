//! Style and scripts of the pages, which are inside the program.

/// Style, scripts, and their types, by name.
pub(crate) fn asset(name: &str) -> Option<(&'static str, String)> {
    const STYLE: &str = "text/css; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    Some(match name {
        "viewer.css" => (
            STYLE,
            [report::html::STYLE, include_str!("assets/viewer.css")].concat(),
        ),
        "thresholds.js" => (SCRIPT, report::html::THRESHOLDS_SCRIPT.into()),
        "worklist.js" => (SCRIPT, include_str!("assets/worklist.js").into()),
        "stage.js" => (SCRIPT, include_str!("assets/stage.js").into()),
        _ => return None,
    })
}
