//! `WWW-Authenticate` (RFC 9110, 11.6.1; distribution-spec's token flow). Pure.

use http::HeaderMap;
use http_auth::{ChallengeRef, parser::ChallengeParser};

/// Longer values are no challenge.
const VALUE_LENGTH_MAX: usize = 4096;
/// More entries in one `scope` than this are no pull.
const SCOPES_MAX: usize = 8;

/// What an upstream offers of what is understood here. Negotiate, Digest and NTLM are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Challenges {
    pub(super) bearer: Option<Bearer>,
    pub(super) basic: bool,
}

/// The Bearer challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    /// Where tokens are to be had, byte by byte as it came: distribution's token server tells `/token` from `/token/`.
    pub(super) realm: String,
    pub(super) service: Option<String>,
    /// The entries of `scope`, verbatim: some registries want another name than the one in the path.
    pub(super) scopes: Vec<String>,
}

impl Challenges {
    /// Reads all lines and all challenges in each. One that cannot be parsed ends its line, not the others.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut challenges = Self::default();
        for value in headers.get_all(http::header::WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            if text.len() > VALUE_LENGTH_MAX {
                continue;
            }
            for challenge in ChallengeParser::new(text) {
                let Ok(challenge) = challenge else { break };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    challenges.bearer = challenges.bearer.or_else(|| Bearer::read(&challenge));
                } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                    challenges.basic = true;
                }
            }
        }
        challenges
    }
}

impl Bearer {
    fn read(challenge: &ChallengeRef<'_>) -> Option<Self> {
        let parameter = |name: &str| {
            let (_, value) = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            let value = value.to_unescaped();
            (!value.is_empty()).then_some(value)
        };
        let scope = parameter("scope").unwrap_or_default();
        let scopes = scope.split(' ').filter(|entry| !entry.is_empty()).take(SCOPES_MAX).map(str::to_owned).collect();
        Some(Self { realm: parameter("realm")?, service: parameter("service"), scopes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Challenges {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("www-authenticate", line.parse().unwrap());
        }
        Challenges::read(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Option<Bearer> {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Some(Bearer { realm: realm.to_owned(), service: service.map(str::to_owned), scopes })
    }

    #[test]
    fn reads_the_challenges_of_registries() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:samalba/my-app:pull,push""#;
        let matrix: &[(&[&str], Option<Bearer>, bool)] = &[
            (
                &[hub],
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    &["repository:samalba/my-app:pull,push"],
                ),
                false,
            ),
            (&[r#"bearer REALM="https://a/t",Service=b"#], bearer("https://a/t", Some("b"), &[]), false),
            (&[r#"Bearer realm="https://a/t", service="""#], bearer("https://a/t", None, &[]), false),
            (
                &[r#"Bearer realm="https://a/t",scope="repository:a:pull repository:b:pull""#],
                bearer("https://a/t", None, &["repository:a:pull", "repository:b:pull"]),
                false,
            ),
            (&[r#"Basic realm="harbor""#], None, true),
            (&["Negotiate", r#"Basic realm="x""#], None, true),
            (&[r#"Negotiate, Basic realm="x", Bearer realm="https://a/t""#], bearer("https://a/t", None, &[]), true),
            (&[r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#], bearer("https://a/t", None, &[]), true),
            (&[r#"Bearer realm="https://a/\"t""#], bearer("https://a/\"t", None, &[]), false),
            (
                &[r#"Bearer realm="https://a/t",service="s",error="invalid_token""#],
                bearer("https://a/t", Some("s"), &[]),
                false,
            ),
            (&[r#"Bearer service="s""#], None, false),
            (&[r#"Bearer realm="""#], None, false),
            (&["Bearer"], None, false),
            (&["Digest realm=\"x\", nonce=\"y\""], None, false),
            (&["NTLM"], None, false),
            (&["=,=;;"], None, false),
            (&[], None, false),
        ];
        for (lines, bearer, basic) in matrix {
            assert_eq!(read(lines), Challenges { bearer: bearer.clone(), basic: *basic }, "{lines:?}");
        }
    }

    #[test]
    fn limits_what_it_reads() {
        let long = format!(r#"Bearer realm="https://a/{}""#, "x".repeat(5000));
        assert_eq!(read(&[&long]), Challenges::default());
        let many = format!(r#"Bearer realm="https://a/t",scope="{}""#, "a ".repeat(100));
        assert_eq!(read(&[&many]).bearer.map(|bearer| bearer.scopes.len()), Some(8));
    }
}
