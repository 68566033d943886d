//! No answer, or none that counts.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::upstream::{self, Kind, Step};
use http::StatusCode;

pub(super) struct UpstreamUnreachable;

impl Diagnosis for UpstreamUnreachable {
    fn code(&self) -> &'static str {
        "upstream_unreachable"
    }

    fn summary(&self) -> &'static str {
        "The upstream cannot be reached or is broken at the moment, and nothing is held that could be served instead."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::Unavailable])?;
        let (what, remedy) = told(upstream);
        let sentence = format!("{} cannot be asked for {}: {what}.", upstream.upstream, failure.wanted());
        Some(Finding::new(self.code(), Class::Unreachable, failure, sentence).status(status(upstream)).remedy(remedy))
    }
}

fn timed_out(upstream: &upstream::Failure) -> bool {
    upstream.detail.as_deref().is_some_and(|detail| {
        let detail = detail.to_ascii_lowercase();
        ["timed out", "timeout", "stalled", "deadline"].iter().any(|word| detail.contains(word))
    })
}

/// 504 where time ran out, 502 where an answer was bad, else 503.
fn status(upstream: &upstream::Failure) -> StatusCode {
    match upstream.status {
        Some(504) => StatusCode::GATEWAY_TIMEOUT,
        Some(503) => StatusCode::SERVICE_UNAVAILABLE,
        Some(_) => StatusCode::BAD_GATEWAY,
        None if timed_out(upstream) => StatusCode::GATEWAY_TIMEOUT,
        None if upstream.step == Step::Body => StatusCode::BAD_GATEWAY,
        None => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What happened at which step, and what to do about it.
fn told(upstream: &upstream::Failure) -> (String, String) {
    let host = words::clean(&upstream.host);
    let table = format!("[upstream.\"{}\"]", upstream.upstream);
    let detail = upstream.detail.as_deref().map(|detail| format!(" ({})", words::clean(detail))).unwrap_or_default();
    let times = match upstream.attempts {
        0 | 1 => String::new(),
        attempts => format!(" in {attempts} attempts"),
    };
    if let Some(status) = upstream.status {
        let of = if upstream.step == Step::Token { "its token service " } else { "" };
        return (
            format!("{of}{host} answered {status}{times}"),
            "The fault is on its side; try again later or look at its status page.".to_owned(),
        );
    }
    match upstream.step {
        Step::Resolve => (
            format!("the name of {host} cannot be resolved{detail}"),
            format!("Check the DNS of the machine larder runs on, and url under {table}."),
        ),
        Step::Connect => (
            format!("{host} takes no connection{times}{detail}"),
            format!("Check network and firewall of the machine larder runs on; a proxy is set by proxy under {table}."),
        ),
        Step::Tls => (
            format!("TLS with {host} failed{detail}"),
            format!("Check clock and certificate; an authority of your own is set by ca_file under {table}."),
        ),
        Step::Proxy => (
            format!("the proxy on the way to {host} failed{detail}"),
            format!("Check proxy under {table}, or HTTPS_PROXY and NO_PROXY of larder."),
        ),
        Step::Token => (
            format!("its token service {host} gave no answer{times}{detail}"),
            "Check that larder's machine can reach it; else try again later.".to_owned(),
        ),
        Step::Headers | Step::Redirect => (
            format!("{host} gave no answer{times}{detail}"),
            "Try again later; if it lasts, check the network of the machine larder runs on.".to_owned(),
        ),
        Step::Body => (
            format!("{host} broke off the transfer{times}{detail}"),
            "Try again; if it lasts, check the network of the machine larder runs on.".to_owned(),
        ),
    }
}
