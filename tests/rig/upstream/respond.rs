//! One connection of the upstream: requests in, answers out, as well or as badly as it was told.

use super::fault::Effects;
use super::repositories::Reply;
use super::seen::{Kind, Seen};
use super::{FaultyUpstream, State};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

const REQUEST_BYTES_MAX: usize = 256 * 1024;
const WRITE_BYTES: usize = 64 * 1024;
/// How often a slow body gets another piece.
const PIECES_PER_SECOND: usize = 50;

/// What a connection runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Closing it resets the connection instead of ending it properly.
    fn reset_on_close(&self);
}

impl Stream for TcpStream {
    fn reset_on_close(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Stream for tokio_rustls::server::TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        let _ = self.get_ref().0.set_zero_linger();
    }
}

/// Serves until the peer goes or a fault ends it.
pub(super) async fn serve(upstream: &FaultyUpstream, mut stream: impl Stream) {
    let mut buffer = Vec::new();
    while let Ok(Some(raw)) = next_request(&mut stream, &mut buffer).await {
        let Some(seen) = Seen::parse(raw).map(Arc::new) else { return };
        upstream.state().seen.push(Arc::clone(&seen));
        let (reply, effects) = decide(&mut upstream.state(), &seen, &upstream.url());
        if let Some(delay) = effects.delay {
            tokio::time::sleep(delay).await;
        }
        if effects.silent {
            // Until the peer gives up.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            return;
        }
        if effects.hang_up || write(&mut stream, &seen, reply, &effects).await.is_err() {
            return;
        }
    }
}

async fn next_request(stream: &mut impl Stream, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end + 4]).into_owned();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse::<usize>().ok())
                .unwrap_or(0);
            if buffer.len() >= end + 4 + length {
                let raw = String::from_utf8_lossy(&buffer[..end + 4 + length]).into_owned();
                buffer.drain(..end + 4 + length);
                return Ok(Some(raw));
            }
        }
        if buffer.len() > REQUEST_BYTES_MAX || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn decide(state: &mut State, seen: &Seen, url: &str) -> (Reply, Effects) {
    let effects = state.faults.iter_mut().find_map(|fault| fault.applies(seen).then(|| fault.effects.clone()));
    let effects = effects.unwrap_or_default();
    let mut reply = match effects.status {
        Some(status) => Reply { status, headers: Vec::new(), body: bytes::Bytes::from_static(b"{}") },
        None if seen.kind == Kind::Token => state.auth.token(seen),
        None => match state.auth.refusal(seen, url) {
            Some(refusal) => refusal,
            None => state.repositories.answer(seen, effects.ignore_range),
        },
    };
    if let Some(body) = &effects.body {
        reply.body = body.clone();
    }
    if let Some(offset) = effects.flip
        && !reply.body.is_empty()
    {
        let mut bytes = reply.body.to_vec();
        let offset = offset % bytes.len();
        bytes[offset] = !bytes[offset];
        reply.body = bytes.into();
    }
    if let Some(length) = effects.announce {
        reply.body.truncate(length);
    }
    for (name, value) in &effects.headers {
        reply.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        reply.headers.push((name.clone(), value.clone()));
    }
    reply.headers.retain(|(name, _)| !effects.without.iter().any(|gone| gone.eq_ignore_ascii_case(name)));
    (reply, effects)
}

async fn write(stream: &mut impl Stream, seen: &Seen, reply: Reply, effects: &Effects) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Whatever\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if effects.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if !effects.without.iter().any(|name| name.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if seen.method == "HEAD" {
        return stream.flush().await;
    }
    let mut sent = 0;
    while sent < reply.body.len() {
        let mut end = (sent + WRITE_BYTES).min(reply.body.len());
        if let Some(rate) = effects.bytes_per_second {
            tokio::time::sleep(Duration::from_secs(1) / PIECES_PER_SECOND as u32).await;
            end = end.min(sent + (rate / PIECES_PER_SECOND).max(1));
        }
        if let Some((at, gate)) = &effects.hold_after {
            if sent == *at {
                stream.flush().await?;
                gate.passed().await;
            } else if sent < *at {
                end = end.min(*at);
            }
        }
        if let Some(at) = effects.cut_after {
            if sent >= at {
                break;
            }
            end = end.min(at);
        }
        let piece = &reply.body[sent..end];
        if effects.chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
            stream.write_all(piece).await?;
            stream.write_all(b"\r\n").await?;
        } else {
            stream.write_all(piece).await?;
        }
        seen.bytes_sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
        sent = end;
    }
    stream.flush().await?;
    if effects.cut_after.is_some_and(|at| at < reply.body.len()) {
        if effects.reset {
            stream.reset_on_close();
        }
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    if effects.chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    // Where nothing tells the end of a body, closing does.
    if !effects.chunked && effects.without.iter().any(|name| name.eq_ignore_ascii_case("content-length")) {
        stream.shutdown().await?;
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    Ok(())
}
