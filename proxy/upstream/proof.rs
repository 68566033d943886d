//! Whether a credential as a whole is still good. Registries refuse a repository and an expired credential with the
//! same words; what comes after differs: the one withdraws what is held of that repository, the other is an alarm.

use super::{
    authorize::basic,
    client::Upstream,
    endpoint::Endpoint,
    token::{self, TokenKey},
};
use crate::{credentials::Current, metrics::UpstreamRequest};
use http::{HeaderMap, HeaderValue, Method, header};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout_at},
};
use url::Url;

/// How long a finding is believed.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// How long the question may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a credential where no repository was in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    Refused,
    /// No answer, or one that says neither.
    Unknown,
}

/// What is known of the credential of one upstream.
#[derive(Debug, Default)]
pub(super) struct Proof(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last generation that was ever accepted.
    accepted: u64,
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    generation: u64,
    since: Instant,
    verdict: Arc<OnceCell<Verdict>>,
}

impl Proof {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was accepted just now.
    pub(super) fn accepted(&self, generation: u64) {
        let verdict = Arc::new(OnceCell::new_with(Some(Verdict::Accepted)));
        let known = Some(Known { generation, since: Instant::now(), verdict });
        *self.state() = State { accepted: generation, known };
    }

    /// Whether it was ever accepted.
    pub(super) fn was_accepted(&self, generation: u64) -> bool {
        self.state().accepted == generation
    }

    /// The place of the finding, which is made once for all who wait for it.
    fn place(&self, generation: u64) -> Arc<OnceCell<Verdict>> {
        let mut state = self.state();
        let good = |known: &&Known| known.generation == generation && known.since.elapsed() < BELIEVED_FOR;
        if let Some(known) = state.known.as_ref().filter(good) {
            return Arc::clone(&known.verdict);
        }
        let verdict = Arc::<OnceCell<Verdict>>::default();
        state.known = Some(Known { generation, since: Instant::now(), verdict: Arc::clone(&verdict) });
        verdict
    }
}

impl Upstream {
    /// Whether the credential is good where no repository is in question: at the token service of `key` without a scope,
    /// or at `/v2/` where it is shown itself.
    pub(super) async fn proven(
        &self,
        endpoint: &Endpoint,
        key: Option<&TokenKey>,
        current: &Current,
        deadline: Instant,
    ) -> Verdict {
        let url = match key {
            Some(key) => Some(token::question(&TokenKey { scopes: Vec::new(), ..key.clone() })),
            None => endpoint.url("/v2/"),
        };
        let Some(url) = url else { return Verdict::Unknown };
        let place = self.proof.place(current.generation);
        let kind = if key.is_some() { UpstreamRequest::Token } else { UpstreamRequest::Get };
        let asking = place.get_or_init(|| self.probe(endpoint, kind, &url, current));
        timeout_at(deadline, asking).await.map_or(Verdict::Unknown, |verdict| *verdict)
    }

    async fn probe(&self, endpoint: &Endpoint, kind: UpstreamRequest, url: &Url, current: &Current) -> Verdict {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let Some(basic) = basic(&current.credential) else { return Verdict::Unknown };
        headers.insert(header::AUTHORIZATION, basic);
        let sent = endpoint.transport.send(Method::GET, url, headers, Instant::now() + PROBE_TIMEOUT).await;
        self.count(kind, sent.as_ref().ok().map(reqwest::Response::status));
        match sent.map(|response| response.status().as_u16()) {
            Ok(200..=299) => Verdict::Accepted,
            Ok(401 | 403) => Verdict::Refused,
            _ => Verdict::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_finding_is_believed_for_a_minute_and_for_one_generation() {
        let proof = Proof::default();
        proof.accepted(1);
        assert_eq!(proof.place(1).get(), Some(&Verdict::Accepted));
        assert!(proof.was_accepted(1) && !proof.was_accepted(2));
        assert_eq!(proof.place(2).get(), None);
        proof.place(2).set(Verdict::Refused).unwrap();
        assert_eq!(proof.place(2).get(), Some(&Verdict::Refused));
        tokio::time::advance(BELIEVED_FOR).await;
        assert_eq!(proof.place(2).get(), None);
    }
}
