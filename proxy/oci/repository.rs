//! The name of a repository within a registry.

use super::{Error, Problem};
use std::{fmt, str::FromStr, sync::Arc};

/// A repository name as distribution-spec 1.1 ("Pulling manifests") has it: lower-case path components separated by
/// `/`, at most 255 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Arc<str>);

const NOUN: &str = "repository";
const LENGTH_MAX: usize = 255;

impl Repository {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Docker Hub's rule: a name of one component means `library/` and that name.
    pub fn with_library(&self) -> Self {
        if self.0.contains('/') { self.clone() } else { Self(Arc::from(format!("library/{}", self.0))) }
    }
}

impl FromStr for Repository {
    type Err = Error;

    /// Each component is `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |problem| Err(Error::new(NOUN, text, problem));
        if text.is_empty() {
            return fail(Problem::Empty);
        }
        if text.len() > LENGTH_MAX {
            return fail(Problem::TooLong { max: LENGTH_MAX });
        }
        let bytes = text.as_bytes();
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let mut at = 0;
        while at < bytes.len() {
            if is_word(bytes[at]) {
                at += 1;
                continue;
            }
            let start = at;
            while at < bytes.len() && !is_word(bytes[at]) {
                at += 1;
            }
            let allowed = start > 0
                && match &bytes[start..at] {
                    b"." | b"_" | b"__" | b"/" => true,
                    run => run.iter().all(|b| *b == b'-'),
                };
            if !allowed {
                let wrong = if start > 0 && matches!(bytes[start], b'.' | b'_' | b'-' | b'/') && at - start > 1 {
                    start + 1
                } else {
                    start
                };
                let found = text[..].char_indices().find(|(i, _)| *i >= wrong).map_or('?', |(_, c)| c);
                return fail(Problem::Character { at: wrong + 1, found });
            }
        }
        match bytes.last() {
            Some(last) if !is_word(*last) => fail(Problem::End { last: char::from(*last) }),
            _ => Ok(Self(Arc::from(text))),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_specification_allows() {
        for text in ["a", "library/nginx", "a-b/c__d/e.f", "a---b", "0/1", &"a".repeat(255)] {
            assert!(text.parse::<Repository>().is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_does_not() {
        for text in [
            "",
            "A",
            "a/",
            "/a",
            "a//b",
            "a..b",
            "a___b",
            "a._b",
            ".a",
            "a.",
            "a/../b",
            "a%2Fb",
            "a\0b",
            "é",
            &"a".repeat(256),
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_the_character_that_is_wrong() {
        let error = "library/Nginx".parse::<Repository>().unwrap_err();
        assert_eq!(error.problem, Problem::Character { at: 9, found: 'N' });
    }

    #[test]
    fn one_component_gets_library() {
        let repository: Repository = "nginx".parse().unwrap();
        assert_eq!(repository.with_library().as_str(), "library/nginx");
        assert_eq!(repository.with_library().with_library().as_str(), "library/nginx");
    }
}
