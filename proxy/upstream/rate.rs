//! What an upstream says of its rate limit.

use http::HeaderMap;
use std::time::Duration;
use tokio::time::Instant;

/// A rate limit as upstream last told it. Nothing told means nothing known: upstreams leave the headers out for accounts
/// without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateBudget {
    /// Pulls within the window.
    pub limit: u64,
    /// Pulls that are left. 0 does not mean that the next one is refused.
    pub remaining: u64,
    /// The window.
    pub window: Duration,
    /// When upstream said so.
    pub seen_at: Instant,
}

/// The wish to be left alone is honoured up to a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

impl RateBudget {
    /// Reads Docker Hub's `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let value = |name| headers.get(name)?.to_str().ok().and_then(quantity);
        let (limit, window_of_limit) = value("ratelimit-limit")?;
        let (remaining, window) = value("ratelimit-remaining")?;
        let window = Duration::from_secs(window.or(window_of_limit).unwrap_or_default());
        Some(Self { limit, remaining: remaining.min(limit), window, seen_at: Instant::now() })
    }
}

/// `n;w=s`, of which only `n` must be there. Further items after a comma are other windows.
fn quantity(text: &str) -> Option<(u64, Option<u64>)> {
    let mut parts = text.split(',').next()?.split(';').map(str::trim);
    let count = parts.next()?.parse().ok()?;
    Some((count, parts.find_map(|part| part.strip_prefix("w=")?.trim().parse().ok())))
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3). The form with a date is left alone: it needs two clocks to agree.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(limit: &str, remaining: &str) -> Option<(u64, u64, u64)> {
        let mut headers = HeaderMap::new();
        headers.insert("RateLimit-Limit", limit.parse().unwrap());
        headers.insert("RateLimit-Remaining", remaining.parse().unwrap());
        RateBudget::read(&headers).map(|budget| (budget.limit, budget.remaining, budget.window.as_secs()))
    }

    #[test]
    fn reads_the_forms_in_use() {
        for (limit, remaining, expected) in [
            ("100;w=21600", "76;w=21600", Some((100, 76, 21600))),
            ("100", "76", Some((100, 76, 0))),
            ("100;w=21600", "76", Some((100, 76, 21600))),
            ("100, 100;w=60", "200", Some((100, 100, 0))),
            (" 100 ; w=10 ", "0;w=10", Some((100, 0, 10))),
            ("100;w=x", "7;w=-1", Some((100, 7, 0))),
            ("unlimited", "76", None),
            ("-1", "76", None),
            ("100", "", None),
            ("99999999999999999999999", "1", None),
        ] {
            assert_eq!(read(limit, remaining), expected, "{limit} {remaining}");
        }
        assert_eq!(RateBudget::read(&HeaderMap::new()), None);
    }

    #[test]
    fn reads_how_long_to_wait() {
        for (text, expected) in
            [("120", Some(120)), ("0", Some(0)), ("999999999", Some(86400)), ("Wed, 21 Oct 2015 07:28:00 GMT", None)]
        {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            assert_eq!(retry_after(&headers).map(|wait| wait.as_secs()), expected, "{text}");
        }
    }
}
