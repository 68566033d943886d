//! The distribution API as a client: what an upstream answers, or how it failed.

mod failure;

pub use failure::{Failure, Kind, RateBudget, Step};
