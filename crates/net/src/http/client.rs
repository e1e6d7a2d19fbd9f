//! The client's side: one connection per request, or a small pool of them to one address.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::message::{self, BodyError};
use super::{HttpError, Limits, Request, Response, Timed};

/// Headers in one response; more are a protocol error.
const HEADERS_MAX: usize = 128;
/// Bytes of one response's head; longer is a protocol error.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Connections a [`Client`] keeps open without using them.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// How long a connection stays in the pool unused. Servers close idle connections after five seconds and more;
/// staying well below means that we never send into one that is just being closed.
const IDLE_MS_MAX: u64 = 2_000;
/// How long a connection may take to be ready for its next request.
const READY_MS_MAX: u64 = 20;

/// Sends one request over a connection of its own, which is closed afterwards.
///
/// # Errors
/// See [`HttpError`]; a response of any status is no error.
pub async fn send(address: SocketAddr, request: Request, limits: &Limits) -> Result<Response, HttpError> {
    let request = message::outgoing(request, &address.to_string())?;
    within(limits, async {
        let mut connection = Connection::open(address).await?;
        let response = connection.exchange(request, limits).await;
        Ok(message::received(response.map_err(|refused| refused.error)?))
    })
    .await
}

/// [`send`], with the time it took.
pub async fn timed(address: SocketAddr, request: Request, limits: &Limits) -> Timed {
    let start = Instant::now();
    let response = send(address, request, limits).await;
    Timed {
        response,
        elapsed: start.elapsed(),
    }
}

/// A client of one address that keeps connections alive. Any number of requests may be under way at once, each on
/// a connection of its own.
///
/// A request that meets a connection which the server has closed meanwhile is sent again on a fresh one if no byte
/// of it was sent, or if its method is idempotent (RFC 9110 section 9.2.2).
pub struct Client {
    address: SocketAddr,
    host: String,
    /// Most recently used last. The lock is never held over an await.
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Client {
    /// Doesn't connect yet.
    pub fn new(address: SocketAddr) -> Self {
        Client {
            address,
            host: address.to_string(),
            idle: Mutex::new(Vec::new()),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends one request.
    ///
    /// # Errors
    /// See [`HttpError`]; a response of any status is no error.
    pub async fn send(&self, request: Request, limits: &Limits) -> Result<Response, HttpError> {
        let request = message::outgoing(request, &self.host)?;
        Ok(message::received(self.exchange(request, limits).await?))
    }

    /// [`Client::send`], with the time it took.
    pub async fn timed(&self, request: Request, limits: &Limits) -> Timed {
        let start = Instant::now();
        let response = self.send(request, limits).await;
        Timed {
            response,
            elapsed: start.elapsed(),
        }
    }

    /// Sends a request with headers as they came, for the router.
    pub(crate) async fn forward(
        &self,
        request: hyper::Request<Bytes>,
        limits: &Limits,
    ) -> Result<hyper::Response<Bytes>, HttpError> {
        let mut request = request.map(Full::new);
        message::finish(&mut request, &self.host)?;
        self.exchange(request, limits).await
    }

    async fn exchange(
        &self,
        request: hyper::Request<Full<Bytes>>,
        limits: &Limits,
    ) -> Result<hyper::Response<Bytes>, HttpError> {
        within(limits, async {
            let mut request = request;
            // A reused connection may turn out to be closed; after that a fresh one decides.
            if let Some(mut connection) = self.ready_connection().await {
                let spare = request.method().is_idempotent().then(|| request.clone());
                match connection.exchange(request, limits).await {
                    Ok(response) => {
                        self.keep(connection);
                        return Ok(response);
                    }
                    Err(refused) => match (refused.unsent, spare, &refused.error) {
                        (Some(unsent), _, _) => request = unsent,
                        (None, Some(spare), HttpError::Closed(_)) => request = spare,
                        _ => return Err(refused.error),
                    },
                }
            }
            let mut connection = Connection::open(self.address).await?;
            let response = connection
                .exchange(request, limits)
                .await
                .map_err(|refused| refused.error)?;
            self.keep(connection);
            Ok(response)
        })
        .await
    }

    /// A kept connection that takes a request now, if there is one.
    async fn ready_connection(&self) -> Option<Connection> {
        while let Some(mut connection) = self.take_idle() {
            // A connection needs a moment after its last response. One that needs longer still sends a body which
            // the server didn't want to read.
            let ready = tokio::time::timeout(Duration::from_millis(READY_MS_MAX), connection.sender.ready());
            if let Ok(Ok(())) = ready.await {
                return Some(connection);
            }
        }
        None
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(connection, since)| {
            since.elapsed() < Duration::from_millis(IDLE_MS_MAX) && !connection.sender.is_closed()
        });
        // The most recently used one is the least likely to be closed by the server.
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX && !connection.sender.is_closed() {
            idle.push((connection, Instant::now()));
        }
    }
}

/// One connection and the task that moves its bytes; dropping it closes the connection whatever is under way.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

/// Why an exchange failed, with the request when none of it was sent.
struct Refused {
    error: HttpError,
    unsent: Option<hyper::Request<Full<Bytes>>>,
}

impl From<HttpError> for Refused {
    fn from(error: HttpError) -> Self {
        Refused { error, unsent: None }
    }
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, HttpError> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| HttpError::Connect(error.to_string()))?;
        // Requests are written whole, so waiting for more to send only costs time.
        let _ = stream.set_nodelay(true);
        let (sender, driver) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| HttpError::Connect(message::error_chain(&error)))?;
        let driver = tokio::spawn(async move {
            // What goes wrong here reaches the caller through `sender`.
            let _ = driver.await;
        });
        Ok(Connection {
            sender,
            driver: driver.abort_handle(),
        })
    }

    async fn exchange(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
        limits: &Limits,
    ) -> Result<hyper::Response<Bytes>, Refused> {
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                let unsent = error.take_message();
                return Err(Refused {
                    error: sorted(error.error()),
                    unsent,
                });
            }
        };
        let (parts, body) = response.into_parts();
        match message::collect(body, limits.body_bytes_max).await {
            Ok(body) => Ok(hyper::Response::from_parts(parts, body)),
            Err(BodyError::TooLarge) => Err(HttpError::BodyTooLarge {
                bytes_max: limits.body_bytes_max,
            }
            .into()),
            Err(BodyError::Broken(reason)) => Err(HttpError::Closed(reason).into()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn sorted(error: &hyper::Error) -> HttpError {
    let reason = message::error_chain(error);
    if error.is_parse() {
        HttpError::Protocol(reason)
    } else {
        HttpError::Closed(reason)
    }
}

async fn within<T>(limits: &Limits, work: impl Future<Output = Result<T, HttpError>>) -> Result<T, HttpError> {
    match tokio::time::timeout(Duration::from_millis(limits.timeout_ms), work).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::Timeout {
            after_ms: limits.timeout_ms,
        }),
    }
}
