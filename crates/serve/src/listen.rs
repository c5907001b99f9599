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

use crate::Options;
use crate::access::Client;
use crate::audit::{Audit, Event};
use crate::batches::Batches;
use crate::metrics::Metrics;
use crate::routes::{Service, router};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 1024;

/// For a request's head to arrive, and for a connection without requests to stay.
const HEAD: Duration = Duration::from_secs(15);

/// How often an interrupt is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Serves a network until the process is asked to stop, by Ctrl-C or SIGTERM: no new connections, answers to the
/// requests that are there, then the end. `ready` is called with the address once connections are accepted.
///
/// # Errors
/// The address is taken, or the audit log cannot be written.
pub fn serve(
    predictor: Predictor,
    options: Options,
    interrupt: &Interrupt,
    ready: impl FnOnce(SocketAddr),
) -> Result<()> {
    // The threads of the network do the work; those of the runtime wait for clients.
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start the service")?;
    let listener = runtime.block_on(TcpListener::bind(options.address));
    let listener = listener.with_context(|| {
        format!(
            "cannot listen on {} (choose another address with --bind)",
            options.address
        )
    })?;
    let (service, thread) = start(predictor, options)?;
    ready(listener.local_addr()?);
    runtime.block_on(serving(&listener, &service, interrupt));
    stop(runtime, service, thread)
}

fn start(predictor: Predictor, options: Options) -> Result<(Arc<Service>, JoinHandle<()>)> {
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
    let service = Service::new(predictor, options, metrics, audit, sender);
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

async fn serving(listener: &TcpListener, service: &Arc<Service>, interrupt: &Interrupt) {
    let (router, graceful) = (router(service.clone()), GracefulShutdown::new());
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let limits = &service.options.limits;
    let (head, leaving) = (limits.reading.min(HEAD), limits.leaving);
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
                        connected(stream, client, router, connection, (head, leaving)).await;
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
    select(pin!(accepting), pin!(stopped(interrupt))).await;
    service.stopping.store(true, Ordering::Relaxed);
    if tokio::time::timeout(leaving, graceful.shutdown())
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
    (head, leaving): (Duration, Duration),
) {
    // Answers are written at once: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    // A client that takes nothing of its answer.
    stream.set_write_timeout(Some(leaving));
    let respond = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Client(client.ip()));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
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
