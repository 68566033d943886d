//! Tokens: one at a time for each key, kept for as long as the token service said.

use super::failure::Trouble;
use http::HeaderValue;
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{sync::OnceCell, time::Instant};
use url::Url;

/// The largest answer of a token service that is read.
pub(super) const TOKEN_SIZE_BYTES_MAX: usize = 64 * 1024;
/// How long a token service may take.
pub(super) const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// What the specification says where the answer does not, and the least it allows.
const LIFE_MIN: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Of the life of a token the last part is not used: it must not expire on its way.
const MARGIN_MAX: Duration = Duration::from_secs(10);
/// Clocks differ by so much.
const SKEW: Duration = Duration::from_secs(5);
/// Tokens held for one upstream.
const TOKENS_MAX: usize = 4096;

/// What a token is good for. It is never shown for anything else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    /// Of the credential it was got with; 0: anonymous.
    pub(super) generation: u64,
    pub(super) realm: Url,
    pub(super) service: Option<String>,
    pub(super) scopes: Vec<String>,
}

/// A token, ready to be shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// The value of `Authorization`, marked as sensitive.
    pub(super) header: HeaderValue,
    pub(super) received_at: Instant,
    pub(super) expires_at: Instant,
}

/// The place of one token, which is fetched once for all who wait for it.
pub(super) type Slot = Arc<OnceCell<Result<Arc<Token>, Trouble>>>;

/// The tokens of one upstream.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<TokenKey, Slot>>);

impl Tokens {
    fn slots(&self) -> MutexGuard<'_, HashMap<TokenKey, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place for `key`: with a token that can still be used, being filled, or empty.
    pub(super) fn slot(&self, key: &TokenKey) -> Slot {
        let mut slots = self.slots();
        if slots.len() >= TOKENS_MAX && !slots.contains_key(key) {
            slots.retain(|_, slot| is_usable(slot));
            if slots.len() >= TOKENS_MAX {
                slots.clear();
            }
        }
        let slot = slots.entry(key.clone()).or_default();
        if !is_usable(slot) {
            *slot = Slot::default();
        }
        Arc::clone(slot)
    }

    /// Forgets `refused` if it is still the token of `key`: another caller may have fetched a better one.
    pub(super) fn drop_token(&self, key: &TokenKey, refused: &Arc<Token>) {
        let mut slots = self.slots();
        let same = |slot: &Slot| matches!(slot.get(), Some(Ok(token)) if Arc::ptr_eq(token, refused));
        if slots.get(key).is_some_and(same) {
            slots.remove(key);
        }
    }

    /// Forgets a place that was filled with a failure.
    pub(super) fn drop_slot(&self, key: &TokenKey, failed: &Slot) {
        let mut slots = self.slots();
        if slots.get(key).is_some_and(|slot| Arc::ptr_eq(slot, failed)) {
            slots.remove(key);
        }
    }
}

fn is_usable(slot: &Slot) -> bool {
    match slot.get() {
        None => true,
        Some(Ok(token)) => Instant::now() < token.expires_at,
        Some(Err(_)) => false,
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.slots().len())
    }
}

/// The question to a token service. What the realm has of a query stays.
pub(super) fn question(key: &TokenKey) -> Url {
    let mut url = key.realm.clone();
    if key.service.is_none() && key.scopes.is_empty() {
        return url;
    }
    let mut query = url.query_pairs_mut();
    if let Some(service) = &key.service {
        query.append_pair("service", service);
    }
    for scope in &key.scopes {
        query.append_pair("scope", scope);
    }
    drop(query);
    url
}

#[derive(Deserialize)]
struct Json {
    token: Option<serde_json::Value>,
    access_token: Option<serde_json::Value>,
    expires_in: Option<serde_json::Value>,
    issued_at: Option<serde_json::Value>,
}

