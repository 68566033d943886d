//! The bytes of an answer, as they become ready.

use super::slice::{read_slice_at_once, read_slice_blocking};
use crate::upstream::Failure;
use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream::BoxStream};
use std::{
    fs::File,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// The bytes of a blob, or of a part of it.
///
/// An error means that the rest cannot be given: the connection is to be broken off, so that what was sent looks as
/// incomplete as it is.
pub struct Content(Source);

enum Source {
    Held { file: Arc<File>, position: u64, end: u64, reading: Option<BoxFuture<'static, io::Result<Bytes>>> },
    Arriving(BoxStream<'static, Result<Bytes, Interrupted>>),
}

/// Why the rest of a body cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// The file of the blob could not be read.
    #[error("the stored blob could not be read")]
    Store(#[source] io::Error),
    /// Upstream did not give it, or gave something else.
    #[error("upstream did not give the rest")]
    Upstream(#[source] Arc<Failure>),
    /// A defect of larder itself.
    #[error("a task of larder ended unexpectedly")]
    Defect,
}

impl Content {
    pub(super) fn held(file: Arc<File>, position: u64, end: u64) -> Self {
        Self(Source::Held { file, position, end, reading: None })
    }

    pub(super) fn arriving(stream: impl Stream<Item = Result<Bytes, Interrupted>> + Send + 'static) -> Self {
        Self(Source::Arriving(stream.boxed()))
    }
}

impl Stream for Content {
    type Item = Result<Bytes, Interrupted>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Source::Arriving(stream) => stream.poll_next_unpin(context),
            Source::Held { position, end, .. } if position == end => Poll::Ready(None),
            Source::Held { file, position, end, reading } => {
                let read = match reading {
                    Some(future) => match future.poll_unpin(context) {
                        Poll::Ready(read) => {
                            *reading = None;
                            read
                        }
                        Poll::Pending => return Poll::Pending,
                    },
                    None => match read_slice_at_once(file, *position, *end - *position) {
                        Ok(Some(bytes)) => Ok(bytes),
                        Ok(None) => {
                            *reading = Some(read_slice_blocking(Arc::clone(file), *position, *end - *position).boxed());
                            return self.poll_next(context);
                        }
                        Err(error) => Err(error),
                    },
                };
                Poll::Ready(Some(match read {
                    Ok(bytes) => {
                        *position += bytes.len() as u64;
                        Ok(bytes)
                    }
                    Err(error) => {
                        *position = *end;
                        Err(Interrupted::Store(error))
                    }
                }))
            }
        }
    }
}
