//! Values that are never printed.

use secrecy::{ExposeSecret as _, SecretString};
use std::path::PathBuf;

/// A password or token. It prints as `[REDACTED]` and is wiped when dropped.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

/// Where a secret comes from; the place may be shown, the value never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file that holds it and nothing else; one trailing line break is not part of it.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

impl Secret {
    /// Takes in the value.
    pub fn new(value: String) -> Self {
        Self(SecretString::from(value))
    }

    /// The value, to be written to where it belongs and nowhere else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
