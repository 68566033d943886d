//! What an answer carries.

use crate::{
    cache::{Content, Interrupted},
    metrics::Metrics,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The body of an answer.
pub(super) enum Body {
    /// Nothing, as for HEAD.
    Empty,
    /// A document.
    Whole(Bytes),
    /// A blob, or a part of one.
    Blob { content: Content, left_bytes: Option<u64>, metrics: Arc<Metrics> },
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Blob { content, left_bytes, metrics } => {
                Poll::Ready(match ready!(content.poll_next_unpin(context)) {
                    Some(Ok(bytes)) => {
                        metrics.sent_bytes.inc_by(bytes.len() as u64);
                        if let Some(left) = left_bytes {
                            *left = left.saturating_sub(bytes.len() as u64);
                        }
                        Some(Ok(Frame::data(bytes)))
                    }
                    Some(Err(error)) => {
                        // Why was logged once, where it happened; a thousand callers may share it.
                        tracing::debug!(error = &error as &dyn std::error::Error, "a body is broken off");
                        Some(Err(error))
                    }
                    None => None,
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Blob { left_bytes, .. } => *left_bytes == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Blob { left_bytes, .. } => left_bytes.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
