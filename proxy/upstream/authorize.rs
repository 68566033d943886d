//! What is shown to an upstream, and what is made of its refusal (distribution-spec's token flow, RFC 7617).

use super::{
    ask::Ask,
    attempt::Answer,
    challenge::{Bearer, Challenges},
    client::Upstream,
    endpoint::{Endpoint, Scheme},
    failure::{Failure, Kind, Step, Trouble},
    realm::Policy,
    scope,
    token::{Token, TokenKey},
    words::Words,
};
use crate::credentials::{Credential, Current};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Method, StatusCode};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use url::Url;

/// Refusals that are answered in one attempt: one teaches the realm or the scope, one drops a token.
const AUTH_ROUNDS_MAX: usize = 2;

/// How long a provider may take: it reads a file.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(2);
/// An attempt needs at least so long for another question.
const TIME_MIN: Duration = Duration::from_secs(1);

/// What was shown.
#[derive(Debug)]
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

/// What an answer was given to.
#[derive(Debug)]
pub(super) struct Presented {
    shown: Shown,
    /// The credential in force.
    pub(super) current: Current,
}

impl Presented {
    /// The value of `Authorization`.
    pub(super) fn header(&self) -> Option<&HeaderValue> {
        self.shown.header()
    }

    /// What the token is good for, where one was shown.
    pub(super) fn key(&self) -> Option<&TokenKey> {
        match &self.shown {
            Shown::Bearer { key, .. } => Some(key),
            Shown::Nothing | Shown::Basic(_) => None,
        }
    }

    /// What must not be repeated to anybody.
    pub(super) fn secrets(&self) -> Vec<&str> {
        secrets(&self.current.credential, self.header())
    }
}

