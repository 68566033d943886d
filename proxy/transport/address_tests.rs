use super::*;

/// An upstream of which only the URLs matter.
pub(crate) fn upstream(urls: &[&str]) -> config::Upstream {
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
        credentials: Vec::new(),
    }
}
