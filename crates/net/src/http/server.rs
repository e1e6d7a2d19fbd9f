//! The server's side: a handler behind a listening socket.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::message::{self, BodyError};
use super::{Request, Response};
use crate::BoxFuture;

/// Answers one request. A handler that panics closes its connection and nothing else.
pub type Handler = Arc<dyn Fn(Request, Peer) -> BoxFuture<Response> + Send + Sync>;

/// [`Handler`] over hyper's messages, for callers that must pass headers on byte for byte.
pub(crate) type RawHandler =
    Arc<dyn Fn(hyper::Request<Bytes>, Peer) -> BoxFuture<hyper::Response<Bytes>> + Send + Sync>;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
}

/// What a server puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections open at once; further ones wait in the system's queue.
    pub connections_max: usize,
    /// Longest request body, in bytes; a longer one is answered with 413.
    pub body_bytes_max: usize,
    /// Headers in one request; more are answered with 431.
    pub headers_max: usize,
    /// Bytes of one request's head, at least 8,192; longer is answered with 431.
    pub head_bytes_max: usize,
    /// How long a connection may take to send a whole request, idle time before it included, in milliseconds.
    pub request_ms_max: u64,
    /// How long [`Server::stop`] lets requests under way finish, in milliseconds.
    pub stop_ms_max: u64,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            connections_max: 1_024,
            body_bytes_max: 4 << 20,
            headers_max: 128,
            head_bytes_max: 64 << 10,
            request_ms_max: 30_000,
            stop_ms_max: 1_000,
        }
    }
}

/// A running server. Dropping it closes its socket and every connection at once.
pub struct Server {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Serves `listener` on the runtime this is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or when the runtime can't watch one socket more.
    pub fn start(listener: TcpListener, handler: Handler, limits: ServerLimits) -> Server {
        let raw: RawHandler = Arc::new(move |request, peer| {
            let answer = handler(message::incoming(request), peer);
            Box::pin(async move { message::answer(answer.await) })
        });
        Server::start_raw(listener, raw, limits)
    }

    pub(crate) fn start_raw(listener: TcpListener, handler: RawHandler, limits: ServerLimits) -> Server {
        let (listener, address) = crate::adopt(listener);
        let (stopping, watching) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, handler, limits, watching));
        Server {
            address,
            stopping,
            accepting: Mutex::new(Some(accepting)),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way finish for `stop_ms_max`, and closes everything. The second call
    /// does nothing.
    pub async fn stop(&self) {
        let _ = self.stopping.send(true);
        let task = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The task owns the listener and the connections' tasks, so all of them end with it.
        if let Some(task) = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    handler: RawHandler,
    limits: ServerLimits,
    mut stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            _ = stopping.changed() => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            _ = stopping.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let work = serve(stream, Peer { address }, handler.clone(), limits, stopping.clone());
                connections.spawn(async move {
                    work.await;
                    drop(place);
                });
            }
            // The process is out of file descriptors, or the peer is already gone: neither is worth spinning for.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let grace = Duration::from_millis(limits.stop_ms_max);
    let _ = tokio::time::timeout(grace, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

async fn serve(
    stream: TcpStream,
    peer: Peer,
    handler: RawHandler,
    limits: ServerLimits,
    mut stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, peer, handler.clone(), limits));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.request_ms_max))
        .max_headers(limits.headers_max)
        .max_buf_size(limits.head_bytes_max.max(8 << 10))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // A connection that breaks is the client's business: there is nobody here to tell.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    peer: Peer,
    handler: RawHandler,
    limits: ServerLimits,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let head = parts.method == Method::HEAD;
    let reading = message::collect(body, limits.body_bytes_max);
    let read = tokio::time::timeout(Duration::from_millis(limits.request_ms_max), reading).await;
    let mut response = match read {
        Ok(Ok(body)) => handler(hyper::Request::from_parts(parts, body), peer).await,
        Ok(Err(BodyError::TooLarge)) => closing(message::plain(413, "the body is too long\n")),
        Ok(Err(BodyError::Broken(_))) => closing(message::plain(400, "the body can't be read\n")),
        Err(_) => closing(message::plain(408, "the body took too long\n")),
    };
    // Framing follows from the body; only an answer to HEAD tells the length of a body it doesn't have.
    response.headers_mut().remove(TRANSFER_ENCODING);
    if !head {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(response.map(Full::new))
}

/// Part of the body is still on its way, so the connection can't be used again.
fn closing(mut response: hyper::Response<Bytes>) -> hyper::Response<Bytes> {
    response.headers_mut().insert(
        hyper::header::CONNECTION,
        hyper::header::HeaderValue::from_static("close"),
    );
    response
}
