//! All causes, in the order they are tried.

mod busy;
mod credential_refused;
mod destination_refused;
mod digest_missing;
mod name_invalid;
mod offline_not_held;
mod rate_limited;
mod registry_not_configured;
mod repository_missing;
mod repository_not_allowed;
mod repository_refused;
mod request_malformed;
mod route_unknown;
mod store_failed;
mod tag_missing;
mod unknown;
mod upstream_slow;
mod upstream_unreachable;
mod upstream_wrong;
mod write_refused;

use super::{Class, Diagnosis, Failure, Finding, words};

pub(super) use unknown::finding as unknown;

/// The causes known. The last matches everything.
pub static CATALOGUE: &[&dyn Diagnosis] = &[
    &name_invalid::NameInvalid,
    &request_malformed::RequestMalformed,
    &route_unknown::RouteUnknown,
    &write_refused::WriteRefused,
    &registry_not_configured::RegistryNotConfigured,
    &repository_not_allowed::RepositoryNotAllowed,
    &repository_missing::RepositoryMissing,
    &tag_missing::TagMissing,
    &digest_missing::DigestMissing,
    &repository_refused::RepositoryRefused,
    &credential_refused::CredentialRefused,
    &rate_limited::RateLimited,
    &upstream_slow::UpstreamSlow,
    &upstream_unreachable::UpstreamUnreachable,
    &upstream_wrong::UpstreamWrong,
    &destination_refused::DestinationRefused,
    &offline_not_held::OfflineNotHeld,
    &busy::Busy,
    &store_failed::StoreFailed,
    &unknown::Unknown,
];