/// Reads the answer of a token service. `None` where no token is in it that could be shown.
pub(super) fn parse(body: &[u8]) -> Option<Token> {
    let json: Json = serde_json::from_slice(body).ok()?;
    let text = |value: Option<serde_json::Value>| match value {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let token = text(json.access_token).or_else(|| text(json.token))?;
    let issued_at = text(json.issued_at).and_then(|text| humantime::parse_rfc3339_weak(&text).ok());
    let age = issued_at.and_then(|at| SystemTime::now().duration_since(at).ok());
    let received_at = Instant::now();
    let expires_at = received_at + life(json.expires_in.as_ref().and_then(seconds), age);
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(Token { header, received_at, expires_at })
}

/// Numbers come as numbers, fractions and strings.
fn seconds(value: &serde_json::Value) -> Option<f64> {
    match value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// How long a token is used that lives for `expires_in` seconds and was issued `age` ago by the issuer's clock. That
/// clock counts only where it shortens the life: a service may give out a token it gave out before.
fn life(expires_in: Option<f64>, age: Option<Duration>) -> Duration {
    let stated = expires_in.filter(|seconds| seconds.is_finite()).unwrap_or_default();
    let life = Duration::from_secs_f64(stated.clamp(LIFE_MIN.as_secs_f64(), LIFE_MAX.as_secs_f64()));
    let spent = age.filter(|age| *age > SKEW && *age <= life).unwrap_or_default();
    (life - spent).saturating_sub(MARGIN_MAX.min(life / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_clamped_and_ends_before_its_end() {
        for (expires_in, age, expected) in [
            (None, None, 54),
            (Some(0.0), None, 54),
            (Some(-1.0), None, 54),
            (Some(30.0), None, 54),
            (Some(60.0), None, 54),
            (Some(300.0), None, 290),
            (Some(900.0), Some(100), 790),
            (Some(300.0), Some(3), 290),
            (Some(300.0), Some(299), 0),
            (Some(300.0), Some(100_000), 290),
            (Some(1e18), None, 86390),
            (Some(f64::NAN), None, 54),
            (Some(f64::INFINITY), None, 54),
        ] {
            assert_eq!(life(expires_in, age.map(Duration::from_secs)).as_secs(), expected, "{expires_in:?} {age:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reads_what_token_services_answer() {
        for (body, token, seconds) in [
            (r#"{"token":"a"}"#, "a", 54),
            (r#"{"access_token":"a","expires_in":900}"#, "a", 890),
            (r#"{"token":"a","access_token":"b","expires_in":"300"}"#, "b", 290),
            (r#"{"token":"a","access_token":"","expires_in":null}"#, "a", 54),
            (r#"{"token":"a","expires_in":300.5,"issued_at":"nonsense"}"#, "a", 290),
            (r#"{"token":"a","expires_in":300,"issued_at":"2015-01-01T00:00:00Z"}"#, "a", 290),
        ] {
            let parsed = parse(body.as_bytes()).unwrap();
            assert_eq!(parsed.header, format!("Bearer {token}"), "{body}");
            assert_eq!((parsed.expires_at - Instant::now()).as_secs(), seconds, "{body}");
            assert!(!format!("{parsed:?}").contains("Bearer"), "{parsed:?}");
        }
        for body in ["", "{}", "[]", r#"{"token":""}"#, r#"{"token":7}"#, r#"{"token":"a\nb"}"#, "<html>"] {
            assert_eq!(parse(body.as_bytes()), None, "{body}");
        }
    }

    fn key(realm: &str, service: Option<&str>, scopes: &[&str]) -> TokenKey {
        TokenKey {
            generation: 0,
            realm: Url::parse(realm).unwrap(),
            service: service.map(str::to_owned),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        }
    }

    #[test]
    fn asks_with_one_parameter_for_each_scope() {
        for (key, expected) in [
            (key("https://a/token/", None, &[]), "https://a/token/"),
            (
                key("https://a/t?x=y", Some("s"), &["repository:a/b:pull", "aws"]),
                "https://a/t?x=y&service=s&scope=repository%3Aa%2Fb%3Apull&scope=aws",
            ),
        ] {
            assert_eq!(question(&key).as_str(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_it_expires_or_is_refused() {
        let tokens = Tokens::default();
        let key = key("https://a/t", None, &[]);
        let token = Arc::new(parse(br#"{"token":"a"}"#).unwrap());
        tokens.slot(&key).set(Ok(Arc::clone(&token))).unwrap();
        assert!(tokens.slot(&key).get().is_some());
        let other = Arc::new(Token::clone(&token));
        tokens.drop_token(&key, &other);
        assert!(tokens.slot(&key).get().is_some());
        tokens.drop_token(&key, &token);
        assert!(tokens.slot(&key).get().is_none());
        tokens.slot(&key).set(Ok(token)).unwrap();
        tokio::time::advance(Duration::from_secs(55)).await;
        assert!(tokens.slot(&key).get().is_none());
    }
}
