//! What a manifest's content runs on.

use super::{Error, Problem};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Operating system, architecture and variant, in Go's words (image-spec 1.1, `platform`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, `windows`, ...
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v7`, `v8`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Windows' build number.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

const NOUN: &str = "platform";

impl FromStr for Platform {
    type Err = Error;

    /// `linux/amd64`, `linux/arm/v7`; with `-` between the parts where it stands in a path.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split(['/', '-']).collect();
        let valid = |part: &&str| {
            !part.is_empty() && part.len() <= 32 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match parts.as_slice() {
            [os, architecture, rest @ ..] if rest.len() <= 1 && parts.iter().all(valid) => Ok(Self {
                os: os.to_ascii_lowercase(),
                architecture: architecture.to_ascii_lowercase(),
                variant: rest.first().map(|variant| variant.to_ascii_lowercase()),
                os_version: None,
            }),
            _ => Err(Error::new(NOUN, text, Problem::Shape("it needs the form os/architecture[/variant]"))),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
