//! What is shown to an upstream, and what is made of its refusal (distribution-spec's token flow, RFC 7617).

use super::{
    ask::Ask,
    attempt::Answer,
    challenge::{Bearer, Challenges},
    client::Upstream,
    endpoint::{Endpoint, Scheme, usual_scope},
    failure::{Failure, Kind, Step, Trouble},
    realm::Policy,
    token::{Token, TokenKey},
    words::Words,
};
use crate::credentials::{Credential, Current};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use tokio::time::Instant;
use url::Url;

/// Refusals that are answered in one attempt: one teaches the realm or the scope, one drops a token.
const AUTH_ROUNDS_MAX: usize = 2;

/// What was shown.
enum Shown {
    Nothing,
    Basic(HeaderValue),
    Bearer { key: TokenKey, token: Arc<Token> },
}

impl Shown {
    fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Nothing => None,
            Self::Basic(header) => Some(header),
            Self::Bearer { token, .. } => Some(&token.header),
        }
    }
}

/// What does not change within one attempt.
#[derive(Clone, Copy)]
struct Round<'a> {
    endpoint: &'a Endpoint,
    ask: &'a Ask<'a>,
    started: Instant,
    deadline: Instant,
}

/// What a token has to be good for.
struct Wanted {
    realm: Url,
    service: Option<String>,
    scopes: Vec<String>,
}

impl Wanted {
    fn key(self, generation: u64) -> TokenKey {
        TokenKey { generation, realm: self.realm, service: self.service, scopes: self.scopes }
    }

    fn is_of(&self, key: &TokenKey) -> bool {
        key.realm == self.realm && key.service == self.service && key.scopes == self.scopes
    }
}

