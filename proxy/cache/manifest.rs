//! Manifests by digest.

use super::{Cache, Cause, Stale, content_target, landed, memory::Asked};
use crate::{
    metrics::CacheOutcome,
    oci::{Digest, MediaType, Reference, Target},
    store::{Member, Proof},
    upstream::{Kind, ManifestBody},
};
use bytes::Bytes;
use std::{sync::Arc, time::SystemTime};

/// A manifest as it is served: upstream's bytes, unchanged.
#[derive(Debug, Clone)]
pub struct ManifestAnswer {
    /// The document.
    pub bytes: Bytes,
    /// As upstream gave it.
    pub media_type: MediaType,
    /// Of the document.
    pub digest: Digest,
    /// Set if upstream did not confirm the tag.
    pub stale: Option<Stale>,
}

/// A manifest that was read and proven.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    pub(super) media_type: MediaType,
    pub(super) digest: Digest,
}

impl Cache {
    /// The manifest that `target` names. The same for HEAD and GET.
    ///
    /// # Errors
    /// When upstream does not give it and nothing is held that may be served instead.
    pub async fn manifest(self: &Arc<Self>, target: &Target) -> Result<ManifestAnswer, Cause> {
        let (digest, stale) = match &target.reference {
            Reference::Digest(digest) => {
                let at_hand = self.memory.manifest(target).is_some() || self.is_held(target, digest);
                self.count(&target.registry, if at_hand { CacheOutcome::Hit } else { CacheOutcome::Miss });
                (*digest, None)
            }
            Reference::Tag(_) => {
                let known = self.resolve(target).await?;
                (known.digest, known.stale)
            }
        };
        let held = self.manifest_by_digest(&content_target(&target.registry, &target.repository, &digest)).await?;
        Ok(ManifestAnswer { bytes: held.bytes.clone(), media_type: held.media_type.clone(), digest, stale })
    }

    /// The manifest of a digest, in the repository of `target`. A digest that is held is never asked for again.
    pub(super) async fn manifest_by_digest(self: &Arc<Self>, target: &Target) -> Result<Arc<Held>, Cause> {
        if let Some(held) = self.memory.manifest(target) {
            // Else what is pulled most would be what was read from the disk longest ago, and go first.
            self.store.note_use(&held.digest);
            return Ok(held);
        }
        let work = || {
            let (cache, target) = (Arc::clone(self), target.clone());
            async move { cache.load_manifest(&target).await }
        };
        landed(self.manifests.join(target, work)).await
    }

    async fn load_manifest(&self, target: &Target) -> Result<Arc<Held>, Cause> {
        let Reference::Digest(digest) = target.reference else { return Err(Cause::Defect) };
        if let Some(held) = self.memory.manifest(target) {
            return Ok(held);
        }
        if let Some(media_type) = self.member(target).and_then(|member| member.media_type)
            && let Some(bytes) = self.verified(digest).await
        {
            let held = self.hold(target, Held { bytes, media_type, digest });
            // The right may have been withdrawn meanwhile, and the memory emptied before this was put there.
            if self.member(target).is_some() {
                return Ok(held);
            }
            self.memory.withdraw(target);
        }
        if let Some(failure) = self.memory.failure(Asked::Manifest, target) {
            return Err(Cause::Upstream(failure));
        }
        let upstream = self.dialled(&target.registry)?;
        // Held through another repository: upstream's word for this one is enough, the bytes need not come again.
        if self.held_blob(&digest).is_some()
            && let Ok(head) = upstream.manifest_head(&target.repository, &target.reference).await
            && head.digest == Some(digest)
            && let Some(media_type) = head.media_type.filter(MediaType::is_manifest)
            && let Some(bytes) = self.verified(digest).await
        {
            let held = Held { bytes, media_type, digest };
            self.prove(target, &held).await;
            return Ok(self.hold(target, held));
        }
        match upstream.manifest(&target.repository, &target.reference).await {
            Ok(body) => Ok(self.take_in(target, body).await),
            Err(failure) => Err(self.remember(Asked::Manifest, target, failure)),
        }
    }

    /// The document of `digest`, its bytes proven anew.
    async fn verified(&self, digest: Digest) -> Option<Bytes> {
        self.blocking(move |store| store.read_verified(&digest)).await.unwrap_or_else(|cause| {
            let cause: &dyn std::error::Error = &cause;
            tracing::warn!(cause, blob.digest = %digest, "a stored manifest could not be read: upstream is asked");
            None
        })
    }

    /// Keeps a manifest that upstream has just given for this repository. It is served even if it cannot be kept.
    pub(super) async fn take_in(&self, target: &Target, body: ManifestBody) -> Arc<Held> {
        let target = content_target(&target.registry, &target.repository, &body.digest);
        let held = Held { bytes: body.bytes, media_type: body.media_type, digest: body.digest };
        let (bytes, digest) = (held.bytes.clone(), held.digest);
        self.record(move |store| store.put(&digest, &bytes).map(drop)).await;
        self.prove(&target, &held).await;
        self.hold(&target, held)
    }

    /// Records that upstream gives this digest in this repository.
    async fn prove(&self, target: &Target, held: &Held) {
        let member = Member {
            media_type: Some(held.media_type.clone()),
            size_bytes: held.bytes.len() as u64,
            proven_at: SystemTime::now(),
            proof: Proof::Upstream,
        };
        let (target, digest) = (target.clone(), held.digest);
        self.record(move |store| store.prove(&target.registry, &target.repository, &digest, member)).await;
    }

    fn hold(&self, target: &Target, held: Held) -> Arc<Held> {
        let held = Arc::new(held);
        self.memory.set_manifest(target, Arc::clone(&held));
        held
    }

    /// Tells a failure, and remembers it for those who ask next.
    pub(super) fn remember(&self, asked: Asked, target: &Target, failure: crate::upstream::Failure) -> Cause {
        if failure.kind == Kind::CredentialRefused {
            tracing::error!(upstream.registry = %target.registry, credential = failure.credential,
                "upstream refuses larder's credential");
        }
        let failure = Arc::new(failure);
        self.memory.set_failure(asked, target, &failure, self.config.cache.missing_ttl);
        Cause::Upstream(failure)
    }
}
