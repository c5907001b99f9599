//! Addresses.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use axum::Router;
use axum::extract::{Path, Query as Extracted, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use imaging::encode;
use maud::Markup;
use tokio::task::spawn_blocking;

use crate::pages;
use crate::pictures;
use crate::query::{Query, Written};
use crate::study::Study;
use crate::{Viewer, assets};

/// Longest side of a picture in the worklist, in pixels: twice the side at which it is shown.
const THUMBNAIL: u32 = 112;

/// What a page may do: show pictures of this service and of itself, run the scripts of this service, ask this service.
const POLICY: &str = "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

type Shared = State<Arc<Viewer>>;

impl Viewer {
    /// The pages, and what they show.
    pub fn router(self: Arc<Self>) -> Router {
        let mut router = Router::new().route("/assets/{name}", get(asset));
        if self.study.is_some() {
            router = router
                .route("/", get(worklist))
                .route("/report", get(report))
                .route("/cases/{number}", get(case))
                .route("/cases/{number}/thumbnail", get(thumbnail))
                .route("/cases/{number}/image", get(image))
                .route("/cases/{number}/overlay", get(overlay))
                .route("/cases/{number}/mask", get(mask))
                .route("/cases/{number}/map/{class}", get(map));
        }
        router.with_state(self)
    }

    /// The response with a page.
    pub fn respond(status: StatusCode, page: String) -> Response {
        const PRIVATE: [(HeaderName, &str); 4] = [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (status, PRIVATE, html, page).into_response()
    }

    /// Does work that takes long, besides the threads that wait for clients.
    async fn working<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Viewer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let viewer = self.clone();
        let _turn = self.work.acquire().await?;
        spawn_blocking(move || work(&viewer)).await?
    }

    /// A router with cases has a study.
    fn study(&self) -> Result<&Study> {
        self.study
            .as_ref()
            .ok_or_else(|| anyhow!("there is no run"))
    }
}

fn ok(page: Markup) -> Response {
    Viewer::respond(StatusCode::OK, page.into_string())
}

fn missing(viewer: &Viewer, error: &anyhow::Error) -> Response {
    let page = pages::fault(viewer, "Not found", &format!("{error:#}"));
    Viewer::respond(StatusCode::NOT_FOUND, page.into_string())
}

async fn asset(Path(name): Path<String>) -> Response {
    match assets::asset(&name) {
        Some((media, text)) => {
            let headers = [
                (header::CONTENT_TYPE, media),
                (header::CACHE_CONTROL, "max-age=60"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn worklist(State(viewer): Shared, Extracted(written): Extracted<Written>) -> Response {
    match viewer.study() {
        Ok(study) => ok(pages::worklist(&viewer, study, &Query::from(written))),
        Err(error) => missing(&viewer, &error),
    }
}

/// The run's report, which has a policy of its own.
async fn report(State(viewer): Shared) -> Response {
    let path = viewer.report();
    let read = move |_: &Viewer| {
        let path = path.ok_or_else(|| anyhow!("the run has no report.html"))?;
        Ok(std::fs::read(path)?)
    };
    match viewer.clone().working(read).await {
        Ok(html) => file("text/html; charset=utf-8", html),
        Err(error) => missing(&viewer, &error),
    }
}

async fn case(
    State(viewer): Shared,
    Path(number): Path<usize>,
    Extracted(written): Extracted<Written>,
) -> Response {
    if let Err(error) = viewer.case(number) {
        return missing(&viewer, &error);
    }
    let opened = viewer
        .clone()
        .working(move |viewer| viewer.open(number))
        .await;
    let opened = opened.map_err(|error| format!("{error:#}"));
    let query = Query::from(written);
    match viewer.study() {
        Ok(study) => ok(pages::case(&viewer, study, (number, &query), &opened)),
        Err(error) => missing(&viewer, &error),
    }
}

async fn thumbnail(State(viewer): Shared, Path(number): Path<usize>) -> Response {
    let small = move |viewer: &Viewer| {
        let image = viewer.read(viewer.case(number)?)?;
        Ok(encode::thumbnail(&image, THUMBNAIL)?)
    };
    picture("image/jpeg", viewer.working(small).await)
}

async fn image(State(viewer): Shared, Path(number): Path<usize>) -> Response {
    let whole = move |viewer: &Viewer| Ok(encode::whole(&viewer.open(number)?.image)?);
    picture("image/png", viewer.working(whole).await)
}

/// The overlay that the run would draw, for browsers without a script; the image where the network has no map.
async fn overlay(State(viewer): Shared, Path(number): Path<usize>) -> Response {
    let drawn = move |viewer: &Viewer| {
        let opened = viewer.open(number)?;
        let drawn = match &viewer.predictor {
            Some(predictor) => predictor.overlay(&opened.image, opened.found(predictor)?)?,
            None => None,
        };
        Ok(match drawn {
            Some(drawn) => encode::picture(&drawn)?,
            None => encode::whole(&opened.image)?,
        })
    };
    picture("image/png", viewer.working(drawn).await)
}

async fn map(State(viewer): Shared, Path((number, class)): Path<(usize, usize)>) -> Response {
    let drawn = move |viewer: &Viewer| {
        let network = viewer.predictor.as_ref();
        let network = network.ok_or_else(|| anyhow!("there is no network"))?;
        let opened = viewer.open(number)?;
        pictures::map(network, &opened.image, opened.found(network)?, class)
    };
    picture("image/png", viewer.working(drawn).await)
}

async fn mask(State(viewer): Shared, Path(number): Path<usize>) -> Response {
    let marks = move |viewer: &Viewer| {
        let size = viewer.open(number)?.image.size();
        let marks = viewer.study()?.images.marked(viewer.case(number)?, size)?;
        Ok(encode::mask(size, &marks, &[0, 255])?)
    };
    picture("image/png", viewer.working(marks).await)
}

fn picture(media: &'static str, drawn: Result<Vec<u8>>) -> Response {
    match drawn {
        Ok(bytes) => file(media, bytes),
        Err(error) => (StatusCode::NOT_FOUND, format!("{error:#}")).into_response(),
    }
}

/// A file that no browser keeps, since it may show a patient.
fn file(media: &'static str, bytes: Vec<u8>) -> Response {
    const PRIVATE: [(HeaderName, HeaderValue); 2] = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (PRIVATE, [(header::CONTENT_TYPE, media)], bytes).into_response()
}
