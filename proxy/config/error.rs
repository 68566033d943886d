//! Why a configuration was not taken.

use std::{fmt, path::PathBuf, sync::Arc};

/// A configuration that cannot be used: where, what, and what would be right.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The file is no TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// The parser's words, on one line.
        message: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`; {hint}")]
    UnknownKey {
        /// Where.
        place: Place,
        /// Its full path.
        key: String,
        /// The nearest key there is, or all that could stand there.
        hint: String,
    },
    /// A variable that stands for no key.
    #[error("unknown variable {name}; {hint}")]
    UnknownVariable {
        /// Its name.
        name: String,
        /// The nearest variable there is.
        hint: String,
    },
    /// A value that the key cannot have.
    #[error("{place}: `{key}` is {value}, but it must be {allowed}")]
    Value {
        /// Where.
        place: Place,
        /// The key's full path.
        key: String,
        /// The value as it was written, cut at 100 characters.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// Keys or tables that do not go together, or one that names what is not there.
    #[error("{place}: `{key}` {problem}")]
    Conflict {
        /// Where.
        place: Place,
        /// The full path of the key or table.
        key: String,
        /// What is wrong, as the rest of the sentence.
        problem: String,
    },
    /// The file of a secret cannot be read.
    #[error("{place}: `{key}` names the file {}, which cannot be read", file.display())]
    SecretUnreadable {
        /// Where.
        place: Place,
        /// The key's full path.
        key: String,
        /// The file that should hold the secret.
        file: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The place of a secret holds none.
    #[error("{place}: `{key}` names {source_name}, which {problem}")]
    SecretUnusable {
        /// Where.
        place: Place,
        /// The key's full path.
        key: String,
        /// The file or variable.
        source_name: String,
        /// What is wrong with it; never what it holds.
        problem: &'static str,
    },
}

/// Where in the configuration something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file; line and column count from 1.
    File {
        /// The file.
        file: PathBuf,
        /// Its line.
        line: usize,
        /// The character within the line.
        column: usize,
    },
    /// In an environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}
