//! A client over raw sockets: it sends what it is told, byte for byte, and tells a whole body from a broken one.

use super::{PATIENCE, digest_of};
use bytes::Bytes;
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const HEAD_BYTES_MAX: usize = 256 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// A request; `target` goes out as it stands.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
}

/// `GET target`.
pub fn get(target: impl Into<String>) -> Request {
    request("GET", target)
}

/// `HEAD target`.
pub fn head(target: impl Into<String>) -> Request {
    request("HEAD", target)
}

/// Any method.
pub fn request(method: &str, target: impl Into<String>) -> Request {
    Request { method: method.to_owned(), target: target.into(), version: "HTTP/1.1", headers: Vec::new() }
}

impl Request {
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn range(self, range: &str) -> Self {
        self.header("Range", range)
    }

    /// As containerd 2 asks.
    pub fn containerd(self) -> Self {
        self.header("User-Agent", "containerd/2.3.4+unknown").header(
            "Accept",
            "application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.list.v2+json, \
             application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*",
        )
    }

    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} {}\r\nHost: larder.test\r\n", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("Connection: close\r\n\r\n");
        text.into_bytes()
    }

    /// Sends on a connection of its own and returns as soon as the headers of the answer are there.
    pub async fn send(self, address: SocketAddr) -> io::Result<Response> {
        let started = Instant::now();
        let mut connection = Connection::open(address).await?;
        connection.write(&self.bytes()).await?;
        let mut response = connection.response(self.method == "HEAD").await?;
        response.headers_after = started.elapsed();
        Ok(response)
    }

    /// Sends and reads everything.
    pub async fn fetch(self, address: SocketAddr) -> Answer {
        match self.send(address).await {
            Ok(response) => response.read().await,
            Err(error) => Answer::broken(error),
        }
    }

    /// Sends and compares the body with `expected` as it comes, keeping nothing.
    pub async fn compare(self, address: SocketAddr, expected: Bytes) -> Verdict {
        match self.send(address).await {
            Ok(response) => response.compare(&expected).await,
            Err(error) => Verdict { problem: Some(error.to_string()), ..Verdict::default() },
        }
    }
}

/// What became of a body that was compared as it came.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    pub status: u16,
    pub length: usize,
    /// A byte differed from what was expected, or the whole was of another length.
    pub wrong: bool,
    /// It ended as its framing announced.
    pub complete: bool,
    pub problem: Option<String>,
    pub first_byte_after: Option<Duration>,
}

impl Verdict {
    /// A 200 with exactly the expected bytes.
    pub fn is_right(&self) -> bool {
        self.status == 200 && self.complete && !self.wrong
    }

    /// A caller was led to believe in bytes that are not right.
    pub fn is_lie(&self) -> bool {
        self.status == 200 && self.complete && self.wrong
    }
}

/// An answer, read as far as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Why the body is not whole; `None` when it ended as its framing announced.
    pub problem: Option<String>,
    pub headers_after: Duration,
}

impl Answer {
    fn broken(error: io::Error) -> Self {
        Self {
            status: 0,
            reason: String::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            problem: Some(error.to_string()),
            headers_after: Duration::ZERO,
        }
    }

    pub fn is_complete(&self) -> bool {
        self.problem.is_none()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub fn digest(&self) -> String {
        digest_of(&self.body)
    }

    /// `errors[0]` of an OCI error body: its code and message. Empty where the body is none.
    pub fn error(&self) -> (String, String) {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |field: &str| body["errors"][0][field].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"))
    }

    /// For messages of assertions: all but a long body.
    pub fn summary(&self) -> String {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(400)]);
        format!("{} {} {:?} {:?} {}", self.status, self.reason, self.headers, self.problem, body.escape_debug())
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// A connection with its read buffer; requests are written as raw bytes.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = within(TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.stream.write_all(bytes)).await
    }

    /// No more will be written.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    async fn fill(&mut self) -> io::Result<usize> {
        within(self.stream.read_buf(&mut self.buffer)).await
    }

    /// The next answer's head; its body is read from the answer.
    pub async fn response(mut self, to_head: bool) -> io::Result<Response> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 4);
                let response = Response::parse(&head, self, to_head)?;
                if !(100..200).contains(&response.status) {
                    return Ok(response);
                }
                self = response.connection;
                continue;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("the head of the answer has no end"));
            }
            if self.fill().await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before an answer"));
            }
        }
    }
}

async fn within<T>(operation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, operation).await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "deadline")))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Framing {
    Length(u64),
    /// What is left of the chunk at hand; `None` before its size line.
    Chunked(Option<u64>),
    UntilClosed,
    Ended,
}

/// An answer whose body is still to be read.
pub struct Response {
    pub status: u16,
    pub reason: String,
    pub headers: Vec<(String, String)>,
    pub headers_after: Duration,
    connection: Connection,
    framing: Framing,
}

