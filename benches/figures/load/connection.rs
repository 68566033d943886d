//! One connection of one caller. Knows of HTTP what registries answer with: a head, and a body of announced length.

use super::{Error, Request};
use rustix::net::{RecvFlags, recv};
use sha2::{Digest as _, Sha256};
use std::{cell::RefCell, fs::File, io::Write as _, net::SocketAddr, time::Instant};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
};

/// Room for the head of an answer and, if it is small, its body.
const HEAD_MAX: usize = 16 * 1024;
/// One read of a body whose bytes are looked at: it stays in the processor's cache.
const READ_SIZE: usize = 256 * 1024;
/// One read of a body that the kernel discards.
const DISCARD_SIZE: usize = 4 * 1024 * 1024;

thread_local! {
    /// Where bodies are read to. One for all connections of the thread, since none of them keeps anything there.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; DISCARD_SIZE]);
}

/// What happens with a body.
pub enum Sink<'a> {
    /// Discarded in the kernel (`MSG_TRUNC`, tcp(7)): the length counts, nothing is copied.
    Discard,
    /// Compared with what is right.
    Compare(&'a [u8]),
    /// Hashed and written.
    Keep {
        /// Of all bytes so far.
        hash: &'a mut Sha256,
        /// Where they go.
        file: &'a mut File,
    },
}

/// When an answer came.
pub struct Answer {
    /// The first byte of its body; of an answer to HEAD, its head.
    pub first_byte: Instant,
}

/// A connection that is kept alive. After an error it must not be used again.
pub struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
}

impl Connection {
    /// Connects; the caller sets the deadline.
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.map_err(Error::Connect)?;
        stream.set_nodelay(true).map_err(Error::Connect)?;
        Ok(Self { stream, head: vec![0; HEAD_MAX] })
    }

    /// Asks, and takes the whole answer. Everything but 200 with the right length is an error.
    pub async fn exchange(&mut self, request: &Request, mut sink: Sink<'_>) -> Result<Answer, Error> {
        self.stream.write_all(&request.wire).await.map_err(Error::Send)?;
        let (body_start, filled) = self.receive_head().await?;
        let (status, length) = parse(&self.head[..body_start]).ok_or(Error::Framing)?;
        if status != 200 {
            return Err(Error::Status(status));
        }
        let expected = request.expected.len();
        if length != expected {
            return Err(Error::Length { announced: length, expected });
        }
        if request.head {
            return if filled == body_start { Ok(Answer { first_byte: Instant::now() }) } else { Err(Error::Framing) };
        }
        let mut received = filled - body_start;
        let mut first_byte = (received > 0).then(Instant::now);
        if received > length {
            return Err(Error::Framing);
        }
        sink.take(0, &self.head[body_start..filled])?;
        while received < length {
            let read = self.receive_body(received, length - received, &mut sink).await?;
            first_byte.get_or_insert_with(Instant::now);
            received += read;
        }
        Ok(Answer { first_byte: first_byte.unwrap_or_else(Instant::now) })
    }

    /// Reads until the head is complete: where it ends, and how much was read.
    async fn receive_head(&mut self) -> Result<(usize, usize), Error> {
        let mut filled = 0;
        loop {
            let room = &mut self.head[filled..];
            if room.is_empty() {
                return Err(Error::Framing);
            }
            let read =
                self.stream.async_io(Interest::READABLE, || Ok(recv(&self.stream, &mut *room, RecvFlags::empty())?.1));
            let read = read.await.map_err(|source| Error::Receive { received: filled, source })?;
            if read == 0 {
                return Err(Error::Closed { received: filled });
            }
            let searched = filled.saturating_sub(3);
            filled += read;
            if let Some(found) = self.head[searched..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok((searched + found + 4, filled));
            }
        }
    }

    async fn receive_body(&self, received: usize, wanted: usize, sink: &mut Sink<'_>) -> Result<usize, Error> {
        let mut taken = Ok(());
        let read = self.stream.async_io(Interest::READABLE, || {
            SCRATCH.with_borrow_mut(|scratch| {
                let (size, flags) = match sink {
                    Sink::Discard => (DISCARD_SIZE, RecvFlags::TRUNC),
                    _ => (READ_SIZE, RecvFlags::empty()),
                };
                let (_, read) = recv(&self.stream, &mut scratch[..size.min(wanted)], flags)?;
                taken = sink.take(received, &scratch[..read]);
                Ok(read)
            })
        });
        match read.await {
            Ok(0) => Err(Error::Closed { received }),
            Ok(read) => taken.map(|()| read),
            Err(source) => Err(Error::Receive { received, source }),
        }
    }
}

impl Sink<'_> {
    /// The part of the body that starts at `first`.
    fn take(&mut self, first: usize, part: &[u8]) -> Result<(), Error> {
        match self {
            Sink::Discard => Ok(()),
            Sink::Compare(right) => {
                (right.get(first..first + part.len()) == Some(part)).then_some(()).ok_or(Error::Bytes)
            }
            Sink::Keep { hash, file } => {
                hash.update(part);
                file.write_all(part).map_err(Error::Own)
            }
        }
    }
}

/// Status and length that a head announces.
fn parse(head: &[u8]) -> Option<(u16, usize)> {
    const NAME: &[u8] = b"content-length:";
    let status = std::str::from_utf8(head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?).ok()?.parse().ok()?;
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    let length = std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()?;
    Some((status, length))
}
