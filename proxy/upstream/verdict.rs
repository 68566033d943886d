//! What an answer without success means.

use super::{
    ask::Ask,
    attempt::Answer,
    authorize::Presented,
    client::Upstream,
    endpoint::Endpoint,
    failure::{Again, Failure, Kind, Step, Trouble},
    proof::Verdict,
    rate,
    words::Words,
};
use http::{HeaderMap, Method, header};
use tokio::time::Instant;

/// What is said of a refusal that no registry gave.
const FOREIGN: &str = "without any sign of a registry, as the block page of a proxy or a firewall";

impl Upstream {
    /// What an answer without success means.
    pub(super) async fn refusal(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        answer: Answer,
        presented: &Presented,
        deadline: Instant,
    ) -> Trouble {
        let status = answer.response.status().as_u16();
        let mut failure = Failure::new(&self.registry, Kind::Malformed, Step::Headers, answer.host());
        failure.status = Some(status);
        failure.credential = answer.credential.as_deref().map(str::to_owned);
        failure.retry_after = rate::retry_after(answer.response.headers());
        if answer.left {
            failure.step = Step::Redirect;
        }
        // Storage refuses with these what the registry allowed: a signature that is over, a clock that is off.
        let storage = answer.left && !answer.url.path().starts_with("/v2/");
        let left = answer.left;
        let head = ask.method == Method::HEAD;
        let signed = is_signed(answer.response.headers());
        let words = Words::read(answer.response, deadline, &presented.secrets()).await;
        let foreign = !head && !storage && !signed && !words.of_registry && matches!(status, 401 | 403);
        words.add_to(&mut failure);
        let mut again;
        (failure.kind, again) = classify(status, failure.code.as_deref(), storage);
        if foreign && failure.kind == Kind::RepositoryRefused {
            (failure.kind, again) = (Kind::Unavailable, Again::Elsewhere);
            failure.detail = Some(FOREIGN.to_owned());
        }
        if storage && head {
            // It is the method that is refused, and a GET is asked next.
            again = Again::No;
        }
        let mut trouble = Trouble { failure, again };
        // A HEAD has no words, and some registries refuse every one: only a GET is a verdict.
        if trouble.failure.kind == Kind::RepositoryRefused
            && !head
            && !left
            && self.is_whole(endpoint, presented, &trouble.failure, deadline).await
        {
            trouble.failure.kind = Kind::CredentialRefused;
            self.distrust.refused(presented.current.generation, &trouble);
        }
        trouble
    }

    /// Whether `failure` is of the credential as a whole rather than of one repository.
    async fn is_whole(&self, endpoint: &Endpoint, presented: &Presented, failure: &Failure, deadline: Instant) -> bool {
        if presented.current.generation == 0 || presented.header().is_none() {
            return false;
        }
        let key = presented.key();
        // Shown itself, a 401 is about nothing else. ECR says 403 when it has expired.
        if key.is_none() && (failure.status == Some(401) || is_about_expiry(failure)) {
            return true;
        }
        self.proven(endpoint, key, &presented.current, deadline).await == Verdict::Refused
    }
}

/// Whether only a registry, or what guards one, would send these headers.
fn is_signed(headers: &HeaderMap) -> bool {
    headers.contains_key(header::WWW_AUTHENTICATE) || headers.contains_key("docker-distribution-api-version")
}

/// `Your authorization token has expired. Reauthenticate and try again.`
fn is_about_expiry(failure: &Failure) -> bool {
    failure.message.as_deref().is_some_and(|message| {
        let message = message.to_ascii_lowercase();
        message.contains("expired")
            && ["token", "credential", "password", "authorization"].iter().any(|word| message.contains(word))
    })
}

/// What a status means for a pull, and whether asking again may help.
fn classify(status: u16, code: Option<&str>, storage: bool) -> (Kind, Again) {
    let is = |known: &[&str]| code.is_some_and(|code| known.iter().any(|known| known.eq_ignore_ascii_case(code)));
    match status {
        429 => (Kind::RateLimited, Again::No),
        403 | 503 if is(&["TOOMANYREQUESTS"]) => (Kind::RateLimited, Again::No),
        404 | 410 => (Kind::NotFound, Again::No),
        400 if is(&NAME_CODES) => (Kind::NotFound, Again::No),
        400 | 401 | 403 if storage => (Kind::Unavailable, Again::Here),
        400 if is(&REFUSAL_CODES) => (Kind::RepositoryRefused, Again::No),
        401 | 403 | 451 => (Kind::RepositoryRefused, Again::No),
        501 => (Kind::Unavailable, Again::No),
        407 | 408 | 421 | 425 | 500..=599 => (Kind::Unavailable, Again::Here),
        _ => (Kind::Malformed, Again::No),
    }
}

/// Some registries answer 400 for names that they could not have,
const NAME_CODES: [&str; 6] =
    ["NAME_INVALID", "NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "TAG_INVALID", "DIGEST_INVALID"];

/// and ECR Public for a token that is none.
pub(super) const REFUSAL_CODES: [&str; 2] = ["DENIED", "UNAUTHORIZED"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_means_what_the_table_says() {
        for (status, code, storage, expected) in [
            (404, None, false, Kind::NotFound),
            (404, Some("NAME_UNKNOWN"), false, Kind::NotFound),
            (410, None, false, Kind::NotFound),
            (400, Some("NAME_INVALID"), false, Kind::NotFound),
            (400, None, false, Kind::Malformed),
            (400, Some("denied"), false, Kind::RepositoryRefused),
            (400, Some("UNAUTHORIZED"), false, Kind::RepositoryRefused),
            (400, Some("DENIED"), true, Kind::Unavailable),
            (401, None, false, Kind::RepositoryRefused),
            (403, Some("DENIED"), false, Kind::RepositoryRefused),
            (403, Some("toomanyrequests"), false, Kind::RateLimited),
            (403, None, true, Kind::Unavailable),
            (429, None, false, Kind::RateLimited),
            (503, Some("TOOMANYREQUESTS"), false, Kind::RateLimited),
            (500, None, false, Kind::Unavailable),
            (501, None, false, Kind::Unavailable),
            (503, None, false, Kind::Unavailable),
            (304, None, false, Kind::Malformed),
            (416, None, false, Kind::Malformed),
        ] {
            assert_eq!(classify(status, code, storage).0, expected, "{status} {code:?} {storage}");
        }
        assert_eq!(classify(429, None, false).1, Again::No);
        assert_eq!(classify(404, None, false).1, Again::No);
    }
}
