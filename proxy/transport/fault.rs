//! Why a request got no answer, in words a person can act on. Never a URL with its query, never a header: redirect
//! targets are signed.

use super::{CONNECT_TIMEOUT, address::Refused, issuer::UnknownIssuer, resolver::ResolveError};
use rustls::CertificateError;
use std::{error::Error as StdError, io, time::Duration};

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The name was being resolved, or the address was checked.
    Resolve,
    /// The connection was being made.
    Connect,
    /// TLS was being agreed on.
    Tls,
    /// The proxy was being asked.
    Proxy,
    /// The request was sent; headers were awaited.
    Headers,
    /// The body was being read.
    Body,
}

/// A request that got no answer, or a body that broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// How far it got.
    pub step: Step,
    /// The cause in words.
    pub detail: String,
    /// Whether larder itself refused to dial.
    pub refused: bool,
    /// Whether time ran out.
    pub timed_out: bool,
}

impl Fault {
    pub(super) fn refused(refused: Refused) -> Self {
        Self { step: Step::Resolve, detail: refused.to_string(), refused: true, timed_out: false }
    }

    /// Time ran out at `step` after `waited`.
    pub fn timed_out(step: Step, waited: Duration) -> Self {
        let detail = format!("timed out after {} s", waited.as_secs_f64().round());
        Self { step, detail, refused: false, timed_out: true }
    }

    /// A body that broke off.
    pub fn of_body(error: &reqwest::Error) -> Self {
        Self { step: Step::Body, ..Self::of(error, false) }
    }

    /// Reads the chain of causes of `error`.
    pub(super) fn of(error: &reqwest::Error, proxied: bool) -> Self {
        let fault = |step, detail: String| Self { step, detail, refused: false, timed_out: false };
        let (mut found, mut tunnel) = (None, None);
        let mut next: Option<&(dyn StdError + 'static)> = error.source();
        while let Some(cause) = next {
            next = cause.source();
            if let Some(resolve) = cause.downcast_ref::<ResolveError>() {
                let refused = matches!(resolve, ResolveError::Refused(_));
                let timed_out = matches!(resolve, ResolveError::TimedOut);
                let step = if proxied { Step::Proxy } else { Step::Resolve };
                return Self { step, detail: resolve.to_string(), refused, timed_out };
            }
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                return fault(Step::Tls, tls_words(tls));
            }
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                // `source` of an io::Error skips what it carries.
                next = io.get_ref().map(|inner| inner as &(dyn StdError + 'static));
                found = Some(io_words(io));
            } else if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
                found = hyper_words(hyper).or(found);
            } else if cause.to_string().starts_with("tunnel error") {
                tunnel = Some(cause.to_string().replacen("tunnel error", "the proxy refused", 1));
            }
        }
        if let Some(tunnel) = tunnel {
            return fault(Step::Proxy, found.unwrap_or(tunnel));
        }
        if error.is_connect() {
            let step = if proxied { Step::Proxy } else { Step::Connect };
            if error.is_timeout() {
                return Self::timed_out(step, CONNECT_TIMEOUT);
            }
            return fault(step, found.unwrap_or_else(|| "connection failed".to_owned()));
        }
        fault(Step::Headers, found.unwrap_or_else(|| "connection broke off".to_owned()))
    }
}

fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::ConnectionAborted => "connection aborted".to_owned(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => "connection closed".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        kind => kind.to_string(),
    }
}

fn hyper_words(error: &hyper::Error) -> Option<String> {
    if error.is_incomplete_message() {
        Some("connection closed before the answer was complete".to_owned())
    } else if error.is_parse_too_large() {
        Some("headers too large".to_owned())
    } else if error.is_parse() || error.is_parse_status() {
        Some("the answer is not HTTP/1.1".to_owned())
    } else if error.is_canceled() || error.is_closed() {
        Some("connection closed".to_owned())
    } else {
        None
    }
}

fn tls_words(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else {
        return match error {
            rustls::Error::AlertReceived(alert) => format!("TLS refused by the other side: {alert:?}"),
            rustls::Error::InvalidMessage(_) => "the other side does not speak TLS".to_owned(),
            rustls::Error::PeerIncompatible(_) => "no TLS version or cipher in common".to_owned(),
            _ => "TLS failed".to_owned(),
        };
    };
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate is for another name".to_owned()
        }
        CertificateError::UnknownIssuer => "issuer unknown".to_owned(),
        CertificateError::Revoked => "certificate revoked".to_owned(),
        CertificateError::Other(other) => match other.0.downcast_ref::<UnknownIssuer>() {
            Some(unknown) => unknown.to_string(),
            None => "certificate is not accepted".to_owned(),
        },
        _ => "certificate is not accepted".to_owned(),
    }
}
