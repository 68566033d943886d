//! How the upstream misbehaves.

use super::{Kind, Seen};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// A door that stays shut until a test opens it: order instead of time.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn passed(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// A misbehaviour, for which requests, and how often. Without effects the request is answered as it should be.
#[derive(Clone)]
pub struct Fault {
    kind: Option<Kind>,
    part: String,
    only_ranges: Option<bool>,
    times: usize,
    pub(super) effects: Effects,
}

#[derive(Clone, Default)]
pub(super) struct Effects {
    pub delay: Option<Duration>,
    pub silent: bool,
    pub hang_up: bool,
    pub status: Option<u16>,
    pub headers: Vec<(String, String)>,
    pub without: Vec<String>,
    pub body: Option<Bytes>,
    pub flip: Option<usize>,
    pub announce: Option<usize>,
    pub cut_after: Option<usize>,
    pub reset: bool,
    pub hold_after: Option<(usize, Gate)>,
    pub bytes_per_second: Option<usize>,
    pub chunked: bool,
    pub ignore_range: bool,
}

impl Fault {
    /// For requests of this kind.
    pub fn on(kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::anywhere() }
    }

    /// For all requests.
    pub fn anywhere() -> Self {
        Self { kind: None, part: String::new(), only_ranges: None, times: usize::MAX, effects: Effects::default() }
    }

    /// Only with `part` in the path.
    pub fn of(mut self, part: &str) -> Self {
        part.clone_into(&mut self.part);
        self
    }

    /// Only for requests without a Range.
    pub fn unless_range(mut self) -> Self {
        self.only_ranges = Some(false);
        self
    }

    /// Only this often.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Whether it fits, counted down if so.
    pub(super) fn applies(&mut self, seen: &Seen) -> bool {
        let fits = self.times > 0
            && self.kind.is_none_or(|kind| kind == seen.kind)
            && seen.path.contains(&self.part)
            && self.only_ranges.is_none_or(|only| only == seen.header("range").is_some());
        self.times -= usize::from(fits);
        fits
    }

    /// Waits before it answers.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.effects.delay = Some(delay);
        self
    }

    /// Keeps the connection and never answers.
    pub fn silent(mut self) -> Self {
        self.effects.silent = true;
        self
    }

    /// Closes the connection instead of answering.
    pub fn hang_up(mut self) -> Self {
        self.effects.hang_up = true;
        self
    }

    /// Answers with this status and an empty JSON object.
    pub fn status(mut self, status: u16) -> Self {
        self.effects.status = Some(status);
        self
    }

    /// Answers with this status and an OCI error body.
    pub fn error(self, status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string();
        self.status(status).body(Bytes::from(body)).header("Content-Type", "application/json")
    }

    /// With this header, instead of one of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.effects.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without this header.
    pub fn without(mut self, name: &str) -> Self {
        self.effects.without.push(name.to_owned());
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.effects.body = Some(body.into());
        self
    }

    /// Redirects there.
    pub fn redirect(self, location: &str) -> Self {
        self.status(307).header("Location", location).body(Bytes::new())
    }

    /// With the bits of the byte at `offset` (modulo the length) turned over.
    pub fn flip(mut self, offset: usize) -> Self {
        self.effects.flip = Some(offset);
        self
    }

    /// Announces and sends only this many bytes, as if that were all.
    pub fn announce_only(mut self, length: usize) -> Self {
        self.effects.announce = Some(length);
        self
    }

    /// Closes the connection after this many bytes of the body.
    pub fn cut_after(mut self, length: usize) -> Self {
        self.effects.cut_after = Some(length);
        self
    }

    /// Resets the connection after this many bytes of the body.
    pub fn reset_after(mut self, length: usize) -> Self {
        self.effects.reset = true;
        self.cut_after(length)
    }

    /// Pauses after this many bytes of the body until the gate opens.
    pub fn hold_after(mut self, length: usize, gate: &Gate) -> Self {
        self.effects.hold_after = Some((length, gate.clone()));
        self
    }

    /// Sends the body this slowly.
    pub fn trickle(mut self, bytes_per_second: usize) -> Self {
        self.effects.bytes_per_second = Some(bytes_per_second);
        self
    }

    /// Sends the body in chunks, without Content-Length.
    pub fn chunked(mut self) -> Self {
        self.effects.chunked = true;
        self
    }

    /// Sends the whole with 200 where a Range was asked for.
    pub fn ignore_range(mut self) -> Self {
        self.effects.ignore_range = true;
        self
    }
}
