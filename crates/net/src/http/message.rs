//! Between our plain messages and hyper's.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Uri};

use super::{HttpError, Request, Response};

/// The request as hyper sends it.
pub(super) fn outgoing(request: Request, host: &str) -> Result<hyper::Request<Full<Bytes>>, HttpError> {
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| HttpError::Request("the method is not a token".to_owned()))?;
    if !request.path.starts_with('/') {
        return Err(HttpError::Request("the path doesn't start with `/`".to_owned()));
    }
    let uri: Uri = request
        .path
        .parse()
        .map_err(|_| HttpError::Request("the path is not a valid URI".to_owned()))?;
    let mut out = hyper::Request::new(Full::new(Bytes::from(request.body)));
    *out.method_mut() = method;
    *out.uri_mut() = uri;
    *out.headers_mut() = header_map(&request.headers).map_err(HttpError::Request)?;
    finish(&mut out, host)?;
    Ok(out)
}

/// Sets what every request needs and takes away framing, which follows from the body.
pub(super) fn finish<B>(request: &mut hyper::Request<B>, host: &str) -> Result<(), HttpError> {
    let headers = request.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(host).map_err(|error| HttpError::Request(error.to_string()))?;
        headers.insert(HOST, host);
    }
    Ok(())
}

/// A handler's answer as hyper sends it; one that can't be sent becomes a 500.
pub(super) fn answer(response: Response) -> hyper::Response<Bytes> {
    let parts = hyper::StatusCode::from_u16(response.status)
        .map_err(|_| "the status is not between 100 and 999".to_owned())
        .and_then(|status| Ok((status, header_map(&response.headers)?)));
    match parts {
        Ok((status, headers)) => {
            let mut out = hyper::Response::new(Bytes::from(response.body));
            *out.status_mut() = status;
            *out.headers_mut() = headers;
            out
        }
        Err(reason) => plain(500, &format!("the handler's answer can't be sent: {reason}\n")),
    }
}

/// A short answer in plain text.
pub(crate) fn plain(status: u16, text: &str) -> hyper::Response<Bytes> {
    let mut out = hyper::Response::new(Bytes::copy_from_slice(text.as_bytes()));
    *out.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    out.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    out
}

/// The request as a handler sees it.
pub(super) fn incoming(request: hyper::Request<Bytes>) -> Request {
    let (parts, body) = request.into_parts();
    Request {
        method: parts.method.as_str().to_owned(),
        path: parts
            .uri
            .path_and_query()
            .map_or_else(|| parts.uri.to_string(), |path| path.as_str().to_owned()),
        headers: header_list(&parts.headers),
        body: body.to_vec(),
    }
}

/// The response as a caller sees it.
pub(super) fn received(response: hyper::Response<Bytes>) -> Response {
    let (parts, body) = response.into_parts();
    Response {
        status: parts.status.as_u16(),
        headers: header_list(&parts.headers),
        body: body.to_vec(),
    }
}

/// Why a body was not read.
pub(super) enum BodyError {
    TooLarge,
    Broken(String),
}

/// The whole body, or an error as soon as it is longer than `bytes_max`.
pub(super) async fn collect<B>(body: B, bytes_max: usize) -> Result<Bytes, BodyError>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(error) => Err(BodyError::Broken(error_chain(error.as_ref()))),
    }
}

/// An error with its causes, each once.
pub(crate) fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("`{}` is not a header name", name.escape_default()))?;
        // The value may be a credential: it is never part of the error.
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("the value of header `{key}` holds a control character"))?;
        map.try_append(key, value)
            .map_err(|_| "there are too many headers".to_owned())?;
    }
    Ok(map)
}

fn header_list(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}
