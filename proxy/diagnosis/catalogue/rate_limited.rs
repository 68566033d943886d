//! Too many pulls for the upstream's taste.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::upstream::{self, Kind};

pub(super) struct RateLimited;

impl Diagnosis for RateLimited {
    fn code(&self) -> &'static str {
        "rate_limited"
    }

    fn summary(&self) -> &'static str {
        "The upstream's rate limit is used up, and nothing is held that could be served instead."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::RateLimited])?;
        let registry = &upstream.upstream;
        let sentence = format!(
            "{registry} refused {}: rate limit {}{}{}.",
            failure.wanted(),
            whose(upstream),
            budget(upstream),
            match upstream.retry_after {
                Some(wait) => format!("; it asks to wait {}", words::duration(wait)),
                None => String::new(),
            }
        );
        let remedy = match &upstream.credential {
            None => format!("Give larder an account under [[upstream.\"{registry}\".credentials]], or wait."),
            Some(_) => "Wait, or give larder an account with a higher limit.".to_owned(),
        };
        Some(Finding::new(self.code(), Class::RateLimited, failure, sentence).remedy(remedy))
    }
}

fn whose(upstream: &upstream::Failure) -> String {
    match &upstream.credential {
        None => "for anonymous callers".to_owned(),
        Some(place) => format!("of the account of {}", words::clean(place)),
    }
}

/// What the upstream told and no more: when the window ends is nowhere said.
fn budget(upstream: &upstream::Failure) -> String {
    match upstream.rate {
        Some(rate) => format!(" ({} per {}, {} left)", rate.limit, words::duration(rate.window), rate.remaining),
        None => String::new(),
    }
}