impl Response {
    fn parse(head: &str, connection: Connection, to_head: bool) -> io::Result<Self> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, format!("malformed head {head:?}"));
        let mut lines = head.split("\r\n");
        let mut first = lines.next().ok_or_else(malformed)?.splitn(3, ' ');
        if !first.next().is_some_and(|version| version.starts_with("HTTP/1.")) {
            return Err(malformed());
        }
        let status: u16 = first.next().and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
        let reason = first.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(malformed)?;
        let framing = if to_head || status == 204 || status == 304 || status < 200 {
            Framing::Ended
        } else if find(&headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            Framing::Chunked(None)
        } else if let Some(length) = find(&headers, "content-length") {
            Framing::Length(length.parse().map_err(|_| malformed())?)
        } else {
            Framing::UntilClosed
        };
        Ok(Self { status, reason, headers, headers_after: Duration::ZERO, connection, framing })
    }

    /// The next bytes of the body, 0 at its proper end. A body that breaks off is an error.
    pub async fn read_into(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let broken_off = || io::Error::new(io::ErrorKind::UnexpectedEof, "the body broke off");
        loop {
            match self.framing {
                Framing::Ended | Framing::Length(0) => return Ok(0),
                Framing::Length(left) => {
                    let read = self.take(buffer, left).await?;
                    if read == 0 {
                        return Err(broken_off());
                    }
                    self.framing = Framing::Length(left - read as u64);
                    return Ok(read);
                }
                Framing::UntilClosed => return self.take(buffer, u64::MAX).await,
                Framing::Chunked(None) => {
                    let line = self.line().await?;
                    let size = line.split(';').next().unwrap_or_default().trim().to_owned();
                    let size = u64::from_str_radix(&size, 16)
                        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("chunk size {line:?}")))?;
                    if size == 0 {
                        while !self.line().await?.is_empty() {}
                        self.framing = Framing::Ended;
                    } else {
                        self.framing = Framing::Chunked(Some(size));
                    }
                }
                Framing::Chunked(Some(0)) => {
                    self.line().await?;
                    self.framing = Framing::Chunked(None);
                }
                Framing::Chunked(Some(left)) => {
                    let read = self.take(buffer, left).await?;
                    if read == 0 {
                        return Err(broken_off());
                    }
                    self.framing = Framing::Chunked(Some(left - read as u64));
                    return Ok(read);
                }
            }
        }
    }

    async fn take(&mut self, buffer: &mut [u8], most: u64) -> io::Result<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        if self.connection.buffer.is_empty() {
            return within(self.connection.stream.read(&mut buffer[..most])).await;
        }
        let read = self.connection.buffer.len().min(most);
        buffer[..read].copy_from_slice(&self.connection.buffer[..read]);
        self.connection.buffer.drain(..read);
        Ok(read)
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.connection.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&self.connection.buffer[..end]).into_owned();
                self.connection.buffer.drain(..end + 2);
                return Ok(line);
            }
            if self.connection.buffer.len() > HEAD_BYTES_MAX || self.connection.fill().await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body broke off"));
            }
        }
    }

    /// At least `length` bytes of the body, unless it ends or breaks off before.
    pub async fn read_at_least(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        while body.len() < length {
            match self.read_into(&mut buffer).await? {
                0 => break,
                read => body.extend_from_slice(&buffer[..read]),
            }
        }
        Ok(body)
    }

    /// Compares the body with `expected` as it comes, keeping nothing.
    pub async fn compare(mut self, expected: &[u8]) -> Verdict {
        let started = Instant::now();
        let mut verdict = Verdict { status: self.status, ..Verdict::default() };
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match self.read_into(&mut buffer).await {
                Ok(0) => break verdict.complete = true,
                Ok(read) => {
                    verdict.first_byte_after.get_or_insert_with(|| self.headers_after + started.elapsed());
                    let end = verdict.length + read;
                    verdict.wrong |= expected.get(verdict.length..end) != Some(&buffer[..read]);
                    verdict.length = end;
                }
                Err(error) => break verdict.problem = Some(error.to_string()),
            }
        }
        verdict.wrong |= verdict.complete && verdict.length != expected.len();
        verdict
    }

    /// Everything that comes.
    pub async fn read(mut self) -> Answer {
        let mut body = Vec::new();
        let mut buffer = vec![0; READ_BYTES];
        let problem = loop {
            match self.read_into(&mut buffer).await {
                Ok(0) => break None,
                Ok(read) => body.extend_from_slice(&buffer[..read]),
                Err(error) => break Some(error.to_string()),
            }
        };
        Answer {
            status: self.status,
            reason: self.reason,
            headers: self.headers,
            body: Bytes::from(body),
            problem,
            headers_after: self.headers_after,
        }
    }

    /// Everything that comes, and the connection for the next request on it.
    pub async fn read_and_keep(mut self) -> io::Result<(u16, Vec<u8>, Connection)> {
        let body = self.read_at_least(usize::MAX).await?;
        Ok((self.status, body, self.connection))
    }
}
