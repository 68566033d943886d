//! Names with wildcards.

use std::{fmt, str::FromStr};

/// A pattern over names of repositories or tags: `*` stands for any run of characters within one path component, `**`
/// as a whole component for any number of components. Components are never matched in part: `team` is not `team2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// A pattern that could match nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no pattern: it needs 1 to 255 characters, without spaces and without empty parts between slashes")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Whether `name` as a whole matches.
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<&str> = self.0.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        components_match(&pattern, &name)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Iterative with one point of return for `**`, so that no pattern takes exponential time.
fn components_match(pattern: &[&str], name: &[&str]) -> bool {
    wildcard_match(
        pattern,
        name,
        |p| *p == "**",
        |p, n| wildcard_match(p.as_bytes(), n.as_bytes(), |b| *b == b'*', |a, b| a == b),
    )
}

fn wildcard_match<T>(pattern: &[T], name: &[T], any: impl Fn(&T) -> bool, same: impl Fn(&T, &T) -> bool) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && any(&pattern[p]) {
            back = Some((p, n));
            p += 1;
        } else if p < pattern.len() && same(&pattern[p], &name[n]) {
            p += 1;
            n += 1;
        } else if let Some((star, from)) = back {
            back = Some((star, from + 1));
            p = star + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(any)
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let valid = !text.is_empty()
            && text.len() <= 255
            && text.split('/').all(|part| !part.is_empty())
            && text.bytes().all(|b| b.is_ascii_graphic());
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidPattern(text.chars().take(300).collect())) }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_components() {
        for (pattern, name, expected) in [
            ("team/*", "team/app", true),
            ("team/*", "team2/app", false),
            ("team/*", "team/a/b", false),
            ("team/**", "team/a/b", true),
            ("**", "a/b/c", true),
            ("**/app", "a/b/app", true),
            ("v*.*.*", "v1.2.3", true),
            ("v*.*.*", "v1.2", false),
            ("team", "team2", false),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern: Pattern = "a*".repeat(120).parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(119)));
    }
}
