//! Where a request can fail.

use crate::{
    cache::Cause,
    oci::{self, Reference, Registry, Repository, Target},
    upstream,
};

/// A request that came to nothing: one variant per place where it can.
#[derive(Debug, Clone)]
pub enum Failure {
    /// A name in it is none.
    InvalidName(oci::Error),
    /// Where its body ends is ambiguous (RFC 9112, section 6).
    AmbiguousFraming,
    /// No such route.
    UnknownRoute,
    /// It would write.
    WriteRefused {
        /// Its method.
        method: String,
    },
    /// It names a registry that is not configured.
    NotConfigured {
        /// The name, as it came.
        name: String,
        /// The names there are.
        configured: Vec<Registry>,
    },
    /// The operator's rules exclude the repository.
    NotAllowed {
        /// What was asked for.
        target: Target,
    },
    /// A manifest could not be served.
    Pull {
        /// What was asked for.
        target: Target,
        /// Why.
        cause: Cause,
    },
    /// A blob could not be served; the reference is its digest.
    PullBlob {
        /// What was asked for.
        target: Target,
        /// Why.
        cause: Cause,
    },
    /// The tags of a repository could not be listed.
    List {
        /// The registry.
        registry: Registry,
        /// The repository.
        repository: Repository,
        /// Why.
        cause: Cause,
    },
}

impl Failure {
    pub(super) fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Pull { cause, .. } | Self::PullBlob { cause, .. } | Self::List { cause, .. } => Some(cause),
            _ => None,
        }
    }

    pub(super) fn upstream(&self) -> Option<&upstream::Failure> {
        match self.cause()? {
            Cause::Upstream(failure) => Some(failure.as_ref()),
            _ => None,
        }
    }

    /// The upstream's failure, if it is of one of these kinds.
    pub(super) fn upstream_of(&self, kinds: &[upstream::Kind]) -> Option<&upstream::Failure> {
        self.upstream().filter(|failure| kinds.contains(&failure.kind))
    }

    pub(super) fn registry(&self) -> Option<&Registry> {
        match self {
            Self::NotAllowed { target } | Self::Pull { target, .. } | Self::PullBlob { target, .. } => {
                Some(&target.registry)
            }
            Self::List { registry, .. } => Some(registry),
            _ => None,
        }
    }

    pub(super) fn repository(&self) -> Option<&Repository> {
        match self {
            Self::NotAllowed { target } | Self::Pull { target, .. } | Self::PullBlob { target, .. } => {
                Some(&target.repository)
            }
            Self::List { repository, .. } => Some(repository),
            _ => None,
        }
    }

    /// What was asked for, within its registry: `library/nginx:1`.
    pub(super) fn wanted(&self) -> String {
        match self {
            Self::NotAllowed { target } | Self::Pull { target, .. } => match &target.reference {
                Reference::Tag(tag) => format!("{}:{tag}", target.repository),
                Reference::Digest(digest) => format!("{}@{digest}", target.repository),
            },
            Self::PullBlob { target, .. } => format!("blob {} of {}", target.reference, target.repository),
            Self::List { repository, .. } => format!("the tags of {repository}"),
            _ => "the request".to_owned(),
        }
    }
}
