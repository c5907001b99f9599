//! The resources of the service.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use imaging::{Decoder, ImageFile, ImagingError, check_format};
use pipeline::predict::Predictor;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use viewer::{Seen, Study, Viewer};

use crate::access::{self, Client, Clients, Token};
use crate::answer::{Answer, Answers, Completed, Wanted};
use crate::audit::Audit;
use crate::batches::{self, Order, Work};
use crate::card::Card;
use crate::metrics::{Metrics, Present};
use crate::problem::Problem;
use crate::stow;
use crate::upload::{self, Upload};
use crate::{Limits, Options};

/// Identifies a request in its answer, in the audit log and in messages.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The page to which a reader sends images.
const NEW_IMAGES: &str = "/new";

/// Most images of a request whose answer is a page, which holds all their pixels.
const ON_A_PAGE: usize = 16;

/// The description of the service for programs, with the version left out.
const OPENAPI: &str = include_str!("openapi.json");

/// Everything that requests share.
pub(crate) struct Service {
    pub(crate) predictor: Arc<Predictor>,
    viewer: Arc<Viewer>,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) audit: Arc<Mutex<Audit>>,
    pub(crate) batches: mpsc::Sender<Work>,
    /// Requests that may still come in.
    requests: Arc<Semaphore>,
    /// KiB that requests may still send.
    memory: Arc<Semaphore>,
    /// Images that may be decoded at the same time.
    decoders: Arc<Semaphore>,
    /// Thousands of pixels that may still be decoded.
    pixels: Arc<Semaphore>,
    clients: Clients,
    pub(crate) stopping: AtomicBool,
    started: u128,
    count: AtomicU64,
}

impl Service {
    pub(crate) fn new(
        predictor: Arc<Predictor>,
        study: Option<Study>,
        options: Options,
        metrics: Arc<Metrics>,
        audit: Arc<Mutex<Audit>>,
        batches: mpsc::Sender<Work>,
    ) -> Self {
        let limits = &options.limits;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Service {
            requests: permits(limits.requests as u64),
            // A request of the largest size always fits.
            memory: permits(kib(limits.memory.max(limits.bytes))),
            decoders: permits(threads as u64),
            pixels: permits(thousands(limits.waiting_pixels())),
            viewer: Arc::new(Viewer::new(
                study,
                Some(predictor.clone()),
                Some(NEW_IMAGES),
            )),
            predictor,
            options,
            metrics,
            audit,
            batches,
            clients: Clients::default(),
            stopping: AtomicBool::new(false),
            started: since.map_or(0, |since| since.as_micros()),
            count: AtomicU64::new(0),
        }
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// An identifier that no other request has, also not of a service that was started earlier.
    fn identifier(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{count:x}", self.started)
    }

    fn decoder(&self) -> Decoder {
        let decoder = self.predictor.networks().first().decoder();
        Decoder {
            max_pixels: decoder.max_pixels.min(self.limits().pixels),
            ..decoder
        }
    }
}

fn permits(n: u64) -> Arc<Semaphore> {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS)))
}

fn kib(bytes: usize) -> u64 {
    bytes.div_ceil(1024) as u64
}

fn thousands(pixels: u64) -> u64 {
    pixels.div_ceil(1000)
}

pub(crate) fn router(service: Arc<Service>) -> Router {
    let viewer = service.viewer.clone();
    let mut asked = Router::new()
        .route("/predict", post(predict))
        .route("/model", get(model))
        .route("/metrics", get(metrics))
        .route("/dicomweb/studies", post(stow::studies))
        .route("/dicomweb/studies/{study}", post(stow::study))
        .route(NEW_IMAGES, get(form).post(new_images));
    if !viewer.has_cases() {
        asked = asked.route("/", get(|| async { Redirect::to(NEW_IMAGES) }));
    }
    let asked = asked.with_state(service.clone()).merge(viewer.router());
    // Whether the service lives may be asked by whoever reaches it, such as an orchestrator.
    let anyone = Router::new()
        .route("/health", get(health))
        .route("/openapi.json", get(openapi))
        .with_state(service.clone());
    protected(asked, service.options.token.as_ref())
        .merge(anyone)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
}

/// The viewer alone.
pub(crate) fn viewing(viewer: Arc<Viewer>, token: Option<&Token>) -> Router {
    protected(viewer.router(), token).fallback(unknown)
}