impl Upstream {
    /// Asks `endpoint` and answers its challenges. Gives the answer and what it was shown.
    pub(super) async fn authorized(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<(Answer, Option<HeaderValue>), Trouble> {
        let round = Round { endpoint, ask, started: Instant::now(), deadline };
        let mut current = self.current(round).await?;
        let mut shown = self.foreseen(round, &mut current).await?;
        let mut rounds = 0;
        loop {
            if matches!(shown, Shown::Basic(_))
                && let Some(refusal) = self.distrust.refusal(current.generation)
            {
                return Err(refusal);
            }
            let mut answer = self.follow(endpoint, ask, shown.header(), deadline).await?;
            if !matches!(shown, Shown::Nothing) {
                answer.credential = current.place.clone();
            }
            if answer.left || answer.response.status() != StatusCode::UNAUTHORIZED {
                if matches!(shown, Shown::Basic(_)) {
                    self.distrust.accepted();
                }
                return Ok((answer, shown.header().cloned()));
            }
            let challenges = Challenges::read(answer.response.headers());
            let next = match rounds {
                AUTH_ROUNDS_MAX => None,
                _ => self.next(round, &mut current, &shown, challenges).await?,
            };
            let Some(next) = next else { return self.final_refusal(answer, &shown, &current, deadline).await };
            shown = next;
            rounds += 1;
            // Read to its end, the connection can be used again.
            Words::read(answer.response, deadline, &[]).await;
        }
    }

    /// The credential as it is now.
    async fn current(&self, round: Round<'_>) -> Result<Current, Trouble> {
        let provided = tokio::time::timeout_at(round.deadline, self.provider.current()).await;
        let detail = match provided {
            Ok(Ok(current)) => return Ok(current),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the credential was not provided in time".to_owned(),
        };
        let host = round.endpoint.origin.to_string();
        Err(Failure::new(&self.registry, Kind::CredentialRefused, Step::Token, host).with_detail(detail).into())
    }

    /// What the endpoint will want to see, as far as it taught us. Saves the 401 that would ask for it.
    async fn foreseen(&self, round: Round<'_>, current: &mut Current) -> Result<Shown, Trouble> {
        match (round.endpoint.scheme(), round.ask.repository) {
            (Some(Scheme::Basic), _) => Ok(basic(&current.credential).map_or(Shown::Nothing, Shown::Basic)),
            (Some(Scheme::Bearer { realm, service }), Some(repository)) => match round.endpoint.scopes(repository) {
                Some(scopes) => self.bearer(Wanted { realm, service, scopes }, current, round.deadline).await,
                None => Ok(Shown::Nothing),
            },
            _ => Ok(Shown::Nothing),
        }
    }

    /// What to show instead of what was refused. `None`: nothing, the refusal stands.
    async fn next(
        &self,
        round: Round<'_>,
        current: &mut Current,
        shown: &Shown,
        challenges: Challenges,
    ) -> Result<Option<Shown>, Trouble> {
        let Round { endpoint, ask, .. } = round;
        if let Some(challenge) = challenges.bearer {
            let realm = self.trusted_realm(endpoint, &challenge)?;
            let scheme = Scheme::Bearer { realm: realm.clone(), service: challenge.service.clone() };
            endpoint.learn(scheme, ask.repository, Some(&challenge));
            let wanted = Wanted { realm, service: challenge.service, scopes: scopes_for(ask, challenge.scopes) };
            return self.next_token(round, wanted, current, shown).await;
        }
        match shown {
            // Harbor answers a refused token with a Basic challenge. It is not obeyed: the credential belongs to the
            // token service, and what is wrong is the token.
            Shown::Bearer { key, .. } => {
                let TokenKey { realm, service, scopes, .. } = key.clone();
                self.next_token(round, Wanted { realm, service, scopes }, current, shown).await
            }
            Shown::Nothing if challenges.basic => {
                endpoint.learn(Scheme::Basic, None, None);
                Ok(basic(&current.credential).map(Shown::Basic))
            }
            Shown::Basic(_) if challenges.basic && self.provider.refused(current.generation).await => {
                *current = self.current(round).await?;
                Ok(basic(&current.credential).map(Shown::Basic))
            }
            Shown::Nothing | Shown::Basic(_) => Ok(None),
        }
    }

    /// A token where none was shown, a fresh one where an older was refused. `None`: the refused one was fresh.
    async fn next_token(
        &self,
        round: Round<'_>,
        wanted: Wanted,
        current: &mut Current,
        shown: &Shown,
    ) -> Result<Option<Shown>, Trouble> {
        if let Shown::Bearer { key, token } = shown {
            if wanted.is_of(key) && token.received_at >= round.started {
                return Ok(None);
            }
            self.tokens.drop_token(key, token);
        }
        self.bearer(wanted, current, round.deadline).await.map(Some)
    }

    /// A token, got with another credential if this one is refused and has changed meanwhile.
    async fn bearer(&self, wanted: Wanted, current: &mut Current, deadline: Instant) -> Result<Shown, Trouble> {
        let mut key = wanted.key(current.generation);
        let mut fetched = self.token(&key, current, deadline).await;
        if let Err(trouble) = &fetched
            && trouble.failure.kind == Kind::CredentialRefused
            && self.provider.refused(current.generation).await
            && let Ok(changed) = self.provider.current().await
        {
            *current = changed;
            key.generation = current.generation;
            fetched = self.token(&key, current, deadline).await;
        }
        fetched.map(|token| Shown::Bearer { key, token })
    }

    /// The realm of `challenge`, if it may see the credential. If not, it is not asked at all.
    fn trusted_realm(&self, endpoint: &Endpoint, challenge: &Bearer) -> Result<Url, Trouble> {
        let policy = Policy {
            registry: &self.registry,
            own: &self.origins,
            trusted: &self.config.trusted_realms,
            plain: endpoint.is_plain(),
        };
        policy.check(&challenge.realm).map_err(|refused| {
            self.warn_once(&endpoint.origin.to_string(), &refused);
            let failure = Failure::new(&self.registry, Kind::Refused, Step::Token, endpoint.origin.to_string());
            failure.with_status(401).with_detail(refused.to_string()).into()
        })
    }

    /// The refusal stands: of the whole credential where it was shown itself, else of the repository.
    async fn final_refusal(
        &self,
        answer: Answer,
        shown: &Shown,
        current: &Current,
        deadline: Instant,
    ) -> Result<(Answer, Option<HeaderValue>), Trouble> {
        if !matches!(shown, Shown::Basic(_)) {
            return Ok((answer, shown.header().cloned()));
        }
        let mut trouble = self.refusal(answer, shown.header(), deadline).await;
        trouble.failure.kind = Kind::CredentialRefused;
        self.distrust.refused(current.generation, &trouble);
        Err(trouble)
    }
}

/// The scopes a challenge names, verbatim: Artifactory shortens the repository's name, ECR Public wants `aws`. `/v2/`
/// names none that would mean anything for a repository.
fn scopes_for(ask: &Ask<'_>, challenged: Vec<String>) -> Vec<String> {
    match ask.repository {
        Some(repository) if challenged.is_empty() => vec![usual_scope(repository)],
        Some(_) => challenged,
        None => challenged.into_iter().filter(|scope| !scope.starts_with("repository:")).collect(),
    }
}

/// The value of `Authorization` for user name and password, marked as sensitive.
pub(super) fn basic(credential: &Credential) -> Option<HeaderValue> {
    let Credential::Basic { username, secret } = credential else { return None };
    let pair = STANDARD.encode(format!("{username}:{}", secret.expose()));
    let mut header = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
