//! Where an answer may send us. Pure; the address behind the name is judged when it is dialled.

use http::HeaderMap;
use url::Url;

/// A pull needs one or two.
pub(super) const REDIRECTS_MAX: usize = 5;
/// Signed URLs are long, but not endless.
const LENGTH_MAX: usize = 8192;

/// A redirect that is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RedirectRefused {
    /// No target.
    #[error("a redirect without a target")]
    NoTarget,
    /// No URL that could be asked.
    #[error("a redirect to what is no http or https URL")]
    NoUrl,
    /// It has a user part.
    #[error("a redirect to a URL with a user part")]
    Decorated,
    /// From https to http.
    #[error("a redirect from https to http")]
    Downgrade,
    /// A loop, or as good as one.
    #[error("more than {REDIRECTS_MAX} redirects")]
    TooMany,
}

/// The target of an answer of `current` with `headers`, the `count`th redirect in a row.
pub(super) fn target(current: &Url, headers: &HeaderMap, count: usize) -> Result<Url, RedirectRefused> {
    if count > REDIRECTS_MAX {
        return Err(RedirectRefused::TooMany);
    }
    let location = headers.get(http::header::LOCATION).ok_or(RedirectRefused::NoTarget)?;
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| RedirectRefused::NoUrl)?;
    if location.len() > LENGTH_MAX {
        return Err(RedirectRefused::NoUrl);
    }
    let mut url = current.join(location).map_err(|_| RedirectRefused::NoUrl)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(RedirectRefused::NoUrl);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RedirectRefused::Decorated);
    }
    if current.scheme() == "https" && url.scheme() == "http" {
        return Err(RedirectRefused::Downgrade);
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(current: &str, location: &str, count: usize) -> Result<String, RedirectRefused> {
        let mut headers = HeaderMap::new();
        headers.insert("location", http::HeaderValue::from_bytes(location.as_bytes()).unwrap());
        target(&Url::parse(current).unwrap(), &headers, count).map(|url| url.to_string())
    }

    #[test]
    fn follows_what_registries_send() {
        let from = "https://registry.example/v2/a/blobs/sha256:0";
        for (location, expected) in [
            ("https://cdn.example/b?X-Amz-Signature=s", "https://cdn.example/b?X-Amz-Signature=s"),
            ("//cdn.example/b", "https://cdn.example/b"),
            ("/elsewhere#fragment", "https://registry.example/elsewhere"),
            ("../x", "https://registry.example/v2/a/x"),
        ] {
            assert_eq!(follow(from, location, 1), Ok(expected.to_owned()), "{location}");
        }
        assert_eq!(follow("http://a/", "http://b/", 5), Ok("http://b/".to_owned()));
        assert_eq!(follow("http://a/", "https://b/", 1), Ok("https://b/".to_owned()));
    }

    #[test]
    fn refuses_the_rest() {
        for (from, location, count, expected) in [
            ("https://a/", "http://a/", 1, RedirectRefused::Downgrade),
            ("https://a/", "https://user:x@b/", 1, RedirectRefused::Decorated),
            ("https://a/", "https://a@b/", 1, RedirectRefused::Decorated),
            ("https://a/", "file:///etc/passwd", 1, RedirectRefused::NoUrl),
            ("https://a/", "ftp://b/", 1, RedirectRefused::NoUrl),
            ("https://a/", "https://", 1, RedirectRefused::NoUrl),
            ("https://a/", "https://b/", 6, RedirectRefused::TooMany),
        ] {
            assert_eq!(follow(from, location, count), Err(expected), "{location}");
        }
        assert_eq!(follow("https://a/", &format!("/{}", "x".repeat(9000)), 1), Err(RedirectRefused::NoUrl));
        let none = target(&Url::parse("https://a/").unwrap(), &HeaderMap::new(), 1);
        assert_eq!(none, Err(RedirectRefused::NoTarget));
    }
}
