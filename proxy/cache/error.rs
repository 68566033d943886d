//! Why something could not be served.

use crate::{
    store,
    upstream::{self, Failure, Kind, Step, Upstream},
};
use std::sync::Arc;

/// Why something could not be served. Cheap to clone: one failure is told to all who waited.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Cause {
    /// Upstream did not give it, and nothing is held that may be served instead.
    #[error("upstream did not give it")]
    Upstream(#[source] Arc<upstream::Failure>),
    /// It is not held, and larder may not dial this upstream.
    #[error("it is not held and the upstream may not be dialled")]
    Offline,
    /// Upstream did not answer in time; the work goes on.
    #[error("no answer within {seconds} s")]
    Slow {
        /// How long was waited.
        seconds: u64,
    },
    /// The store failed, and upstream was not the matter.
    #[error("the store failed")]
    Store(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// A defect of larder itself.
    #[error("a task of larder ended unexpectedly")]
    Defect,
}

impl From<upstream::Failure> for Cause {
    fn from(failure: upstream::Failure) -> Self {
        Self::Upstream(Arc::new(failure))
    }
}

impl From<store::Error> for Cause {
    fn from(error: store::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// What the cache itself finds wrong with a body that upstream sends.
pub(super) fn failure_of_body(upstream: &Upstream, kind: Kind, detail: &str) -> Failure {
    let host = upstream.config().urls.first().map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    Failure::new(upstream.registry(), kind, Step::Body, host).with_detail(detail)
}
