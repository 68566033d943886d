//! Answer from the store, or fill exactly once.

use crate::upstream;
use std::sync::Arc;

/// Why a target could not be served.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // made once per failed pull, then only read
pub enum Cause {
    /// The upstream failed, and nothing is held that may stand in.
    Upstream(upstream::Failure),
    /// Nobody may be dialled, and it is not held.
    Offline,
    /// Too much is going on.
    Busy,
    /// The directory failed.
    Store(Arc<dyn std::error::Error + Send + Sync>),
}
