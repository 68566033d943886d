//! A scripted upstream: it answers as a closure says and remembers what it was asked.

use crate::{
    config::{self, Secret, SecretSource},
    metrics::Metrics,
    oci::{Digest, Registry, Repository},
    upstream::Upstream,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;
use url::Url;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn authorization(&self) -> &str {
        self.header("authorization").unwrap_or("-")
    }
}

/// What to answer.
pub(super) enum Reply {
    Answer(Response<Bytes>),
    /// Headers and these bytes, then the connection breaks.
    Cut(Response<Bytes>),
    /// Headers and these bytes, then nothing more.
    Stall(Response<Bytes>),
    /// The connection breaks at once.
    Close,
    /// Nothing ever.
    Silence,
}

/// An answer of `status` with `headers` and `body`.
pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    Reply::Answer(response)
}

pub(super) fn ok(body: impl Into<Bytes>) -> Reply {
    reply(200, &[], body)
}

pub(super) fn redirect(to: &str) -> Reply {
    reply(307, &[("location", to)], "")
}

pub(super) fn bearer(realm: &str, scope: &str) -> Reply {
    let scope = if scope.is_empty() { String::new() } else { format!(",scope=\"{scope}\"") };
    reply(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\",service=\"test\"{scope}"))], "{}")
}

pub(super) fn basic_challenge() -> Reply {
    reply(401, &[("www-authenticate", "Basic realm=\"test\"")], "{}")
}

#[derive(Clone)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Script = dyn Fn(&Origin, &Seen) -> Reply + Send + Sync;
type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Origin {
    /// Starts one that lives as long as the test's runtime.
    pub(super) async fn start(script: impl Fn(&Origin, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let (this, script) = (origin.clone(), Arc::new(script) as Arc<Script>);
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (this, script) = (this.clone(), Arc::clone(&script));
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let (this, script) = (this.clone(), Arc::clone(&script));
                        async move { this.serve(&*script, &request).await }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        origin
    }

    async fn serve(&self, script: &Script, request: &Request<Incoming>) -> Result<Response<Body>, io::Error> {
        let seen = Seen {
            method: request.method().to_string(),
            path: request.uri().to_string(),
            headers: request.headers().clone(),
        };
        self.seen.lock().unwrap().push(seen.clone());
        match script(self, &seen) {
            Reply::Answer(response) => Ok(response.map(whole)),
            Reply::Cut(response) => Ok(response.map(|body| part(body, false))),
            Reply::Stall(response) => Ok(response.map(|body| part(body, true))),
            Reply::Close => Err(io::ErrorKind::ConnectionReset.into()),
            Reply::Silence => std::future::pending().await,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// `METHOD path authorization` of each request so far.
    pub(super) fn log(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {} {}", seen.method, seen.path, seen.authorization())).collect()
    }

    /// An anonymous client for it alone.
    pub(super) fn client(&self) -> Upstream {
        client(&[&self.url("")], None)
    }

    /// A client that has a password for it.
    pub(super) fn client_as(&self, username: &str, password: &str) -> Upstream {
        client(&[&self.url("")], Some((username, password)))
    }
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn part(body: Bytes, stall: bool) -> Body {
    let frames = [Some(Ok(Frame::data(body))), None];
    let stream = futures_util::stream::unfold(frames.into_iter(), move |mut frames| async move {
        match frames.next()? {
            Some(frame) => Some((frame, frames)),
            None if stall => std::future::pending().await,
            // Lets the bytes before it be sent.
            None => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                Some((Err(io::ErrorKind::ConnectionReset.into()), frames))
            }
        }
    });
    StreamBody::new(stream).boxed_unsync()
}

pub(super) fn config(urls: &[&str], credential: Option<(&str, &str)>) -> config::Upstream {
    let credentials = credential.map(|(username, password)| config::Credential {
        place: "upstream.\"test\".credentials[0]".to_owned(),
        username: username.to_owned(),
        password_source: SecretSource::Environment("X".to_owned()),
        password: Secret::new(password.to_owned()),
    });
    config::Upstream {
        urls: urls.iter().map(|url| Url::parse(url).unwrap()).collect(),
        ca_file: None,
        proxy: None,
        trusted_realms: Vec::new(),
        repositories_allowed: Vec::new(),
        repositories_denied: Vec::new(),
        fills_max: 64,
        bandwidth_max: None,
        tag_ttl: None,
        offline: false,
        credentials: credentials.into_iter().collect(),
    }
}

pub(super) fn client_of(config: config::Upstream) -> Upstream {
    let registry: Registry = "registry.test".parse().unwrap();
    Upstream::new(registry, config, Arc::new(Metrics::default())).unwrap()
}

pub(super) fn client(urls: &[&str], credential: Option<(&str, &str)>) -> Upstream {
    client_of(config(urls, credential))
}

pub(super) fn repository(name: &str) -> Repository {
    name.parse().unwrap()
}

pub(super) fn digest() -> Digest {
    Digest::of(b"hello")
}

/// `user:password` as Basic has it.
pub(super) fn basic(username: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    format!("Basic {pair}")
}