/// What only those may ask who are allowed to.
fn protected(router: Router, token: Option<&Token>) -> Router {
    router.layer(middleware::from_fn_with_state(token.cloned(), allowed))
}

async fn allowed(State(token): State<Option<Token>>, request: Request, next: Next) -> Response {
    match access::check(token.as_ref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn unknown() -> Problem {
    let there = "the pages begin at /; for programs, `serve` has POST /predict, GET /health, /model, /metrics and \
                 /openapi.json";
    Problem::new(StatusCode::NOT_FOUND, there)
}

async fn wrong_method() -> Problem {
    let detail = "images are sent to /predict with POST; everything else is asked with GET";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

async fn health(State(service): State<Arc<Service>>) -> Response {
    if service.stopping.load(Ordering::Relaxed) {
        return Problem::busy("the service is stopping").into_response();
    }
    if service.batches.is_closed() {
        return Problem::busy("the service no longer predicts; start it again").into_response();
    }
    json(StatusCode::OK, &Health { status: "ok" })
}

async fn model(State(service): State<Arc<Service>>) -> Response {
    json(StatusCode::OK, &Card::of(&service.predictor))
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media)], service.metrics.text()).into_response()
}

async fn openapi() -> Response {
    let text = OPENAPI.replace("\"VERSION\"", &format!("{:?}", pipeline::VERSION));
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// `POST /predict`.
async fn predict(State(service): State<Arc<Service>>, request: Request) -> Response {
    let wanted = Query::try_from_uri(request.uri());
    let wanted = wanted
        .map(|Query(wanted)| wanted)
        .map_err(|error| Problem::malformed(error.body_text()));
    respond(&service, request, wanted, async |identifier, answered| {
        let images = match answered {
            Ok(images) => images,
            Err(problem) => return problem.into_response(),
        };
        let answers = Answers {
            request: identifier.to_owned(),
            images: images
                .into_iter()
                .map(|image| Answer::of(image.name, image.result))
                .collect(),
        };
        json(answers.status(), &answers)
    })
    .await
}

/// The page to which a reader sends images.
async fn form(State(service): State<Arc<Service>>) -> Response {
    Viewer::respond(StatusCode::OK, service.viewer.new_images(vec![]))
}

/// The images that a reader has sent, on a page.
async fn new_images(State(service): State<Arc<Service>>, request: Request) -> Response {
    let wanted = Wanted {
        view: true,
        ..Wanted::default()
    };
    let viewer = service.viewer.clone();
    respond(
        &service,
        request,
        Ok(wanted),
        async |_, answered| match answered {
            Ok(images) => {
                let seen = images.into_iter().map(seen).collect();
                Viewer::respond(StatusCode::OK, viewer.new_images(seen))
            }
            Err(problem) => Viewer::respond(problem.status, viewer.refused(&problem.detail)),
        },
    )
    .await
}

fn seen(image: Named) -> Seen {
    let result = image.result.map_err(|problem| problem.detail);
    let result = result.and_then(|completed| {
        let pictures = completed.pictures;
        let pictures = pictures.ok_or_else(|| "the image was not drawn".to_owned())?;
        Ok((completed.prediction, pictures))
    });
    Seen {
        name: image.name,
        result,
    }
}

/// An image that a client has sent, and what became of it.
pub(crate) struct Named {
    /// As the client named it.
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) result: Result<Completed, Problem>,
}

