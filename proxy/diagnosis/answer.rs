//! A finding as an HTTP answer: all channels that some client shows carry the same words.

use super::{Agent, Asker, Class, Finding, words};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Well inside what kubelet's events and clients' lines keep.
const REASON_SIZE_BYTES_MAX: usize = 400;
/// Beyond it a client that waits would only keep its user waiting for the failure.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// What the registry door sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase: printable ASCII, at most 400 bytes. HEAD carries no body, so the finding is here too.
    pub reason: String,
    /// The body (distribution-spec 1.1, "Error Codes"): `application/json`.
    pub body: Bytes,
    /// The value of `Warning` (distribution-spec 1.1, "Warnings").
    pub warning: String,
    /// The value of `Retry-After`, in whole seconds.
    pub retry_after: Option<Duration>,
}

/// The answer to `asker`. `honest` turns the shaping of the status off.
pub fn answer(finding: &Finding, asker: &Asker, honest: bool) -> Answer {
    let status = status(finding, asker, honest);
    let message = finding.message();
    let reason = words::ascii(&message, REASON_SIZE_BYTES_MAX);
    Answer {
        status,
        body: body(finding, &message),
        warning: format!("299 - {}", words::quoted_string(&reason)),
        reason,
        retry_after: retry_after(finding, status),
    }
}

/// The status table of the design.
fn status(finding: &Finding, asker: &Asker, honest: bool) -> StatusCode {
    if honest {
        return finding.status;
    }
    match finding.class {
        Class::Missing if asker.is_shaped() => StatusCode::GONE,
        Class::Unreachable if asker.is_shaped() => StatusCode::SERVICE_UNAVAILABLE,
        // containerd repeats a 429 six times at once; whoever honours Retry-After may know the truth.
        Class::RateLimited if asker.is_shaped() || asker.agent != Agent::ContainersImage => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => finding.status,
    }
}

/// A 429 never comes without it.
fn retry_after(finding: &Finding, status: StatusCode) -> Option<Duration> {
    // A started second is a whole one: who comes too early is refused again.
    let told = finding.retry_after.map(|told| {
        let seconds = told.as_secs().saturating_add(u64::from(told.subsec_nanos() > 0));
        Duration::from_secs(seconds).max(RETRY_AFTER_MIN)
    });
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Some(told.filter(|told| *told <= RETRY_AFTER_MAX).unwrap_or(RETRY_AFTER_MIN));
    }
    told.filter(|_| status == StatusCode::SERVICE_UNAVAILABLE)
}

fn body(finding: &Finding, message: &str) -> Bytes {
    let mut detail = Map::new();
    detail.insert("cause".to_owned(), Value::from(finding.code));
    for (name, value) in &finding.evidence {
        detail.insert((*name).to_owned(), Value::from(value.as_str()));
    }
    let body = json!({
        "errors": [{ "code": finding.oci_code.as_str(), "message": message, "detail": detail }]
    });
    Bytes::from(body.to_string())
}
