//! Which part of a blob is wanted (RFC 9110, section 14). Pure.

/// What a `Range` header means for a body of a known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no range, or one that may be ignored (RFC 9110, 14.2): another unit, several parts, not understood.
    Whole,
    /// From `first` to before `end`.
    Part { first: u64, end: u64 },
    /// None of the bytes there are.
    Unsatisfiable,
}

impl Wanted {
    pub(super) fn of(range: Option<&str>, size_bytes: u64) -> Self {
        range.and_then(|range| parse(range, size_bytes)).unwrap_or(Self::Whole)
    }
}

fn parse(range: &str, size: u64) -> Option<Wanted> {
    let number = |digits: &str| -> Option<u64> {
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // More than fits is beyond every end.
        Some(digits.parse().unwrap_or(u64::MAX))
    };
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    if first.is_empty() {
        return Some(match number(last)? {
            0 => Wanted::Unsatisfiable,
            _ if size == 0 => Wanted::Unsatisfiable,
            suffix => Wanted::Part { first: size.saturating_sub(suffix), end: size },
        });
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1).min(size) };
    if !last.is_empty() && number(last)? < first {
        return None;
    }
    Some(if first >= size { Wanted::Unsatisfiable } else { Wanted::Part { first, end } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ranges_as_the_rfc_has_them() {
        let part = |first, end| Wanted::Part { first, end };
        for (range, size, expected) in [
            ("bytes=0-", 10, part(0, 10)),
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=3-5", 10, part(3, 6)),
            ("bytes=3-99", 10, part(3, 10)),
            ("bytes=-4", 10, part(6, 10)),
            ("bytes=-40", 10, part(0, 10)),
            ("Bytes=9-", 10, part(9, 10)),
            ("bytes=10-", 10, Wanted::Unsatisfiable),
            ("bytes=-0", 10, Wanted::Unsatisfiable),
            ("bytes=0-", 0, Wanted::Unsatisfiable),
            ("bytes=99999999999999999999-", 10, Wanted::Unsatisfiable),
            ("bytes=0-99999999999999999999", 10, part(0, 10)),
            ("bytes=5-3", 10, Wanted::Whole),
            ("bytes=0-1,3-4", 10, Wanted::Whole),
            ("items=0-1", 10, Wanted::Whole),
            ("bytes=a-b", 10, Wanted::Whole),
            ("bytes=+1-2", 10, Wanted::Whole),
            ("bytes", 10, Wanted::Whole),
            ("", 10, Wanted::Whole),
        ] {
            assert_eq!(Wanted::of(Some(range), size), expected, "{range} of {size}");
        }
        assert_eq!(Wanted::of(None, 10), Wanted::Whole);
    }
}
