//! The body of a blob on its way in.

use super::{
    ask::Asked,
    failure::{Failure, Kind, Step},
};
use crate::transport::Fault;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use prometheus_client::metrics::counter::Counter;
use std::{
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

/// A body is cut when no byte comes for so long.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// A body is cut when it brings less than this over a window: trickling must not hold a fill for ever.
const RATE_BYTES_MIN: u64 = 1024;
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// A part of a blob (RFC 9110, 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte, inclusive; `None`: to the end.
    pub last: Option<u64>,
}

impl std::fmt::Display for ByteRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.last {
            Some(last) => write!(f, "bytes={}-{last}", self.first),
            None => write!(f, "bytes={}-", self.first),
        }
    }
}

/// The body of a blob, or of a part of it. While it lives it counts as one of the upstream's fetches.
pub struct BlobBody {
    /// Where in the blob it starts. 0 although more was asked for: upstream does not do ranges.
    pub first: u64,
    /// How long this body is, in bytes, where upstream said so.
    pub length_bytes: Option<u64>,
    /// How large the whole blob is, where upstream said so.
    pub size_bytes: Option<u64>,
    response: reqwest::Response,
    received_bytes: u64,
    /// Since when the next bytes are waited for. It outlives a call that is cancelled: whoever waits in small steps must
    /// not wait for ever.
    waiting_since: Option<Instant>,
    pace: Pace,
    asked: Asked,
    bandwidth: Option<Arc<Bandwidth>>,
    counter: Counter,
    _permit: OwnedSemaphorePermit,
}

/// Which part of which whole a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: u64,
    pub(super) length_bytes: Option<u64>,
    pub(super) size_bytes: Option<u64>,
}

impl Extent {
    /// Reads `status` and `headers` of an answer to a request for `range`.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, range: Option<ByteRange>) -> Result<Self, String> {
        let length_bytes = content_length(headers);
        if status != StatusCode::PARTIAL_CONTENT {
            return Ok(Self { first: 0, length_bytes, size_bytes: length_bytes });
        }
        let Some(range) = range else { return Err("a part came although the whole was asked for".to_owned()) };
        let content_range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let (first, last, size_bytes) =
            content_range.and_then(parse_content_range).ok_or("a part came without a valid Content-Range")?;
        if first != range.first {
            return Err(format!("a part came that starts at {first} instead of {}", range.first));
        }
        if range.last.is_some_and(|asked| last > asked) {
            return Err("a part came that ends later than asked for".to_owned());
        }
        let length = last - first + 1;
        if length_bytes.is_some_and(|announced| announced != length) {
            return Err("Content-Length and Content-Range differ".to_owned());
        }
        Ok(Self { first, length_bytes: Some(length), size_bytes })
    }
}

/// `bytes <first>-<last>/<size or *>`
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let size = if size.trim() == "*" { None } else { Some(size.trim().parse().ok()?) };
    (first <= last && last < u64::MAX && size.is_none_or(|size: u64| last < size)).then_some((first, last, size))
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl BlobBody {
    pub(super) fn new(
        extent: Extent,
        response: reqwest::Response,
        asked: Asked,
        counter: Counter,
        bandwidth: Option<Arc<Bandwidth>>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            first: extent.first,
            length_bytes: extent.length_bytes,
            size_bytes: extent.size_bytes,
            response,
            received_bytes: 0,
            waiting_since: None,
            pace: Pace::default(),
            asked,
            bandwidth,
            counter,
            _permit: permit,
        }
    }

    /// The next bytes; `None` at the end, which is the announced one. Cancelling it loses nothing.
    ///
    /// # Errors
    /// Where the body broke off, stalled or was too slow ([`Kind::Unavailable`]), or is not as long as announced.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        if let Some(bandwidth) = &self.bandwidth {
            bandwidth.wait().await;
        }
        let started = *self.waiting_since.get_or_insert_with(Instant::now);
        let next = tokio::time::timeout_at(started + STALL_TIMEOUT, self.response.chunk()).await;
        let chunk = match next {
            Err(_) => {
                let detail = format!("no byte for {} s, cut", STALL_TIMEOUT.as_secs());
                return Err(self.broken(detail));
            }
            Ok(Err(error)) => {
                let fault = Fault::of_body(&error);
                let detail = format!("{} after {} bytes", fault.detail, self.received_bytes);
                return Err(self.broken(detail));
            }
            Ok(Ok(chunk)) => chunk,
        };
        self.waiting_since = None;
        let count = chunk.as_ref().map_or(0, Bytes::len) as u64;
        self.received_bytes += count;
        self.counter.inc_by(count);
        if let Some(bandwidth) = &self.bandwidth {
            bandwidth.take(count);
        }
        match (&chunk, self.length_bytes) {
            (None, Some(length)) if self.received_bytes < length => {
                Err(self.broken(format!("ended after {} of {length} bytes", self.received_bytes)))
            }
            (Some(_), Some(length)) if self.received_bytes > length => {
                let detail = format!("more than the {length} bytes that were announced");
                Err(self.asked.failure(Kind::Malformed, Step::Body).with_detail(detail))
            }
            (Some(_), _) if self.pace.is_too_slow(started.elapsed(), count) => Err(self
                .broken(format!("less than {RATE_BYTES_MIN} bytes per second over {} s, cut", RATE_WINDOW.as_secs()))),
            _ => Ok(chunk),
        }
    }

    fn broken(&self, detail: String) -> Failure {
        self.asked.failure(Kind::Unavailable, Step::Body).with_detail(detail)
    }
}