/// What must not be repeated to anybody, of a `credential` and the value of `Authorization`.
pub(super) fn secrets<'a>(credential: &'a Credential, header: Option<&'a HeaderValue>) -> Vec<&'a str> {
    let shown = header.and_then(|header| header.to_str().ok()?.split_once(' ')).map(|(_, value)| value);
    let plain = match credential {
        Credential::Anonymous => None,
        Credential::Basic { secret, .. } => Some(secret.expose()),
    };
    shown.into_iter().chain(plain).collect()
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
    ) -> Result<(Answer, Presented), Trouble> {
        let round = Round { endpoint, ask, started: Instant::now(), deadline };
        let mut current = self.current(round).await?;
        let mut shown = match self.foreseen(round, &mut current).await {
            Ok(shown) => shown,
            // What was learned may not hold any more: the registry or its token service has moved.
            Err(trouble) if is_of_the_realm(&trouble) && Instant::now() + TIME_MIN < deadline => {
                endpoint.forget();
                Shown::Nothing
            }
            Err(trouble) => return Err(trouble),
        };
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
            let status = answer.response.status();
            let accepted = answer.left || status.is_success() || status == StatusCode::NOT_FOUND;
            if accepted && matches!(shown, Shown::Basic(_)) {
                self.proof.accepted(current.generation);
                self.distrust.accepted();
            }
            // Some registries refuse every HEAD. It teaches what to show, and costs no token that may be good.
            let stands = ask.method == Method::HEAD && !matches!(shown, Shown::Nothing);
            if answer.left || stands || status != StatusCode::UNAUTHORIZED {
                return Ok((answer, Presented { shown, current }));
            }
            let challenges = Challenges::read(answer.response.headers());
            let moved = challenges.bearer.is_none() && matches!(shown, Shown::Bearer { .. });
            let next = match rounds {
                AUTH_ROUNDS_MAX => None,
                _ => self.next(round, &mut current, &shown, challenges).await?,
            };
            let Some(next) = next else {
                if moved {
                    // Either Harbor, or tokens are not taken any more. The next question will tell.
                    endpoint.forget();
                }
                return Ok((answer, Presented { shown, current }));
            };
            shown = next;
            rounds += 1;
            // Read to its end, the connection can be used again.
            Words::read(answer.response, deadline, &[]).await;
        }
    }

    /// The credential as it is now, if this is where it belongs.
    async fn current(&self, round: Round<'_>) -> Result<Current, Trouble> {
        if !round.endpoint.entitled {
            return Ok(Current::anonymous());
        }
        let deadline = round.deadline.min(Instant::now() + PROVIDER_TIMEOUT);
        let provided = tokio::time::timeout_at(deadline, self.provider.current()).await;
        let detail = match provided {
            Ok(Ok(current)) => return Ok(current),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the credential was not provided in time".to_owned(),
        };
        let host = round.endpoint.origin.to_string();
        Err(Failure::new(&self.registry, Kind::CredentialRefused, Step::Token, host).with_detail(detail).into())
    }

    /// Whether there is another credential by now than that of `generation`, which was refused.
    pub(super) async fn is_renewed(&self, generation: u64) -> bool {
        tokio::time::timeout(PROVIDER_TIMEOUT, self.provider.refused(generation)).await.unwrap_or(false)
    }

    /// What the endpoint will want to see, as far as it taught us. Saves the 401 that would ask for it.
    async fn foreseen(&self, round: Round<'_>, current: &mut Current) -> Result<Shown, Trouble> {
        match (round.endpoint.scheme(), round.ask.repository) {
            (Some(Scheme::Basic), _) => Ok(basic(&current.credential).map_or(Shown::Nothing, Shown::Basic)),
            (Some(Scheme::Bearer { realm, service }), Some(repository)) => match round.endpoint.scopes(repository) {
                Some(scopes) => self.bearer(round, Wanted { realm, service, scopes }, current).await,
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
            let scopes = scope::after_challenge(ask.repository, &challenge.scopes);
            let wanted = Wanted { realm, service: challenge.service, scopes: scopes.clone() };
            let next = self.next_token(round, wanted, current, shown).await?;
            endpoint.learn(scheme, ask.repository, &scopes);
            return Ok(next);
        }
        match shown {
            // Harbor answers a refused token with a Basic challenge. It is not obeyed: the credential belongs to the
            // token service, and what is wrong is the token.
            Shown::Bearer { key, .. } => {
                let TokenKey { realm, service, scopes, .. } = key.clone();
                self.next_token(round, Wanted { realm, service, scopes }, current, shown).await
            }
            Shown::Nothing if challenges.basic => {
                endpoint.learn(Scheme::Basic, None, &[]);
                Ok(basic(&current.credential).map(Shown::Basic))
            }
            Shown::Basic(_) if challenges.basic && self.is_renewed(current.generation).await => {
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
        self.bearer(round, wanted, current).await.map(Some)
    }

    /// A token, got with another credential if this one is refused and has changed meanwhile.
    async fn bearer(&self, round: Round<'_>, wanted: Wanted, current: &mut Current) -> Result<Shown, Trouble> {
        let mut key = wanted.key(current.generation);
        let mut fetched = self.token(round.endpoint, &key, current, round.deadline).await;
        if let Err(trouble) = &fetched
            && trouble.failure.kind == Kind::CredentialRefused
            && self.is_renewed(current.generation).await
            && let Ok(changed) = self.current(round).await
        {
            *current = changed;
            key.generation = current.generation;
            fetched = self.token(round.endpoint, &key, current, round.deadline).await;
        }
        fetched.map(|token| Shown::Bearer { key, token })
    }

    /// The realm of `challenge`, if it may see the credential. If not, it is not asked at all.
    fn trusted_realm(&self, endpoint: &Endpoint, challenge: &Bearer) -> Result<Url, Trouble> {
        let policy = Policy { own: &endpoint.origin, trusted: &self.config.trusted_realms, plain: endpoint.is_plain() };
        policy.check(&challenge.realm).map_err(|refused| {
            self.warn_once(&endpoint.origin.to_string(), &refused);
            let failure = Failure::new(&self.registry, Kind::Refused, Step::Token, endpoint.origin.to_string());
            failure.with_status(401).with_detail(refused.to_string()).into()
        })
    }
}

/// Whether a token was not to be had for a reason that another challenge may take away.
fn is_of_the_realm(trouble: &Trouble) -> bool {
    matches!(trouble.failure.kind, Kind::Malformed | Kind::Refused | Kind::Unavailable)
}

/// The value of `Authorization` for user name and password, marked as sensitive.
pub(super) fn basic(credential: &Credential) -> Option<HeaderValue> {
    let Credential::Basic { username, secret } = credential else { return None };
    let pair = STANDARD.encode(format!("{username}:{}", secret.expose()));
    let mut header = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
