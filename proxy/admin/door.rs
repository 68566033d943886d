//! The admin door: what may be read.

use super::{
    Admin,
    connection::{Answer, answer},
};
use http::{HeaderValue, Method, Request, StatusCode, header};

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn respond<B>(admin: &Admin, request: &Request<B>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "This door is for reading only: GET or HEAD.\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/livez" => answer(StatusCode::OK, TEXT, "larder is alive.\n"),
        "/readyz" if admin.is_ready() => answer(StatusCode::OK, TEXT, "larder is ready.\n"),
        "/readyz" => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "larder is starting or stopping.\n"),
        "/metrics" => match admin.metrics.encode() {
            Ok(text) => answer(StatusCode::OK, OPEN_METRICS, text),
            Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "The metrics cannot be written.\n"),
        },
        _ => answer(StatusCode::NOT_FOUND, TEXT, "There is no such page; there are /livez, /readyz and /metrics.\n"),
    }
}
