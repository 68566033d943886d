//! The name of a registry as it stands in an image reference.

use super::{Error, Problem};
use std::{fmt, str::FromStr, sync::Arc};

/// A registry's host name with an optional port, lower case: `docker.io`, `localhost:5000`, `[::1]:5000`.
///
/// It is a name, not an address to dial: `docker.io` is served by another host. Which hosts are dialled is decided by
/// the configuration alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry(Arc<str>);

const NOUN: &str = "registry";
/// 253 characters of host name (RFC 1035) and a port.
const LENGTH_MAX: usize = 259;

impl Registry {
    /// Docker Hub, the registry of references that name none.
    pub fn docker_hub() -> Self {
        Self(Arc::from("docker.io"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name can only be a registry when it stands before the first slash of an image reference: it has a
    /// dot or a port, or is `localhost` (the rule of Docker's reference grammar).
    pub fn is_registry_component(text: &str) -> bool {
        text == "localhost" || text.contains(['.', ':'])
    }
}

impl FromStr for Registry {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |problem| Err(Error::new(NOUN, text, problem));
        if text.is_empty() {
            return fail(Problem::Empty);
        }
        if text.len() > LENGTH_MAX {
            return fail(Problem::TooLong { max: LENGTH_MAX });
        }
        let lower = text.to_ascii_lowercase();
        let (host, port) = match lower.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((address, "")) => (address, None),
                Some((address, after)) => (address, after.strip_prefix(':').map(Some).unwrap_or(Some(""))),
                None => return fail(Problem::Shape("a bracket is not closed")),
            },
            None => match lower.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (lower.as_str(), None),
            },
        };
        if lower.starts_with('[') {
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return fail(Problem::Shape("between brackets an IPv6 address is needed"));
            }
        } else {
            if let Some((at, found)) =
                host.char_indices().find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.'))
            {
                return fail(Problem::Character { at: at + 1, found });
            }
            if host.split('.').any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-')) {
                return fail(Problem::Shape("each part between dots needs letters or digits at both ends"));
            }
        }
        if let Some(port) = port
            && !(port.parse::<u16>().is_ok_and(|port| port > 0) && port.bytes().all(|b| b.is_ascii_digit()))
        {
            return fail(Problem::Shape("after the colon a port from 1 to 65535 is needed"));
        }
        Ok(Self(Arc::from(lower)))
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_ports_and_bracketed_addresses() {
        for text in ["docker.io", "localhost", "localhost:5000", "127.0.0.1:5000", "[::1]", "[::1]:5000", "a-b.c"] {
            assert_eq!(text.parse::<Registry>().map(|r| r.to_string()), Ok(text.to_owned()), "{text}");
        }
        assert_eq!("GHCR.io".parse::<Registry>().map(|r| r.to_string()), Ok("ghcr.io".to_owned()));
    }

    #[test]
    fn refuses_what_is_no_host_with_a_port() {
        for text in
            ["", "a b", "user@host", "host:", "host:0", "host:70000", "host:+1", "a..b", "-a", "a/b", "[::1", "[x]"]
        {
            assert!(text.parse::<Registry>().is_err(), "{text}");
        }
    }
}
