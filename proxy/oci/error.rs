//! Why a text is not one of the specification's nouns.

/// A text that is not the noun it was meant to be: which noun, which text, what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a valid {noun}: {problem}")]
pub struct Error {
    /// The specification's word for what was expected, such as `repository`.
    pub noun: &'static str,
    /// The text as it came, cut at 300 characters, control characters replaced.
    pub text: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// More characters than the specification allows.
    #[error("it is longer than {max} characters")]
    TooLong {
        /// The most there may be.
        max: usize,
    },
    /// A character that may not stand where it stands.
    #[error("{found:?} may not stand at position {at}")]
    Character {
        /// Counted from 1.
        at: usize,
        /// The character itself.
        found: char,
    },
    /// It stops where more is needed.
    #[error("it may not end with {last:?}")]
    End {
        /// Its last character.
        last: char,
    },
    /// A part that the noun needs is missing or has another form.
    #[error("{0}")]
    Shape(&'static str),
}

impl Error {
    pub(super) fn new(noun: &'static str, text: &str, problem: Problem) -> Self {
        let text = text.chars().take(300).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { noun, text, problem }
    }
}
