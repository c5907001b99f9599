//! Connections: accepted, served, and ended in order.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use futures_util::future::select;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use pipeline::predict::Predictor;
use terminal::Interrupt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;
use viewer::{Study, Viewer};

use crate::access::{Client, Token};
use crate::audit::{Audit, Event};
use crate::batches::Batches;
use crate::metrics::Metrics;
use crate::routes::{Service, router, viewing};
use crate::{Limits, Options};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 1024;

/// For a request's head to arrive, and for a connection without requests to stay.
const HEAD: Duration = Duration::from_secs(15);

/// How often an interrupt is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Serves a network until the process is asked to stop, by Ctrl-C or SIGTERM: no new connections, answers to the
/// requests that are there, then the end. `study` is the run to look at, if there is one. `ready` is called with the
/// address once connections are accepted.
///
/// # Errors
/// The address is taken, or the audit log cannot be written.
pub fn serve(
    predictor: Predictor,
    study: Option<Study>,
    options: Options,
    interrupt: &Interrupt,
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    let (runtime, listener) = bound(options.address)?;
    let times = Times::of(&options.limits);
    let (service, thread) = start(predictor, study, options)?;
    ready(listener.local_addr()?);
    let stopping = || service.stopping.store(true, Ordering::Relaxed);
    runtime.block_on(serving(
        &listener,
        router(service.clone()),
        times,
        stopped(interrupt),
        stopping,
    ));
    stop(runtime, service, thread)
}

/// Serves the pages about a run until the process is asked to stop. Nothing is predicted for clients, and nothing is
/// recorded.
///
/// # Errors
/// The address is taken.
pub fn view(
    viewer: Viewer,
    (address, token): (SocketAddr, Option<&Token>),
    interrupt: &Interrupt,
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    let (runtime, listener) = bound(address)?;
    let (router, times) = (
        viewing(Arc::new(viewer), token),
        Times::of(&Limits::default()),
    );
    ready(listener.local_addr()?);
    runtime.block_on(serving(&listener, router, times, stopped(interrupt), || {}));
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// How long clients may take.
#[derive(Clone, Copy)]
struct Times {
    /// For a request's head to arrive.
    head: Duration,
    /// For a client to take its answer.
    leaving: Duration,
}

impl Times {
    fn of(limits: &Limits) -> Self {
        Times {
            head: limits.reading.min(HEAD),
            leaving: limits.leaving,
        }
    }
}

/// The threads that wait for clients (those of the network do the work), and where clients connect.
fn bound(address: SocketAddr) -> Result<(Runtime, TcpListener)> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start the service")?;
    let listener = runtime.block_on(TcpListener::bind(address));
    let listener = listener.with_context(|| {
        format!("cannot listen on {address} (choose another address with --bind)")
    })?;
    Ok((runtime, listener))
}

fn start(
    predictor: Predictor,
    study: Option<Study>,
    options: Options,
) -> Result<(Arc<Service>, JoinHandle<()>)> {
    let mut audit = Audit::open(&options.audit)?;
    audit.append([Event::Started {
        version: pipeline::VERSION.into(),
        weights_sha256: predictor.sha256().into(),
    }])?;
    let audit = Arc::new(Mutex::new(audit));
    let metrics = Metrics::new(predictor.sha256());
    let predictor = Arc::new(predictor);
    let batches = Batches {
        predictor: predictor.clone(),
        audit: audit.clone(),
        metrics: metrics.clone(),
        most: options.limits.batch,
    };
    let (sender, thread) = batches.start()?;
    let service = Service::new(predictor, study, options, metrics, audit, sender);
    Ok((Arc::new(service), thread))
}

/// Ends what still runs, and says so in the audit log.
fn stop(runtime: Runtime, service: Arc<Service>, thread: JoinHandle<()>) -> Result<()> {
    runtime.shutdown_timeout(Duration::from_secs(1));
    let audit = service.audit.clone();
    drop(service);
    // It holds no panic: the thread ends when its last sender is gone.
    let _ = thread.join();
    let stopped = crate::batches::append(&audit, [Event::Stopped]);
    stopped.map_err(|problem| anyhow::anyhow!(problem.detail))
}

/// Answers clients until `end`; `stopping` is called when no more are accepted.
async fn serving(
    listener: &TcpListener,
    router: Router,
    times: Times,
    end: impl Future<Output = ()>,
    stopping: impl FnOnce(),
) {
    let graceful = GracefulShutdown::new();
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let accepting = async {
        loop {
            let Ok(permit) = free.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, client)) => {
                    let connection = graceful.watcher();
                    let router = router.clone();
                    tokio::spawn(async move {
                        connected(stream, client, router, connection, times).await;
                        drop(permit);
                    });
                }
                // Such as too many open files: connections that end make room.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    };
    select(pin!(accepting), pin!(end)).await;
    stopping();
    if tokio::time::timeout(times.leaving, graceful.shutdown())
        .await
        .is_err()
    {
        terminal::say("some clients did not take their answers in time");
    }
}

/// Serves one connection until it ends.
async fn connected(
    stream: TcpStream,
    client: SocketAddr,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
    times: Times,
) {
    // Answers are written at once: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // A client that takes nothing of its answer.
    stream.set_write_timeout(Some(times.leaving));
    let respond = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Client(client.ip()));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(times.head)
        .serve_connection(TokioIo::new(Box::pin(stream)), respond);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Returns once the process is asked to stop.
async fn stopped(interrupt: &Interrupt) {
    let raised = async {
        while !interrupt.raised() {
            tokio::time::sleep(LOOK).await;
        }
    };
    select(pin!(raised), pin!(terminated())).await;
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    pending::<()>().await;
}
