//! The commands of the socket: a POST with JSON each.

use super::{
    Admin,
    connection::{Answer, answer},
};
use crate::{
    diagnosis::{self, Failure},
    oci::Target,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

const JSON: &str = "application/json";
/// Far above the longest command.
const BODY_SIZE_BYTES_MAX: usize = 64 << 10;
pub(super) const REFRESH: &str = "/v1/refresh";

/// What commands do to a running server.
pub trait Commands: Send + Sync + 'static {
    /// The next ask for `target` goes to its upstream, however fresh what is held may be. May block for a moment.
    fn refresh(&self, target: &Target);
}

/// `POST /v1/refresh`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// An image name as people write it.
    pub(super) image: String,
}

/// Its answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refreshed {
    /// The image with its names as configured.
    pub(super) refreshed: String,
}

/// Any answer that is not 200.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refused {
    /// A sentence.
    pub(super) error: String,
}

pub(super) async fn respond<B>(admin: &Admin, request: Request<B>) -> Answer
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let result = match (request.method(), request.uri().path()) {
        (&Method::POST, REFRESH) => match Limited::new(request.into_body(), BODY_SIZE_BYTES_MAX).collect().await {
            Ok(body) => refresh(admin, &body.to_bytes()).await,
            Err(_) => Err((StatusCode::PAYLOAD_TOO_LARGE, "The command is too long or broke off.".to_owned())),
        },
        (_, REFRESH) => Err((StatusCode::METHOD_NOT_ALLOWED, "This command is given by POST.".to_owned())),
        _ => Err((StatusCode::NOT_FOUND, "The running larder does not know this command.".to_owned())),
    };
    match result {
        Ok(done) => answer(StatusCode::OK, JSON, json!(done).to_string()),
        Err((status, error)) => answer(status, JSON, json!(Refused { error }).to_string()),
    }
}

async fn refresh(admin: &Admin, body: &Bytes) -> Result<Refreshed, (StatusCode, String)> {
    let bad = |sentence: String| (StatusCode::BAD_REQUEST, sentence);
    let command: Refresh =
        serde_json::from_slice(body).map_err(|error| bad(format!("The command cannot be read: {error}.")))?;
    let named: Target =
        command.image.parse().map_err(|error| bad(diagnosis::diagnose(&Failure::InvalidName(error)).message()))?;
    let Some((registry, repository)) = admin.config.resolve(&named.registry, &named.repository) else {
        let name = named.registry.to_string();
        let failure = Failure::NotConfigured { name, configured: admin.config.upstreams.keys().cloned().collect() };
        return Err(bad(diagnosis::diagnose(&failure).message()));
    };
    let target = Target { registry, repository, reference: named.reference };
    let refreshed = target.to_string();
    let commands = Arc::clone(&admin.commands);
    tokio::task::spawn_blocking(move || commands.refresh(&target))
        .await
        .map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, "larder failed at it; see its log.".to_owned()))?;
    tracing::info!(target.name = %refreshed, "refreshed by command");
    Ok(Refreshed { refreshed })
}
