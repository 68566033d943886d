//! The name that may move from one manifest to another.

use super::{Digest, Error, Problem};
use std::{fmt, str::FromStr, sync::Arc};

/// A tag as distribution-spec 1.1 has it: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

const NOUN: &str = "tag";
const LENGTH_MAX: usize = 128;

impl Tag {
    /// The tag that is meant where a reference names none.
    pub fn latest() -> Self {
        Self(Arc::from("latest"))
    }

    /// The tag under which a registry without the referrers API keeps the referrers of `digest` (distribution-spec
    /// 1.1, "Referrers Tag Schema").
    pub fn of_referrers(digest: &Digest) -> Self {
        let text = digest.to_string().replace(':', "-");
        Self(Arc::from(&text[..text.len().min(LENGTH_MAX)]))
    }

    /// Whether it follows the scheme that tools use to hang data on a digest: `sha256-<hex>` with or without a suffix
    /// such as `.sig`. Such tags are asked for speculatively, so that a missing one is no failure of a pull.
    pub fn names_a_digest(&self) -> bool {
        ["sha256-", "sha512-"].iter().any(|prefix| {
            self.0.strip_prefix(prefix).is_some_and(|rest| {
                let hex = rest.split('.').next().unwrap_or_default();
                hex.len() >= 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
            })
        })
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |problem| Err(Error::new(NOUN, text, problem));
        if text.is_empty() {
            return fail(Problem::Empty);
        }
        if text.len() > LENGTH_MAX {
            return fail(Problem::TooLong { max: LENGTH_MAX });
        }
        for (at, found) in text.char_indices() {
            let allowed = found.is_ascii_alphanumeric() || found == '_' || (at > 0 && matches!(found, '.' | '-'));
            if !allowed {
                return fail(Problem::Character { at: at + 1, found });
            }
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses_as_the_specification_does() {
        for text in ["latest", "1.2.3-alpine", "_x", "A", &"a".repeat(128)] {
            assert!(text.parse::<Tag>().is_ok(), "{text}");
        }
        for text in ["", ".a", "-a", "a/b", "a:b", "a b", "ü", &"a".repeat(129)] {
            assert!(text.parse::<Tag>().is_err(), "{text}");
        }
    }

    #[test]
    fn knows_the_tags_that_hang_on_a_digest() {
        let digest = Digest::of(b"x");
        let tag = Tag::of_referrers(&digest);
        assert!(tag.names_a_digest());
        assert!(format!("{tag}.sig").parse::<Tag>().unwrap().names_a_digest());
        assert!(!"sha256-short".parse::<Tag>().unwrap().names_a_digest());
    }
}