/// Predicts a request's images, and makes a response of them.
pub(crate) async fn respond(
    service: &Arc<Service>,
    request: Request,
    wanted: Result<Wanted, Problem>,
    response: impl AsyncFnOnce(&str, Result<Vec<Named>, Problem>) -> Response,
) -> Response {
    let started = Instant::now();
    let identifier: Arc<str> = service.identifier().into();
    let answered = answer(service, &identifier, request, wanted).await;
    let mut response = response(&identifier, answered).await;
    let (status, took) = (response.status(), started.elapsed());
    service.metrics.request(status, took);
    tracing::info!(request = %identifier, status = status.as_u16(), ?took, "predict");
    if let Ok(value) = HeaderValue::from_str(&identifier) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn answer(
    service: &Arc<Service>,
    identifier: &Arc<str>,
    request: Request,
    wanted: Result<Wanted, Problem>,
) -> Result<Vec<Named>, Problem> {
    let full = |_| Problem::busy("too many requests are waiting; ask again in a second");
    let _request = service.requests.try_acquire().map_err(full)?;
    let most = service.limits().per_client;
    let client = request.extensions().get::<Client>();
    let _client = client.map(|client| service.clients.count(client.0, most));
    let _client = _client.transpose()?;
    let _present = Present::of(&service.metrics.in_flight);
    let wanted = wanted?;
    let (head, body) = request.into_parts();
    let bytes = upload::announced(&head.headers, service.limits())?;
    let _memory = acquire(&service.memory, kib(bytes)).await?;
    let images = upload::images(&head.headers, body, service.limits()).await?;
    if wanted.view && images.len() > ON_A_PAGE {
        return Err(Problem::too_large(format!(
            "a page can show {ON_A_PAGE} images; send fewer at a time"
        )));
    }
    within(service, all(service, identifier, images, wanted)).await
}

/// Waits until `n` permits are free.
async fn acquire(
    of: &Arc<Semaphore>,
    n: u64,
) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    let permit = of.clone().acquire_many_owned(n).await;
    permit.map_err(|_| Problem::busy("the service is stopping"))
}

async fn within<T>(
    service: &Service,
    predicting: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let time = service.limits().predicting;
    let late = |_| {
        let seconds = time.as_secs();
        Problem::busy(format!(
            "the images could not be predicted within {seconds} seconds; ask again later"
        ))
    };
    tokio::time::timeout(time, predicting).await.map_err(late)?
}

/// Predicts the images of a request. If this future is dropped, because the client has left, so are they.
async fn all(
    service: &Arc<Service>,
    identifier: &Arc<str>,
    images: Vec<Upload>,
    wanted: Wanted,
) -> Result<Vec<Named>, Problem> {
    let mut tasks = JoinSet::new();
    for (i, image) in images.into_iter().enumerate() {
        let (service, identifier) = (service.clone(), identifier.clone());
        tasks.spawn(async move {
            let name = image.name.clone();
            let bytes = image.bytes.clone();
            let result = one(&service, &identifier, image.bytes, wanted).await;
            let named = Named {
                name,
                bytes,
                result,
            };
            (i, named)
        });
    }
    let mut answers = vec![];
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer.map_err(|error| Problem::internal(&error))?);
    }
    answers.sort_by_key(|(i, _)| *i);
    Ok(answers.into_iter().map(|(_, named)| named).collect())
}

async fn one(
    service: &Arc<Service>,
    identifier: &Arc<str>,
    bytes: Bytes,
    wanted: Wanted,
) -> Result<Completed, Problem> {
    let image = decoded(service, identifier, bytes.clone()).await?;
    let (rows, columns) = image.size();
    let pixels = thousands((rows * columns) as u64);
    let (reply, prediction) = oneshot::channel();
    let work = Work {
        image,
        order: Order {
            bytes,
            wanted,
            request: identifier.clone(),
            reply,
            _pixels: acquire(&service.pixels, pixels).await?,
        },
        _waiting: Present::of(&service.metrics.waiting),
    };
    let gone = "the service no longer predicts; start it again";
    let sent = service.batches.send(work).await;
    sent.map_err(|_| Problem::busy(gone))?;
    prediction.await.map_err(|_| Problem::busy(gone))?
}

/// Decodes an image, in a thread of its own; the audit log says so if it cannot be decoded.
async fn decoded(
    service: &Arc<Service>,
    identifier: &Arc<str>,
    bytes: Bytes,
) -> Result<ImageFile, Problem> {
    let _decoder = acquire(&service.decoders, 1).await?;
    let (decoder, audit, identifier) =
        (service.decoder(), service.audit.clone(), identifier.clone());
    let decode = move || {
        decode(decoder, &bytes).or_else(|problem| {
            batches::refused(&audit, &identifier, &bytes, &problem)?;
            Err(problem)
        })
    };
    let broken = |_| Problem::bad_image("the image could not be decoded");
    spawn_blocking(decode).await.map_err(broken)?
}

fn decode(decoder: Decoder, bytes: &[u8]) -> Result<ImageFile, Problem> {
    check_format(bytes).map_err(Problem::no_image)?;
    let image = ImageFile::of_bytes("image".as_ref(), bytes, decoder);
    image.map_err(|error| match error {
        // Without the path, which is none.
        ImagingError::BadImage { reason, .. } => Problem::bad_image(reason),
        error => Problem::bad_image(error.to_string()),
    })
}
