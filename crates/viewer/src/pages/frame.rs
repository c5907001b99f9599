//! What is around the content of every page.

use maud::{DOCTYPE, Markup, html};
use pipeline::predict::INTENDED_USE;

use crate::Viewer;

/// A page.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    pub(super) here: Place,
    /// Names of the scripts that it needs.
    pub(super) scripts: &'a [&'a str],
    pub(super) body: Markup,
}

/// The page among those that are linked on every page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Worklist,
    NewImages,
    Elsewhere,
}

impl Viewer {
    pub(super) fn page(&self, page: Page<'_>) -> Markup {
        let link = |place: Place, href: &str, words: &str| {
            html! { li { a href=(href) aria-current=[(place == page.here).then_some("page")] { (words) } } }
        };
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (page.title) }
                    link rel="stylesheet" href="/assets/viewer.css";
                    link rel="icon" href="data:,";
                    @for script in page.scripts {
                        script src={ "/assets/" (script) } defer {}
                    }
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        p.brand { (self.name()) }
                        nav aria-label="Pages" {
                            ul {
                                @if self.study.is_some() { (link(Place::Worklist, "/", "Worklist")) }
                                @if let Some(path) = self.uploads { (link(Place::NewImages, path, "New images")) }
                                @if self.report().is_some() { (link(Place::Elsewhere, "/report", "Report")) }
                            }
                        }
                    }
                    main #content tabindex="-1" { (page.body) }
                    footer { p { "For " (INTENDED_USE.trim_start_matches("for ")) "." } }
                }
            }
        }
    }

    /// What is looked at.
    fn name(&self) -> String {
        let network = || {
            let meta = self.predictor.as_ref()?.networks().first().meta();
            let origin = &meta.origin;
            Some(if origin.title.is_empty() {
                &origin.pipeline
            } else {
                &origin.title
            })
        };
        match (&self.study, network()) {
            (Some(study), _) => study.title.clone(),
            (None, Some(network)) => network.clone(),
            (None, None) => "Viewer".into(),
        }
    }

    /// The path of the run's report.
    pub(crate) fn report(&self) -> Option<std::path::PathBuf> {
        let path = self.study.as_ref()?.folder.join("report.html");
        path.is_file().then_some(path)
    }
}

/// The page of a request that cannot be answered.
pub(crate) fn fault(viewer: &Viewer, title: &str, words: &str) -> Markup {
    viewer.page(Page {
        title,
        here: Place::Elsewhere,
        scripts: &[],
        body: html! {
            h1 { (title) }
            p { (words) }
            @if viewer.study.is_some() { p { a href="/" { "To the worklist" } } }
        },
    })
}
