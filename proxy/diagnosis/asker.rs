//! Who asks, as far as it decides with which status a finding reaches its user.

use crate::oci::Reference;

/// A request, as its answer's status depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// Which family of clients.
    pub agent: Agent,
    /// Whether it asks for a manifest by a tag that people chose: neither a digest, nor a tag that hangs on one, which
    /// tools ask for speculatively and whose absence is no failure.
    pub asks_for_tag: bool,
    /// Whether it came with `?ns=`, as containerd's mirror requests do.
    pub has_ns: bool,
}

/// Families of clients that show failures alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// containerd's resolver: containerd, k3s, BuildKit, nerdctl. Hides a 404's words, repeats a 429 at once.
    Containerd,
    /// containers/image: CRI-O, podman, Buildah, skopeo. Honours `Retry-After`.
    ContainersImage,
    /// Anyone else.
    Other,
}

const CONTAINERD: [&str; 3] = ["containerd/", "buildkit/", "nerdctl/"];
const CONTAINERS_IMAGE: [&str; 5] = ["containers/", "cri-o/", "podman/", "buildah/", "skopeo/"];

impl Agent {
    /// The family of a `User-Agent`.
    pub fn of(user_agent: &str) -> Self {
        let user_agent = user_agent.to_ascii_lowercase();
        let is_one_of = |prefixes: &[&str]| prefixes.iter().any(|prefix| user_agent.starts_with(prefix));
        if is_one_of(&CONTAINERD) {
            Self::Containerd
        } else if is_one_of(&CONTAINERS_IMAGE) {
            Self::ContainersImage
        } else {
            Self::Other
        }
    }
}

impl Asker {
    /// Whoever sent `user_agent`; `reference` is that of a manifest request.
    pub fn new(user_agent: Option<&str>, reference: Option<&Reference>, has_ns: bool) -> Self {
        let asks_for_tag = matches!(reference, Some(Reference::Tag(tag)) if !tag.names_a_digest());
        Self { agent: user_agent.map_or(Agent::Other, Agent::of), asks_for_tag, has_ns }
    }

    /// Whether the status is chosen for containerd, which shows the reason phrase of what is no 404.
    pub(super) fn is_shaped(&self) -> bool {
        self.asks_for_tag && (self.has_ns || self.agent == Agent::Containerd)
    }
}
