//! The page around a document's blocks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::contents::Contents;
use super::escape::text as escaped;

/// The style of all pages.
pub const STYLE: &str = concat!(
    include_str!("style/base.css"),
    include_str!("style/blocks.css"),
    include_str!("style/widgets.css"),
    include_str!("style/print.css"),
);

/// The script of [`super::movable_threshold`].
pub const THRESHOLDS_SCRIPT: &str =
    concat!("\"use strict\";\n", include_str!("script/thresholds.js"));

const SCRIPT: &str = concat!(
    "\"use strict\";\n",
    include_str!("script/page.js"),
    include_str!("script/tables.js"),
    include_str!("script/thresholds.js"),
    include_str!("script/cases.js"),
);

/// The file with a document's blocks, already rendered, as its main part.
pub(super) fn page(contents: &Contents, body: &str) -> String {
    let title = escaped(contents.title().unwrap_or("Report"));
    let (policy, navigation) = (policy(), navigation(contents));
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n\
         <style>{STYLE}</style>\n\
         </head>\n\
         <body>\n\
         <a class=\"skip\" href=\"#content\">Skip to the content</a>\n\
         <div class=\"page\">\n\
         {navigation}\
         <main id=\"content\" tabindex=\"-1\">\n{body}</main>\n\
         </div>\n\
         <script>{SCRIPT}</script>\n\
         </body>\n\
         </html>\n"
    )
}

/// Nothing is fetched, and no style or script runs but the two in the file, which are named by their checksums. Unlike a
/// nonce these need no server and leave equal reports equal.
fn policy() -> String {
    let [style, script] = [STYLE, SCRIPT].map(|text| STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; \
         form-action 'none'"
    )
}

fn navigation(contents: &Contents) -> String {
    match contents.render().as_str() {
        "" => String::new(),
        links => format!(
            "<nav class=\"contents\" aria-label=\"Contents\"><details open><summary>Contents</summary>{links}</details></nav>\n"
        ),
    }
}