impl std::fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobBody")
            .field("first", &self.first)
            .field("length_bytes", &self.length_bytes)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

/// How fast bytes come, over the time that was spent waiting for them: a slow reader is not upstream's fault.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn is_too_slow(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < RATE_WINDOW {
            return false;
        }
        let slow = self.bytes < RATE_BYTES_MIN * self.waited.as_secs();
        *self = Self::default();
        slow
    }
}

/// What all fetches from one upstream share: bytes are taken when they come and waited for before the next are read.
#[derive(Debug)]
pub(super) struct Bandwidth {
    bytes_per_second: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bandwidth {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        let bytes_per_second = bytes_per_second.get() as f64;
        Self { bytes_per_second, state: Mutex::new((bytes_per_second, Instant::now())) }
    }

    /// Takes `bytes` off; what is there may fall below nothing.
    fn take(&self, bytes: u64) {
        self.balance(bytes as f64);
    }

    /// Waits until something is there again.
    async fn wait(&self) {
        let balance = self.balance(0.0);
        if balance < 0.0 {
            tokio::time::sleep(Duration::from_secs_f64((-balance / self.bytes_per_second).min(3600.0))).await;
        }
    }

    /// Brings the balance up to date, takes `bytes` off, gives what is left. At most a second's worth is saved up.
    fn balance(&self, bytes: f64) -> f64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = (now - state.1).as_secs_f64() * self.bytes_per_second;
        *state = ((state.0 + earned).min(self.bytes_per_second) - bytes, now);
        state.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        status: u16,
        content_range: &str,
        length: &str,
        range: Option<ByteRange>,
    ) -> Option<(u64, Option<u64>, Option<u64>)> {
        let mut headers = HeaderMap::new();
        if !content_range.is_empty() {
            headers.insert("content-range", content_range.parse().unwrap());
        }
        if !length.is_empty() {
            headers.insert("content-length", length.parse().unwrap());
        }
        let extent = Extent::read(StatusCode::from_u16(status).unwrap(), &headers, range).ok()?;
        Some((extent.first, extent.length_bytes, extent.size_bytes))
    }

    #[test]
    fn takes_a_part_only_if_it_is_the_one_asked_for() {
        let from = |first| Some(ByteRange { first, last: None });
        let within = |first, last| Some(ByteRange { first, last: Some(last) });
        for (status, content_range, length, range, expected) in [
            (200, "", "10", None, Some((0, Some(10), Some(10)))),
            (200, "", "", None, Some((0, None, None))),
            (200, "", "10", from(4), Some((0, Some(10), Some(10)))),
            (206, "bytes 4-9/10", "6", from(4), Some((4, Some(6), Some(10)))),
            (206, "bytes 4-9/*", "", from(4), Some((4, Some(6), None))),
            (206, "bytes 4-5/10", "2", within(4, 5), Some((4, Some(2), Some(10)))),
            (206, "bytes 4-6/10", "3", within(4, 5), None),
            (206, "bytes 0-9/10", "10", from(4), None),
            (206, "bytes 5-9/10", "5", from(4), None),
            (206, "bytes 4-9/10", "7", from(4), None),
            (206, "bytes 4-3/10", "", from(4), None),
            (206, "bytes 4-10/10", "", from(4), None),
            (206, "bytes 4-18446744073709551615/*", "", from(4), None),
            (206, "items 4-9/10", "6", from(4), None),
            (206, "", "6", from(4), None),
            (206, "bytes 0-9/10", "10", None, None),
        ] {
            assert_eq!(read(status, content_range, length, range), expected, "{status} {content_range:?} {range:?}");
        }
    }

    #[test]
    fn the_pace_counts_the_time_spent_waiting() {
        let mut pace = Pace::default();
        assert!(!pace.is_too_slow(Duration::from_secs(59), 10));
        assert!(pace.is_too_slow(Duration::from_secs(1), 10));
        assert!(!pace.is_too_slow(Duration::from_secs(60), 61 * 1024));
        assert!((0..1000).all(|_| !pace.is_too_slow(Duration::ZERO, 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn bandwidth_is_shared() {
        let bandwidth = Bandwidth::new(NonZeroU64::new(1000).unwrap());
        let started = Instant::now();
        for _ in 0..10 {
            bandwidth.wait().await;
            bandwidth.take(1000);
        }
        let seconds = started.elapsed().as_secs_f64();
        assert!((8.0..=9.1).contains(&seconds), "{seconds}");
    }
}
