//! The other end of the socket: how a command finds and asks a running server.

use super::{
    Error,
    commands::{REFRESH, Refresh, Refreshed, Refused},
    socket,
};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time;

/// The server gives itself 30 s for an answer.
const TIMEOUT: Duration = Duration::from_secs(35);
const ANSWER_SIZE_BYTES_MAX: usize = 1 << 20;

/// Asks the server that owns a cache directory.
#[derive(Debug)]
pub struct Client {
    directory: PathBuf,
}

impl Client {
    /// For the server on `directory`, whether or not one runs.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Has `image` asked for anew at its next pull. Gives the name that the server understood.
    ///
    /// # Errors
    /// [`Error::NotRunning`] where there is no server; [`Error::Refused`] with its words where it does not know the
    /// image's registry.
    pub async fn refresh(&self, image: &str) -> Result<String, Error> {
        let refreshed: Refreshed = self.post(REFRESH, &Refresh { image: image.to_owned() }).await?;
        Ok(refreshed.refreshed)
    }

    async fn post<A: DeserializeOwned>(&self, path: &str, command: &impl Serialize) -> Result<A, Error> {
        let body =
            serde_json::to_vec(command).map_err(|error| self.no_answer("the command cannot be written", error))?;
        let (status, answer) = time::timeout(TIMEOUT, self.exchange(path, body.into())).await.map_err(|_| {
            Error::NoAnswer { directory: self.directory.clone(), problem: "it took too long", source: None }
        })??;
        if status != StatusCode::OK {
            let refused: Refused =
                serde_json::from_slice(&answer).map_err(|error| self.no_answer("its refusal cannot be read", error))?;
            return Err(Error::Refused(refused.error));
        }
        serde_json::from_slice(&answer).map_err(|error| self.no_answer("its answer cannot be read", error))
    }

    async fn exchange(&self, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), Error> {
        let stream = socket::connect(&self.directory).await.map_err(|source| self.unreached(source))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.no_answer("it broke off", error))?;
        let request = Request::post(path)
            .header(header::HOST, "larder")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.no_answer("the command cannot be sent", error))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| self.no_answer("it broke off", error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_SIZE_BYTES_MAX).collect().await.map_err(|source| {
                Error::NoAnswer { directory: self.directory.clone(), problem: "it broke off", source: Some(source) }
            })?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(exchange, connection);
        // The connection only moves bytes: what it ends with, the exchange ends with too.
        tokio::select! {
            result = &mut exchange => result,
            _ = &mut connection => exchange.await,
        }
    }

    fn unreached(&self, source: io::Error) -> Error {
        let directory = self.directory.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning { directory },
            io::ErrorKind::PermissionDenied => Error::Forbidden { directory, source },
            _ => Error::NoAnswer { directory, problem: "it cannot be reached", source: Some(source.into()) },
        }
    }

    fn no_answer(&self, problem: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::NoAnswer { directory: self.directory.clone(), problem, source: Some(source.into()) }
    }
}
